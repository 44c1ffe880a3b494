"""Masking: what must go, what must stay, and doing it twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.text.masking import mask
from csqa_loop.text.masking.payment import luhn
from csqa_loop.text.masking.roles import is_role


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jane.doe+shop@mail.example.co.uk please", "write to [email] please"),
        ("我的邮箱是zhang.san@example.com谢谢", "我的邮箱是[email]谢谢"),
        ("邮箱 li＠example．com", "邮箱 [email]"),
        ("我的手机是13800138000，请回电", "我的手机是[phone]，请回电"),
        ("手机１３９００１３９０００", "手机[phone]"),
        ("+86 138 0013 8000", "[phone]"),
        ("86-13800138000", "[phone]"),
        ("138-0013-8000 或者 010-62345678", "[phone] 或者 [phone]"),
        ("call me on 07911 123456 or (020) 7946 0958", "call me on [phone] or [phone]"),
        ("+44 20 7946 0958", "[phone]"),
        ("+1 (415) 555-2671", "[phone]"),
        ("(415) 555-2671, 415-555-2671, 415.555.2671", "[phone], [phone], [phone]"),
        ("my phone number is 4155552671", "my phone number is [phone]"),
        ("card 4111 1111 1111 1111 exp 12/27", "card [card] exp 12/27"),
        ("5500-0000-0000-0004 and 378282246310005", "[card] and [card]"),
        ("银行卡6222021234567894", "银行卡[card]"),
        ("my card number is 1234-5678-9012-3456", "my card number is [card]"),
        ("IBAN GB29 NWBK 6016 1331 9268 19 is mine", "IBAN [iban] is mine"),
        ("DE89370400440532013000", "[iban]"),
        ("身份证号110101199003071234", "身份证号[id]"),
        ("id 11010119900307123X", "id [id]"),
        ("110101900307123", "[id]"),
        ("SSN 123-45-6789", "SSN [id]"),
        ("NI QQ123456C? no: AB 12 34 56 C", "NI QQ123456C? no: [id]"),
        ("HKID A123456(7)", "HKID [id]"),
        ("my passport number is E12345678.", "my passport number is [id]."),
        ("护照号码：E12345678", "护照号码：[id]"),
        ("passport AB1234", "passport [id]"),
    ],
)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "You have 14 days to return it.",
        "It costs £29.90, or £1,299.00 with delivery.",
        "Orders over 500 units, 1000 pieces, 25000 in stock",
        "order 1234567 of 2026-11-22, delivered 22/11/2026 10:30",
        "01-02-2026 10:30 to 2026-12-31",
        "2026年11月22日下单，7天无理由退货，满199元包邮",
        "订单号20261122001234",
        "gift card 1234567890123456",
        "order ORD-20261122-000123",
        "between 9:00 and 17:30, Monday to Friday",
        "12.5 % of 1,000,000",
        "4 x 250 g, 2 kg, 220-240 V, 50/60 Hz",
        "model XPS-13-9310, serial ABC1234567",
        "call 0800 123 4567 or 400-123-4567, or write to support@harbour.example",
        "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "tracking 1Z999AA10123456784",
        "call me within 14 days about order 1234567",
    ],
)
def test_everyday_numbers_stay(text: str) -> None:
    assert mask(text) == text


_PIECES = st.one_of(
    st.sampled_from(
        ["13800138000", "4111111111111111", "a@b.cc", "GB29NWBK60161331926819", "110101199003071234", "+44 20 7946 0958", "14 days", "£29.90",
         " ", "-", ".", ",", "电话", "[phone]", "2026-11-22", "@", "(", ")", "0", "86", "４１１１", "phone ", "Tel ", "passport ", "ID number: ", "AB123456C", "A123456(3)", "123456", "MT84MALT011000012345MTLCAST001S"]
    ),
    st.text(alphabet="0123456789 -.()+@abcXx年月日", max_size=12),
)  # fmt: skip


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_masking_twice_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", " ", "：", "call ", "我的手机", "mobile: "]))
def test_no_chinese_mobile_survives(number: str, before: str) -> None:
    assert number not in mask(f"{before}{number}。")


@given(st.from_regex(r"4[0-9]{14}", fullmatch=True), st.sampled_from(["", " ", "-"]))
def test_every_card_with_a_right_check_digit_goes_and_others_stay(body: str, separator: str) -> None:
    for check in "0123456789":
        digits = body + check
        written = separator.join(digits[place : place + 4] for place in range(0, 16, 4))
        if luhn(digits):
            assert mask(f"we have {written}.") == "we have [card]."
        else:
            assert "[card]" not in mask(f"we have {written}.")


@given(st.emails())
def test_no_address_survives(address: str) -> None:
    local = address.split("@", maxsplit=1)[0].lower()
    if all(character.isalnum() or character in "._%+-" for character in local) and not is_role(local):
        assert address not in mask(f"mail {address} now")


@given(st.integers(0, 999_999), st.sampled_from(["days", "元", "pieces", "%", "kg"]))
def test_small_amounts_stay(amount: int, unit: str) -> None:
    text = f"It is {amount} {unit} or £{amount / 100:.2f}."
    assert mask(text) == text


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_the_rules_that_are_passed_over_would_have_matched_nothing(text: str) -> None:
    """At an at sign every rule looks; by itself it is no address. Six digits are what a number must have that is not called a document's."""
    order = f"{text} ..... 000000"
    assert mask(order) == mask(f"{order} @").removesuffix(" @")


@given(st.text(alphabet="0123456789 ab.", max_size=60))
def test_the_quick_look_misses_nothing(text: str) -> None:
    """Six digits are what the patterns need at least: a text that is passed over holds nothing that they would find."""
    assert mask(text) == mask(f"{text} …").removesuffix(" …")
