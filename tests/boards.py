"""A decider on a real ledger, and a log in memory."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from csqa_loop import events as e
from csqa_loop.evidence.derivation import _pair_rows
from csqa_loop.evidence.rules.pairs import Pair, review_id_of
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.ledger import Ledger
from csqa_loop.ledger.bookkeeping import has_event
from csqa_loop.ledger.recorder import sort_out
from csqa_loop.ledger.rules.masking import masked_event
from csqa_loop.ledger.service import LedgerService
from csqa_loop.rollout.decider import Decider
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.training.adapters import AdapterFolders
from csqa_loop.training.planner import RunPlanner
from csqa_loop.training.policy import RunPolicy
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy
from csqa_loop.training.run.files import RunConfig
from csqa_loop.training.run.writer import RunWriter
from tests import events as make
from tests.adapter_folders import adapter_in
from tests.fakes.bus import MemoryBus
from tests.fakes.model_server import FakeModelServer
from tests.ledgers import ledger_at

E = TypeVar("E", bound=e.Event)
ADAPTER = "a-8f35fad14134839f"
"""Its folder is there from the beginning."""
_WINDOW = timedelta(seconds=1)
_OPEN: "weakref.WeakSet[Board]" = weakref.WeakSet()

CONTRACT = e.ExperimentContract(
    primary="satisfaction",
    guardrails=(),
    alpha=0.05,
    window_seconds=_WINDOW.total_seconds(),
    burn_in_users=2,
    max_users=10,
    max_seconds=1e6,
    ramp=(1.0,),
    ramp_users=1,
)


class Board(LedgerService):
    """A ledger on a file of its own that takes what the bus got, unless the log is cut."""

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="csqa-board-"))
        self._file = ledger_at(self.folder / "ledger" / "ledger.duckdb")
        self._file.open()
        self._end = weakref.finalize(self, _ended, self._file, self.folder)
        super().__init__(self._file)
        self.bus = bus or MemoryBus()
        self.cut = False
        self.now = make.at(10)
        """Clock and horizon of the deciders on this board."""
        self.adapters, self.runs = self.folder / "adapters", self.folder / "runs"
        assert adapter_in(self.adapters, b"tensors") == ADAPTER
        self._followed = 0
        self._visitors = 0
        _OPEN.add(self)

    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        """Let go of the file and remove the folder; again, it does nothing."""
        self._reader.shutdown()
        self._writer.shutdown()
        self._end()

    def hold(self, *facts: e.Event) -> None:
        """Facts that are in the ledger from the beginning."""
        self._file.take(make.batch(*facts))

    # --- the log ----------------------------------------------------------------------------------------------------

    async def wait_for(self, event_id: UUID, seconds: float) -> bool:
        """What the log holds is taken at once, so there is nothing to wait for."""
        del seconds
        await self.follow()
        return await self.ask(has_event, str(event_id))

    async def follow(self) -> None:
        """Take what the bus got since."""
        records = self.bus.records[self._followed :]
        if records and not self.cut:
            self._followed += len(records)
            await self.take(sort_out(records, partial(masked_event, b"secret")))

    async def happen(self, *events: e.Event) -> None:
        """Facts of others come through the log."""
        await self.bus.publish(*events)
        await self.follow()

    async def happen_at(self, moment: datetime, *events: e.Event) -> None:
        """As `happen`, through a log whose broker dates the records, whatever the events say."""
        written = len(self.bus.records)
        await self.bus.publish(*events)
        stamp = int(moment.timestamp() * 1000)
        self.bus.records[written:] = [record._replace(timestamp_ms=stamp, is_stamped=True) for record in self.bus.records[written:]]
        await self.follow()

    def last(self, kind: type[E]) -> E:
        """The event of this kind that was published last."""
        return self.bus.of_type(kind)[-1]

    # --- what runs are made of ----------------------------------------------------------------------------------------

    async def offer(self, *pairs: Pair) -> None:
        """Put these pairs where the derivation puts those that it makes, in place of any of their names."""
        await self._on(self._writer, self._replace_pairs, [pair.pair_id for pair in pairs], pairs)

    async def forget(self, pair_id: str) -> None:
        """Nothing makes this pair any more."""
        await self._on(self._writer, self._replace_pairs, [pair_id], ())

    def _replace_pairs(self, names: Sequence[str], pairs: Sequence[Pair]) -> None:
        self._file.connection.execute("DELETE FROM pairs WHERE pair_id IN (SELECT unnest($1))", [list(names)])
        if pairs:
            self._file._append("pairs", _pair_rows(pairs, [None] * len(pairs)))

    async def teach(self, *pairs: Pair) -> None:
        """A former run made ADAPTER of these pairs."""
        await self.offer(*pairs)
        of_run = {"occurred_at": make.at(1), "run_id": "r-former", "attempt": 1}
        taken = tuple(pair.pair_id for pair in pairs)
        await self.take(
            make.batch(
                e.TrainingRequested(reason="due", champion=e.BASE, pair_ids=taken, data_hash="x", **of_run),
                e.AdapterTrained(adapter=ADAPTER, parent=e.BASE, recipe_hash="", data_hash="x", pairs=len(taken), seconds=1, **of_run),
            )
        )

    def lose(self, adapter: str) -> None:
        """Its folder is gone from the disk."""
        shutil.rmtree(self.adapters / adapter)

    # --- who takes part in experiments --------------------------------------------------------------------------------

    async def visit(self, users: int, rates: tuple[float, float] = (1.0, 1.0)) -> None:
        """So many more users of either arm ask once and rate the answer; then their windows close.

        `rates`: satisfied users of the challenger and of the control.
        """
        name, second = self.last(e.ExperimentOpened).experiment_id, (self.now - make.START).total_seconds()
        facts: list[e.Event] = []
        for arm, rate in zip(("challenger", "control"), rates, strict=True):
            satisfied, shown = round(rate * users), {"experiment": name, "arm": arm}
            for user in range(users):
                self._visitors += 1
                number = 1000 + self._visitors
                facts += [
                    make.exposure(number, second=second, **shown),
                    make.answer(number, second=second + 0.1, **shown),
                    make.thumb(number, "up" if user < satisfied else "down", second=second + 0.2),
                ]
        await self.take(make.batch(*facts))
        self.now += 2 * _WINDOW


def end_all() -> None:
    """After a test: a cycle of objects would keep files and threads until the next collection of garbage, which some tests put off."""
    for board in list(_OPEN):
        board.end()
    _OPEN.clear()


def _ended(ledger: Ledger, folder: Path) -> None:
    ledger.close()
    shutil.rmtree(folder)


def run_writer(board: Board, **config: object) -> RunWriter:
    """Run directories in the board's folder."""
    return RunWriter(
        board.runs, RunConfig.model_validate({"base_model": "/no/such/model", "adapters": str(board.adapters.resolve())} | config)
    )


