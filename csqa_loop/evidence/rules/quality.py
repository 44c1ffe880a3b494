"""What keeps a better answer out of training until a person has looked at it."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from csqa_loop.evidence.rules.unfilled import placeholder_in, spreadsheet_error_in
from csqa_loop.text.languages import language_of
from csqa_loop.text.masking import label_in
from csqa_loop.text.normal import normalised

_IGNORE = r"(?:ignore|disregard|forget|override)"
_RULES = r"(?:instructions?|prompts?|rules|guidelines)"
_INSTRUCTIONS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"\b{_IGNORE}\b[^.!?]{{0,30}}\b(?:previous|prior|above|earlier|preceding|your)\b[^.!?]{{0,20}}\b{_RULES}\b",
        rf"\b{_IGNORE}\b[^.!?]{{0,30}}\b{_RULES}\b[^.!?]{{0,10}}\b(?:above|before)\b",
        r"\byou are now (?:an?|the|in|my|no longer)\b(?! (?:member|customer|guest|subscriber)\b)",
        r"\bsystem prompt\b",
        r"\bfrom now on,? (?:you (?:must|will|should|are)\b|(?:always |only |never )+(?:answer|reply|respond|say)\b)",
        r"\b(?:act|behave|respond) as (?:if you (?:are|were)|an? (?:ai|assistant|language model|unrestricted|jailbroken))\b",
        r"^\s*(?:system|assistant|user|human|developer)\s*[:：]",
        r"^\s*#+\s*(?:system|instructions?)\b",
        r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</?(?:system|assistant)>",
        r"(?:忽略|无视|忘记|忘掉|不要理会)[^。！？\n]{0,8}(?:以上|上面|之前|先前|前面|所有|你的)[^。！？\n]{0,8}(?:指示|指令|提示|规则|要求|设定)",
        r"你现在(?:是|扮演)(?!我们的|会员|贵宾|顾客)|系统提示词|从现在(?:开始|起)[，,]?(?:你|请)?(?:必须|只能|总是|一律|都)?(?:回答|回复|说)|请?扮演",
        r"^\s*(?:系统|助手|用户)\s*[:：]",
    )
)
TOO_LONG = "too_long"
"""No review overrules it, as a run with such an example in it stops; nor `masked`, as customers would be told the label."""
_NOT_TEXT = {"Cc", "Cf", "Cs", "Co", "Cn"}
_SENTENCE_END = re.compile(r"(?<=[.!?。！？\n])\s*")
_WORD = re.compile(r"[^\W_\u3400-\u9fff]+|[\u3400-\u9fff]")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_LETTER = re.compile(r"[a-z0-9]")
_CHARACTERS_A_TOKEN = 3
_PLAIN = re.compile(r"[A-Za-z\s]+")
_ONE_TOKEN_EACH = re.compile(r"[!-~\u0080-\u07ff\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]+")
"""Digits and signs, letters of two bytes, and what Chinese and Japanese are mostly written with."""


@dataclass(frozen=True)
class QualityPolicy:
    """What a better answer may be."""

    min_characters: int = 2
    """Letters and digits."""
    max_tokens: int = 1024
    """Prompt and better answer together: what training sees and the model can read."""
    prohibited: tuple[str, ...] = ()
    """Words and phrases, in any case."""
    max_repetition: int = 3
    """How often a sentence may stand in it, or a run of up to eight words in direct succession."""


def cleaned(text: str) -> str:
    """The text in NFC with Unix line ends: no control or zero-width characters, no trailing blanks, no more than one empty line in a row."""
    lines = re.sub(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]", "\n", text).replace("\t", " ")
    visible = lines
    # Most texts hold nothing of the kind, and a pair is cleaned before anything else.
    if not lines.replace("\n", "").isprintable():
        visible = "".join(character for character in lines if character == "\n" or unicodedata.category(character) not in _NOT_TEXT)
    trimmed = "\n".join(line.rstrip() for line in unicodedata.normalize("NFC", visible).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", trimmed).strip()


def findings(question: str, prompt: str, chosen: str, rejected: str, policy: QualityPolicy) -> tuple[str, ...]:
    """Why a better answer waits for a review, each reason beginning with its code; empty where nothing is wrong.

    Codes: too_short, too_long, language, placeholder, masked, spreadsheet, prohibited, instruction, repetition, same_as_rejected.
    """
    return tuple(_reasons(question, prompt, chosen, rejected, policy))


def tokens_in(text: str) -> int:
    """An estimate on the generous side, for no tokenizer in particular: one for three English letters or blanks, one for each digit, sign,
    letter of two bytes and common Chinese character, and for rarer characters one less than their bytes, as byte-level vocabularies join at
    least two. What it still takes for too short stops a run, which names it.
    """
    not_plain = _PLAIN.sub("", text)
    rare = _ONE_TOKEN_EACH.sub("", not_plain)
    return (
        math.ceil((len(text) - len(not_plain)) / _CHARACTERS_A_TOKEN) + len(not_plain) - 2 * len(rare) + len(rare.encode(errors="replace"))
    )


def too_long(prompt: str, answers: Sequence[str], policy: QualityPolicy) -> Iterator[str]:
    """The finding, where the prompt with the longest of these answers has more tokens than training takes."""
    tokens = tokens_in(prompt) + max(map(tokens_in, answers))
    if tokens > policy.max_tokens:
        yield f"{TOO_LONG}: about {tokens} tokens, the limit is {policy.max_tokens}"


def _reasons(question: str, prompt: str, chosen: str, rejected: str, policy: QualityPolicy) -> Iterator[str]:
    letters = normalised(chosen)
    if len(letters) < policy.min_characters:
        yield f"too_short: {len(letters)} letters and digits, at least {policy.min_characters} are wanted"
    yield from too_long(prompt, (chosen, rejected), policy)
    question_language, answer_language = _language(question), _language(chosen)
    if question_language and answer_language and question_language != answer_language:
        yield f"language: the question is {question_language}, the answer {answer_language}"
    if (place := placeholder_in(chosen)) is not None:
        yield f'placeholder: holds "{place}", which nobody filled in'
    if (label := label_in(chosen)) is not None:
        yield f'masked: holds "{label}", where a contact or a number was taken out; customers would be told the label'
    if (error := spreadsheet_error_in(chosen)) is not None:
        yield f'spreadsheet: holds "{error}", which a spreadsheet shows instead of what was meant'
    for phrase in policy.prohibited:
        if _holds(chosen, phrase):
            yield f'prohibited: holds "{phrase}"'
    if (instruction := _instruction(chosen)) is not None:
        yield f'instruction: reads like an instruction to a model ("{instruction}")'
    if (repeated := _repeated(chosen, policy.max_repetition)) is not None:
        yield f'repetition: says "{repeated}" more than {policy.max_repetition} times'
    if letters and letters == normalised(rejected):
        yield "same_as_rejected: differs from the rejected answer in spelling at most"


def _language(text: str) -> str:
    """The text's language; empty where it cannot be told: digits alone, or a few Chinese characters among more letters ("Garmin GPSMAP 1223 保修")."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    return "" if 3 * han < latin and han else language_of(text, "")


