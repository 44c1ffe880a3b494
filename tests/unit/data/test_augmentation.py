"""Variants are seeded, change the question alone, and keep numbers and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.data.rules.augmentation import METHODS, AugmentationMethod, Augmenter
from csqa_loop.data.rules.examples import Example
from csqa_loop.data.wording_files import augmentation_wording
from csqa_loop.events import ChatMessage
from csqa_loop.text.numbers import numbers_in

WORDING = augmentation_wording()
_PIECES = st.sampled_from(
    ["How long do I have to return", "electronics", "14 days", "a parcel", "Parcel Plus", "of £3.95", "for 2 items", "tonight?", "fourteen days", "twenty pounds",
     "我的快递", "多久能收到", "3天", "退货的运费", "帐户在哪", "需要20元吗？"]
)  # fmt: skip


def ask(question: str) -> Example:
    return Example(
        (ChatMessage(role="system", content="Policy"), ChatMessage(role="user", content=question)), "14 days", "7 days", category="c"
    )


@given(st.lists(_PIECES, min_size=1, max_size=5), st.sampled_from(METHODS), st.integers(0, 99))
def test_only_the_question_changes_and_numbers_and_names_stay(pieces: list[str], method: AugmentationMethod, seed: int) -> None:
    example = ask(" ".join(pieces))
    augmenter = Augmenter(WORDING, seed=seed, names=["Parcel Plus"])
    variants = list(augmenter.variants(example, [method], 4))
    assert variants == list(augmenter.variants(example, [method], 4))
    assert len({variant.question for variant in variants} | {example.question}) == len(variants) + 1
    for variant in variants:
        assert numbers_in(variant.question) == numbers_in(example.question)
        assert variant.question.count("Parcel Plus") == example.question.count("Parcel Plus")
        assert variant.messages[:-1] == example.messages[:-1]
        assert (variant.answer, variant.rejected, variant.category) == (example.answer, example.rejected, example.category)
        assert variant.generator == f"augment:{method}"


@pytest.mark.parametrize("question", ["How long do I have to return a parcel?", "我的快递多久能收到，在哪里看？"])
def test_every_method_finds_something_in_both_languages(question: str) -> None:
    variants = list(Augmenter(WORDING, seed=1).variants(ask(question), METHODS, 4))
    assert [variant.generator for variant in variants] == [f"augment:{method}" for method in METHODS]


def test_another_seed_gives_other_variants() -> None:
    example = ask("How long do I have to return a damaged parcel that I did not order?")
    first, second = ([variant.question for variant in Augmenter(WORDING, seed=seed).variants(example, METHODS, 8)] for seed in (1, 2))
    assert first != second


def test_a_slip_spares_first_letters_numbers_and_order_numbers() -> None:
    example = ask("Where is A-1234 from 12 March")
    for variant in Augmenter(WORDING, seed=5).variants(example, ["typos"], 20):
        assert "A-1234" in variant.question
        assert [word[0] for word in variant.question.split()] == [word[0] for word in example.question.split()]


def test_where_nothing_can_be_said_otherwise_there_is_no_variant() -> None:
    assert list(Augmenter(WORDING, seed=1).variants(ask("ok"), ["synonyms", "typos"], 3)) == []


def test_a_slip_leaves_numbers_in_words_alone() -> None:
    for seed in range(20):
        for variant in Augmenter(WORDING, seed=seed).variants(ask("Fourteen or twenty days for parcels?"), ["typos"], 3):
            assert numbers_in(variant.question) == ("14", "20")
