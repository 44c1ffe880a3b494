"""Regression files on disk: the questions that the gate asks, with the messages that the model gets for them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from csqa_loop.answering.rules.prompt import build_messages
from csqa_loop.errors import PermanentError
from csqa_loop.events import ChatMessage
from csqa_loop.gate.evaluate import AskedQuestion
from csqa_loop.gate.rules.checks import best_passages
from csqa_loop.knowledge.rules.passages import passages_of
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.settings import RetrievalSettings
from csqa_loop.text.languages import DEFAULT_LANGUAGE
from csqa_loop.training.protected import questions_in, read_file


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
    content, body = read_file(file)
    folder = file.parent / str(content.get("policies", "policies"))
    graded_in = str(content.get("language", DEFAULT_LANGUAGE))
    policies: dict[str, str] = {}
    questions: list[AskedQuestion] = []
    for question in questions_in(file, content):
        if question.policy not in policies:
            policies[question.policy] = _policy(folder / question.policy)
        text = policies[question.policy]
        passages = [passage.text for passage in passages_of(question.policy, policy_version(text), text, retrieval.chunk_characters)]
        for ask in question.ask:
            excerpts = best_passages(ask, passages, retrieval.top_k)
            messages = build_messages([ChatMessage(role="user", content=ask)], excerpts, default_language=language)
            questions.append(AskedQuestion(question, messages, graded_in))
    return RegressionSuite(tuple(questions), _hash(body, policies))


def suite_hash(file: str) -> str:
    """`RegressionSuite.content_hash` of a file; empty where no file is named or it cannot be read here: only the trainer may have it."""
    if not file:
        return ""
    try:
        return load_suite(Path(file), language=DEFAULT_LANGUAGE, retrieval=RetrievalSettings()).content_hash
    except PermanentError:
        return ""


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
