"""What all unit tests share."""

from collections.abc import Iterator

import pytest

from tests import boards


@pytest.fixture(autouse=True)
def boards_end() -> Iterator[None]:
    """No ledger of a test outlives it."""
    yield
    boards.end_all()
