"""Which user gets which arm: a keyed stable hash of (salt, user), the same in every process and for ever."""

import hashlib

from csqa_loop.events import Arm


def bucket_of(salt: str, user: str) -> float:
    """A user's place in [0, 1) under one salt: 53 bits of a keyed BLAKE2b."""
    key = hashlib.sha256(salt.encode("utf-8", "surrogatepass")).digest()
    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def arm_of(salt: str, user: str, share: float) -> Arm:
    """The arm of a user while `share` of all users is in the experiment.

    Challenger below share / 2, control from 1 - share / 2 up, champion between: a growing share moves nobody between arms, and the
    arms stay 1:1.

    Raises:
        ValueError: `share` is not in [0, 1].
    """
    if not 0.0 <= share <= 1.0:
        msg = f"share is {share!r}; a share lies in [0, 1]"
        raise ValueError(msg)
    bucket = bucket_of(salt, user)
    if bucket < share / 2:
        return "challenger"
    return "control" if bucket >= 1 - share / 2 else "champion"
