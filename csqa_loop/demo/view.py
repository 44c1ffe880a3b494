"""What a person sees of a demo: a live list of steps on a terminal, plain lines elsewhere, and a table at the end."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from csqa_loop.demo.summary import Round, Score, Summary

_PLAIN_WIDTH = 180
"""A log has no width of its own, and a table cut at 80 columns is unreadable."""
_DETAIL_SECONDS = 10.0
"""Plain lines: how often a step that goes on says how far it is."""


class View(Protocol):
    """Where the play shows what happens."""

    def step(self, round_number: int, activity: str) -> None:
        """A new step began; round 0 is outside the rounds."""
        ...

    def detail(self, text: str) -> None:
        """The present step got on."""
        ...

    def result(self, text: str) -> None:
        """The present step is done."""
        ...


class DemoView:
    """Shows the steps. `stream`: where; standard output unless that is kept for JSON."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stdout)
        if not self._console.is_terminal:
            self._console.width = _PLAIN_WIDTH
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None
        self._title = title
        self._steps: list[tuple[str, float, float | None, str]] = []
        self._began = time.monotonic()
        self._printed_at = 0.0

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop drawing; the last state stays on the screen."""
        if self._live:
            self._live.stop()

    def step(self, round_number: int, activity: str) -> None:
        """A new step began; round 0 is the set-up."""
        name = f"round {round_number}: {activity}" if round_number else activity
        self._steps.append((name, time.monotonic(), None, ""))
        self._printed_at = time.monotonic()
        self._draw(name)

    def detail(self, text: str) -> None:
        """The present step got on."""
        name, began, _, _ = self._steps[-1]
        self._steps[-1] = (name, began, None, text)
        if self._live or time.monotonic() - self._printed_at >= _DETAIL_SECONDS:
            self._printed_at = time.monotonic()
            self._draw(f"{name}: {text}")

    def result(self, text: str) -> None:
        """The present step is done."""
        name, began, _, _ = self._steps[-1]
        self._steps[-1] = (name, began, time.monotonic(), text)
        self._draw(f"{name}: {text} ({time.monotonic() - began:.0f} s)")

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end(self, summary: Summary, *, expected: bool) -> None:
        """The final table."""
        if self._live:
            self._live.stop()
        self._console.print(final_table(summary))
        sent, recorded = summary.sent, summary.recorded
        self.say(
            f"sent {sent.chats} chats, {sent.feedback} thumbs, {sent.bad_cases} bad cases; recorded {recorded.chats}, {recorded.feedback}, {recorded.bad_cases}, "
            f"dead letters {recorded.dead_letters}"
        )
        self.say(
            f"vLLM holds {', '.join(summary.resident_adapters) or 'no adapter'}; {summary.seconds:.0f} s after a set-up of {summary.setup_seconds:.0f} s"
        )
        self.say(
            f"{'as expected' if expected else 'NOT as expected'} for mode {summary.mode}: the final champion is {summary.final_champion}"
        )

    def _draw(self, line: str) -> None:
        if self._live:
            self._live.update(self._table())
        else:
            self._console.print(f"{time.monotonic() - self._began:6.0f} s  {line}", highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False)
        table.add_column("step", style="bold")
        table.add_column("s", justify="right")
        table.add_column("")
        for name, began, ended, text in self._steps:
            seconds = (ended or time.monotonic()) - began
            table.add_row(escape(name), f"{seconds:.0f}", escape(text), style="" if ended is None else "dim")
        return table


def final_table(summary: Summary) -> Table:
    """A row a round."""
    table = Table(title=f"{summary.scenario}, seed {summary.seed}", title_justify="left")
    for column in ("round", "champion", "held out right", "trained right", "pairs", "training", "gate", "experiment", "difference"):
        table.add_column(column)
    for number, round_ in enumerate(summary.rounds, 1):
        table.add_row(str(number), *_row(round_))
    return table


def _row(round_: Round) -> tuple[str, ...]:
    gate = "-" if round_.gate is None else "passed" if round_.gate.passed else "refused"
    verdict, interval = "-", "-"
    if round_.experiment:
        verdict = f"{round_.experiment.verdict} (n {round_.experiment.n})"
        if round_.experiment.estimate is not None and round_.experiment.lower is not None and round_.experiment.upper is not None:
            interval = f"{round_.experiment.estimate:+.2f} [{round_.experiment.lower:+.2f}, {round_.experiment.upper:+.2f}]"
    return (
        round_.champion.after
        if round_.champion.before == round_.champion.after
        else f"{round_.champion.before} -> {round_.champion.after}",
        f"{_percent(round_.holdout_correct.before)} -> {_percent(round_.holdout_correct.after)}",
        f"{_percent(round_.trained_correct.before)} -> {_percent(round_.trained_correct.after)}",
        str(round_.pairs),
        f"{round_.train_seconds:.0f} s" if round_.train_seconds is not None else round_.run_state,
        gate,
        verdict,
        interval,
    )


def _percent(score: Score | None) -> str:
    return "-" if score is None else f"{score.fraction:.0%}"
