"""The play: what customers and agents do in each round. It reads the console's status and talks to the gateway; it never touches the loop."""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from csqa_loop.console.answers import RunStatus
from csqa_loop.demo import summary
from csqa_loop.demo.customers import AT_ONCE, Customers, Visit, each, visits
from csqa_loop.demo.measuring import Measured, measure
from csqa_loop.demo.remote import Running, Services
from csqa_loop.demo.sabotage import wrong_correction
from csqa_loop.demo.scenario import Scenario, ScenarioQuestion
from csqa_loop.demo.view import View
from csqa_loop.errors import TransientError
from csqa_loop.experiment.status import ExperimentStatus

Mode = Literal["normal", "sabotage", "placebo"]


@dataclass(frozen=True)
class Bounds:
    """How long, and how many customers, a step may take. Every wait ends."""

    collect_customers: int = 1500
    """Customers in one round before a run must have been requested."""
    training_seconds: float = 1800.0
    """From the request to the gate's verdict and the experiment's opening, further attempts included."""
    experiment_customers: int = 800
    """Customers of one experiment; set from the contract's `max_users` by `for_experiment`."""
    verdict_seconds: float = 120.0
    """From the last customer to the verdict: the attribution window and the loop's beat."""
    settle_seconds: float = 180.0
    catch_up_seconds: float = 120.0

    @classmethod
    def for_experiment(cls, max_users: int, window_seconds: float, grace_seconds: float) -> "Bounds":
        """Enough customers to fill both arms although the split is random: 2 x `max_users` and 15 % more, and those who ask in the last window."""
        return cls(experiment_customers=int(2 * max_users * 1.15) + 100, verdict_seconds=window_seconds + grace_seconds + 100.0)


