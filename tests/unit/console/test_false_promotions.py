"""What the status says of promotions that may be false."""

from types import SimpleNamespace

from csqa_loop.console.status import false_promotions
from csqa_loop.experiment.closed_users import past_experiments
from csqa_loop.experiment.rules.error_control import PastExperiment
from csqa_loop.settings import Settings


class Past:
    async def ask(self, question: object) -> list[PastExperiment]:
        assert question is past_experiments
        return [PastExperiment(0.05, promoted=True), PastExperiment(0.05, promoted=False)]


async def test_the_expected_number_and_share_are_always_told():
    told = await false_promotions(SimpleNamespace(ledger=Past(), settings=Settings()))
    assert told.model_dump() == {
        "experiments": 2,
        "promotions": 1,
        "expected_false": 0.1,
        "share_at_most": 0.1,
        "error_control": "experiment",
    }
