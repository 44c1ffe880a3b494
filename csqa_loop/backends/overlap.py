"""How much of the better answers' wording an adapter says: BLEU and chrF by sacrebleu, which is imported when asked. For people; no check fails by it."""

from collections.abc import Sequence
from typing import Any

from csqa_loop.domain.events import GateCheck
from csqa_loop.domain.prompt import language_of


def overlap_checks(references: Sequence[str], champion: Sequence[str], candidate: Sequence[str]) -> tuple[GateCheck, ...]:
    """BLEU (Papineni et al. 2002) and chrF (Popović 2015) of both against held-out better answers, 0 to 100, with sacrebleu's signatures.

    Where a reference holds Chinese, its characters are BLEU's words.
    """
    if not references:
        return tuple(GateCheck(name=name, passed=True, detail="no data") for name in ("BLEU", "chrF"))
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        missing = f"not measured ({error}); pip install 'csqa-loop[train]' brings sacrebleu"
        return tuple(GateCheck(name=name, passed=True, detail=missing) for name in ("BLEU", "chrF"))
    chinese = any(language_of(reference, "en") == "zh" for reference in references)
    metrics = {"BLEU": BLEU(tokenize="zh" if chinese else "13a"), "chrF": CHRF()}
    return tuple(_reported(name, metric, references, champion, candidate) for name, metric in metrics.items())


def _reported(name: str, metric: Any, references: Sequence[str], champion: Sequence[str], candidate: Sequence[str]) -> GateCheck:
    before, after = (metric.corpus_score(list(answers), [list(references)]).score for answers in (champion, candidate))
    signature = str(metric.get_signature()).replace("|", " ")
    detail = f"against held-out better answers, reported only; {signature}"
    return GateCheck(name=name, passed=True, champion=before, candidate=after, n=len(references), detail=detail)
