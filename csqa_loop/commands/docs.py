"""`csqa docs`: the events' AsyncAPI document and JSON Schemas, as files."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from csqa_loop.events.schemas import asyncapi, event_schemas


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("docs")(docs)


def docs(directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path("docs/events")) -> None:
    """Write asyncapi.yaml and schemas/*.json, so that a frontend in any language can publish and read events."""
    files = rendered()
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for stale in sorted((directory / "schemas").glob("*.json")):
        if f"schemas/{stale.name}" not in files:
            stale.unlink()
    print(f"{len(files)} files in {directory}")


def rendered() -> dict[str, str]:
    """File name -> content of each document."""
    files = {f"schemas/{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in event_schemas().items()}
    # Through JSON, so that nothing is shared: not every AsyncAPI tool follows YAML's aliases.
    document = json.loads(json.dumps(asyncapi()))
    files["asyncapi.yaml"] = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=140)
    return files
