"""The messages a model gets. One builder, so that training and serving use the same messages."""

from collections.abc import Sequence

from csqa_loop.events import ChatMessage
from csqa_loop.text.languages import DEFAULT_LANGUAGE, language_of

PROMPT_VERSION = "p1"

# Measured on the packaged 135M model: policy before instruction and the best excerpt nearest to the question answer twice as many questions
# as the other way round (45 % against 21 % of 64), and "repeat the sentence" is what a correction in the policy's words then trains.
_SYSTEM = {
    "en": "Policy:\n\n{excerpts}\n\nAnswer the customer's question by repeating the one sentence of this policy that answers it.",
    "zh": "政策：\n\n{excerpts}\n\n请用以上政策中能回答问题的那一句话回答顾客的问题。",
}

_NOTHING = {"en": "(no policy covers this)", "zh": "（没有相关政策）"}


def build_messages(
    history: Sequence[ChatMessage], excerpts: Sequence[str], *, default_language: str = DEFAULT_LANGUAGE
) -> tuple[ChatMessage, ...]:
    """System message with the policy excerpts, then the conversation; its last message is the question.

    `excerpts` come best first and are shown best last, where a small model looks.
    """
    language = language_of(history[-1].content, default_language)
    text = "\n\n".join(reversed(excerpts)) or _NOTHING[language]
    return (ChatMessage(role="system", content=_SYSTEM[language].format(excerpts=text)), *history)
