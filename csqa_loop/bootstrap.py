"""The only place where concrete backends are chosen. Heavy ones are imported when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from csqa_loop.backends.secrets import Secrets, load_or_create
from csqa_loop.cycle.ports import Bus, Encoder
from csqa_loop.domain.errors import ConfigurationError
from csqa_loop.domain.judge_prompts import JudgePrompt, parse_judge_prompt
from csqa_loop.domain.preferences import PairPolicy
from csqa_loop.domain.quality import QualityPolicy
from csqa_loop.domain.replay import ReplayPolicy
from csqa_loop.domain.selection import SelectionPolicy
from csqa_loop.domain.trigger import TriggerPolicy
from csqa_loop.settings import Settings

if TYPE_CHECKING:
    from csqa_loop.backends.bus import KafkaBus
    from csqa_loop.backends.judge import EndpointJudge
    from csqa_loop.backends.ledger.publisher import AnalyticsPublisher
    from csqa_loop.backends.ledger.service import LedgerService
    from csqa_loop.backends.model_server import VllmServer
    from csqa_loop.cycle.decide import Decider
    from csqa_loop.cycle.experiment import Examiner
    from csqa_loop.cycle.jobs import Trainer
    from csqa_loop.cycle.prefer import AnswerProposer
    from csqa_loop.cycle.promote import Reconciler
    from csqa_loop.cycle.train import RunPolicy


def build_secrets(settings: Settings) -> Secrets:
    """Keys from settings where given, else from `var/secrets.json`."""
    if settings.secret and settings.operator_key:
        return Secrets(settings.secret.get_secret_value().encode(), settings.operator_key.get_secret_value())
    kept = load_or_create(settings.var / "secrets.json")
    return Secrets(
        settings.secret.get_secret_value().encode() if settings.secret else kept.secret,
        settings.operator_key.get_secret_value() if settings.operator_key else kept.operator_key,
    )


def build_bus(settings: Settings) -> "KafkaBus":
    """The log as a writer; not started."""
    from csqa_loop.backends.bus import KafkaBus

    return KafkaBus(settings.kafka, settings.kafka_servers)


def build_model_server(settings: Settings) -> "VllmServer":
    """All vLLM replicas behind one object."""
    from csqa_loop.backends.model_server import VllmServer

    return VllmServer(settings.model_server_urls, settings.model_server, adapters=settings.adapters)


def build_model_server_at(urls: Sequence[str], adapters: Path) -> "VllmServer":
    """The replicas that a run directory names; everything else is default."""
    from csqa_loop.backends.model_server import VllmServer
    from csqa_loop.settings import ModelServerSettings

    return VllmServer(urls, ModelServerSettings(), adapters=adapters)


def build_judge(settings: Settings) -> "EndpointJudge | None":
    """What compares answers; None where settings name no endpoint."""
    from csqa_loop.backends.judge import EndpointJudge

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
    from csqa_loop.backends.child import ProcessLauncher
    from csqa_loop.cycle.jobs import Trainer
    from csqa_loop.domain.events import now

    if settings.judge.url:
        build_judge_prompt(settings)  # the evaluation reads it; a wrong one stops the trainer instead
    trainer = settings.trainer
    launcher = ProcessLauncher(options={"evaluate_adapter": ("--residency-seconds", str(trainer.residency_seconds))})
    return Trainer(
        bus, launcher, settings.runs.resolve(), progress_seconds=trainer.progress_seconds, stall_seconds=trainer.stall_seconds, clock=now
    )


def build_encoder(settings: Settings) -> Encoder:
    """The encoder that settings name, loaded."""
    from csqa_loop.backends.encoder import load_encoder

    return load_encoder(settings.encoder)


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


def selection_policy(settings: Settings) -> SelectionPolicy:
    """Which pairs may be trained on together: the planner of runs and what the console says of the next one must agree on it."""
    preferences = settings.preferences
    return SelectionPolicy(
        max_pairs=settings.trigger.max_pairs,
        user_share=preferences.user_share,
        contributor_share=preferences.contributor_share,
        category_share=preferences.category_share,
        user_per_day=preferences.user_per_day,
        contributor_per_day=preferences.contributor_per_day,
        near_duplicate=preferences.near_duplicate,
        newest_share=settings.trigger.newest_share,
    )


def run_policy(settings: Settings) -> "RunPolicy":
    """When a run starts, and what it takes."""
    from csqa_loop.cycle.train import RunPolicy

    trigger, training = settings.trigger, settings.training
    return RunPolicy(
        TriggerPolicy(
            trigger.min_pairs,
            settings.preferences.min_users,
            trigger.fewest_pairs,
            timedelta(hours=trigger.max_age_hours) if trigger.max_age_hours else None,
            trigger.schedule,
        ),
        selection_policy(settings),
        ReplayPolicy(training.mode, training.replay_share, trigger.max_pairs, training.seed),
        training.method,
        trigger.min_rated,
        trigger.min_demonstrations,
        training.sft_mix,
    )


@dataclass(frozen=True)
class LoopParts:
    """Everything the loop's process is made of."""

    settings: Settings
    secrets: Secrets
    bus: "KafkaBus"
    model_server: "VllmServer"
    ledger: "LedgerService"
    examiner: "Examiner"
    reconciler: "Reconciler"
    decider: "Decider"
    analytics: "AnalyticsPublisher"
    judge: "EndpointJudge | None"
    proposer: "AnswerProposer | None"

    async def close(self) -> None:
        """Let go of everything, the ledger last."""
        await self.bus.stop()
        if self.judge:
            await self.judge.stop()
        await self.reconciler.close()
        await self.model_server.stop()
        await self.ledger.close()


