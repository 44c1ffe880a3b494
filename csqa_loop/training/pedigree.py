"""An adapter's way back: to the runs that led to it, and through the same run once more."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csqa_loop.errors import PermanentError
from csqa_loop.events import BASE
from csqa_loop.files.durable import sha256_of
from csqa_loop.training.adapters import verify
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.files import CONFIG, DEMONSTRATIONS, PAIRS, REPLAY, UNPAIRED
from csqa_loop.training.run.manifest import Manifest, manifests, recipe_hash
from csqa_loop.training.run.rows import data_hash_of


@dataclass(frozen=True)
class Ancestor:
    """A finished run and its manifest."""

    run: RunDirectory
    manifest: Manifest


@dataclass(frozen=True)
class RecipeComparison:
    """One thing that a rebuilt adapter must share with the first one."""

    name: str
    first: str
    rebuilt: str
    same: bool


def lineage(runs: Path, adapter: str) -> list[Ancestor]:
    """The adapter's run, its parent's, and so on to the base.

    Raises:
        PermanentError: it is `base`, or no run under `runs` made one of them.
    """
    makers = manifests(runs)
    ancestors = [_origin(runs, makers, adapter)]
    while (adapter := ancestors[-1].manifest.parent) != BASE:
        ancestor = _maker(runs, makers, adapter)
        if any(earlier.manifest.adapter == adapter for earlier in ancestors):
            msg = f"{ancestor.run.path / 'manifest.json'} makes {adapter} its own ancestor; restore it"
            raise PermanentError(msg)
        ancestors.append(ancestor)
    return ancestors


def origin(runs: Path, adapter: str) -> Ancestor:
    """The run that made the adapter; its ancestors need not be there.

    Raises:
        PermanentError: it is `base`, or no run under `runs` made it.
    """
    return _origin(runs, manifests(runs), adapter)


def _origin(runs: Path, makers: Mapping[str, Path], adapter: str) -> Ancestor:
    if adapter == BASE:
        msg = f"{BASE} is the bare model and no adapter; adapters made in {runs}: {_listed(makers)}"
        raise PermanentError(msg)
    return _maker(runs, makers, adapter)


def copy_for_rebuild(run: RunDirectory, folder: Path) -> RunDirectory:
    """A run directory under `folder` that asks for the same training, with an adapters folder of its own. What was there is removed.

    Raises:
        PermanentError: the run directory is not what was requested, or the parent's adapter is missing or changed.
    """
    request, config = run.check()
    copy = RunDirectory.of(folder, request.run_id)
    shutil.rmtree(folder, ignore_errors=True)
    copy.path.mkdir(parents=True)
    for name in request.files:
        shutil.copyfile(run.path / name, copy.path / name)
    adapters = folder / "adapters"
    adapters.mkdir()
    if config.parent != BASE:
        shutil.copytree(verify(Path(config.adapters), config.parent), adapters / config.parent)
    copy.write(CONFIG, json.dumps(config.model_copy(update={"adapters": str(adapters.resolve())}).model_dump(mode="json")).encode())
    copied_request = request.model_copy(update={"files": dict(request.files) | {CONFIG: sha256_of(copy.path / CONFIG)}})
    copy.write("request.json", copied_request.model_dump_json().encode())
    return copy


def compare(first: RunDirectory, rebuilt: RunDirectory, tolerance: float) -> list[RecipeComparison]:
    """Recipe and data recomputed from the rebuilt run, the base's files, and every metric; a metric may differ by `tolerance` of its value.

    Other bytes are no fault: another machine rounds otherwise, so the adapter's name is reported and not judged.

    Raises:
        PermanentError: one of the runs is not finished.
    """
    before, after = first.manifest(), rebuilt.manifest()
    if before is None or after is None:
        msg = f"{(first if before is None else rebuilt).path} has no manifest.json; only a finished run can be compared"
        raise PermanentError(msg)
    config = rebuilt.config()
    data = data_hash_of(*(rebuilt.path / name for name in (PAIRS, REPLAY, UNPAIRED, DEMONSTRATIONS) if (rebuilt.path / name).exists()))
    recipe = recipe_hash(config.base_model, config.parent, data, config.training.model_dump_json())
    comparisons = [
        RecipeComparison("recipe hash", before.recipe_hash, recipe, before.recipe_hash == recipe),
        RecipeComparison("data hash", before.data_hash, data, before.data_hash == data),
        RecipeComparison(
            "base fingerprint", before.base_fingerprint, after.base_fingerprint, before.base_fingerprint == after.base_fingerprint
        ),
        RecipeComparison("code version", before.code_version, after.code_version, before.code_version == after.code_version),
    ]
    for name in sorted(before.metrics.keys() | after.metrics.keys()):
        old, new = before.metrics.get(name), after.metrics.get(name)
        # A margin of 0 before training has no size of its own to differ by.
        same = old is not None and new is not None and abs(new - old) <= max(tolerance * abs(old), tolerance / 100)
        comparisons.append(RecipeComparison(name, _in_words(old), _in_words(new), same))
    return comparisons


def _maker(runs: Path, makers: Mapping[str, Path], adapter: str) -> Ancestor:
    if adapter not in makers:
        msg = f"no run in {runs} made {adapter}; adapters made there: {_listed(makers)}. Copy its run directory there"
        raise PermanentError(msg)
    run = RunDirectory(makers[adapter])
    manifest = run.manifest()
    if manifest is None:
        msg = f"{run.path / 'manifest.json'} was removed while it was read; restore it"
        raise PermanentError(msg)
    return Ancestor(run, manifest)


def _listed(makers: Mapping[str, Path]) -> str:
    return ", ".join(sorted(makers)) or "none"


def _in_words(value: float | None) -> str:
    return "missing" if value is None else f"{value:.6g}"
