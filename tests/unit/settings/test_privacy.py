"""A company's own contacts are named, and named rightly."""

import os

import pytest

from csqa_loop.errors import ConfigurationError
from csqa_loop.settings import load_settings
from csqa_loop.text.masking import mask


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")})


def test_own_contacts_come_as_lists_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CSQA_PRIVACY__OWN_DOMAINS", "shop.example, laden.example")
    monkeypatch.setitem(os.environ, "CSQA_PRIVACY__OWN_NUMBERS", "+44 20 7946 0958")
    known = load_settings().privacy.known
    kept = "anna@laden.example or 020 7946 0958"
    assert mask(kept, known) == kept
    assert mask("anna@other.example", known) == "[email]"


@pytest.mark.parametrize(("name", "wrong"), [("OWN_DOMAINS", "anna@shop.example"), ("OWN_DOMAINS", "shop"), ("OWN_NUMBERS", "12 34")])
def test_what_is_no_contact_stops_the_process(monkeypatch: pytest.MonkeyPatch, name: str, wrong: str) -> None:
    monkeypatch.setitem(os.environ, f"CSQA_PRIVACY__{name}", wrong)
    with pytest.raises(ConfigurationError, match=f"CSQA_PRIVACY__{name} is .*no "):
        load_settings()
