import logging
from collections.abc import Iterator

import pytest

from tests.simulation.process import quick_analysis


@pytest.fixture(autouse=True)
def examined_quickly_and_quietly() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # replicas that refuse are warned about thousands of times
    with quick_analysis():
        yield
    logging.disable(logging.NOTSET)
