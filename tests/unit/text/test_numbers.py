"""The numbers a text states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.text.numbers import disagree, numbers_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Orders over 1,000 and under 1 000 ship free.", ("1000",)),
        ("It costs 3.50, or £12, EUR12 and 12 %.", ("3.5", "12")),
        ("１４ days", ("14",)),
        ("1,000.50 or 007", ("7", "1000.5")),
        ("fourteen days, twenty-one nights", ("14", "21")),
        ("a hundred, two hundred and five, three thousand five hundred", ("100", "205", "3500")),
        ("Open 10:00 to 17:30", ("10", "17", "30")),
        ("within one working day, one to two weeks", ("1", "2")),
        ("十四天，二十件，三百元，两天", ("2", "14", "20", "300")),
        ("三至五个工作日，十分钟", ("3", "5", "10")),
        ("两三天，二〇二四年", ("2", "3", "2024")),
        ("三千五百元，三千五，三千零五，一万二千，一万二", ("3005", "3500", "12000")),
        ("满3万元，5千元，1.5万", ("5000", "15000", "30000")),
        ("3千克和三千克", ("3",)),
        ("一天一次，一个包裹", ("1",)),
        ("百分之二十，每周三次", ("3", "20")),
        ("", ()),
    ],
)
def test_numbers_are_read_by_their_value(text: str, numbers: tuple[str, ...]):
    assert numbers_in(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "This one is the one you want; no one, one of them.",
        "Your one-time code",
        "Order A-1234 holds the HX200.",
        "1. Open the box.\n2. Take the lamp.",
        "一般，一下，一些，一点，一样，同一天，每一件，万一天气不好",
        "千万不要，百货，二维码，第三方，第二天，周三，星期五，双十一，十分抱歉，两者",
    ],
)
def test_what_only_looks_like_a_number_is_none(text: str):
    assert numbers_in(text) == ()


@pytest.mark.parametrize(
    ("first", "second", "contradiction"),
    [
        ("You have 14 days.", "You have thirty days.", True),
        ("您有十四天。", "You have 14 days.", False),
        ("14 days", "14 days, and 30 for members", False),
        ("2 items, 14 days", "2 items, 30 days", True),
        ("Yes.", "14 days", False),
    ],
)
def test_two_answers_disagree_where_each_states_a_number_the_other_does_not(first: str, second: str, contradiction: bool):
    assert disagree(numbers_in(first), numbers_in(second)) is disagree(numbers_in(second), numbers_in(first)) is contradiction


@given(st.integers(min_value=0, max_value=10**12))
def test_a_number_is_the_same_with_and_without_separators(number: int):
    assert numbers_in(f"{number:,}") == numbers_in(f"{number} days") == (str(number),)


@given(st.text(alphabet="零一二两三四五六七八九十百千万天个第周 0123456789,.:-a"))
def test_numerals_in_any_order_give_distinct_canonical_numbers(text: str):
    numbers = numbers_in(text)
    assert len(set(numbers)) == len(numbers)
    assert numbers_in(" and ".join(numbers)) == numbers


@given(st.text())
def test_no_text_crashes(text: str):
    numbers_in(text)


@given(st.sets(st.sampled_from("1234")), st.sets(st.sampled_from("1234")))
def test_disagreeing_is_mutual_and_never_with_itself_or_with_nothing(first: set[str], second: set[str]):
    assert disagree(first, second) == disagree(second, first)
    assert not disagree(first, first)
    assert not disagree(first, ())


def test_thousands_of_digits_and_numerals_are_read():
    assert numbers_in("9" * 6000) == ("9" * 6000,)
    assert numbers_in("一天，" * 200_000) == ("1",)