@dataclass
class Play:
    """One demo with a scenario, in front of running services."""

    scenario: Scenario
    customers: Customers
    services: Services
    view: View
    seed: int
    mode: Mode = "normal"
    bounds: Bounds = field(default_factory=Bounds)

    async def rounds(self, number: int) -> tuple[summary.Round, ...]:
        """All rounds; the measuring pass after one round is the one before the next."""
        played: list[summary.Round] = []
        before: Measured | None = None
        for current in range(1, number + 1):
            report, before, after = await self._round(current, before)
            played.append(report)
            before = after
        return tuple(played)

    async def caught_up(self) -> summary.Counts:
        """What the ledger holds, once it holds everything that the gateway accepted.

        Raises:
            TransientError: it does not within the bound; says what is missing.
        """
        tally = self.customers.tally

        def holds(status: Running) -> bool:
            recorded = status.recorded
            return recorded.chats >= tally.chats and recorded.feedback >= tally.feedback and recorded.bad_cases >= tally.bad_cases

        goal = f"the ledger to hold {tally.chats} chats, {tally.feedback} thumbs and {tally.bad_cases} bad cases"
        status = await self.services.until(holds, seconds=self.bounds.catch_up_seconds, goal=goal)
        return summary.Counts.model_validate(status.recorded, from_attributes=True)

    async def _round(self, number: int, before: Measured | None) -> tuple[summary.Round, Measured, Measured]:
        if before is None:
            before = await self._measure(number, "before")
        status = await self.services.status()
        champion = status.deployment.champion
        run_id = await self._collect(number, status.run.run_id if status.run else None)
        status = await self._train(number, run_id)
        if _opened(status, run_id):
            status = await self._experiment(number, run_id)
        run, experiment = _run(status), _opened(status, run_id)
        after = await self._measure(number, "after")
        report = summary.Round(
            champion=summary.Champions(before=champion, after=after.champion),
            trained_correct=summary.BeforeAfter(before=before.trained, after=after.trained),
            holdout_correct=summary.BeforeAfter(before=before.holdout, after=after.holdout),
            pairs=run.pairs,
            train_seconds=run.seconds,
            first_loss=run.first_loss,
            gate=summary.GateReport(passed=run.gate.passed, checks=run.gate.checks) if run.gate else None,
            experiment=summary.ExperimentReport.of(experiment) if experiment else None,
            run_id=run_id,
            run_state=run.state,
            reason=run.reason,
        )
        return report, before, after

    async def _measure(self, number: int, when: str) -> Measured:
        """Measure once nothing is in flight: answers of an experiment's arms would not be the champion's."""
        self.view.step(number, f"measure {when}")
        champion = (await self._settled()).deployment.champion
        users = f"measure-{number}-{when}-{self.seed}"
        return await measure(self.scenario, self.customers, self.view, champion=champion, users=users)

    async def _settled(self) -> Running:
        """Wait until nothing is in flight and the gateway serves the current deployment."""
        status = await self.services.until(
            lambda status: not status.busy, seconds=self.bounds.settle_seconds, goal="runs and experiments to be over"
        )
        await self.services.gateway_ready(seconds=self.bounds.settle_seconds, revision=status.deployment.revision)
        return status

    async def _collect(self, number: int, last_run: str | None) -> str:
        """Customers ask and rate, agents correct, until a run is requested; returns its id."""
        self.view.step(number, "customers ask, agents correct")
        randomness = random.Random(f"corrections/{self.seed}/{number}")
        coming = visits(self.scenario.trainable, prefix=f"r{number}", seed=self.seed)
        right = customers = reported = 0

        async def act(visit: Visit) -> bool:
            nonlocal reported
            answer = await self.customers.ask(visit)
            await self.customers.rate(answer)
            question = visit.question
            if not answer.right and isinstance(question, ScenarioQuestion) and question.correction:
                text = wrong_correction(self.scenario, question, randomness) if self.mode == "sabotage" else question.correction
                await self.customers.report(answer, text, "agent-1")
                reported += 1
            return answer.right

        while customers < self.bounds.collect_customers:
            # In groups, each seen by the ledger before the next comes: no question is asked after the run was requested, and a seed repeats the same play.
            verdicts = await each(islice(coming, AT_ONCE), act)
            customers, right = customers + len(verdicts), right + sum(verdicts)
            await self.caught_up()
            status = await self.services.status()
            run = status.run
            self.view.detail(f"{customers} asked, {right} right, {reported} corrected, {status.pairs.fresh} fresh pairs")
            if run and run.run_id != last_run:
                self.view.result(f"{customers} asked, {right} right, {reported} corrected: run {run.run_id} with {run.pairs} pairs")
                return run.run_id
        raise TransientError(
            f"{customers} customers asked and {reported} answers were corrected, but no training run was requested: {status.pairs.model_dump()}"
        )

    async def _train(self, number: int, run_id: str) -> Running:
        """Until the run's experiment opens, or the run ends without one. No customers meanwhile."""
        self.view.step(number, "train and evaluate")

        def show(status: Running) -> None:
            run = _run(status)
            loss = f", loss {run.loss:.3f}" if run.loss is not None else ""
            attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
            self.view.detail(f"{run.state}, step {run.step} of {run.steps}{loss}{attempt}")

        status = await self.services.until(
            lambda status: _opened(status, run_id) is not None or not status.busy,
            seconds=self.bounds.training_seconds,
            goal=f"run {run_id} to end",
            on_status=show,
        )
        run = _run(status)
        if run.gate:
            refused = ", ".join(check.name for check in run.gate.checks if not check.passed)
            gate = "gate passed" if run.gate.passed else f"gate refused: {refused}"
            self.view.result(f"{run.adapter} after {run.seconds or 0:.0f} s, {gate}")
        else:
            self.view.result(f"run {run.state}: {run.reason}")
        return status

    async def _experiment(self, number: int, run_id: str) -> Running:
        """New users, one question and one thumb each, until the verdict; then until the deployment has settled."""
        self.view.step(number, "experiment")
        coming = visits(self.scenario.trainable, prefix=f"x{number}", seed=self.seed)
        over = asyncio.Event()
        latest: Running = await self.services.status()
        customers = 0

        async def customer_line() -> None:
            nonlocal customers
            while not over.is_set() and customers < self.bounds.experiment_customers:
                customers += 1
                await self.customers.rate(await self.customers.ask(next(coming)))

        async def watch(seconds: float) -> None:
            nonlocal latest

            def show(status: Running) -> None:
                nonlocal latest
                latest = status
                if _decided(status, run_id):
                    over.set()
                self.view.detail(f"{customers} customers; {_interval(status)}")

            await self.services.until(
                lambda status: _decided(status, run_id), seconds=seconds, goal="the experiment's verdict", on_status=show
            )

        lines = [asyncio.create_task(customer_line()) for _ in range(AT_ONCE)]
        watcher = asyncio.create_task(watch(self.bounds.training_seconds))
        crowd: asyncio.Future[list[None]] = asyncio.gather(*lines)
        try:
            first: set[asyncio.Future[Any]] = {crowd, watcher}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if watcher.done():
                await watcher  # a status that cannot be read is an error, not an end
            await crowd
            if not watcher.done():
                await asyncio.wait_for(watcher, self.bounds.verdict_seconds)
        except TimeoutError:
            raise TransientError(
                f"no verdict {self.bounds.verdict_seconds:.0f} s after {customers} customers: {_interval(latest)}"
            ) from None
        finally:
            over.set()
            crowd.cancel()
            watcher.cancel()
            await asyncio.gather(crowd, watcher, return_exceptions=True)
        self.view.detail("verdict reached; waiting for the deployment")
        status = await self._settled()
        if experiment := status.experiment:
            champion = status.deployment.champion
            self.view.result(
                f"{experiment.verdict} ({experiment.stopped_by}) after {customers} customers; {_interval(status)}; champion {champion}"
            )
        return status


def _run(status: Running) -> RunStatus:
    if status.run is None:
        raise TransientError("the loop no longer tells of the run that it requested; has its ledger been replaced?")
    return status.run


def _opened(status: Running, run_id: str) -> ExperimentStatus | None:
    """The run's experiment, once it is open."""
    return status.experiment if status.experiment and status.experiment.run_id == run_id else None


def _decided(status: Running, run_id: str) -> bool:
    experiment = _opened(status, run_id)
    return experiment is not None and experiment.verdict != "CONTINUE"


def _interval(status: Running) -> str:
    experiment = status.experiment
    if experiment is None:
        return "no experiment"
    counts = f"closed users {experiment.n.challenger} challenger, {experiment.n.control} control"
    if experiment.estimate is None or experiment.lower is None or experiment.upper is None:
        return counts
    return f"{counts}; difference {experiment.estimate:+.2f} in [{experiment.lower:+.2f}, {experiment.upper:+.2f}]"
