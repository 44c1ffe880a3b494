"""What must hold of the examples in a run directory; each is refused with its name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from csqa_loop.errors import PermanentError
from csqa_loop.text.similarity import Protected
from csqa_loop.training.run.rows import ParquetRow


def require_same(file: Path, pair_ids: Sequence[str], requested: Iterable[str]) -> None:
    """Raises PermanentError unless the file holds exactly the pairs that were asked for, each once."""
    twice = sorted(pair_id for pair_id, times in Counter(pair_ids).items() if times > 1)
    if twice:
        msg = f"{file}: pair {twice[0]!r} is there more than once"
        raise PermanentError(msg)
    differing = sorted(set(pair_ids) ^ set(requested))
    if differing:
        side = "is not in request.json" if differing[0] in pair_ids else "of request.json is missing"
        msg = f"{file}: pair {differing[0]!r} {side} ({len(differing)} differ in all)"
        raise PermanentError(msg)


def require_apart(folder: Path, first: tuple[str, list[str]], second: tuple[str, list[str]], why: str) -> None:
    """Raises PermanentError where a pair is in both files; each is (name, pair ids)."""
    both = sorted(set(first[1]) & set(second[1]))
    if both:
        msg = f"{folder}: pair {both[0]!r} is in {first[0]} and in {second[0]}; {why}"
        raise PermanentError(msg)


def require_unexamined(folder: Path, trained: Mapping[str, Sequence[ParquetRow]], examined: Mapping[str, Sequence[str]]) -> None:
    """Raises PermanentError where a question of `trained` (file -> rows) nearly repeats one that the gate asks (where it is from -> questions)."""
    protected = {where: Protected(questions) for where, questions in examined.items()}
    for name, rows in trained.items():
        for where, questions in protected.items():
            for question, repeated in questions.repeated_by(row.question for row in rows).items():
                msg = (
                    f"{folder / name}: the question {question[:80]!r} nearly repeats {repeated[:80]!r} of {where}; "
                    "what the gate asks must not be trained on: leave it out"
                )
                raise PermanentError(msg)