def _holds(text: str, phrase: str) -> bool:
    """Whole words where the phrase is written in letters ("sue" is not in "issue"); Chinese has no blanks between words."""
    folded, folded_phrase = (unicodedata.normalize("NFKC", each).casefold() for each in (text, phrase.strip()))
    before = r"(?<![a-z0-9])" if _LETTER.match(folded_phrase) else ""
    after = r"(?![a-z0-9])" if _LETTER.match(folded_phrase[-1:]) else ""
    return bool(folded_phrase) and re.search(before + re.escape(folded_phrase) + after, folded) is not None


def _instruction(text: str) -> str | None:
    # Look-alike letters and hidden characters are folded before the patterns look.
    plain = cleaned(unicodedata.normalize("NFKC", text))
    for pattern in _INSTRUCTIONS:
        if (match := pattern.search(plain)) is not None:
            return " ".join(match.group().split())[:60]
    return None


def _repeated(text: str, most: int) -> str | None:
    sentences = Counter(normalised(sentence) for sentence in _SENTENCE_END.split(text))
    for sentence, count in sentences.most_common():
        if count <= most:
            break
        if sentence:
            return sentence[:40]
    words = _WORD.findall(text.casefold())
    for length in range(1, 9):
        run = 0
        for position in range(length, len(words)):
            run = run + 1 if words[position] == words[position - length] else 0
            # A phrase that stands n times agrees with itself, one phrase on, over n - 1 of its lengths.
            if run == most * length:
                return " ".join(words[position - length + 1 : position + 1])[:40]
    return None
