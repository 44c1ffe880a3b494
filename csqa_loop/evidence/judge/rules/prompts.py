"""How a judge is asked which of two answers is better: in our words, or by a prompt of the operator's in MT-Bench's format.

MT-Bench's judge prompts (Zheng et al. 2023, "Judging LLM-as-a-Judge", appendix A) are JSON lines with `system_prompt`, `prompt_template` and
`output_format`. A template without JSON around it is the prompt itself.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from csqa_loop.errors import ConfigurationError
from csqa_loop.events import ChatMessage
from csqa_loop.evidence.judge.rules.judging import PROMPT_VERSION, Candidate, comparison
from csqa_loop.text.languages import language_of

_NEEDED = ("question", "answer_a", "answer_b")
_ALLOWED = (*_NEEDED, "policy")
# Not str.format: a template may show the judge a JSON object, and customers write braces.
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
_OUTPUT = "[[A]]"
_SPEAKERS = {"en": {"user": "Customer", "assistant": "Assistant"}, "zh": {"user": "顾客", "assistant": "助手"}}


@dataclass(frozen=True)
class JudgePrompt:
    """How to ask. Without a template, in our words and the question's language."""

    template: str = ""
    system: str = ""
    version: str = PROMPT_VERSION
    """On record with every verdict; another file is another version."""

    def comparison(self, case: Candidate, a: str, b: str) -> tuple[ChatMessage, ...]:
        """The messages that ask which of two answers is better."""
        if not self.template:
            return comparison(case, a, b)
        policy = "\n\n".join(message.content for message in case.messages if message.role == "system")
        values = {"question": _question_text(case), "answer_a": a, "answer_b": b, "policy": policy}
        # In one go: what a value holds is never taken for a placeholder.
        text = _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)
        request = ChatMessage(role="user", content=text)
        return (ChatMessage(role="system", content=self.system), request) if self.system else (request,)


def parse_judge_prompt(text: str, where: str) -> JudgePrompt:
    """A judge prompt from a file's content: JSON lines, one JSON object or a list of them, or the plain template.

    Of several, the one that compares two answers to one question; MT-Bench's file has exactly one of those.

    Args:
        text: the file's content.
        where: what to call it in messages.

    Raises:
        ConfigurationError: no prompt compares two answers, several do, or its placeholders or output format are not those that are filled and read.
    """
    version = f"{PROMPT_VERSION}+{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    prompts = _objects(text, where)
    if prompts is None:
        _check_placeholders(text, where)
        return JudgePrompt(text, version=version)
    usable = [prompt for prompt in prompts if len(prompts) == 1 or set(_NEEDED) <= set(_placeholders(prompt)) <= set(_ALLOWED)]
    if len(usable) != 1:
        names = ", ".join(str(prompt.get("name", "without a name")) for prompt in usable or prompts)
        problem = "several compare two answers" if usable else "none compares two answers"
        raise ConfigurationError(f"{where} has {len(prompts)} judge prompts, of which {problem} ({names}); leave the one that is meant")
    (chosen,) = usable
    template, system, output = chosen.get("prompt_template"), chosen.get("system_prompt") or "", chosen.get("output_format", _OUTPUT)
    if not isinstance(template, str) or not isinstance(system, str):
        raise ConfigurationError(f"{where}: prompt_template and system_prompt must be texts; prompt_template is {template!r:.80}")
    if output != _OUTPUT:
        raise ConfigurationError(
            f'{where}: output_format is {output!r:.80}; it must be "{_OUTPUT}": a winner is read as [[A]], [[B]] or [[C]], or as JSON'
        )
    _check_placeholders(template, where)
    return JudgePrompt(template, system, version)


def _question_text(case: Candidate) -> str:
    """The question; in a conversation all of its turns, as "And for laptops?" is none by itself."""
    turns = [message for message in case.messages if message.role != "system"]
    speakers = _SPEAKERS[language_of(case.question)]
    return case.question if len(turns) < 2 else "\n".join(f"{speakers[turn.role]}: {turn.content}" for turn in turns)


def _check_placeholders(template: str, where: str) -> None:
    present = _PLACEHOLDER.findall(template)
    missing = [f"{{{name}}}" for name in _NEEDED if name not in present]
    if missing:
        raise ConfigurationError(
            f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing in the template; it needs {{question}}, {{answer_a}} and {{answer_b}}, and may have {{policy}}"
        )
    unknown = [f"{{{name}}}" for name in dict.fromkeys(present) if name not in _ALLOWED]
    if unknown:
        raise ConfigurationError(
            f"{where}: nothing is known to fill {', '.join(unknown)} with; known are {{question}}, {{answer_a}}, {{answer_b}} and {{policy}}"
        )


def _placeholders(prompt: Mapping[str, Any]) -> list[str]:
    template = prompt.get("prompt_template")
    return _PLACEHOLDER.findall(template) if isinstance(template, str) else []


def _objects(text: str, where: str) -> list[dict[str, Any]] | None:
    """The JSON objects of a file; None where it is a plain template.

    A template may begin with a brace as well, so that JSON is what parses as JSON or says that it holds a template.
    """
    try:
        whole = json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if not (lines and lines[0].lstrip().startswith("{") and '"prompt_template"' in lines[0]):
            return None
        whole = list(_parsed(lines, where))
    objects = whole if isinstance(whole, list) else [whole]
    if not objects or not all(isinstance(entry, dict) for entry in objects):
        raise ConfigurationError(f"{where} is JSON, but not an object with prompt_template, or a list of them")
    return objects


def _parsed(lines: list[str], where: str) -> Iterator[object]:
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{where}, line {number}: no JSON ({error}); each line must be one object") from None
