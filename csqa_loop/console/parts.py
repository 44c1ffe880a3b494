"""The parts that the operator API asks."""

from dataclasses import dataclass

from csqa_loop.answering.model.server import ModelServer
from csqa_loop.evidence.judge.proposer import AnswerProposer
from csqa_loop.experiment.examiner import Examiner
from csqa_loop.ledger.authority import Authority
from csqa_loop.ledger.backups import Backups
from csqa_loop.ledger.service import LedgerService
from csqa_loop.log.bus import RawBus
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.settings import Settings
from csqa_loop.settings.secrets import Secrets


@dataclass(frozen=True)
class ConsoleParts:
    """Parts of the loop's process, as far as people ask about them or give orders."""

    settings: Settings
    secrets: Secrets
    bus: RawBus
    model_server: ModelServer
    ledger: LedgerService
    authority: Authority
    backups: Backups
    examiner: Examiner
    reconciler: Reconciler
    proposer: AnswerProposer | None
