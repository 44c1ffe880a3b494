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
from csqa_loop.text.similarity import signatures, similarity

_LONGEST_TITLE = 500
_NEARLY_THE_SAME = 0.6
"""Similarity from which a text under a new name is taken for an edited one: too low keeps a policy that somebody must end by name, too high
withdraws one that was only renamed."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a folder means for the log."""

    publish: tuple[PolicyPublished, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]
    """Current policies that the folder has no file for."""
    renamed: tuple[tuple[str, str], ...]
    """Those of them that the folder holds under another name: (policy_id, the other one). Its text is the same or nearly, or the name differs
    in upper and lower case alone."""
    refused: tuple[tuple[str, str], ...]
    """(file's policy_id, what is wrong with it)."""


def plan_sync(
    files: Mapping[str, str],
    unreadable: Mapping[str, str],
    current: Mapping[str, PolicyPublished],
    *,
    now: datetime,
    skipped: Collection[str] = (),
    language: str = "",
    default_language: str = DEFAULT_LANGUAGE,
) -> SyncPlan:
    """Compare a folder (policy_id -> text; policy_id -> why it cannot be read) with the current policies (by policy_id).

    A file that is refused or `skipped` is not missing, in whatever case its name is: its last good version stays current. A name with `/` behind it stands for all
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
        if policy_id in current and current[policy_id].version == event.version:
            unchanged.append(policy_id)
        else:
            publish.append(event)
    unread = {_folded(name) for name in (*unreadable, *skipped)}
    folders = tuple(name for name in unread if name.endswith("/"))
    missing = tuple(
        policy_id
        for policy_id in sorted(current.keys() - files.keys())
        if _folded(policy_id) not in unread and not _folded(policy_id).startswith(folders)
    )
    texts = {event.policy_id: event.text for event in publish} | {policy_id: current[policy_id].text for policy_id in unchanged}
    renamed = _renamed({policy_id: current[policy_id].text for policy_id in missing}, texts)
    return SyncPlan(tuple(publish), tuple(unchanged), missing, renamed, tuple(sorted(refused)))


def _renamed(missing: Mapping[str, str], files: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The missing policies (policy_id -> text) that one of the files is under another name. The very text counts more than the name in another
    case, and that more than a text that is nearly the same: where several are, the most similar.
    """
    holding = {text: policy_id for policy_id, text in sorted(files.items(), reverse=True)}
    called = {_folded(policy_id): policy_id for policy_id in files}
    found = {old: name for old, text in missing.items() if (name := holding.get(text) or called.get(_folded(old)))}
    others = [old for old in missing if old not in found]
    if others and files:
        signed = dict(zip(files, signatures([*files.values()]), strict=True))
        for old, own in zip(others, signatures([missing[old] for old in others]), strict=True):
            nearest = max(signed, key=lambda name: similarity(own, signed[name]))
            if similarity(own, signed[nearest]) >= _NEARLY_THE_SAME:
                found[old] = nearest
    return tuple((old, found[old]) for old in missing if old in found)


def to_withdraw(plan: SyncPlan, current: Collection[str], *, confirmed: bool) -> tuple[str, ...]:
    """The missing policies that may be withdrawn. One that only has another name now is never among them, whoever confirms it: that it is
    gone is a guess, and ending a policy takes its name.

    Raises:
        PermanentError: more than half of the current policies are missing, and nobody confirmed it; or nothing in the folder can be read.
    """
    renamed = {policy_id for policy_id, _ in plan.renamed}
    gone = tuple(policy_id for policy_id in plan.missing if policy_id not in renamed)
    if gone and not plan.publish and not plan.unchanged:
        raise PermanentError(
            "no file here can be read as a policy; is it the right folder, and readable? Nothing is published and nothing is withdrawn"
        )
    if 2 * len(gone) > len(current) and not confirmed:
        shown = ", ".join(gone[:12]) + (", ..." if len(gone) > 12 else "")
        raise PermanentError(
            f"{len(gone)} of {len(current)} current policies have no file here ({shown}); is it the right folder? "
            "Nothing is published or withdrawn; --yes withdraws them"
        )
    return gone


def _folded(name: str) -> str:
    """One spelling for what a file system may take for one name."""
    return _composed(_composed(name).casefold())


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


def withdrawal(policy_id: str, reason: str, current: Collection[str], *, now: datetime) -> PolicyWithdrawn:
    """The event after which no gateway quotes the policy.

    Raises:
        PermanentError: no such policy is current.
    """
    if policy_id not in current:
        known = ", ".join(sorted(current)[:12]) or "none"
        raise PermanentError(f"policy {policy_id!r} is not published; current policies: {known}")
    return PolicyWithdrawn(occurred_at=now, policy_id=policy_id, reason=reason[:2000])
