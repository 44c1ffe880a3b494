"""Vectors on the wire: base64 of little-endian float16, a quarter of the size of JSON numbers."""

import base64
import binascii

import numpy as np
from numpy.typing import NDArray

from csqa_loop.errors import PermanentError


def pack_vector(vector: NDArray[np.float32]) -> str:
    """One vector (dimension,) as base64 of little-endian float16."""
    return base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii")


def unpack_vector(packed: str, dimension: int) -> NDArray[np.float32]:
    """The unit vector (dimension,) in `packed`; scaled, because float16 rounds a unit vector's length to about 1 +- 0.001.

    Raises:
        PermanentError: not base64, not `dimension` numbers, not finite, or zero.
    """
    try:
        raw = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"a vector is not base64 ({error}); it must be base64 of {dimension} little-endian float16 numbers"
        raise PermanentError(msg) from error
    if len(raw) != 2 * dimension:
        msg = f"a vector has {len(raw)} bytes; {dimension} float16 numbers have {2 * dimension}"
        raise PermanentError(msg)
    vector = np.frombuffer(raw, dtype="<f2").astype(np.float32)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0.0:
        msg = f"a vector has length {length}; a unit vector is expected"
        raise PermanentError(msg)
    return (vector / length).astype(np.float32)
