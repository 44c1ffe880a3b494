"""Regression files on disk: the questions that the gate asks, with the messages that the model gets for them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from csqa_loop.cycle.evaluate import AskedQuestion
from csqa_loop.domain.chunking import chunk_markdown
from csqa_loop.domain.errors import PermanentError
from csqa_loop.domain.events import ChatMessage
from csqa_loop.domain.gate import best_passages
from csqa_loop.domain.prompt import build_messages
from csqa_loop.domain.scenario import Probe
from csqa_loop.settings import RetrievalSettings


@dataclass(frozen=True)
class RegressionSuite:
    """Every phrasing of a file's questions, and what tells this file from another."""

    questions: tuple[AskedQuestion, ...] = ()
    content_hash: str = ""
    """SHA-256 over the file and the policies that it names: both decide what is asked."""


def load_suite(file: Path, *, language: str, retrieval: RetrievalSettings) -> RegressionSuite:
    """Every phrasing in the file's `regression` list, in messages built as the gateway builds them: same excerpts' size, number and language.

    The excerpts are those of the question's own policy that share most words with it, so that a suite measures the adapter and not the index.

    Args:
        file: the YAML file.
        language: the gateway's, for a question that does not tell its own.
        retrieval: the gateway's.

    Raises:
        PermanentError: the file, a key or a policy is missing or wrong.
    """
    content, body = _content(file)
    folder = file.parent / str(content.get("policies", "policies"))
    graded_in = str(content.get("language", "en"))
    policies: dict[str, str] = {}
    asked: list[AskedQuestion] = []
    for question in _questions(file, content.get("regression") or []):
        if question.policy not in policies:
            policies[question.policy] = _policy(folder / question.policy)
        passages = [passage.text for passage in chunk_markdown(policies[question.policy], retrieval.chunk_characters)]
        for ask in question.ask:
            excerpts = best_passages(ask, passages, retrieval.top_k)
            messages = build_messages([ChatMessage(role="user", content=ask)], excerpts, default_language=language)
            asked.append(AskedQuestion(question, messages, graded_in))
    return RegressionSuite(tuple(asked), _hash(body, policies))


def suite_hash(file: str) -> str:
    """`RegressionSuite.content_hash` of a file; empty where there is none, or none that can be read here: the trainer may have it alone."""
    if not file:
        return ""
    try:
        return load_suite(Path(file), language="en", retrieval=RetrievalSettings()).content_hash
    except PermanentError:
        return ""


def _content(file: Path) -> tuple[dict[str, Any], bytes]:
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


def _questions(file: Path, items: Sequence[Any]) -> list[Probe]:
    questions = [_question(file, number, item) for number, item in enumerate(items)]
    known: set[str] = set()
    for number, question in enumerate(questions):
        if question.id in known:
            msg = f"{file}: regression[{number}].id is {question.id!r}, which another question has; ids must be unique"
            raise PermanentError(msg)
        known.add(question.id)
    return questions


def _question(file: Path, number: int, item: Any) -> Probe:
    try:
        return Probe.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (f"regression[{number}]", *first["loc"]))
        msg = f"{file}: {where} is {str(first['input'])[:80]!r}: {first['msg']}; a question has id, policy, ask, expect and, if need be, forbid, category and zero_tolerance"
        raise PermanentError(msg) from error


def _policy(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"policy {file} of a regression question cannot be read: {error}"
        raise PermanentError(msg) from error


def _hash(body: bytes, policies: dict[str, str]) -> str:
    whole = hashlib.sha256(hashlib.sha256(body).digest())
    for name in sorted(policies):
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(policies[name].encode()).digest())
    return whole.hexdigest()
