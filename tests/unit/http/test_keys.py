"""Who a key belongs to, and how it travels."""

import pytest

from csqa_loop.http.bearer import bearer
from csqa_loop.http.keys import holder
from csqa_loop.http.problems import Problem

KEYS = {"operator": "k-0", "anna": "schlüssel"}
REFUSAL = Problem(401, "Key needed", "send one")


@pytest.mark.parametrize("name", KEYS)
def test_who_holds_a_key_is_told(name):
    assert holder(bearer(KEYS[name])["Authorization"], KEYS, REFUSAL) == name


@pytest.mark.parametrize("value", ["bearer k-0", "BEARER  k-0 "])
def test_the_scheme_has_no_case_and_spaces_do_not_count(value):
    assert holder(value, KEYS, REFUSAL) == "operator"


@pytest.mark.parametrize("value", ["", "k-0", "Basic k-0", "Bearer", "Bearer ", "Bearer k-1", "Bearer k-0 k-0", "Bearer schlüsse"])
def test_all_else_is_refused_in_the_caller_s_words(value):
    with pytest.raises(Problem) as refused:
        holder(value, KEYS, REFUSAL)
    assert refused.value is REFUSAL


def test_an_empty_key_opens_nothing():
    with pytest.raises(Problem):
        holder("Bearer ", {"operator": ""}, REFUSAL)
