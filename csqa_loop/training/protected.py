"""What the offline gate asks beside held-out pairs: read from its file, for the gate to ask and for training to leave alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from csqa_loop.errors import PermanentError
from csqa_loop.evidence.rules.grading import Probe


def regression_phrasings(file: str) -> tuple[str, ...]:
    """Every phrasing of every question in the file's `regression` list; none where no file is named.

    Raises:
        PermanentError: the file cannot be read, or is not what `gate.regression_file` must be.
    """
    if not file:
        return ()
    content, _ = read_file(Path(file))
    return tuple(phrasing for question in questions_in(Path(file), content) for phrasing in question.ask)


def read_file(file: Path) -> tuple[dict[str, Any], bytes]:
    """The mapping that the file holds, and its bytes.

    Raises:
        PermanentError: it cannot be read, or is none.
    """
    import yaml

    try:
        body = file.read_bytes()
        content = yaml.safe_load(body.decode("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"gate.regression_file {file} cannot be read: {' '.join(str(error).split())}"
        raise PermanentError(msg) from error
    if not isinstance(content, dict) or not isinstance(content.get("regression") or [], list):
        msg = f"{file} must be a mapping with a list `regression` (and `policies`, the folder of Markdown files)"
        raise PermanentError(msg)
    return content, body


def questions_in(file: Path, content: Mapping[str, Any]) -> list[Probe]:
    """The questions in the file's list `regression`.

    Raises:
        PermanentError: a key is missing or wrong, or two questions have one id.
    """
    questions = [_question(file, number, item) for number, item in enumerate(content.get("regression") or [])]
    ids: set[str] = set()
    for number, question in enumerate(questions):
        if question.id in ids:
            msg = f"{file}: regression[{number}].id is {question.id!r}, which another question has; ids must be unique"
            raise PermanentError(msg)
        ids.add(question.id)
    return questions


def _question(file: Path, number: int, item: Any) -> Probe:
    try:
        return Probe.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (f"regression[{number}]", *first["loc"]))
        msg = f"{file}: {where} is {str(first['input'])[:80]!r}: {first['msg']}; a question has id, policy, ask, expect and, if need be, forbid, category and zero_tolerance"
        raise PermanentError(msg) from error
