"""Masking by kind: every labelled kind, what its writing may not hide, and what is left untouched."""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.text.masking import LABELS, NOTHING, Known, mask, masked, may_tell, with_contacts
from csqa_loop.text.masking.documents import hong_kong_id, resident_id, taiwan_id
from csqa_loop.text.masking.kept import barcode
from csqa_loop.text.masking.labels import HAN_STEMS, STEMS, WORDS
from csqa_loop.text.masking.payment import is_card

ROOT = Path(__file__).resolve().parents[3]


def labelled() -> Any:
    """The benchmark's lines: a folder of scripts, not a package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return import_module("_personal")
    finally:
        sys.path.pop(0)


PERSONAL = labelled()
LINES = tuple(PERSONAL.lines(7, 24))


@pytest.mark.parametrize("kind", [kind.name for kind in PERSONAL.KINDS])
def test_every_kind_becomes_a_label_or_stays(kind: str) -> None:
    wrong = []
    for line in (line for line in LINES if line.kind == kind):
        told = mask(line.text)
        right = any(told == line.before + label + line.after for label in LABELS) if line.personal else told == line.text
        wrong += [] if right else [(line.text, told)]
    assert len(wrong) <= 1, wrong


TEXT = st.one_of(
    st.sampled_from([line.text for line in LINES]), st.text(max_size=20), st.sampled_from(["，", " or ", "\n", "/", "\u200b", "❤️"])
)


@given(st.lists(TEXT, max_size=5).map("".join))
def test_masking_twice_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.lists(TEXT, max_size=5).map("".join))
def test_only_what_is_found_changes(text: str) -> None:
    """Between the labels everything stands as it stood, character for character, in its order."""
    pieces = re.split("|".join(map(re.escape, LABELS)), mask(text))
    place = 0
    for piece in pieces:
        place = text.find(piece, place)
        assert place >= 0
        place += len(piece)


@given(st.lists(TEXT, max_size=4).map("".join))
def test_a_text_that_is_passed_over_holds_nothing(text: str) -> None:
    if not may_tell(text):
        assert mask(text) == text
        assert masked(text).kinds == ()


@given(
    st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    st.sampled_from(["\u200b", "\u00ad", "\u2060", "\u202e", "\ufeff", "\u200d", ""]),
    st.sampled_from([0xFF10, 0x660, 0x966, 0x1D7CE, 48]),
)
def test_no_writing_hides_a_number(number: str, between: str, zero: int) -> None:
    written = between.join(chr(zero + int(digit)) for digit in number)
    assert mask(f"é ① {written} ½ ﬁ\u0301") == "é ① [phone] ½ ﬁ\u0301"


@given(st.sampled_from([" ", "-", ".", "—", "–", "·", "/", "_", "－", "‑", "・", "−"]), st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
def test_no_separator_hides_a_number(sign: str, number: str) -> None:
    assert mask(f"请打{sign.join((number[:3], number[3:7], number[7:]))}。") == "请打[phone]。"


def test_what_is_found_is_counted_by_kind() -> None:
    assert sorted(masked("a@b.cc, c@d.ee, 13800138000").kinds) == ["[email]", "[email]", "[phone]"]


def test_accents_of_the_last_letter_go_along() -> None:
    assert mask("1\ufe0f\u20e33\ufe0f\u20e3" + "".join(f"{digit}\ufe0f\u20e3" for digit in "800138000") + "!") == "[phone]!"


@pytest.mark.parametrize(
    ("number", "right"),
    [("4111111111111111", True), ("2221000000000009", True), ("2720990000000007", True), ("2721000000000004", False), ("6200000000000005", True), ("6901234567892", False), ("1111111111111117", False), ("378282246310005", True), ("37828224631000", False)],
)  # fmt: skip
def test_a_card_has_a_networks_first_digits_its_length_and_its_check_digit(number: str, right: bool) -> None:
    assert is_card(number) is right


def test_check_digits_of_documents_and_barcodes() -> None:
    assert hong_kong_id("A1234563")
    assert not hong_kong_id("A1234564")
    assert taiwan_id("A123456789")
    assert not taiwan_id("A123456788")
    assert resident_id("11010519491231002X")
    assert barcode("4006381333931")
    assert not barcode("4006381333932")


def test_the_quick_look_knows_every_word_for_a_document() -> None:
    for word in (*WORDS["document"], *WORDS["handle"]):
        assert any(stem in word.encode("ascii", "replace").decode() for stem in STEMS) or any(stem in word for stem in HAN_STEMS), word


def test_own_domains_and_numbers_stay() -> None:
    own = Known.of(["shop.example"], ["+44 20 7946 0958"])
    text = "write to anna@shop.example or bo@mail.shop.example, call 020 7946 0958 or +44 (0)20 7946 0958"
    assert mask(text, own) == text
    assert mask("anna@notshop.example, 020 7946 0959", own) == "[email], [phone]"


def test_what_a_policy_states_word_for_word_stays_and_nothing_else() -> None:
    known = with_contacts(NOTHING, "Returns: write to jo.b@harbour.example or call 0171/1234567. Account DE89 3704 0044 0532 0130 00.")
    text = "Is it jo.b@harbour.example, 0171 1234567 and DE89370400440532013000?"
    assert mask(text, known) == text
    assert mask("jo.c@harbour.example 0171 1234568", known) == "[email] [phone]"
    assert mask(mask(text, known), known) == text


@pytest.mark.parametrize(
    "text",
    ["1 " * 20_000, "1-" * 20_000, "a@a." * 10_000, "2026-11-22 " * 5_000, "DE12 1234 " * 5_000, "微信" + "是" * 20_000, "a@b.cc " * 5_000],
)
def test_no_text_takes_long(text: str) -> None:
    import time

    began = time.process_time()
    mask(text)
    assert time.process_time() - began < 5
