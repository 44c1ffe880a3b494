"""Templates that nobody filled in and what spreadsheets show instead of a text."""

import pytest

from csqa_loop.evidence.rules.quality import QualityPolicy, findings
from csqa_loop.evidence.rules.unfilled import placeholder_in, spreadsheet_error_in


@pytest.mark.parametrize(
    "text",
    ["Your parcel {{ parcel.id }} left.", "Dear [Your Name],", "Hello [Name], welcome.", "Hi <FIRST_NAME>!", "It costs ${amount}.", "Row {0} of {1}",
     "{customer_name} was charged.", "[Insert Link Here]", "Kind regards, [Company Name]", "write to <your email address>", "尊敬的[客户姓名]，您好",
     "【您的订单号】已发货", "请联系XX公司。", "Dear %(name)s", "Ask for XXX Corp.", "Signed: ____ today", "Track [[tracking]] here", "<ORDER ID>"],
)  # fmt: skip
def test_a_placeholder_is_found(text: str) -> None:
    assert placeholder_in(text)
    found = findings("What is it?" if text.isascii() else "是什么？", "[]", text, "", QualityPolicy())
    assert any(finding.startswith("placeholder") for finding in found)


@pytest.mark.parametrize(
    "text",
    ["See [our terms](https://shop.example/terms).", "See [your order][1].", "- [x] packed\n- [ ] sent", "I <3 it :-} {;", "C# and F# run here.",
     "write to [email] or [phone]", "A List<String> or Map<KEY, Value>", "<br>Bold <B>text</B>", "Sizes XL, XXL and XXXL", "Use `{name}` in templates.",
     "Half: \\frac{a}{b}", "footnote [^1] and [2]", "<https://shop.example/a>", "【退货政策】十四天", "[微笑] 好的", "card XXXX-1234", "5 < 6 and 7 > 3"],
)  # fmt: skip
def test_what_only_looks_like_one_is_none(text: str) -> None:
    assert placeholder_in(text) is None


@pytest.mark.parametrize(
    "text", ["#N/A", "#NAME?", "#REF!", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "2.00412E+15", "Refund: #VALUE! euros", "#####"]
)
def test_a_spreadsheet_error_is_held(text: str) -> None:
    assert spreadsheet_error_in(text)
    assert any(finding.startswith("spreadsheet") for finding in findings("What is it?", "[]", text, "", QualityPolicy()))


@pytest.mark.parametrize("text", ["Write C#.", "Gate #7", "#thanks", 'The cell shows "#N/A".', "About 6.0E+05 pieces", "Use `#REF!`"])
def test_what_is_no_spreadsheet_error(text: str) -> None:
    assert spreadsheet_error_in(text) is None
