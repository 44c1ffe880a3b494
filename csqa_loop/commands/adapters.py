"""`csqa adapters`: the list of them, and `csqa adapters export`: one of them as files for other systems."""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from csqa_loop.commands import operators
from csqa_loop.errors import PermanentError
from csqa_loop.settings import load_settings
from csqa_loop.training.adapters import verify
from csqa_loop.training.exports import copy_adapter, copy_manifest, export_to
from csqa_loop.training.pedigree import Ancestor, origin
from csqa_loop.training.run.directory import RunDirectory

app = typer.Typer()


@app.callback(invoke_without_command=True)
def adapters(context: typer.Context, as_json: operators.Json = False) -> None:
    """List every adapter that was trained here: version, parent, run, what gate and experiment said, state and size.

    Example: csqa adapters
    """
    if context.invoked_subcommand is None:
        operators.list_adapters(as_json=as_json)


@app.command()
def export(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="As `csqa adapters` shows it: a- and 16 hex digits.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A folder that is not there yet, or is empty.")],
    merged: Annotated[bool, typer.Option("--merged", help="Base and adapter in one, as an ordinary model.")] = False,
    quantise: Annotated[
        Literal["awq", "gptq"] | None, typer.Option("--quantise", help="Merged, with weights of four bits. Needs a GPU and llmcompressor.")
    ] = None,
    as_json: operators.Json = False,
) -> None:
    """Write an adapter, or the base with the adapter merged into it, and its run's manifest to a folder for other systems.

    The folder appears when it is complete. Hold it against what serves now with `csqa gate` before it answers customers.

    Example: csqa adapters export a-0123456789abcdef --out /srv/models/shop --merged
    """
    started = time.monotonic()
    settings = load_settings()
    ancestor = origin(settings.runs, adapter)
    source = verify(settings.adapters, adapter)
    with export_to(out) as draft:
        if quantise:
            _quantise(ancestor, source, draft, quantise)
        elif merged:
            _merge(ancestor, source, draft)
        else:
            copy_adapter(source, draft)
        copy_manifest(ancestor.run, draft)
    path, kind, files = str(out.resolve()), quantise or ("merged" if merged else "adapter"), sorted(file.name for file in out.iterdir())
    if as_json:
        seconds = round(time.monotonic() - started, 3)
        print(json.dumps({"adapter": adapter, "path": path, "kind": kind, "files": files, "seconds": seconds}))
    else:
        print(f"{adapter} is in {path} ({kind}): {', '.join(files)}")


def _merge(ancestor: Ancestor, source: Path, folder: Path) -> None:
    try:
        from csqa_loop.training.trl.merge import merge
    except ImportError as error:
        raise PermanentError(f"a merged export needs {error.name}, which is not installed; install csqa-loop[train]") from error

    base = ancestor.manifest.base
    _tell(f"merging {ancestor.manifest.adapter} into {base}, in float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what libraries will change does not belong in a command's output
        merge(base, source, folder, fingerprint=ancestor.manifest.base_fingerprint)


def _quantise(ancestor: Ancestor, source: Path, folder: Path, method: Literal["awq", "gptq"]) -> None:
    try:
        from csqa_loop.training.trl.quantise import check_available, quantise
    except ImportError as error:
        raise PermanentError(f"a quantised export needs {error.name}, which is not installed; install csqa-loop[train]") from error

    check_available(method)
    conversations = _conversations(ancestor.run)
    # Beside the draft: the merged model is as large as the base, and /tmp is often small.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as merged:
        _merge(ancestor, source, Path(merged))
        _tell(f"quantising by {method}, calibrated on {len(conversations)} examples of run {ancestor.manifest.run_id}")
        quantise(Path(merged), folder, method, conversations)


def _conversations(run: RunDirectory) -> list[list[dict[str, str]]]:
    """The answers that the run was trained to give, with their prompts.

    Raises:
        PermanentError: there are none.
    """
    answers = [
        *((pair.prompt, pair.chosen) for pair in (*run.pairs(), *run.replay())),
        *((row.prompt, row.answer) for row in run.demonstrations()),
        *((row.prompt, row.answer) for row in run.unpaired() if row.liked),
    ]
    if not answers:
        raise PermanentError(f"{run.path} holds no answer to calibrate on; export without --quantise")
    return [[*(message.model_dump() for message in prompt), {"role": "assistant", "content": answer}] for prompt, answer in answers]


def _tell(text: str) -> None:
    print(f"csqa: {text}", file=sys.stderr, flush=True)
