"""What each section of a policy version says, as digests: an edit puts out of date only what rests on the sections that it touched."""

from collections.abc import Iterable, Sequence

import duckdb

from csqa_loop.events import PolicyPublished
from csqa_loop.knowledge.rules.passages import section_digests
from csqa_loop.ledger.derived import Append

_UNKNOWN = """
SELECT policy_id, version, any_value(body) FROM policies p WHERE NOT withdrawn AND NOT EXISTS (
    SELECT 1 FROM policy_sections s WHERE s.policy_id = p.policy_id AND s.version = p.version
) GROUP BY ALL
"""


def note(connection: duckdb.DuckDBPyConnection, append: Append) -> None:
    """Add the sections of the versions that the ledger holds and that are not noted yet."""
    rows = [
        {"policy_id": policy_id, "version": version, "section": section, "digest": digest}
        for policy_id, version, body in connection.execute(_UNKNOWN).fetchall()
        for section, digest in section_digests(PolicyPublished.model_validate_json(body).text).items()
    ]
    if rows:
        append("policy_sections", rows)


def versions_of(quoted: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """(policy_id, version) of what was quoted, each once, in the order in which it was."""
    return tuple(dict.fromkeys((policy_id, version) for policy_id, version, *_ in quoted))
