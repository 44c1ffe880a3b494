"""Which pairs are made and trained on, as an operator sets it."""

import pytest

from csqa_loop.errors import ConfigurationError
from csqa_loop.settings import PreferenceSettings, load_settings
from csqa_loop.settings.learning import WEIGHTS
from csqa_loop.training.policy import selection_policy


def test_the_shipped_weights_are_the_domain_s():
    assert PreferenceSettings().weights == WEIGHTS


def test_a_weight_is_changed_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CSQA_PREFERENCES__WEIGHTS__JUDGE", "0.1")
    assert load_settings().preferences.weights == {**WEIGHTS, "judge": 0.1}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CSQA_PREFERENCES__WEIGHTS__JUGDE", "0.1"),
        ("CSQA_PREFERENCES__WEIGHTS__JUDGE", "2"),
        ("CSQA_PREFERENCES__GROUNDING", "on"),
        ("CSQA_PREFERENCES__USER_SHARE", "0"),
        ("CSQA_PREFERENCES__CONTRIBUTOR_SHARE", "2"),
        ("CSQA_PREFERENCES__NEAR_DUPLICATE", "1.5"),
    ],
)
def test_a_wrong_value_stops_the_process_and_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match="__".join(variable.split("__")[:2])):
        load_settings()


def test_the_shares_of_a_set_are_settings(monkeypatch: pytest.MonkeyPatch):
    assert selection_policy(load_settings()).contributor_share == 0.5
    monkeypatch.setenv("CSQA_PREFERENCES__CONTRIBUTOR_SHARE", "1")
    assert selection_policy(load_settings()).contributor_share == 1


def test_phrases_are_a_list(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CSQA_PREFERENCES__PROHIBITED", '["guarantee", "加微信"]')
    assert load_settings().preferences.prohibited == ("guarantee", "加微信")
