"""Training and holdout: stratified by category, and nearly the same question never on both sides, nor a row and what was made from it."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

from csqa_loop.data.rules.examples import Split
from csqa_loop.text.drawing import drawn_by
from csqa_loop.text.normal import normalised
from csqa_loop.text.similarity import near_groups


def drawn(text: str, seed: int) -> float:
    """A number in [0, 1) that the normalised text and the seed determine."""
    return drawn_by(f"{seed}\n{normalised(text)}")


def side_of(question: str, train_share: float, seed: int) -> Split:
    """Where a question goes when rows come one by one: the share holds on average, and one question always goes to one side."""
    return "train" if drawn(question, seed) < train_share else "holdout"


def stratified(
    questions: Sequence[str], strata: Sequence[Hashable], holdout_share: float, seed: int, origins: Sequence[str] | None = None
) -> list[Split]:
    """A side for each question. Each stratum gives its share of rows to the holdout, rounded.

    Questions go together that nearly repeat one another, over any number of steps, and so do those with one origin: `origins` has the
    question that each was made from, or its own. Such a group belongs to the stratum of its first row. Where a group is larger than what is
    to be held out, the holdout stays smaller.

    The rounding error of a stratum is carried to the next one, so that many small strata together still hold out their share.
    """
    count = len(questions)
    found = near_groups([*questions, *(origins or questions)], together=[(place, count + place) for place in range(count)])
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(count):
        groups[found[place]].append(place)
    members: dict[Hashable, list[list[int]]] = defaultdict(list)
    for places in groups.values():
        members[strata[places[0]]].append(places)
    sides: list[Split] = ["train"] * len(questions)
    due = 0.0
    for stratum in sorted(members, key=repr):
        own = sorted(members[stratum], key=lambda places: drawn(questions[places[0]], seed))
        due += holdout_share * sum(map(len, own))
        for places in own:
            # A group goes over where that brings the holdout nearer to its share.
            if len(places) <= 2 * due:
                due -= len(places)
                for place in places:
                    sides[place] = "holdout"
            if due <= 0:
                break
    return sides
