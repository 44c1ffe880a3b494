"""What a folder of documents means for the log: publish, leave alone, withdraw. Nothing is read or written here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.errors import PermanentError
from csqa_loop.events import PolicyPublished, PolicyWithdrawn
from csqa_loop.knowledge.formats.markdown import read_document
from csqa_loop.knowledge.rules.chunking import title_of
from csqa_loop.knowledge.rules.versions import policy_version
from csqa_loop.text.languages import DEFAULT_LANGUAGE, language_of

_LONGEST_TITLE = 500


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a folder means for the log."""

    publish: tuple[PolicyPublished, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]
    """Current policies that the folder has no file for."""
    refused: tuple[tuple[str, str], ...]
    """(file's policy_id, what is wrong with it)."""


def plan_sync(
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    current: Mapping[str, str],
    *,
    now: datetime,
    language: str = "",
    default_language: str = DEFAULT_LANGUAGE,
) -> SyncPlan:
    """Compare a folder (policy_id -> text; policy_id -> why it cannot be read) with the current policies (policy_id -> version).

    A file that is refused is not missing: its last good version stays current. A document's language is its front matter's, else `language`, else what its letters tell.
    """
    publish: list[PolicyPublished] = []
    unchanged: list[str] = []
    refused = list(unreadable.items())
    for policy_id, text in sorted(files.items()):
        try:
            event = publication(policy_id, text, now=now, language=language, default_language=default_language)
        except PermanentError as error:
            refused.append((policy_id, str(error)))
            continue
        if current.get(policy_id) == event.version:
            unchanged.append(policy_id)
        else:
            publish.append(event)
    missing = tuple(sorted(set(current) - set(files) - set(unreadable)))
    return SyncPlan(tuple(publish), tuple(unchanged), missing, tuple(sorted(refused)))


def publication(
    policy_id: str, text: str, *, now: datetime, language: str = "", default_language: str = DEFAULT_LANGUAGE
) -> PolicyPublished:
    """The event that makes `text` the current version of a policy.

    Raises:
        PermanentError: there is nothing in it to retrieve, or its name is too long for a policy_id.
    """
    document = read_document(text)
    if not document.body.strip():
        raise PermanentError("the file is empty; a policy needs text under its front matter")
    if len(policy_id) > 200:
        raise PermanentError(f"its path has {len(policy_id)} characters; a policy_id has at most 200")
    spoken = document.language or language or language_of(document.body, default_language)
    if len(spoken) > 16:
        raise PermanentError(f"its front matter names language {spoken[:40]!r}; a short code such as en or zh is expected")
    return PolicyPublished(
        occurred_at=now,
        policy_id=policy_id,
        version=policy_version(text),
        title=(title_of(text) or policy_id)[:_LONGEST_TITLE],
        language=spoken,
        text=text,
    )


def withdrawal(policy_id: str, reason: str, current: Mapping[str, str], *, now: datetime) -> PolicyWithdrawn:
    """The event after which no gateway quotes the policy.

    Raises:
        PermanentError: no such policy is current.
    """
    if policy_id not in current:
        known = ", ".join(sorted(current)[:12]) or "none"
        raise PermanentError(f"policy {policy_id!r} is not published; current policies: {known}")
    return PolicyWithdrawn(occurred_at=now, policy_id=policy_id, reason=reason[:2000])
