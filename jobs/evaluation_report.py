"""An evaluation for people: `evaluation.html`, beside `evaluation.json`."""

from csqa_loop.backends import plots
from csqa_loop.backends.html_report import Figure, Report, Section, Table
from csqa_loop.cycle.evaluate import Findings
from csqa_loop.cycle.run_directory import Evaluation
from csqa_loop.domain.regression import category_shares


def evaluation_report(evaluation: Evaluation, findings: Findings) -> Report:
    """The verdict, every check with its reason, and what the regression suite lost."""
    failed = [check.name for check in evaluation.checks if not check.passed]
    return Report(
        title=f"Offline gate: {evaluation.adapter}",
        verdict="PASS" if evaluation.passed else f"FAIL: {', '.join(failed)}",
        good=evaluation.passed,
        facts={
            "run": evaluation.run_id,
            "candidate": evaluation.adapter,
            "champion": evaluation.champion,
            "took": f"{evaluation.seconds:,.1f} s",
        },
        sections=(_checks(evaluation), *_regression(findings), *_preferences(findings)),
    )


def _checks(evaluation: Evaluation) -> Section:
    rows = tuple(
        (
            check.name,
            "passed" if check.passed else "failed",
            check.champion,
            check.candidate,
            check.margin or None,
            check.lower,
            check.upper,
            check.n or None,
            check.detail,
        )
        for check in evaluation.checks
    )
    columns = ("check", "verdict", "champion", "candidate", "margin", "lower", "upper", "n", "reason")
    bad = frozenset(number for number, check in enumerate(evaluation.checks) if not check.passed)
    text = (
        "Lower and upper bound candidate minus champion, by a paired bootstrap over questions. A lower bound above zero is an improvement."
    )
    return Section("Checks", text, tables=(Table(columns, rows, bad),))


def _regression(findings: Findings) -> tuple[Section, ...]:
    if not findings.graded:
        return ()
    shares = category_shares(findings.graded)
    categories = Table(
        ("category", "answers", "champion", "candidate"),
        tuple((name, share.answers, share.champion, share.candidate) for name, share in shares.items()),
        frozenset(number for number, share in enumerate(shares.values()) if share.candidate < share.champion),
    )
    change = {name: round(share.candidate - share.champion, 3) for name, share in shares.items()}
    drawn = plots.bars(change, title="Right answers by category", x_label="candidate minus champion")
    pairs = list(zip(findings.graded, findings.regression_answers, strict=True))
    lost = tuple((graded.question.id, said.question, said.champion, said.candidate) for graded, said in pairs if graded.lost)
    gained = sum(graded.candidate.right and not graded.champion.right for graded, _ in pairs)
    return (
        Section("Regression questions by category", tables=(categories,), figures=(Figure(drawn, "Change in the share of right answers"),)),
        Section(
            "Regression questions from right to wrong",
            f"{len(lost)} of {len(pairs)} answers; {gained} changed from wrong to right.",
            tables=(Table(("id", "question", "champion's answer", "candidate's answer"), lost),) if lost else (),
        ),
    )


def _preferences(findings: Findings) -> tuple[Section, ...]:
    sides = {"champion": findings.champion_scores, "candidate": findings.candidate_scores}
    # An empty answer has no tokens and so no margin.
    margins = {name: [score.margin for score in scores if score.scored] for name, scores in sides.items()}
    if not any(margins.values()):
        return ()
    drawn = plots.histogram(margins, title="Margin of better over worse answers", x_label="nats a token", y_label="held-out pairs")
    return (Section("Held-out preferences", figures=(Figure(drawn, "Right of zero the better answer is the more probable one"),)),)
