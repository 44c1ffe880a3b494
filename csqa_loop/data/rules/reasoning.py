"""What a model thought before it answered: it is no part of the answer."""

import re

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis|seed:think"
_OPEN = rf"<(?:{_NAMES})>|◁think▷|\[THINK\]|<\|(?:begin_of_thought|thinking|think)\|>|<unused94>thought"
_CLOSE = rf"</(?:{_NAMES})>|◁/think▷|\[/THINK\]|<\|(?:end_of_thought|/thinking|/think)\|>|<unused95>"
_WHOLE = re.compile(rf"(?:{_OPEN})(?:(?!{_OPEN}).)*?(?:{_CLOSE})", re.IGNORECASE | re.DOTALL)
_UP_TO_END = re.compile(rf".*(?:{_CLOSE})", re.IGNORECASE | re.DOTALL)
_UNENDED = re.compile(rf"\s*(?:{_OPEN}).*", re.IGNORECASE | re.DOTALL)
_CHANNEL = re.compile(r"<\|channel\|>(?:analysis|commentary)<\|message\|>.*?(?:<\|end\|>|(?=<\|start\|>)|(?=<\|channel\|>)|\Z)", re.DOTALL)
_CHANNEL_MARKS = re.compile(r"<\|start\|>assistant|<\|channel\|>final<\|message\|>|<\|(?:end|return)\|>")
_AROUND = re.compile(r"\s*(?:<answer>|<\|begin_of_solution\|>)(.*?)(?:</answer>|<\|end_of_solution\|>)?\s*", re.IGNORECASE | re.DOTALL)
_MARK = re.compile(rf"{_OPEN}|{_CLOSE}|<\|channel\|>", re.IGNORECASE)
KEYS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts")
"""Where files keep it apart from the answer."""


def without_reasoning(text: str) -> str:
    """The answer alone. Reasoning without its beginning, which some chat templates write themselves, ends at its last closing mark; what begins
    with an opening mark and never closes is reasoning to its end.
    """
    if not _MARK.search(text):
        return text
    rest = _CHANNEL_MARKS.sub("", _CHANNEL.sub("", text)) if "<|channel|>" in text else text
    previous = ""
    while previous != rest:
        previous, rest = rest, _WHOLE.sub("", rest)
    rest = _UP_TO_END.sub("", rest)
    if _UNENDED.fullmatch(rest):
        return ""
    around = _AROUND.fullmatch(rest)
    return (around[1] if around else rest).strip()
