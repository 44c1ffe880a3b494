"""Which earlier pairs are repeated."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.training.rules.replay import Earlier, anchored, replay

MANY = [Earlier(f"p-{n:03}", "returns" if n < 80 else "rare" if n < 90 else "delivery") for n in range(200)]


def test_the_share_is_that_of_the_whole_training_set() -> None:
    assert len(replay(MANY, fresh=70, share=0.3, seed=0)) == 30
    assert replay(MANY, fresh=70, share=0.0, seed=0) == ()
    assert replay([], fresh=70, share=0.3, seed=0) == ()
    assert len(replay(MANY[:5], fresh=70, share=0.3, seed=0)) == 5


def test_every_category_has_its_part() -> None:
    category = {pair.pair_id: pair.category for pair in MANY}
    kept = replay(MANY, fresh=47, share=0.3, seed=0)
    assert Counter(category[name] for name in kept) == {"returns": 8, "rare": 1, "delivery": 11}


def test_chance_decides_within_a_category_and_a_seed_repeats_it() -> None:
    assert replay(MANY, fresh=70, share=0.3, seed=0) == replay(MANY[::-1], fresh=70, share=0.3, seed=0)
    assert replay(MANY, fresh=70, share=0.3, seed=0) != replay(MANY, fresh=70, share=0.3, seed=1)


def test_what_is_not_usable_is_never_repeated() -> None:
    bad = [Earlier(f"q-{n}", "returns", usable=False) for n in range(100)]
    assert not {name for name in replay([*MANY, *bad], fresh=400, share=0.5, seed=0) if name.startswith("q-")}
    assert len(anchored([*MANY, *bad], most=1000, seed=0)) == 200


def test_a_fresh_start_takes_everything_that_it_may() -> None:
    assert anchored(MANY, most=200, seed=0) == tuple(pair.pair_id for pair in MANY)
    assert len(anchored(MANY, most=50, seed=0)) == 50


@given(
    st.lists(
        st.builds(Earlier, st.integers(0, 40).map(str), st.sampled_from("abc"), st.booleans()), max_size=60, unique_by=lambda p: p.pair_id
    ),
    st.integers(0, 100),
    st.floats(0, 0.9),
)
def test_each_at_most_once_in_order_and_each_stratum_within_one_of_its_part(earlier, fresh: int, share: float) -> None:
    kept = replay(earlier, fresh=fresh, share=share, seed=3)
    usable = {pair.pair_id: pair.category for pair in earlier if pair.usable}
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= set(usable)
    counts, all_ = Counter(usable[name] for name in kept), Counter(usable.values())
    for name in all_:
        assert abs(counts[name] - len(kept) * all_[name] / len(usable)) < 1
