"""How much personal data is masked, how much of everything else stays, and what does a message cost?

Lines of `_personal`: templates of customers' and agents' words with drawn values. A line of personal data counts when the value, and nothing else
of the line, has become a label; a line to keep counts when it is as it was. Each kind is reported for the templates that the rules' author saw and,
apart, for those that were held back, with Wilson's interval at 95 %. The baseline is no masking: nothing masked, everything kept, no time.

Writes var/bench/masking.json; exit status 1 when a goal is missed. CSQA_TEST_RUNS sets the lines a kind; CSQA_TEST_SHOW=seen lists lines that
failed, without those held back.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable

from _bench import Figure, figure, report
from _personal import Line, lines

from csqa_loop.text.masking import LABELS, mask

SEED = 20_263
EACH = 300
SHARE = 0.98
EXCUSED: frozenset[str] = frozenset()
"""Kinds that docs/privacy.md names with their reason: told, not judged."""
PLAIN = "You can return it within 14 days of delivery. Please keep the packaging, and tell us whether you want a refund or another one."
PLAIN_ZH = "您可以在收到商品后七天内申请无理由退货，请保持包装完好，退款将在三个工作日内原路退回；如有疑问，请随时联系客服。"


def right(line: Line) -> bool:
    told = mask(line.text)
    return any(told == line.before + label + line.after for label in LABELS) if line.personal else told == line.text


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's score interval (1927) at 95 %."""
    z = 1.959964
    share, spread = hits / n, z * (hits * (n - hits) / n + z * z / 4) ** 0.5
    middle = share * n + z * z / 2
    return (middle - spread) / (n + z * z), (middle + spread) / (n + z * z)


def shares(found: Iterable[Line], *, held_back: bool) -> list[Figure]:
    tallies: dict[tuple[bool, str], list[bool]] = defaultdict(list)
    for line in found:
        ok = right(line)
        tallies[line.personal, line.kind].append(ok)
        if not ok and not held_back and os.environ.get("CSQA_TEST_SHOW") == "seen":
            print(f"{line.kind}: {line.text!r} -> {mask(line.text)!r}", file=sys.stderr)
    figures, part = [], "held_back" if held_back else "seen"
    for (personal, kind), all_of in tallies.items():
        name, n, hits = f"{'recall' if personal else 'kept'}.{kind}.{part}", len(all_of), sum(all_of)
        low, high = wilson(hits, n)
        goal = None if kind in EXCUSED else SHARE
        figures.append(figure(name, hits / n, "share", n=n, seed=SEED, goal=goal, at_least=True, baseline=0.0 if personal else 1.0))
        figures += [figure(f"{name}.{word}", bound, "share", n=n, seed=SEED) for word, bound in (("low", low), ("high", high))]
    return figures


def microseconds(texts: list[str], rounds: int) -> float:
    """A text, at the median of the rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        for text in texts:
            mask(text)
        taken.append((time.perf_counter() - began) / len(texts) * 1e6)
    return sorted(taken)[rounds // 2]


def main() -> int:
    """Measure, write, judge."""
    each = int(os.environ.get("CSQA_TEST_RUNS", str(EACH)))
    all_lines = list(lines(SEED, each))
    figures = [
        *shares((line for line in all_lines if not line.held_back), held_back=False),
        *shares((line for line in all_lines if line.held_back), held_back=True),
    ]
    figures.append(figure("lines", len(all_lines), "lines", n=len(all_lines), seed=SEED, goal=1500, at_least=True))
    figures.append(figure("kinds", len({line.kind for line in all_lines}), "kinds", n=len(all_lines), seed=SEED, goal=40, at_least=True))
    for name, texts, goal in (
        ("plain_en", [PLAIN] * 1000, 5.0),
        ("plain_zh", [PLAIN_ZH] * 1000, 10.0),
        ("labelled_lines", [line.text for line in all_lines[:: max(1, len(all_lines) // 2000)]], None),
    ):
        figures.append(figure(f"cost.{name}", microseconds(texts, 5), "us a message", n=len(texts), seed=SEED, goal=goal, baseline=0.0))
    return report("masking", figures)


if __name__ == "__main__":
    sys.exit(main())
