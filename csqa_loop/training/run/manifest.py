"""`manifest.json`: what an adapter is made of, and the adapter's way back to the events of the log."""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from csqa_loop import __version__
from csqa_loop.errors import PermanentError
from csqa_loop.events import AdapterName
from csqa_loop.training.run.rows import ParquetRow, first_problem


class PairSource(BaseModel):
    """Where an example came from: the log's events that led to it, and how much it counted."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    pair_id: str
    message_id: str
    answer_event_id: str
    evidence_event_id: str
    source: str = ""
    weight: float = 1.0
    category: str = ""

    @classmethod
    def of(cls, example_id: str, row: ParquetRow) -> "PairSource":
        """The source of one row of a run directory."""
        return cls(
            pair_id=example_id,
            message_id=row.message_id,
            answer_event_id=row.answer_event_id,
            evidence_event_id=row.evidence_event_id,
            source=row.source,
            weight=row.weight,
            category=row.category,
        )


class Manifest(BaseModel):
    """`manifest.json`: exists only for a finished run."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    run_id: str
    adapter: AdapterName
    base: str
    base_revision: str = ""
    """The hub's commit; empty for a folder."""
    base_fingerprint: str = ""
    """SHA-256 over the base model's files: the same name must mean the same model."""
    parent: AdapterName
    method: str = ""
    mode: str = ""
    reason: str = ""
    """Why there was such a run, as its request says."""
    recipe_hash: str
    data_hash: str
    code_version: str = ""
    pairs: tuple[PairSource, ...]
    """New examples that were trained on, whatever the method."""
    replay: tuple[PairSource, ...] = ()
    """Earlier pairs that were repeated."""
    config: dict[str, Any]
    """As requested; what `auto` was resolved to is in `chosen`."""
    chosen: dict[str, Any] = {}
    seed: int
    versions: dict[str, str]
    metrics: dict[str, float]
    first_loss: float | None
    """The DPO term before step 1; none for methods without it."""
    curves: tuple[str, ...] = ()
    """Pictures in the run directory."""
    seconds: float


def recipe_hash(base_model: str, parent: str, pairs_hash: str, training: str, version: str = __version__) -> str:
    """16 hex over base, parent, pairs, training configuration (as JSON) and code version."""
    recipe = f"{base_model}\n{parent}\n{pairs_hash}\n{training}\n{version}"
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def manifests(runs: Path) -> dict[str, Path]:
    """Adapter -> the run directory that made it, for every finished run. The first run in order of name, where several made the same.

    Raises:
        PermanentError: a manifest cannot be read.
    """
    makers: dict[str, Path] = {}
    for file in sorted(runs.glob("*/manifest.json")):
        try:
            makers.setdefault(Manifest.model_validate_json(file.read_bytes()).adapter, file.parent)
        except ValidationError as error:
            msg = f"{file}: {first_problem(error)}"
            raise PermanentError(msg) from error
    return makers
