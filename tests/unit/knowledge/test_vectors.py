"""Vectors survive the wire."""

import base64

import numpy as np
import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.knowledge.rules.vectors import pack_vector, unpack_vector


def test_a_unit_vector_survives_within_float16() -> None:
    vector = np.random.default_rng(0).normal(size=384).astype(np.float32)
    vector /= np.linalg.norm(vector)
    back = unpack_vector(pack_vector(vector), 384)
    assert back.dtype == np.float32
    assert np.linalg.norm(back) == pytest.approx(1.0, abs=1e-6)
    assert float(back @ vector) == pytest.approx(1.0, abs=1e-5)
    assert len(base64.b64decode(pack_vector(vector))) == 2 * 384


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ("***", "base64"),
        (base64.b64encode(b"\x00" * 6).decode(), "6 bytes"),
        (base64.b64encode(np.zeros(4, "<f2").tobytes()).decode(), "length 0.0"),
        (base64.b64encode(np.full(4, np.inf, "<f2").tobytes()).decode(), "length inf"),
    ],
)
def test_a_bad_vector_is_refused_with_its_fault(packed: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        unpack_vector(packed, 4)
