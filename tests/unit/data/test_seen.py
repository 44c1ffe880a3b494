"""What came before is known, by key and by likeness."""

from csqa_loop.data.seen import SeenBefore
from csqa_loop.text.similarity import signature


def test_a_key_is_new_once() -> None:
    with SeenBefore() as seen:
        assert [seen.first(key, line) for line, key in enumerate((b"a", b"b", b"a", b"a"), start=1)] == [None, None, 1, 1]


def test_nearly_the_same_text_is_found_and_another_is_not() -> None:
    with SeenBefore() as seen:
        texts = (
            "How many days do I have to send back the electronics that I bought in your shop last week?",
            "Which payment cards do you take when I order from another country?",
            "How many days do I have to send back the electronics that I bought in your shop last weeks",
            "",
        )
        assert [seen.near(signature(text), line) for line, text in enumerate(texts, start=1)] == [None, None, 1, None]


def test_a_line_may_hold_several_texts() -> None:
    with SeenBefore() as seen:
        for text in ("Which payment cards do you take when I order from abroad?", "How many days do I have to send back electronics?"):
            assert seen.near(signature(text), 1) is None
        assert seen.near(signature("How many days do I have to send back electronics"), 2) == 1
