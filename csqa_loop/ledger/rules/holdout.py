"""Which policy sections only ever evaluate: decided once, by a stable hash, for all that will ever cite them.

Pairs are told by `held_out`, votes that became no pair by the macro: so many cannot be brought to Python each time they are counted.
"""

from csqa_loop.text.drawing import drawn_by

HOLDOUT_SHARE = 0.15
HELD_OUT_MACRO = f"""
CREATE OR REPLACE MACRO is_held_out(policy_id, section) AS
('0x' || left(sha256(policy_id || chr(10) || section), 16))::UBIGINT / 18446744073709551616.0 < {HOLDOUT_SHARE};
"""


def held_out(policy_id: str, section: str) -> bool:
    """Whether a policy section only ever evaluates."""
    return drawn_by(f"{policy_id}\n{section}") < HOLDOUT_SHARE
