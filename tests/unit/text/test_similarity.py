"""Nearly equal texts."""

import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.text.similarity import Protected, _alike, _ngrams, near_duplicates, signature, signatures, similarity

WORDS = [
    "return",
    "order",
    "parcel",
    "refund",
    "days",
    "working",
    "boots",
    "courier",
    "island",
    "charge",
    "voucher",
    "member",
    "points",
    "bank",
    "warranty",
    "repair",
    "lamp",
    "radio",
]


def _texts(count: int, seed: int, words: int = 14) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(words)) + f" {rng.randrange(10**6)}" for _ in range(count)]


def near_repeat(first: str, second: str) -> bool:
    """Compared with each other alone: what finding among many is measured by."""
    return _alike(_ngrams(first), _ngrams(second))


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("May I return a laptop?", "may i return a LAPTOP", True),
        ("How long do I have to return a laptop?", "How long do I have to return a laptop, please?", True),
        ("电子产品多久可以退货？", "快递要多少钱？", False),
        ("How long may I return an unused laptop computer?", "How long may I return the unused laptop computer?", False),
        (
            "May I return an unused laptop computer bought last week?",
            "May I return an unused laptop computer bought last week, please?",
            True,
        ),
        ("May I return a laptop?", "When does the ferry leave?", False),
        ("我可以退货吗？", "我可以退货吗", True),
        ("电子产品多久可以退货？", "电子产品多久能退货？", True),
        ("电子产品多久可以退货？", "请问电子产品多久能够退货呢？", True),
        ("这双鞋能不能退？", "这双鞋可以退吗", True),
        ("电子产品多久可以退货？", "食品多久可以退货？", False),
        ("电子产品多久可以退货？", "电子产品多久可以换货？", False),
        ("我上周买的黑色羽绒服可以退货吗？", "我上周买的白色羽绒服可以退货吗？", False),
        ("买了30天还能退货吗？", "买了7天还能退货吗？", False),
        ("寄到上海的快递大概需要几天才能送到家门口？", "寄到北京的快递大概需要几天才能送到家门口？", False),
        ("iPhone 15 多久可以退货？", "iPhone 14 多久可以退货？", False),
        ("运费多少钱？", "邮费多少钱？", False),
        ("可以退吗？", "可以不退吗？", False),
        ("可以吗？", "可以吗", True),
    ],
)
def test_near_repeats(first: str, second: str, near: bool):
    assert near_repeat(first, second) is near_repeat(second, first) is near
    assert bool(Protected([second]).repeated_by([first])) is near


ABOUT = ["电子产品", "食品", "羽绒服", "运动鞋", "会员卡", "优惠券", "生鲜水果", "儿童玩具", "手机配件", "图书音像"]
ASKED = ["{}多久可以退货？", "{}多久能退货", "请问{}多久可以退货呢？", "我的{}多久能够退货？"]


@given(st.sampled_from(ABOUT), st.sampled_from(ABOUT), st.sampled_from(ASKED), st.sampled_from(ASKED))
def test_in_chinese_the_matter_decides_and_not_how_it_is_asked(one: str, other: str, first: str, second: str):
    assert near_repeat(first.format(one), second.format(other)) is (one == other)
    assert bool(Protected([first.format(one)]).repeated_by([second.format(other)])) is (one == other)


@given(*(st.lists(st.text("退货多久可以abAB ?", max_size=12), max_size=12) for _ in range(2)))
def test_protected_questions_find_just_what_comparing_with_each_finds(protected: list[str], asked: list[str]):
    held = [question for question in sorted(set(protected)) if question.strip(" ?")]
    first = {question: next((other for other in held if near_repeat(question, other)), None) for question in asked if question.strip(" ?")}
    assert Protected(protected).repeated_by(asked) == {question: other for question, other in first.items() if other is not None}


@given(st.text())
def test_a_text_repeats_itself(text: str):
    assert near_repeat(text, text)
    assert similarity(signature(text), signature(text)) == (1.0 if signature(text) else 0.0)


@given(st.lists(st.text(max_size=20), max_size=20))
def test_many_at_once_are_signed_as_one_by_one(texts: list[str]):
    assert signatures(texts) == [signature(text) for text in texts]


def test_a_signature_is_what_datasketch_makes_of_the_same_numbers():
    """Ours differs in speed alone: the oracle gets the numbers of trigrams before the library's own mixing."""
    text = "Boots may be returned within 45 days. 靴子可在四十五天内退货。"
    codes = [ord(character) for character in "bootsmaybereturnedwithin45days靴子可在四十五天内退货"]
    grams = [a << 42 | b << 21 | c for a, b, c in zip(codes, codes[1:], codes[2:], strict=False)]
    oracle = MinHash(num_perm=64, seed=1, hashfunc=int)
    oracle.update_batch([gram * 0x9E3779B97F4A7C15 % 2**64 >> 32 for gram in grams])
    assert signature(text) == oracle.hashvalues.astype("<u4").tobytes()


def test_a_signature_is_equal_in_every_process():
    program = "from csqa_loop.text.similarity import signature; print(signature('You have 14 days. 您有十四天。').hex())"
    told = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True, timeout=60
    )
    assert bytes.fromhex(told.stdout) == signature("You have 14 days. 您有十四天。")
    digest = hashlib.sha256(signature("You have 14 days. 您有十四天。")).hexdigest()
    assert digest[:16] == "e6690511ff223615"


def test_texts_without_letters_are_like_nothing():
    assert signature(" ?! ") == b""
    assert near_duplicates([signature(" ?! "), signature("..."), signature("a")], 0.5) == {}
    assert Protected(["???", ""]).repeated_by(["!", "???"]) == {}


def test_the_estimate_lies_near_the_truth():
    rng = random.Random(4)
    errors = []
    for text in _texts(200, seed=3):
        words = text.split()
        words[rng.randrange(len(words))] = "boots"
        other = " ".join(words)
        grams = [{t[i : i + 3] for i in range(len(t) - 2)} for t in (text.replace(" ", ""), other.replace(" ", ""))]
        errors.append(similarity(signature(text), signature(other)) - len(grams[0] & grams[1]) / len(grams[0] | grams[1]))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 1 / 16


def test_near_duplicates_point_to_the_first_of_their_kind():
    first, second = _texts(2, seed=5)
    signed = [signature(text) for text in (first, second, first + ".", "", second.upper(), first)]
    assert near_duplicates(signed, 0.85) == {2: 0, 4: 1, 5: 0}


@given(st.lists(st.sampled_from(_texts(6, seed=6)), max_size=20))
def test_what_a_duplicate_points_to_is_earlier_and_none_itself(texts: list[str]):
    found = near_duplicates(signatures(texts), 0.85)
    assert all(earlier < index and earlier not in found for index, earlier in found.items())
    assert len(texts) - len(found) == len(set(texts))


def test_among_many_questions_every_near_repeat_is_found():
    protected = _texts(2000, seed=7, words=9)
    repeats = {f"{question}, please?": question for question in protected[:300]}
    others = _texts(2000, seed=8, words=9)
    assert Protected(protected).repeated_by([*repeats, *others]) == repeats
