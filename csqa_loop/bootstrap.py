"""The only place where concrete backends are chosen. Heavy ones are imported when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from csqa_loop.errors import ConfigurationError
from csqa_loop.evidence.judge.rules.prompts import JudgePrompt, parse_judge_prompt
from csqa_loop.evidence.rules.pairs import PairPolicy
from csqa_loop.evidence.rules.quality import QualityPolicy
from csqa_loop.knowledge.encoder import Encoder
from csqa_loop.log.bus import Bus
from csqa_loop.loop import topics_read_by
from csqa_loop.settings import Settings
from csqa_loop.settings.secrets import Secrets, load_or_create

if TYPE_CHECKING:
    from csqa_loop.analytics.publisher import AnalyticsPublisher
    from csqa_loop.answering.model.vllm import VllmServer
    from csqa_loop.console.parts import ConsoleParts
    from csqa_loop.evidence.judge.endpoint import EndpointJudge
    from csqa_loop.evidence.judge.proposer import AnswerProposer
    from csqa_loop.gateway.parts import Parts
    from csqa_loop.ledger import Ledger
    from csqa_loop.ledger.authority import Authority
    from csqa_loop.ledger.backups import Backups
    from csqa_loop.ledger.service import LedgerService
    from csqa_loop.log import KafkaBus
    from csqa_loop.rollout.decider import Decider
    from csqa_loop.rollout.reconciler import Reconciler
    from csqa_loop.training.trainer import Trainer


def build_secrets(settings: Settings) -> Secrets:
    """Keys from settings where given, else from `var/secrets.json`."""
    if settings.secret and settings.operator_key:
        return Secrets(settings.secret.get_secret_value().encode(), settings.operator_key.get_secret_value())
    stored = load_or_create(settings.var / "secrets.json")
    return Secrets(
        settings.secret.get_secret_value().encode() if settings.secret else stored.secret,
        settings.operator_key.get_secret_value() if settings.operator_key else stored.operator_key,
    )


def build_bus(settings: Settings) -> "KafkaBus":
    """The log as a writer; not started."""
    from csqa_loop.log import KafkaBus

    return KafkaBus(settings.kafka, settings.kafka_servers)


def build_model_server(settings: Settings) -> "VllmServer":
    """All vLLM replicas behind one object."""
    from csqa_loop.answering.model.vllm import VllmServer

    return VllmServer(settings.model_server_urls, settings.model_server, adapters=settings.adapters)


def build_model_server_at(urls: Sequence[str], adapters: Path) -> "VllmServer":
    """The replicas that a run directory names; everything else is default."""
    from csqa_loop.answering.model.vllm import VllmServer
    from csqa_loop.settings import ModelServerSettings

    return VllmServer(urls, ModelServerSettings(), adapters=adapters)


def build_judge(settings: Settings) -> "EndpointJudge | None":
    """The judge that compares answers; None where settings name no endpoint."""
    from csqa_loop.evidence.judge.endpoint import EndpointJudge

    return EndpointJudge(settings.judge) if settings.judge.url else None


def build_judge_prompt(settings: Settings) -> JudgePrompt:
    """How the judge is asked.

    Raises:
        ConfigurationError: `judge.prompt_file` cannot be read, or is no prompt that compares two answers.
    """
    if not settings.judge.prompt_file:
        return JudgePrompt()
    where = f"CSQA_JUDGE__PROMPT_FILE {settings.judge.prompt_file}"
    try:
        text = Path(settings.judge.prompt_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where} cannot be read: {error}") from error
    return parse_judge_prompt(text, where)


def build_trainer(settings: Settings, bus: Bus) -> "Trainer":
    """The trainer; no job runs yet."""
    from csqa_loop.events import now
    from csqa_loop.training.child import ProcessLauncher
    from csqa_loop.training.trainer import Trainer

    if settings.judge.url:
        build_judge_prompt(settings)  # the evaluation reads it; a wrong one stops the trainer instead
    trainer = settings.trainer
    launcher = ProcessLauncher(options={"evaluate_adapter": ("--residency-seconds", str(trainer.residency_seconds))})
    return Trainer(
        bus, launcher, settings.runs.resolve(), progress_seconds=trainer.progress_seconds, stall_seconds=trainer.stall_seconds, clock=now
    )


def build_encoder(settings: Settings) -> Encoder:
    """The encoder that settings name, loaded."""
    from csqa_loop.knowledge.encoder import load_encoder

    return load_encoder(settings.encoder)


def build_gateway(settings: Settings) -> "Parts":
    """The gateway's parts; nothing is connected yet.

    Raises:
        ConfigurationError: a key file is damaged.
    """
    from csqa_loop.gateway.parts import Parts
    from csqa_loop.log import Follower, Spool, SpooledBus

    # Each request waits for the acknowledgement: lingering for a larger batch would only delay the answer.
    prompt_bus = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"linger_ms": 0})})
    bus = build_bus(prompt_bus)
    spooled = None
    if settings.spool.enabled:
        spool = Spool(settings.spool_folder, settings.spool.max_bytes)
        spooled = SpooledBus(bus, spool, after_seconds=settings.spool.after_seconds)
    return Parts(
        settings=settings,
        secrets=build_secrets(settings),
        bus=spooled or bus,
        waiting=spooled.waiting if spooled else None,
        model=build_model_server(settings),
        load_encoder=lambda: build_encoder(settings),
        follow=lambda apply: Follower(settings.kafka_servers, settings.kafka, topics_read_by("gateway"), apply),
    )


def pair_policy(settings: Settings) -> PairPolicy:
    """How pairs are made: the ledger and a replay must agree on it."""
    preferences = settings.preferences
    return PairPolicy(
        weights=preferences.weights,
        grounding=preferences.grounding == "required",
        min_raters=preferences.min_raters,
        chunk_characters=settings.retrieval.chunk_characters,
        quality=QualityPolicy(
            min_characters=preferences.min_characters, max_tokens=settings.longest_example, prohibited=preferences.prohibited
        ),
    )


def build_ledger(settings: Settings, file: Path | None = None) -> "Ledger":
    """The ledger at `file` (default: the settings'), not open; its derived tables follow the settings' policy."""
    from csqa_loop.evidence.derivation import deriving
    from csqa_loop.ledger import Ledger

    return Ledger(file or settings.ledger_file, deriving(pair_policy(settings)), memory_mib=settings.ledger.memory_mib)


@dataclass(frozen=True)
class LoopParts:
    """What the loop's process runs, beside what its operator API is made of."""

    settings: Settings
    secrets: Secrets
    clock: Callable[[], datetime]
    bus: "KafkaBus"
    model_server: "VllmServer"
    ledger: "LedgerService"
    authority: "Authority"
    backups: "Backups"
    reconciler: "Reconciler"
    decider: "Decider"
    analytics: "AnalyticsPublisher"
    judge: "EndpointJudge | None"
    proposer: "AnswerProposer | None"
    console: "ConsoleParts"

    async def close(self) -> None:
        """Stop and close everything, the ledger last."""
        await self.bus.stop()
        if self.judge:
            await self.judge.stop()
        await self.reconciler.close()
        await self.model_server.stop()
        await self.ledger.close()


def build_loop(settings: Settings, *, horizon: Callable[[], datetime]) -> LoopParts:
    """The loop; nothing is open yet."""
    from csqa_loop.analytics.copy import LiveEstimate
    from csqa_loop.analytics.publisher import AnalyticsPublisher
    from csqa_loop.console.parts import ConsoleParts
    from csqa_loop.events import BASE, now
    from csqa_loop.events.topics import DECISIONS
    from csqa_loop.evidence.judge.contest import Contest
    from csqa_loop.evidence.judge.proposer import AnswerProposer
    from csqa_loop.experiment.contract import contract_of
    from csqa_loop.experiment.examiner import Examiner
    from csqa_loop.experiment.state import latest_experiment
    from csqa_loop.gate.suite import suite_hash
    from csqa_loop.ledger.authority import Authority
    from csqa_loop.ledger.backups import Backups
    from csqa_loop.ledger.reserve import Reserve
    from csqa_loop.ledger.service import LedgerService
    from csqa_loop.local.base_model import base_model_path
    from csqa_loop.log import read_to_end
    from csqa_loop.rollout.clock import SteadyClock
    from csqa_loop.rollout.decider import Decider
    from csqa_loop.rollout.reconciler import Reconciler
    from csqa_loop.rollout.state import current_deployment
    from csqa_loop.training.adapters import AdapterFolders
    from csqa_loop.training.base_files import fingerprint_here
    from csqa_loop.training.planner import RunPlanner
    from csqa_loop.training.policy import RunPolicy
    from csqa_loop.training.run.files import RunConfig
    from csqa_loop.training.run.writer import RunWriter

    secrets, clock, folder = build_secrets(settings), SteadyClock(), settings.ledger_file.parent
    bus, model_server = build_bus(settings), build_model_server(settings)
    ledger = LedgerService(build_ledger(settings), Reserve(folder, settings.ledger.reserve_mib * 1024 * 1024))
    authority = Authority(folder, ledger, bus, lambda: read_to_end(settings.kafka_servers, settings.kafka, [DECISIONS]), now)
    kept = settings.backup
    backups = Backups(
        ledger, authority, now, folder=Path(kept.folder) if kept.folder else None, every=timedelta(hours=kept.every_hours), keep=kept.keep
    )
    config = RunConfig(
        base_model=base_model_path(settings),
        adapters=str(settings.adapters.resolve()),
        training=settings.training,
        gate=settings.gate,
        language=settings.language,
        retrieval=settings.retrieval,
        answer=settings.answer,
        model_server_urls=settings.model_server_urls,
    )
    planner = RunPlanner(ledger, RunWriter(settings.runs, config, fingerprint_here, suite_hash), RunPolicy.of(settings))
    examiner = Examiner(ledger, settings.experiment.grace_seconds, settings.model_server.timeout_seconds)
    folders = AdapterFolders(settings.adapters)
    reconciler = Reconciler(model_server, folders.fault)
    decider = Decider(
        ledger,
        bus,
        planner,
        examiner,
        reconciler,
        folders,
        resident_within=timedelta(seconds=settings.model_server.resident_within_seconds),
        contract=contract_of(settings.experiment),
        progress_timeout=timedelta(seconds=settings.trigger.progress_timeout_seconds),
        max_attempts=settings.trigger.max_attempts,
        clock=clock,
        horizon=horizon,
    )

    async def live() -> list[LiveEstimate]:
        experiment = await ledger.ask(latest_experiment)
        if experiment is None or experiment.verdict is not None:
            return []
        verdict, _, as_of, estimates = examiner.seen(experiment)
        return [LiveEstimate(experiment.opened.experiment_id, as_of, verdict, estimate) for estimate in estimates] if as_of else []

    async def champion() -> str:
        deployment = await ledger.ask(current_deployment)
        return deployment.champion if deployment else BASE

    analytics = AnalyticsPublisher(ledger, settings.analytics_file, live)
    judge = build_judge(settings)
    contest = (
        Contest(
            model_server,
            judge,
            judging=settings.judge,
            answering=settings.answer,
            prompt=build_judge_prompt(settings),
            own=settings.privacy.known,
        )
        if judge
        else None
    )
    proposer = AnswerProposer(ledger, contest, bus, settings.judge, now, champion, secrets.secret) if contest else None
    return LoopParts(
        settings,
        secrets,
        clock,
        bus,
        model_server,
        ledger,
        authority,
        backups,
        reconciler,
        decider,
        analytics,
        judge,
        proposer,
        ConsoleParts(settings, secrets, bus, model_server, ledger, authority, backups, examiner, reconciler, proposer),
    )
