"""An evaluation for people: `evaluation.html`, beside `evaluation.json`."""

from dataclasses import astuple

from csqa_loop.analytics import plots
from csqa_loop.analytics.html_page import Figure, Page, PageSection, PageTable
from csqa_loop.gate.evaluate import Findings
from csqa_loop.gate.rules.regression import over_all
from csqa_loop.training.run.files import Category, Evaluation


def evaluation_report(evaluation: Evaluation, findings: Findings) -> Page:
    """The verdict, every check with its reason, and what the regression suite lost."""
    failed = [check.name for check in evaluation.checks if not check.passed]
    return Page(
        title=f"Offline gate: {evaluation.adapter}",
        verdict="PASS" if evaluation.passed else f"FAIL: {', '.join(failed)}",
        good=evaluation.passed,
        facts={
            "run": evaluation.run_id,
            "candidate": evaluation.adapter,
            "champion": evaluation.champion,
            "regression questions": evaluation.regression_hash[:12] or "none",
            "took": f"{evaluation.seconds:,.1f} s",
        },
        sections=(_checks(evaluation), *_regression(evaluation, findings), *_preferences(findings)),
    )


def _checks(evaluation: Evaluation) -> PageSection:
    rows = tuple(
        (
            check.name,
            "passed" if check.passed else "failed",
            check.champion,
            check.candidate,
            check.margin or None,
            check.floor,
            check.lower,
            check.upper,
            check.n or None,
            check.detail,
        )
        for check in evaluation.checks
    )
    columns = ("check", "verdict", "champion", "candidate", "margin", "floor", "lower", "upper", "n", "reason")
    bad = frozenset(number for number, check in enumerate(evaluation.checks) if not check.passed)
    text = (
        "Floor, lower and upper bound candidate minus champion, by a paired bootstrap over questions. A floor within the margin shows that "
        "nothing was lost, a lower bound above zero that something was gained."
    )
    return PageSection("Checks", text, tables=(PageTable(columns, rows, bad),))


def _regression(evaluation: Evaluation, findings: Findings) -> tuple[PageSection, ...]:
    if not evaluation.categories:
        return ()
    rows = (*evaluation.categories, over_all(evaluation.categories))
    columns = [f"{score}, {side}" for score in ("accuracy", "precision", "recall", "F1") for side in ("champion", "candidate")]
    table = PageTable(
        ("category", "answers", *columns),
        tuple((row.name, row.answers, *_beside(row)) for row in rows),
        frozenset(number for number, row in enumerate(rows) if _fell(row)),
    )
    text = "Precision falls by what is said wrongly, recall by what is not said. A category that fell in accuracy or F1 stands out."
    change = {row.name: round(row.candidate.accuracy - row.champion.accuracy, 3) for row in evaluation.categories}
    drawn = plots.bars(change, title="Right answers by category", x_label="candidate minus champion")
    pairs = list(zip(findings.graded, findings.regression_answers, strict=True))
    lost = tuple((graded.question.id, answers.question, answers.champion, answers.candidate) for graded, answers in pairs if graded.lost)
    gained = sum(graded.candidate.right and not graded.champion.right for graded, _ in pairs)
    return (
        PageSection(
            "Regression questions by category", text, tables=(table,), figures=(Figure(drawn, "Change in the share of right answers"),)
        ),
        PageSection(
            "Regression questions from right to wrong",
            f"{len(lost)} of {len(pairs)} answers; {gained} changed from wrong to right.",
            tables=(PageTable(("id", "question", "champion's answer", "candidate's answer"), lost),) if lost else (),
        ),
    )


def _beside(row: Category) -> tuple[float, ...]:
    """Each score of the champion and then of the candidate."""
    return tuple(value for both in zip(astuple(row.champion), astuple(row.candidate), strict=True) for value in both)


def _fell(row: Category) -> bool:
    return row.candidate.accuracy < row.champion.accuracy or row.candidate.f1 < row.champion.f1


def _preferences(findings: Findings) -> tuple[PageSection, ...]:
    sides = {"champion": findings.champion_scores, "candidate": findings.candidate_scores}
    # An empty answer has no tokens and so no margin.
    margins = {name: [score.margin for score in scores if score.scored] for name, scores in sides.items()}
    if not any(margins.values()):
        return ()
    drawn = plots.histogram(margins, title="Margin of better over worse answers", x_label="nats a token", y_label="held-out pairs")
    return (PageSection("Held-out preferences", figures=(Figure(drawn, "Right of zero the better answer is the more probable one"),)),)
