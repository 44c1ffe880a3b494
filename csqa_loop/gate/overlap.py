"""How much of the better answers' wording an adapter repeats: BLEU, chrF and ROUGE-L. For people; no check fails by it.

sacrebleu and rouge-score are imported when asked.
"""

import re
from collections.abc import Callable, Sequence
from importlib import metadata

from csqa_loop.events import GateCheck
from csqa_loop.text.languages import language_of

_NAMES = ("BLEU", "chrF", "ROUGE-L")
_LANGUAGES = ("en", "zh")
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")

_Corpus = Callable[[Sequence[str], Sequence[str]], float]
"""Answers and references to a figure from 0 to 100."""


def overlap_checks(references: Sequence[str], champion: Sequence[str], candidate: Sequence[str]) -> tuple[GateCheck, ...]:
    """BLEU (Papineni et al. 2002), chrF (Popović 2015) and ROUGE-L (Lin 2004) of both against held-out better answers, 0 to 100.

    Chinese references and others are measured apart, each in the words or characters of its own script: a mean over both would move with their
    numbers.
    """
    if not references:
        return tuple(GateCheck(name=name, passed=True, detail="no data") for name in _NAMES)
    checks: list[GateCheck] = []
    for language in _LANGUAGES:
        places = [place for place, reference in enumerate(references) if language_of(reference) == language]
        if places:
            sides = ([texts[place] for place in places] for texts in (references, champion, candidate))
            checks.extend(_measured(language, *sides))
    return tuple(checks)


def _measured(language: str, references: Sequence[str], champion: Sequence[str], candidate: Sequence[str]) -> list[GateCheck]:
    checks = []
    for name, of in zip(_NAMES, (_bleu, _chrf, _rouge), strict=True):
        try:
            score, signature = of(language)
        except ImportError as error:
            missing = f"not measured ({error}); pip install 'csqa-loop[train]' brings what is missing"
            checks.append(GateCheck(name=f"{name}, {language}", passed=True, detail=missing))
            continue
        before, after = score(champion, references), score(candidate, references)
        detail = f"against held-out better answers, reported only; {signature()}"
        checks.append(
            GateCheck(name=f"{name}, {language}", passed=True, champion=before, candidate=after, n=len(references), detail=detail)
        )
    return checks


def _bleu(language: str) -> tuple[_Corpus, Callable[[], str]]:
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="zh" if language == "zh" else "13a")
    return _by_sacrebleu(metric.corpus_score), lambda: _signature(metric.get_signature())


def _chrf(_: str) -> tuple[_Corpus, Callable[[], str]]:
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    return _by_sacrebleu(metric.corpus_score), lambda: _signature(metric.get_signature())


def _rouge(_: str) -> tuple[_Corpus, Callable[[], str]]:
    from rouge_score.rouge_scorer import RougeScorer

    # Its own tokeniser drops every Chinese character.
    scorer = RougeScorer(["rougeL"], tokenizer=_Tokens())

    def score(answers: Sequence[str], references: Sequence[str]) -> float:
        scores = [scorer.score(reference, answer)["rougeL"].fmeasure for answer, reference in zip(answers, references, strict=True)]
        return float(100 * sum(scores) / len(scores))

    return score, lambda: f"mean F1, words and Chinese characters, not stemmed, version:{metadata.version('rouge-score')}"


class _Tokens:
    """Words of any script in lower case, Chinese character by character."""

    def tokenize(self, text: str) -> list[str]:
        return _TOKEN.findall(text.lower())


def _by_sacrebleu(corpus_score: Callable[..., object]) -> _Corpus:
    return lambda answers, references: float(corpus_score(list(answers), [list(references)]).score)  # type: ignore[attr-defined]


def _signature(signature: object) -> str:
    return str(signature).replace("|", " ")
