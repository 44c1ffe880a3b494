"""Rows of preference files and what an import takes of them, for the tests of this folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from csqa_loop.data.importing import Importer, ImportOptions
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.rules.report import Outcome, Tally
from csqa_loop.data.rules.rows import Row
from csqa_loop.data.rules.scales import scales_of
from csqa_loop.data.seen import SeenBefore
from csqa_loop.evidence.rules.quality import QualityPolicy

ASKED, GOOD, BAD, WORST = "How long may I keep it?", "You have 14 days.", "You have 5 days.", "You have no days at all."


def turns(*said: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]


def imported_rows(*rows: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> tuple[list[Example], list[Outcome], Tally]:
    """The examples of these rows as one file, and what was held or refused."""
    heard: list[Outcome] = []
    tally = Tally(listener=heard.append)
    read: Sequence[Row] = [Row(line, values) for line, values in enumerate(rows, start=1)]
    options = ImportOptions(columns=columns or {})
    with SeenBefore() as seen:
        importer = Importer(options, seen, tally, QualityPolicy(), scales=lambda: scales_of(read, columns))
        found = [example for _, example in importer.examples(read)]
    return found, heard, tally


def pairs(*rows: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [(example.answer, example.rejected) for example in imported_rows(*rows)[0]]
