"""One pair's history as a tree: from the customer's question down to the adapter that was trained on it."""

from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from csqa_loop.evidence.pair_trace import PairTrace, TracedEvent, TracedRun

_CHARACTERS = 300
"""Shown of each text; --json has all of it."""


def pair_tree(trace: PairTrace) -> Tree:
    """The trace of GET /v1/pairs/{id}. A line of an event ends in its id."""
    pair, answer = trace.pair, trace.answer
    tree = Tree(f"[bold]{escape(pair.pair_id)}[/bold]  {pair.state}, from {pair.source}, weight {pair.weight:g}")
    imported = answer.type == "ExampleImported"
    place = _branch(tree, "question", pair.question, None if imported else trace.exposure)
    if imported:
        place = _branch(place, "example", f"imported by {pair.contributor} from {answer.body['origin']}", answer)
    else:
        place = _add_answer(place, answer)
        place = _add_complaints(place, trace)
    place = _branch(place, "pair", f"{pair.pair_id}: {pair.state}")
    place.add(_line("chosen", pair.chosen, style="green"))
    place.add(_line("rejected", pair.rejected, style="red"))
    for reason in trace.because:
        if reason.rule != "claimed":  # the run that did is below, with its adapter
            place.add(_line(reason.rule, reason.detail, reason.event_id))
    for run in trace.runs:
        _add_run(place, run)
    return tree


def _add_answer(place: Tree, answer: TracedEvent) -> Tree:
    body = answer.body
    passages = place.add("[bold]retrieved[/bold]" if body["citations"] else "[bold]retrieved[/bold]  nothing")
    for citation in body["citations"]:
        passages.add(Text(f"{citation['policy_id']} {citation['version']}, {citation['section']} (score {citation['score']:.2f})"))
    arm = body["arm"] if body["experiment"] is None else f"{body['arm']} of {body['experiment']}"
    return _branch(passages, "answer", f"{body['answer']}  ({body['adapter']}, {arm})", answer)


def _add_complaints(place: Tree, trace: PairTrace) -> Tree:
    """Thumbs, bad cases and reviews in their order, each with its blame. The last one, where the tree goes on, made the pair."""
    blames = {blame.event_id: blame for blame in trace.blames}
    events = {event.event_id: event for event in (*trace.feedback, *trace.bad_cases, *trace.reviews, trace.evidence)}
    complaints = sorted(events.values(), key=lambda event: (event is trace.evidence, event.occurred_at, event.event_id))
    branch = place
    for event in complaints:
        branch = _branch(place, *_label_and_text(event, trace.liked_answer), event)
        if blame := blames.get(event.event_id):
            branch.add(_line("blame", f"{blame.fault}: {blame.detail}"))
    return branch


def _label_and_text(event: TracedEvent, liked: TracedEvent | None) -> tuple[str, str]:
    body = event.body
    match event.type:
        case "FeedbackGiven" if liked is not None and body["message_id"] == liked.body["message_id"]:
            return "liked answer", f"{liked.body['answer']}  (thumb {body['thumb']} of {body['user']})"
        case "FeedbackGiven":
            return f"thumb {body['thumb']}", body["comment"] or ""
        case "BadCaseReported":
            better = f"; should be: {body['corrected_answer']}" if body["corrected_answer"] else ""
            return "bad case", f"{body['reason']}, says {body['reviewer']}{better}"
        case "ReviewDecided":
            better = f": {body['corrected_answer']}" if body["corrected_answer"] else ""
            return "review", f"{body['reviewer']} decided {body['action']!r}{better}"
        case _:
            return "proposal", f"{body['answer']}  ({body['method']}, judged by {body['judge_model']})"


def _add_run(place: Tree, run: TracedRun) -> None:
    branch = _branch(place, "run", run.run_id, run)
    if run.adapter:
        gate = {None: "not yet evaluated", True: "passed the gate", False: "refused by the gate"}[run.gate_passed]
        branch.add(_line("adapter", f"{run.adapter}, {gate}", run.trained_event_id))


def _branch(place: Tree, label: str, text: str, event: TracedEvent | TracedRun | None = None) -> Tree:
    return place.add(_line(label, text, event.event_id if event else None))


def _line(label: str, text: str, event_id: str | None = None, *, style: str = "") -> Text:
    shortened = text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…"
    line = Text.assemble((label, "bold"), "  ", (shortened, style))
    return line.append(f"  {event_id}", style="dim") if event_id else line
