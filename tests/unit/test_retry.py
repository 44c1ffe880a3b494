import itertools

import pytest

from csqa_loop.errors import PermanentError, TransientError
from csqa_loop.retry import FailedTry, growing, retried


class Flaky:
    def __init__(self, *outcomes):
        self.outcomes, self.tries = iter(outcomes), 0

    async def __call__(self):
        self.tries += 1
        outcome = next(self.outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def slept():
    return []


@pytest.fixture
def sleep(slept):
    async def note(seconds):
        slept.append(seconds)

    return note


def test_pauses_double_up_to_the_longest():
    assert list(itertools.islice(growing(0.2, 1.0), 5)) == [0.2, 0.4, 0.8, 1.0, 1.0]


async def test_what_fails_for_a_while_is_tried_until_it_works(slept, sleep):
    first, second = TransientError("down"), TransientError("still down")
    heard = []
    assert await retried(Flaky(first, second, "up"), growing(0.5, 8), on_failure=heard.append, sleep=sleep) == "up"
    assert heard == [FailedTry(first, 1, 0.5), FailedTry(second, 2, 1.0)]
    assert slept == [0.5, 1.0]


async def test_the_last_error_is_raised_where_no_pause_is_left(slept, sleep):
    action, heard = Flaky(*map(TransientError, "abc")), []
    with pytest.raises(TransientError, match="c"):
        await retried(action, (1, 2), on_failure=heard.append, sleep=sleep)
    assert (action.tries, slept, [failed.number for failed in heard]) == (3, [1, 2], [1, 2])


async def test_no_try_begins_after_the_time_is_up(slept, sleep):
    action, heard = Flaky(TransientError("down")), []
    with pytest.raises(TransientError, match="down"):
        await retried(action, itertools.repeat(60.0), within=59.0, on_failure=heard.append, sleep=sleep)
    assert (action.tries, slept, heard) == (1, [], [])


@pytest.mark.parametrize(("error", "on"), [(PermanentError("wrong"), TransientError), (TransientError("down"), (OSError, KeyError))])
async def test_another_error_is_raised_at_once(slept, sleep, error, on):
    action = Flaky(error)
    with pytest.raises(type(error)):
        await retried(action, itertools.repeat(1.0), on=on, sleep=sleep)
    assert (action.tries, slept) == (1, [])
