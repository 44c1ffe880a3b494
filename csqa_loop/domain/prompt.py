"""The messages a model gets. One builder, so that what is trained is what is served."""

from collections.abc import Sequence

from csqa_loop.domain.events import ChatMessage

PROMPT_VERSION = "p1"
_SYSTEM = {
    "en": "You are a customer service agent. Answer the question in one short sentence, using only this policy:\n\n{excerpts}",
    "zh": "你是客服。请只根据以下政策，用一句话简短回答问题：\n\n{excerpts}",
}
_NOTHING = {"en": "(no policy covers this)", "zh": "（没有相关政策）"}


def language_of(text: str, default: str) -> str:
    """`zh` where the text holds Han characters, `en` where it holds Latin letters, else `default`."""
    if any("\u4e00" <= character <= "\u9fff" for character in text):
        return "zh"
    return "en" if any(character.isascii() and character.isalpha() for character in text) else default


def build_messages(history: Sequence[ChatMessage], excerpts: Sequence[str], *, default_language: str = "en") -> tuple[ChatMessage, ...]:
    """System message with the policy excerpts (best first), then the conversation; its last message is the question."""
    language = language_of(history[-1].content, default_language)
    text = "\n\n".join(excerpts) or _NOTHING[language]
    return (ChatMessage(role="system", content=_SYSTEM[language].format(excerpts=text)), *history)
