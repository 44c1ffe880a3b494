"""Numbers drawn by a text: the same text draws the same number, on any machine and for ever."""

import hashlib


def drawn_by(text: str) -> float:
    """A number in [0, 1), even over all texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
