"""What a folder means for the log: nothing is withdrawn that was renamed, skipped or refused, and not most of it unasked."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.errors import PermanentError
from csqa_loop.events import PolicyPublished
from csqa_loop.knowledge.rules.publishing import plan_sync, publication, to_withdraw
from tests.events import at

NOW = at(0)
TEXTS = {
    "fees": "# Fees\n\nA parcel is 5 EUR.\n",
    "returns": "# Returns\n\nWithin 30 days, unworn.\n",
    "shipping": "# Shipping\n\nOn working days before noon.\n",
    "warranty": "# Warranty\n\nTwo years from the invoice's date.\n",
}


def _current(texts: dict[str, str]) -> dict[str, PolicyPublished]:
    return {name: publication(name, text, now=NOW) for name, text in texts.items()}


CURRENT = _current(TEXTS)


def _without(*names: str) -> dict[str, str]:
    return {name: text for name, text in TEXTS.items() if name not in names}


LONG = (
    "# Returns\n\nGoods may be sent back within 30 days of delivery. Shoes must be unworn and in their box. The customer pays for the parcel "
    "unless the goods are faulty. Money is paid back within 5 working days of the day on which the parcel arrives at the warehouse.\n"
)
EDITED = {
    "nothing": LONG,
    "line ends": "\ufeff" + LONG.replace("\n", "\r\n"),
    "its title": LONG.replace("# Returns", "# Sending back"),
    "a number": LONG.replace("30 days", "14 days"),
    "a sentence more": LONG + "\nGift cards are never taken back.\n",
    "a sentence less": LONG.replace(" Shoes must be unworn and in their box.", ""),
    "front matter": "---\ncategory: returns\n---\n" + LONG,
}


@pytest.mark.parametrize("edited", EDITED)
@pytest.mark.parametrize("confirmed", [False, True])
def test_what_was_renamed_is_never_withdrawn_though_it_was_edited_and_whoever_confirms(edited: str, confirmed: bool) -> None:
    current = _current(TEXTS | {"shop/returns": LONG})
    files = _without("fees") | {"shop/sending-back": EDITED[edited]}
    plan = plan_sync(files, {}, current, now=NOW)
    assert [event.policy_id for event in plan.publish] == ["shop/sending-back"]
    assert (plan.missing, plan.renamed) == (("fees", "shop/returns"), (("shop/returns", "shop/sending-back"),))
    assert to_withdraw(plan, current, confirmed=confirmed) == ("fees",)
    again = plan_sync(files, {}, current | {event.policy_id: event for event in plan.publish}, now=NOW)
    assert again.renamed == plan.renamed, "also after its new name is published"
    assert to_withdraw(again, current, confirmed=confirmed) == ("fees",)


def test_a_whole_folder_may_have_another_name() -> None:
    current = _current({f"en/{name}": text for name, text in TEXTS.items()})
    plan = plan_sync({f"english/{name}": text for name, text in TEXTS.items()}, {}, current, now=NOW)
    assert plan.renamed == tuple((f"en/{name}", f"english/{name}") for name in sorted(TEXTS))
    assert to_withdraw(plan, current, confirmed=True) == ()


def test_a_name_in_another_case_is_the_same_document_s_however_it_was_edited() -> None:
    current = _current(TEXTS)
    plan = plan_sync(_without("fees") | {"FEES": "# Prices\n\nAll of them are new.\n"}, {}, current, now=NOW)
    assert plan.renamed == (("fees", "FEES"),)
    assert to_withdraw(plan, current, confirmed=True) == ()


def test_another_text_under_another_name_is_another_policy() -> None:
    current = _current(TEXTS | {"returns": LONG})
    other = "# Gift cards\n\nA gift card is valid for three years. It cannot be paid out, and what is left on it stays on it.\n"
    plan = plan_sync(_without("returns") | {"cards": other}, {}, current, now=NOW)
    assert (plan.missing, plan.renamed) == (("returns",), ())


@given(
    kept=st.sets(st.sampled_from(sorted(TEXTS))),
    moved=st.sets(st.sampled_from(sorted(TEXTS))),
    refused=st.sets(st.sampled_from(sorted(TEXTS))),
    skipped=st.sets(st.sampled_from(sorted(TEXTS))),
    loud=st.booleans(),
    confirmed=st.booleans(),
)
def test_only_what_is_nowhere_in_the_folder_is_withdrawn(
    kept: set[str], moved: set[str], refused: set[str], skipped: set[str], loud: bool, confirmed: bool
) -> None:
    spelt = str.upper if loud else str
    files = {name: TEXTS[name] for name in kept} | {f"new/{name}": TEXTS[name] for name in moved}
    plan = plan_sync(files, {spelt(name): "not UTF-8" for name in refused - kept}, CURRENT, now=NOW, skipped={*map(spelt, skipped)})
    gone = set(TEXTS) - kept - moved - refused - skipped
    try:
        withdrawn = set(to_withdraw(plan, CURRENT, confirmed=confirmed))
    except PermanentError:
        assert not confirmed or not files
        withdrawn = set()
    # Texts of one template may be taken for one another's: that keeps more.
    assert withdrawn <= gone
    assert len(withdrawn) <= len(CURRENT) / 2 or confirmed


def test_more_than_half_is_withdrawn_only_when_confirmed() -> None:
    half = plan_sync(_without("fees", "returns"), {}, CURRENT, now=NOW)
    assert to_withdraw(half, CURRENT, confirmed=False) == ("fees", "returns")
    most = plan_sync(_without("fees", "returns", "shipping"), {}, CURRENT, now=NOW)
    with pytest.raises(PermanentError, match=r"3 of 4 current policies have no file here \(fees, returns, shipping\).*--yes"):
        to_withdraw(most, CURRENT, confirmed=False)
    assert to_withdraw(most, CURRENT, confirmed=True) == ("fees", "returns", "shipping")


@pytest.mark.parametrize("unreadable", [{"./": "denied"}, {"latin": "not UTF-8"}, {"fees": "larger than 1 MiB"}])
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_folder_of_which_nothing_can_be_read_withdraws_nothing(unreadable: dict[str, str], confirmed: bool) -> None:
    plan = plan_sync({}, unreadable, CURRENT, now=NOW)
    with pytest.raises(PermanentError, match="nothing is withdrawn"):
        to_withdraw(plan, CURRENT, confirmed=confirmed)


def test_what_is_refused_or_skipped_is_not_missing() -> None:
    current = CURRENT | _current({"zh/fees": "费用", "zh/returns": "退货"})
    plan = plan_sync(_without("fees", "returns"), {"fees": "not UTF-8", "zh/": "denied"}, current, now=NOW, skipped={"returns"})
    assert plan.missing == ()
    linked = plan_sync(_without("fees"), {}, current, now=NOW, skipped={"zh/"})
    assert linked.missing == ("fees",)


def test_a_policy_keeps_the_spelling_that_it_was_published_under() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Rückgabe") for form in ("NFC", "NFD"))
    text = "# R\n\nText.\n"
    kept = plan_sync({composed: text}, {}, _current({decomposed: text}), now=NOW)
    assert (kept.publish, kept.unchanged, kept.missing) == ((), (decomposed,), ())
    refused = plan_sync({}, {composed: "not UTF-8"}, _current({decomposed: text}), now=NOW)
    assert (refused.missing, refused.refused) == ((), ((decomposed, "not UTF-8"),))
    both = plan_sync({composed: text}, {}, _current({decomposed: text, composed: text}), now=NOW)
    assert (both.unchanged, both.renamed) == ((composed,), ((decomposed, composed),))


def test_line_ends_and_a_byte_order_mark_publish_nothing() -> None:
    saved = {name: "\ufeff" + text.replace("\n", "\r\n") for name, text in TEXTS.items()}
    plan = plan_sync(saved, {}, CURRENT, now=NOW)
    assert (plan.publish, plan.unchanged) == ((), tuple(sorted(TEXTS)))
    assert publication("fees", saved["fees"], now=NOW).text == TEXTS["fees"]


@pytest.mark.parametrize("text", ["", "\ufeff\r\n", "---\ntitle: x\n---\n", "<!-- not yet -->\n", "# <!-- x -->\n\n<div></div>\n"])
def test_what_no_reader_sees_is_not_published(text: str) -> None:
    with pytest.raises(PermanentError, match="the file is empty"):
        publication("p", text, now=NOW)
