"""What the status says of promotions that may be false."""

from types import SimpleNamespace

from csqa_loop.console.status import false_promotions
from csqa_loop.settings import Settings
from tests.boards import Board, ended_experiments


async def test_the_expected_number_and_share_are_always_told():
    board = Board()
    board.hold(*ended_experiments(True, False))
    told = await false_promotions(SimpleNamespace(ledger=board, settings=Settings()))
    assert told.model_dump() == {
        "experiments": 2,
        "promotions": 1,
        "expected_false": 0.1,
        "share_at_most": 0.1,
        "error_control": "experiment",
    }
