"""What the operator API answers: console, commands and demo share these. Rows of pairs and of the review queue are defined by `evidence`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from csqa_loop.events import GateCheck, Verdict
from csqa_loop.evidence.judge.proposer import ProposalStatus
from csqa_loop.evidence.review.desk import RowOutcome
from csqa_loop.experiment.status import ExperimentStatus
from csqa_loop.ledger.invariants import Finding
from csqa_loop.ledger.letters import ListedLetter
from csqa_loop.ledger.losses import Loss
from csqa_loop.rollout.rules.audit import AuditEntry
from csqa_loop.rollout.rules.orders import OrderAction
from csqa_loop.rollout.rules.versions import AdapterState
from csqa_loop.settings.learning import Source
from csqa_loop.training.rules.attempts import RunState
from csqa_loop.training.rules.selection import LeftOut


class _Part(BaseModel):
    """Frozen; may be read off an object with fields of the same names. Unknown fields of a newer console are ignored."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


# --- GET /v1/status -----------------------------------------------------------------------------------------------------


class Serving(_Part):
    """The current deployment."""

    occurred_at: datetime
    revision: int
    champion: str
    challenger: str | None
    candidate: str | None
    share: float
    experiment: str | None
    cause: str


class Pause(_Part):
    """The pause in force."""

    occurred_at: datetime
    operator: str
    reason: str


class OpenOrder(_Part):
    """The promotion or roll-back that is not carried out yet."""

    occurred_at: datetime
    action: OrderAction
    operator: str
    reason: str
    target: str


class Operators(_Part):
    """What operators have decided and still holds."""

    paused: Pause | None
    order: OpenOrder | None


class Unservable(_Part):
    """A replica that answers and cannot serve an adapter."""

    replica: str
    adapter: str
    since: str
    reason: str


class Gate(_Part):
    """The offline gate's verdict."""

    passed: bool
    checks: tuple[GateCheck, ...]


class RunStatus(_Part):
    """One training run, as its current attempt stands."""

    run_id: str
    attempt: int
    state: RunState
    step: int
    steps: int
    loss: float | None
    pairs: int
    held_out_pairs: int
    champion: str
    adapter: str | None
    seconds: float | None
    first_loss: float | None
    metrics: dict[str, float]
    reason: str
    gate: Gate | None


class PairCounts(_Part):
    """Pairs in each state."""

    total: int
    fresh: int
    held_out: int
    claimed: int
    held: int
    quarantined: int
    withdrawn: int


class Recorded(_Part):
    """What the ledger holds."""

    chats: int
    feedback: int
    bad_cases: int
    dead_letters: int


class FalsePromotions(_Part):
    """What the experiments so far may have cost: the expected number of false promotions, and of the promotions their share, at most."""

    experiments: int
    promotions: int
    expected_false: float
    share_at_most: float
    error_control: str


class Status(_Part):
    """The whole loop."""

    caught_up: bool
    epoch: int
    busy: bool
    deployment: Serving | None
    operators: Operators
    unservable: tuple[Unservable, ...]
    run: RunStatus | None
    experiment: ExperimentStatus | None
    experiment_refused: str | None = None
    """Why an experiment that is due does not open."""
    proposals: ProposalStatus | None
    pairs: PairCounts
    recorded: Recorded
    misdated: int
    """Events that lay in the future of their records, and were dated by them: some publisher's clock is ahead."""
    expected_false_promotions: FalsePromotions


# --- the other questions ------------------------------------------------------------------------------------------------


class LedgerCheck(_Part):
    """POST /v1/ledger/check."""

    ok: bool
    findings: tuple[Finding, ...]


class LedgerHash(_Part):
    """GET /v1/ledger/hash."""

    hash: str
    recorded: Recorded


class Takeover(_Part):
    """POST /v1/ledger/takeover: ordered; the loop claims the log within seconds."""

    ledger_id: str
    instead_of: str


class Letters(_Part):
    """GET /v1/letters: what came last first."""

    letters: tuple[ListedLetter, ...]


class WholeLetter(_Part):
    """GET /v1/letters/{letter_id}: with its record, byte for byte; None where the record has no key or no value."""

    letter: ListedLetter
    key_base64: str | None
    value_base64: str | None


class LedgerLosses(_Part):
    """GET /v1/ledger/losses: what the log deleted before it was read, oldest first."""

    losses: tuple[Loss, ...]
    open: int
    """How many no operator has acknowledged."""

    @classmethod
    def of(cls, losses: Sequence[Loss]) -> Self:
        """All that the ledger keeps."""
        return cls(losses=tuple(losses), open=sum(loss.acknowledged_at is None for loss in losses))


class Audit(_Part):
    """GET /v1/audit: newest first."""

    decisions: tuple[AuditEntry, ...]


class Adapter(_Part):
    """An adapter, or the base."""

    version: str
    adapter: str
    state: AdapterState
    parent: str | None
    run_id: str | None
    trained_at: str | None
    pairs: int | None
    gate: str | None
    experiment: str | None
    given_up: str | None
    verdict: Verdict | None
    bytes: int | None


class Adapters(_Part):
    """GET /v1/adapters: in the order of training."""

    adapters: tuple[Adapter, ...]


class NextRun(_Part):
    """GET /v1/pairs/next-run: what the next training set would hold, and what starts a run."""

    summary: str
    taken: tuple[str, ...]
    users: int
    by_source: dict[Source, int]
    by_category: dict[str, int]
    held_back: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    min_pairs: int
    max_age_hours: float
    schedule: str
    fewest_pairs: int
    min_users: int
    method: str
    holdout_pairs: int


class Decided(_Part):
    """POST /v1/reviews/{review_id}."""

    event_id: str
    review_id: str
    in_ledger: bool


class Imported(_Part):
    """POST /v1/reviews: an outcome a row."""

    rows: tuple[RowOutcome, ...]
