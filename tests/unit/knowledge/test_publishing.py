"""What a folder means for the log: nothing is withdrawn that was renamed, skipped or refused, and not most of it unasked."""

import unicodedata

import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.knowledge.rules.publishing import plan_sync, publication, to_withdraw
from csqa_loop.knowledge.rules.versions import policy_version
from tests.events import at

NOW = at(0)
TEXTS = {name: f"# {name}\n\nText of {name}.\n" for name in ("fees", "returns", "shipping", "warranty")}
CURRENT = {name: policy_version(text) for name, text in TEXTS.items()}


def _without(*names: str) -> dict[str, str]:
    return {name: text for name, text in TEXTS.items() if name not in names}


def test_what_was_renamed_is_not_withdrawn_even_when_confirmed() -> None:
    files = _without("fees", "returns") | {"prices": TEXTS["fees"].replace("\n", "\r\n")}
    plan = plan_sync(files, {}, CURRENT, now=NOW)
    assert [event.policy_id for event in plan.publish] == ["prices"]
    assert (plan.missing, plan.renamed) == (("fees", "returns"), (("fees", "prices"),))
    for confirmed in (False, True):
        assert to_withdraw(plan, CURRENT, confirmed=confirmed) == ("returns",)
    again = plan_sync(files, {}, CURRENT | {"prices": CURRENT["fees"]}, now=NOW)
    assert again.renamed == (("fees", "prices"),), "also after its new name is published"


def test_more_than_half_is_withdrawn_only_when_confirmed() -> None:
    half = plan_sync(_without("fees", "returns"), {}, CURRENT, now=NOW)
    assert to_withdraw(half, CURRENT, confirmed=False) == ("fees", "returns")
    most = plan_sync(_without("fees", "returns", "shipping"), {}, CURRENT, now=NOW)
    with pytest.raises(PermanentError, match=r"3 of 4 current policies have no file here \(fees, returns, shipping\).*--yes"):
        to_withdraw(most, CURRENT, confirmed=False)
    assert to_withdraw(most, CURRENT, confirmed=True) == ("fees", "returns", "shipping")


def test_what_is_refused_or_skipped_is_not_missing() -> None:
    current = CURRENT | {"zh/fees": "0" * 12, "zh/returns": "1" * 12}
    plan = plan_sync(_without("fees", "returns"), {"fees": "not UTF-8", "zh/": "denied"}, current, now=NOW, skipped={"returns"})
    assert plan.missing == ()
    linked = plan_sync(_without("fees"), {}, current, now=NOW, skipped={"zh/"})
    assert linked.missing == ("fees",)


def test_a_policy_keeps_the_spelling_that_it_was_published_under() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Rückgabe") for form in ("NFC", "NFD"))
    text = "# R\n\nText.\n"
    kept = plan_sync({composed: text}, {}, {decomposed: policy_version(text)}, now=NOW)
    assert (kept.publish, kept.unchanged, kept.missing) == ((), (decomposed,), ())
    refused = plan_sync({}, {composed: "not UTF-8"}, {decomposed: policy_version(text)}, now=NOW)
    assert (refused.missing, refused.refused) == ((), ((decomposed, "not UTF-8"),))
    both = plan_sync({composed: text}, {}, {decomposed: policy_version(text), composed: policy_version(text)}, now=NOW)
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
