"""Pseudonyms, message ids and feedback tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.text.identity import TokenRefusedError, conversation_of, new_message_id, pseudonym, sign_feedback, verify_feedback

SECRET = b"a secret of thirty-two bytes long"


@given(st.text(max_size=60))
def test_a_pseudonym_is_stable_and_idempotent(user: str) -> None:
    once = pseudonym(SECRET, user)
    assert once == pseudonym(SECRET, user) == pseudonym(SECRET, once)
    assert len(once) == 18
    assert pseudonym(b"other", user) != once or once == user


def test_a_pseudonym_is_not_confused_by_a_line_break() -> None:
    assert pseudonym(SECRET, "u-0123456789abcdef\n") != "u-0123456789abcdef\n"


@given(st.text(min_size=1, max_size=60), st.binary(min_size=6, max_size=6))
def test_a_message_id_gives_its_conversation_back(conversation: str, nonce: bytes) -> None:
    message = new_message_id(SECRET, conversation, nonce=nonce)
    assert conversation_of(SECRET, message) == conversation
    assert conversation_of(b"other", message) is None


@given(st.text(max_size=80))
def test_an_id_never_issued_is_not_recognised(text: str) -> None:
    assert conversation_of(SECRET, text) is None


def test_changing_one_character_is_noticed() -> None:
    message = new_message_id(SECRET, "conversation-1")
    for place in range(len(message)):
        changed = message[:place] + ("x" if message[place] != "x" else "y") + message[place + 1 :]
        assert conversation_of(SECRET, changed) is None


def test_message_ids_differ() -> None:
    assert len({new_message_id(SECRET, "c") for _ in range(1000)}) == 1000


@given(st.text(max_size=40), st.text(max_size=20), st.integers(1, 2**40))
def test_a_token_says_what_was_signed(message: str, user: str, expires: int) -> None:
    claim = verify_feedback(SECRET, sign_feedback(SECRET, message, user, "control", expires), message, expires - 1)
    assert (claim.message_id, claim.user, claim.arm, claim.expires) == (message, user, "control", expires)


def test_a_token_is_refused_when_wrong() -> None:
    token = sign_feedback(SECRET, "m", "u", "control", 100)
    for bad, message, moment in (
        (token, "m", 100.0),
        (token, "other", 1.0),
        (token[:-1] + ("0" if token[-1] != "0" else "1"), "m", 1.0),
        ("x" + token, "m", 1.0),
        ("", "m", 1.0),
        ("é.é", "m", 1.0),
        (token.split(".")[0], "m", 1.0),
        (sign_feedback(b"other", "m", "u", "control", 100), "m", 1.0),
    ):
        with pytest.raises(TokenRefusedError):
            verify_feedback(SECRET, bad, message, moment)
