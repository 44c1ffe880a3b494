"""The policy passages in a prompt, one by one: what the model read, not what the policy says today."""

from collections.abc import Sequence

from csqa_loop.knowledge.rules.chunking import PATH_SEPARATOR

_BREAK = "\n\n"


def excerpts_in(system: str, sections: Sequence[str]) -> tuple[str, ...] | None:
    """The text of each passage, in the order of `sections` (best first); None where the prompt cannot be cut without guessing.

    A prompt shows its passages best last, each under its heading path, between an opening and a closing paragraph.
    """
    _, opened, rest = system.partition(_BREAK)
    body, closed, _ = rest.rpartition(_BREAK)
    if not (opened and closed and sections):
        return None
    if len(sections) == 1:
        return (body.strip(),)
    text = _BREAK + body
    starts: list[int] = []
    for section in reversed(sections):
        begin = _heading_at(text, section, starts[-1] + 1 if starts else 0)
        if begin is None:
            return None
        starts.append(begin)
    if starts[0] != 0:
        return None
    ends = [*starts[1:], len(text)]
    return tuple(text[begin:end].strip() for begin, end in zip(starts, ends, strict=True))[::-1]


def _heading_at(text: str, section: str, after: int) -> int | None:
    """Where a paragraph begins with the section's path, or with its inner part where the whole would have taken too much of the passage."""
    path = section.split(PATH_SEPARATOR)
    for start in range(len(path)):
        place = text.find(f"{_BREAK}{PATH_SEPARATOR.join(path[start:])}\n", after)
        if place >= 0:
            return place
    return None
