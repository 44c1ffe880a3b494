"""Questions with what a passage must say to answer them, about pages that were not written for the code."""

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
PAGES = "CSQA_TEST_PAGES"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One need of a customer, in two phrasings."""

    id: str
    language: str
    policy_id: str
    version: str
    section: str
    needs: tuple[str, ...]
    """Strings of the page that a passage must contain."""
    questions: tuple[str, ...]
    held: bool
    """Kept away from tuning."""


def labelled(file: Path) -> tuple[Labelled, ...]:
    """The questions of a file.

    Raises:
        ValueError: a line is no labelled question, an id comes twice, or a section stands on both sides.
    """
    found: list[Labelled] = []
    sides: dict[tuple[str, str], str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        lacking = [
            name for name in ("id", "language", "policy_id", "version", "section", "needs", "questions", "split") if not row.get(name)
        ]
        if lacking:
            raise ValueError(f"{file}, line {number}: {lacking[0]} is missing or empty")
        if len(row["questions"]) != 2:
            raise ValueError(f"{file}, line {number}: {len(row['questions'])} phrasings; two are expected")
        if row["id"] in {one.id for one in found}:
            raise ValueError(f"{file}, line {number}: id {row['id']} was there before")
        if sides.setdefault((row["policy_id"], row["section"]), row["split"]) != row["split"]:
            raise ValueError(f"{file}, line {number}: other questions about {row['section']!r} are on the other side of the split")
        found.append(
            Labelled(
                row["id"], row["language"], row["policy_id"], row["version"], row["section"], tuple(row["needs"]), tuple(row["questions"]),
                row["split"] == "held",
            )
        )  # fmt: skip
    return tuple(found)


def english_pages() -> dict[str, str]:
    """Policy -> text of every page that is current at the end of the history which CSQA_TEST_PAGES names.

    Raises:
        FileNotFoundError: it names none.
    """
    history = os.environ.get(PAGES)
    if not history:
        raise FileNotFoundError(f"the English questions are about real pages: set {PAGES} to a history of policies as gzipped JSON lines")
    pages: dict[str, str] = {}
    for row in _rows(Path(history)):
        if row["op"] == "publish":
            pages[row["policy_id"]] = row["text"]
        else:
            pages.pop(row["policy_id"], None)
    return pages


def chinese_pages() -> dict[str, str]:
    """Policy -> text."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted((DATA / "shop_zh").glob("*.md"))}


def _rows(history: Path) -> Iterator[dict[str, str]]:
    with gzip.open(history, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
