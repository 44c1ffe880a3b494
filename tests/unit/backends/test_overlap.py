"""BLEU and chrF."""

import sys

import pytest

from csqa_loop.backends.overlap import overlap_checks

SAID = ["You have 14 days from delivery to return electronics.", "The beginner course costs £240."]


def test_equal_wording_is_a_hundred_and_other_wording_less() -> None:
    bleu, chrf = overlap_checks(SAID, ["No idea.", "Nothing is known about that course."], SAID)
    for check in (bleu, chrf):
        assert check.candidate == pytest.approx(100.0)
        assert check.champion is not None
        assert check.champion < 25
        assert check.passed
        assert check.n == 2
    assert "tok:13a" in bleu.detail


def test_chinese_is_compared_by_its_characters() -> None:
    bleu, _ = overlap_checks(["电子产品可在十四天内退货。"], ["礼品卡两年内有效。"], ["电子产品可在十天内退货。"])
    assert "tok:zh" in bleu.detail
    assert bleu.candidate is not None
    assert bleu.champion is not None
    assert bleu.candidate > 50 > bleu.champion


def test_worse_wording_fails_nothing_and_no_pairs_are_no_data() -> None:
    assert all(check.passed for check in overlap_checks(SAID, SAID, ["", ""]))
    assert [check.detail for check in overlap_checks([], [], [])] == ["no data", "no data"]


def test_a_host_without_sacrebleu_is_told_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    for check in overlap_checks(SAID, SAID, SAID):
        assert check.passed
        assert "csqa-loop[train]" in check.detail