def build(
    server: FakeModelServer | None = None, *, contract: e.ExperimentContract = CONTRACT, board: Board | None = None
) -> tuple[Decider, Board, MemoryBus, Reconciler]:
    board = board or Board()
    folders = AdapterFolders(board.adapters)
    reconciler = Reconciler(server or FakeModelServer(), folders.fault)
    decider = Decider(
        board, board.bus,
        RunPlanner(board, run_writer(board), RunPolicy(TriggerPolicy(min_pairs=2, min_users=2), SelectionPolicy(max_pairs=5))),
        Examiner(board, 0, 0), reconciler, folders, resident_within=timedelta(seconds=600),
        contract=contract, progress_timeout=timedelta(minutes=5), max_attempts=2, clock=lambda: board.now, horizon=lambda: board.now,
    )  # fmt: skip
    return decider, board, board.bus, reconciler


def pair(number: int) -> Pair:
    pair_id = f"p-{number}"
    return Pair(
        pair_id, f"of-{pair_id}", "returns", "s", False, f"question {number} about something else {number * 7919}", "[]", "good", "bad", "correction", 1.0,
        "base", str(make.event_id(20_000 + number)), str(make.event_id(40_000 + number)), make.at(number), user=f"u-{number}",
        quoted=(("returns", make.VERSION),), review_id=review_id_of("pair", pair_id),
    )  # fmt: skip


def kinds(bus: MemoryBus) -> list[str]:
    return [event.type for event in bus.events]


async def act(board: Board, action: str, *, target: str = "", experiment: str = "none", moment: datetime | None = None) -> e.OperatorActed:
    event = e.OperatorActed(
        occurred_at=moment or board.now + timedelta(seconds=1 + len(board.bus.records)),
        experiment_id=experiment,
        action=action,
        operator="ann",
        reason="it is rude",
        target=target,
    )
    await board.happen(event)
    return event


async def gated(board: Board, decider: Decider, *, second: float = 10, judged: bool = True) -> None:
    """A passed adapter; the next beat opens its experiment. Without `judged` the gate has not said so yet."""
    await board.offer(pair(1), pair(2))
    await decider.beat()
    told = {"occurred_at": make.at(second), "run_id": board.last(e.TrainingRequested).run_id, "attempt": 1, "adapter": ADAPTER}
    trained = e.AdapterTrained(parent="base", recipe_hash="", data_hash="", pairs=2, seconds=1, **told)
    await board.happen(trained, *([e.AdapterEvaluated(champion="base", passed=True, **told)] if judged else []))


def ended_experiments(*promoted: bool) -> list[e.Event]:
    """Experiments one after another, and whether each promoted its challenger."""
    found: list[e.Event] = []
    for number, better in enumerate(promoted):
        name, second = f"x-{number}", 10 * number
        found.append(
            e.ExperimentOpened(
                occurred_at=make.at(second), experiment_id=name, run_id=f"r-{number}", champion="base", challenger=ADAPTER, salt=name, share=1.0,
                contract=CONTRACT,
            )
        )  # fmt: skip
        verdict = "PROMOTE" if better else "INCONCLUSIVE"
        found.append(
            e.VerdictReached(
                occurred_at=make.at(second + 1), experiment_id=name, verdict=verdict, as_of=make.at(second + 1), stopped_by="", estimates=()
            )
        )
    return found


def deployed(board: Board) -> e.DeploymentChanged:
    return board.last(e.DeploymentChanged)