def build_loop(settings: Settings, *, horizon: Callable[[], datetime]) -> LoopParts:
    """The loop; nothing is open yet."""
    from csqa_loop.backends.analytics import LiveEstimate
    from csqa_loop.backends.base_files import fingerprint_here
    from csqa_loop.backends.ledger import Ledger
    from csqa_loop.backends.ledger.publisher import AnalyticsPublisher
    from csqa_loop.backends.ledger.service import LedgerService
    from csqa_loop.backends.local.base_model import base_model_path
    from csqa_loop.cycle.adapters import AdapterFolders
    from csqa_loop.cycle.contest import Contest
    from csqa_loop.cycle.decide import Decider
    from csqa_loop.cycle.experiment import Examiner, contract_of
    from csqa_loop.cycle.prefer import AnswerProposer
    from csqa_loop.cycle.promote import Reconciler
    from csqa_loop.cycle.run_files import RunConfig
    from csqa_loop.cycle.run_writer import RunWriter
    from csqa_loop.cycle.train import RunPlanner
    from csqa_loop.domain.events import now
    from csqa_loop.regression_files import suite_hash

    secrets = build_secrets(settings)
    bus, model_server = build_bus(settings), build_model_server(settings)
    ledger = LedgerService(Ledger(settings.ledger_file, pair_policy(settings), memory_mib=settings.ledger.memory_mib))
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
    trigger = settings.trigger
    planner = RunPlanner(ledger, RunWriter(settings.runs, config, fingerprint_here, suite_hash), run_policy(settings))
    examiner, reconciler = Examiner(ledger, settings.experiment.grace_seconds), Reconciler(model_server)
    decider = Decider(
        ledger,
        bus,
        planner,
        examiner,
        reconciler,
        AdapterFolders(settings.adapters),
        resident_within=timedelta(seconds=settings.model_server.resident_within_seconds),
        contract=contract_of(settings.experiment),
        progress_timeout=timedelta(seconds=trigger.progress_timeout_seconds),
        max_attempts=trigger.max_attempts,
        clock=now,
        horizon=horizon,
    )

    async def live() -> list[LiveEstimate]:
        experiment = (await ledger.state(now())).experiment
        if experiment is None or experiment.verdict is not None:
            return []
        verdict, _, as_of, estimates = examiner.seen(experiment)
        return [LiveEstimate(experiment.opened.experiment_id, as_of, verdict, estimate) for estimate in estimates] if as_of else []

    analytics = AnalyticsPublisher(ledger, settings.analytics_file, live)
    judge = build_judge(settings)
    contest = (
        Contest(model_server, judge, judging=settings.judge, answering=settings.answer, prompt=build_judge_prompt(settings))
        if judge
        else None
    )
    proposer = AnswerProposer(ledger, contest, bus, settings.judge, now) if contest else None
    return LoopParts(
        settings,
        secrets,
        bus,
        model_server,
        ledger,
        examiner,
        reconciler,
        decider,
        analytics,
        judge,
        proposer,
    )
