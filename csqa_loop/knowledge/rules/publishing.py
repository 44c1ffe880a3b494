"""What a folder of documents means for the log: publish, leave alone, withdraw. Nothing is read or written here."""

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from csqa_loop.errors import PermanentError
from csqa_loop.events import PolicyPublished, PolicyWithdrawn
from csqa_loop.knowledge.formats.markdown import read_document, with_plain_line_ends
from csqa_loop.knowledge.rules.chunking import is_empty, title_of
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
    renamed: tuple[tuple[str, str], ...]
    """Those of them whose very text the folder holds under another name: (policy_id, the other one)."""
    refused: tuple[tuple[str, str], ...]
    """(file's policy_id, what is wrong with it)."""


def plan_sync(
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    current: Mapping[str, str],
    *,
    now: datetime,
    skipped: Collection[str] = (),
    language: str = "",
    default_language: str = DEFAULT_LANGUAGE,
) -> SyncPlan:
    """Compare a folder (policy_id -> text; policy_id -> why it cannot be read) with the current policies (policy_id -> version).

    A file that is refused or `skipped` is not missing: its last good version stays current. A name with `/` behind it stands for all
    policies in that folder. A policy that was published under another spelling of the same name (NFD) keeps it. A document's language is its front matter's, else `language`, else what its letters tell.
    """
    published_as = {_composed(policy_id): policy_id for policy_id in sorted(current, key=_is_composed)}
    files = {published_as.get(_composed(name), name): text for name, text in files.items()}
    unreadable = {published_as.get(_composed(name), name): reason for name, reason in unreadable.items()}
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
    present = {*files, *unreadable, *(published_as.get(_composed(name), name) for name in skipped)}
    folders = tuple(name for name in present if name.endswith("/"))
    missing = tuple(policy_id for policy_id in sorted(set(current) - present) if not policy_id.startswith(folders))
    holding = {event.version: event.policy_id for event in publish} | {current[policy_id]: policy_id for policy_id in unchanged}
    renamed = tuple((policy_id, holding[current[policy_id]]) for policy_id in missing if current[policy_id] in holding)
    return SyncPlan(tuple(publish), tuple(unchanged), missing, renamed, tuple(sorted(refused)))


def to_withdraw(plan: SyncPlan, current: Mapping[str, str], *, confirmed: bool) -> tuple[str, ...]:
    """The missing policies that may be withdrawn. Those that only have another name now never are: their text is in the folder.

    Raises:
        PermanentError: that is more than half of the current policies, and nobody `confirmed` it.
    """
    renamed = {policy_id for policy_id, _ in plan.renamed}
    gone = tuple(policy_id for policy_id in plan.missing if policy_id not in renamed)
    if 2 * len(gone) > len(current) and not confirmed:
        shown = ", ".join(gone[:12]) + (", ..." if len(gone) > 12 else "")
        raise PermanentError(
            f"{len(gone)} of {len(current)} current policies have no file here ({shown}); is it the right folder? "
            "Nothing is published or withdrawn; --yes withdraws them"
        )
    return gone


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _is_composed(name: str) -> bool:
    return unicodedata.is_normalized("NFC", name)


def publication(
    policy_id: str, text: str, *, now: datetime, language: str = "", default_language: str = DEFAULT_LANGUAGE
) -> PolicyPublished:
    """The event that makes `text` the current version of a policy.

    Raises:
        PermanentError: there is nothing in it to retrieve, or its name is too long for a policy_id.
    """
    text = with_plain_line_ends(text)
    document = read_document(text)
    if is_empty(text):
        raise PermanentError("the file is empty but for front matter and comments; a policy needs text that a reader sees")
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
