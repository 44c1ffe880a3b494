"""What the fault tests report: for each case and broker how many faults, what was lost or doubled, and how long it took to recover.

`make test-faults` runs them in full and prints the table; a plain run of the tests has fewer faults a case.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

FULL = os.environ.get("CSQA_TEST_FAULTS") == "full"
_ROWS = pytest.StashKey[list["Report"]]()
_MOST_RECOVERY = 30.0
_SEED = 1


@dataclass
class Report:
    """One line of the table."""

    case: int
    what: str
    broker: str
    seed: int
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    recovered: list[float] = field(default_factory=list)
    """Seconds after each fault until the loop had taken everything again."""

    @property
    def random(self) -> random.Random:
        """Seeded; print the seed to see the same once more."""
        return random.Random(self.seed)

    def count(self, findings: list[dict]) -> None:
        """Read I1 and I2 of `csqa ledger check`; every invariant must hold."""
        details = {finding["invariant"]: finding["detail"] for finding in findings}
        if "I1" in details:
            self.lost += int(details["I1"].split(", ")[1].split()[0])
        self.doubled += int(details["I2"].split(", ")[2].split()[0])
        broken = [finding for finding in findings if not finding["holds"] and finding["invariant"] != "I5"]
        assert not broken, f"seed {self.seed}: {broken}"


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """The line of this test: `@pytest.mark.fault(1, "kills of the loop")`."""
    mark = request.node.get_closest_marker("fault")
    assert mark, "a test that reports needs @pytest.mark.fault(number, name)"
    broker = request.node.callspec.params.get("which", "embedded") if hasattr(request.node, "callspec") else "embedded"
    line = Report(mark.args[0], mark.args[1], broker, int(os.environ.get("CSQA_TEST_SEED") or _SEED))
    print(f"seed {line.seed}")
    yield line
    request.config.stash.setdefault(_ROWS, []).append(line)
    # How long it takes is told; only a full run, which has the machine to itself, is judged by it.
    slow = [seconds for seconds in line.recovered if seconds > _MOST_RECOVERY] if FULL else []
    assert (line.lost, line.doubled, slow) == (0, 0, []), f"seed {line.seed}: {asdict(line)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """CSQA_TEST_CASE=7: that case alone."""
    wanted = os.environ.get("CSQA_TEST_CASE")
    if not wanted:
        return
    faults = Path(__file__).parent
    chosen = [
        item
        for item in items
        if faults not in item.path.parents or ((mark := item.get_closest_marker("fault")) and str(mark.args[0]) == wanted)
    ]
    if not any(faults in item.path.parents for item in chosen):
        raise pytest.UsageError(f"CASE={wanted}: there is no such case; leave it out to run all")
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A fault test that counts nothing itself asserts that nothing is lost or doubled: one run, where it passed."""
    outcome = yield
    mark = item.get_closest_marker("fault")
    if call.when != "call" or mark is None or "report" in getattr(item, "fixturenames", ()) or not outcome.get_result().passed:  # type: ignore[attr-defined]
        return
    name = item.name + "".join(item.fixturenames)  # type: ignore[attr-defined]
    broker = "kafka" if "kafka" in name else "embedded"
    rows = item.config.stash.setdefault(_ROWS, [])
    row = next((row for row in rows if (row.case, row.broker) == (mark.args[0], broker)), None)
    if row is None:
        rows.append(row := Report(mark.args[0], mark.args[1], broker, _SEED))
    row.runs += 1


def _by_case(reports: list[Report]) -> list[Report]:
    """One line for each case and broker."""
    lines: dict[tuple[int, str], Report] = {}
    for one in reports:
        line = lines.setdefault((one.case, one.broker), Report(one.case, one.what, one.broker, one.seed))
        line.runs += one.runs
        line.lost += one.lost
        line.doubled += one.doubled
        line.recovered += one.recovered
    return [lines[key] for key in sorted(lines)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table."""
    rows = _by_case(config.stash.get(_ROWS, []))
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(
        f"{'case':>4}  {'what':<52} {'broker':<9} {'runs':>4} {'lost':>5} {'doubled':>8} {'recovered in s (worst)':>23}"
    )
    for row in rows:
        worst = f"{max(row.recovered):.1f}" if row.recovered else "-"
        terminalreporter.write_line(
            f"{row.case:>4}  {row.what:<52} {row.broker:<9} {row.runs:>4} {row.lost:>5} {row.doubled:>8} {worst:>23}   seed {row.seed}"
        )
    if FULL:
        target = config.rootpath / "var" / "faults.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
