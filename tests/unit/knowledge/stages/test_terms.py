"""What the lexical stage compares."""

from hypothesis import given
from hypothesis import strategies as st

from csqa_loop.knowledge.stages.terms import terms_of


def test_english_is_words_and_chinese_is_characters_and_pairs() -> None:
    assert terms_of("Refunds within 30 days!") == ["refunds", "within", "30", "days"]
    assert terms_of("七天退货") == ["七", "天", "退", "货", "七天", "天退", "退货"]
    assert terms_of("L7车型，ＶＩＰ用户 café") == ["l7", "车", "型", "车型", "vip", "用", "户", "用户", "café"]


@given(st.text())
def test_no_term_is_lost_between_two_texts(text: str) -> None:
    terms = terms_of(text)
    assert all(terms)
    assert terms_of(text + " 。 " + text) == terms * 2
