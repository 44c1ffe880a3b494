"""`summary.json`: what a demo reports. The keys are a contract."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.events import GateCheck
from csqa_loop.experiment.status import ExperimentStatus


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(_Part):
    """How many answers of one measuring pass were right."""

    fraction: float = Field(ge=0, le=1)
    correct: int = Field(ge=0)
    asked: int = Field(ge=1)

    @classmethod
    def of(cls, right: Sequence[bool]) -> "Score":
        """From one verdict an answer; at least one."""
        return cls(fraction=round(sum(right) / len(right), 4), correct=sum(right), asked=len(right))


class BeforeAfter(_Part):
    """The same questions before and after a round. None: nothing to ask."""

    before: Score | None
    after: Score | None


class Champions(_Part):
    """Which adapter (or `base`) was champion before and after a round."""

    before: str
    after: str


class GateReport(_Part):
    """The offline gate."""

    passed: bool
    checks: tuple[GateCheck, ...]


class ArmReport(_Part):
    """One arm: users whose window closed, users exposed, and the primary metric's sums."""

    users: int
    exposed: int
    numerator: float | None = None
    denominator: float | None = None
    estimate: float | None = None


class ArmReports(_Part):
    """Both arms."""

    challenger: ArmReport
    control: ArmReport


class ExperimentReport(_Part):
    """The experiment as its verdict left it. `n` counts closed users of both arms; estimate and bounds are of the primary's difference."""

    id: str
    alpha: float
    n: int
    estimate: float | None
    lower: float | None
    upper: float | None
    verdict: str
    stopped_by: str | None
    arms: ArmReports

    @classmethod
    def of(cls, status: ExperimentStatus) -> "ExperimentReport":
        """From its status in the console."""
        rows = {row.arm: row for row in status.estimates if row.metric == status.contract.primary}

        def arm(name: Literal["challenger", "control"], users: int, exposed: int) -> ArmReport:
            row = rows.get(name)
            sums = row.model_dump(include={"numerator", "denominator", "estimate"}) if row else {}
            return ArmReport(users=users, exposed=exposed, **sums)

        return cls(
            id=status.id,
            alpha=status.alpha,
            n=status.n.challenger + status.n.control,
            estimate=status.estimate,
            lower=status.lower,
            upper=status.upper,
            verdict=status.verdict,
            stopped_by=status.stopped_by,
            arms=ArmReports(
                challenger=arm("challenger", status.n.challenger, status.exposed.challenger),
                control=arm("control", status.n.control, status.exposed.control),
            ),
        )


class Round(_Part):
    """From one measuring pass to the next. `train_seconds`, `first_loss` (the DPO term before step 1), `gate` and `experiment` are None where the round did not get there."""

    champion: Champions
    trained_correct: BeforeAfter
    holdout_correct: BeforeAfter
    pairs: int
    train_seconds: float | None
    first_loss: float | None
    gate: GateReport | None
    experiment: ExperimentReport | None
    run_id: str
    run_state: str
    reason: str | None = None


class Counts(_Part):
    """Chats, thumbs and bad cases that the gateway accepted, or that the ledger holds."""

    chats: int
    feedback: int
    bad_cases: int
    dead_letters: int = 0


class Summary(_Part):
    """A whole demo. `seconds` is from the command's start without `setup_seconds`, the start of the services and the policies' indexing."""

    scenario: str
    seed: int
    mode: str
    rounds: tuple[Round, ...]
    final_champion: str
    resident_adapters: tuple[str, ...]
    sent: Counts
    recorded: Counts
    seconds: float
    setup_seconds: float

    def as_expected(self, mode: str) -> bool:
        """Whether this is the outcome that the demo was started for: a promotion, or with `sabotage` or `placebo` none."""
        if mode == "normal":
            promoted = any(round_.experiment is not None and round_.experiment.verdict == "PROMOTE" for round_ in self.rounds)
            return promoted and self.final_champion != "base" and self.final_champion in self.resident_adapters
        return all(round_.champion.before == round_.champion.after for round_ in self.rounds) and bool(self.rounds)
