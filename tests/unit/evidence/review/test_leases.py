"""One agent an item, whatever the order of taking, leaving and time passing."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.evidence.review.rules.leases import Lease, Leases

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give back"]), st.sampled_from(["v-1", "v-2"]), st.sampled_from(["anna", "bert", "cleo"]), st.integers(0, 200)),
    max_size=40,
)  # fmt: skip


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_the_first_has_it_until_it_ends() -> None:
    leases = Leases(300)
    mine = leases.take("v-1", "anna", START)
    assert mine == Lease("anna", after(300))
    assert leases.take("v-1", "bert", after(299)) == mine
    assert leases.take("v-1", "bert", after(300)) == Lease("bert", after(600))


def test_taking_it_again_renews_and_giving_back_frees() -> None:
    leases = Leases(300)
    leases.take("v-1", "anna", START)
    assert leases.take("v-1", "anna", after(200)).until == after(500)
    leases.give_back("v-1", "bert")
    assert leases.of("v-1", after(400)) == Lease("anna", after(500))
    leases.give_back("v-1", "anna")
    assert leases.of("v-1", after(400)) is None


@given(_STEPS)
def test_no_two_agents_ever_have_one_item(steps: list[tuple[str, str, str, int]]) -> None:
    leases, now = Leases(300), START
    believed: dict[str, Lease] = {}
    for what, item, agent, passed in steps:
        now += timedelta(seconds=passed)
        held = believed.get(item)
        theirs = held is not None and held.until > now and held.agent != agent
        if what == "take":
            got = leases.take(item, agent, now)
            assert got == held if theirs else got == Lease(agent, now + timedelta(seconds=300))
            believed[item] = got
        else:
            leases.give_back(item, agent)
            if held is not None and held.agent == agent:
                del believed[item]
        for name in ("v-1", "v-2"):
            expected = believed.get(name)
            assert leases.of(name, now) == (expected if expected and expected.until > now else None)
