"""BLEU, chrF and ROUGE-L."""

import sys

import pytest

from csqa_loop.gate.overlap import overlap_checks

SAID = ["You have 14 days from delivery to return electronics.", "The beginner course costs £240."]


def test_equal_wording_is_a_hundred_and_other_wording_less() -> None:
    checks = overlap_checks(SAID, ["No idea.", "Nothing is known about that course."], SAID)
    assert [check.name for check in checks] == ["BLEU, en", "chrF, en", "ROUGE-L, en"]
    for check in checks:
        assert check.candidate == pytest.approx(100.0)
        assert check.champion is not None
        assert check.champion < 25
        assert check.passed
        assert check.n == 2
    assert "tok:13a" in checks[0].detail


def test_chinese_is_compared_by_its_characters() -> None:
    checks = overlap_checks(["电子产品可在十四天内退货。"], ["礼品卡两年内有效。"], ["电子产品可在十天内退货。"])
    assert [check.name for check in checks] == ["BLEU, zh", "chrF, zh", "ROUGE-L, zh"]
    assert "tok:zh" in checks[0].detail
    for check in (checks[0], checks[2]):
        assert check.candidate is not None
        assert check.champion is not None
        assert check.candidate > 50 > check.champion


def test_rouge_l_is_f1_of_the_longest_common_subsequence() -> None:
    """Reference of 4 tokens, answer of 5, 3 in order: precision 3/5, recall 3/4."""
    rouge = overlap_checks(["You have 14 days"], ["no"], ["you HAVE got 14 hours"])[2]
    assert rouge.candidate == pytest.approx(100 * 2 * 3 / (4 + 5))
    assert rouge.champion == 0.0
    mixed = overlap_checks(["退款 14 天"], ["退款 14 天"], ["退款需要 14 天"])[2]
    assert (mixed.champion, mixed.candidate) == (pytest.approx(100.0), pytest.approx(100 * 2 * 4 / (4 + 6)))


def test_one_chinese_reference_does_not_change_how_english_is_measured() -> None:
    alone = overlap_checks(SAID, SAID[::-1], SAID)
    both = overlap_checks([*SAID, "十四天内可以退货。"], [*SAID[::-1], "不可以。"], [*SAID, "十四天内可以退货。"])
    assert [check.name for check in both] == ["BLEU, en", "chrF, en", "ROUGE-L, en", "BLEU, zh", "chrF, zh", "ROUGE-L, zh"]
    assert both[:3] == alone
    assert [check.n for check in both] == [2, 2, 2, 1, 1, 1]


def test_worse_wording_fails_nothing_and_no_pairs_are_no_data() -> None:
    assert all(check.passed for check in overlap_checks(SAID, SAID, ["", ""]))
    assert [check.detail for check in overlap_checks([], [], [])] == ["no data"] * 3


@pytest.mark.parametrize(("module", "lost"), [("sacrebleu.metrics.bleu", "BLEU, en"), ("rouge_score.rouge_scorer", "ROUGE-L, en")])
def test_a_host_without_a_library_is_told_what_brings_it(module: str, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    checks = {check.name: check for check in overlap_checks(SAID, SAID, SAID)}
    assert all(check.passed for check in checks.values())
    assert [name for name, check in checks.items() if "csqa-loop[train]" in check.detail] == [lost]
