"""One frozen `Settings`, nested a concern each: defaults, then a TOML file, then `CSQA_` environment variables.

`CSQA_GATEWAY__PORT=9000` sets `settings.gateway.port`. `CSQA_CONFIG` names the TOML file (default: `csqa.toml` where it exists).
Three short names exist because everybody needs them: `CSQA_KAFKA`, `CSQA_VLLM` (comma separated URLs) and `CSQA_VAR`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from csqa_loop.errors import ConfigurationError
from csqa_loop.settings.experiments import ExperimentSettings, MetricSettings
from csqa_loop.settings.learning import KTO_MIN_BATCH, GateSettings, JudgeSettings, PreferenceSettings, TrainingSettings, TriggerSettings
from csqa_loop.settings.privacy import PrivacySettings
from csqa_loop.settings.serving import (
    LOOPBACK,
    AnalyticsSettings,
    AnswerSettings,
    BackupSettings,
    ConsoleSettings,
    EncoderSettings,
    GatewaySettings,
    HttpSettings,
    IndexerSettings,
    KafkaSettings,
    LedgerSettings,
    ModelServerSettings,
    RetrievalSettings,
    SpoolSettings,
    TrainerSettings,
)
from csqa_loop.text.languages import DEFAULT_LANGUAGE, Language

__all__ = [
    "KTO_MIN_BATCH",
    "AnalyticsSettings",
    "AnswerSettings",
    "BackupSettings",
    "ConsoleSettings",
    "EncoderSettings",
    "ExperimentSettings",
    "GateSettings",
    "GatewaySettings",
    "HttpSettings",
    "IndexerSettings",
    "JudgeSettings",
    "KafkaSettings",
    "LedgerSettings",
    "MetricSettings",
    "ModelServerSettings",
    "PreferenceSettings",
    "PrivacySettings",
    "RetrievalSettings",
    "Settings",
    "SpoolSettings",
    "TrainerSettings",
    "TrainingSettings",
    "TriggerSettings",
    "config_file",
    "load_settings",
]


class Settings(BaseSettings):
    """Everything a process needs to know; validated before anything starts."""

    model_config = SettingsConfigDict(env_prefix="CSQA_", env_nested_delimiter="__", frozen=True, extra="forbid", populate_by_name=True)

    var: Path = Path("var")
    """Where all state of this machine lies."""
    language: Language = DEFAULT_LANGUAGE
    """Language of answers when the question does not tell."""
    secret: SecretStr | None = None
    """Key of pseudonyms and feedback tokens. Missing: made once and kept in `var/secrets.json` (mode 0600)."""
    operator_key: SecretStr | None = None
    """Key of agents and operators. Missing: as above."""

    stop_seconds: float = Field(default=15.0, ge=8)
    """How long a process may take to stop, all told; supervisors must give as much. A gateway's open streams have all but the last five."""

    kafka: KafkaSettings = KafkaSettings()
    spool: SpoolSettings = SpoolSettings()
    model_server: ModelServerSettings = ModelServerSettings()
    encoder: EncoderSettings = EncoderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    privacy: PrivacySettings = PrivacySettings()
    gateway: GatewaySettings = GatewaySettings()
    console: ConsoleSettings = ConsoleSettings()
    indexer: IndexerSettings = IndexerSettings()
    trainer: TrainerSettings = TrainerSettings()
    trigger: TriggerSettings = TriggerSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    experiment: ExperimentSettings = ExperimentSettings()
    judge: JudgeSettings = JudgeSettings()
    ledger: LedgerSettings = LedgerSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()
    backup: BackupSettings = BackupSettings()

    @property
    def kafka_servers(self) -> str:
        """Bootstrap servers, embedded or not."""
        return self.kafka.servers or f"{LOOPBACK}:{self.kafka.embedded_port}"

    @property
    def model_server_urls(self) -> tuple[str, ...]:
        """vLLM replicas, embedded or not."""
        return self.model_server.urls or (f"http://{LOOPBACK}:{self.model_server.embedded_port}",)

    @property
    def gateway_url(self) -> str:
        """Where local commands find the gateway."""
        return f"http://{self.gateway.host}:{self.gateway.port}"

    @property
    def console_url(self) -> str:
        """Where other commands find the operator API."""
        return self.console.url or f"http://{self.console.host}:{self.console.port}"

    @property
    def longest_example(self) -> int:
        """Tokens of prompt and answer together that can be trained on."""
        length = self.training.max_length
        return self.model_server.max_model_len if length == "auto" else length

    @property
    def spool_folder(self) -> Path:
        """What a gateway accepted while Kafka was away."""
        return Path(self.spool.folder) if self.spool.folder else self.var / "spool" / f"gateway-{self.gateway.port}"

    @property
    def ledger_file(self) -> Path:
        """The live DuckDB file; only the loop opens it."""
        return self.var / "ledger" / "ledger.duckdb"

    @property
    def analytics_file(self) -> Path:
        """The published copy."""
        return self.var / "analytics.duckdb"

    @property
    def runs(self) -> Path:
        """Run directories."""
        return self.var / "runs"

    @property
    def adapters(self) -> Path:
        """Immutable adapters, named by content."""
        return self.var / "adapters"

    @property
    def models(self) -> Path:
        """Converted base models."""
        return self.var / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config_file()))


def config_file() -> Path | None:
    """The TOML file in force, if any."""
    named = os.environ.get("CSQA_CONFIG")
    if named:
        return Path(named)
    return Path("csqa.toml") if Path("csqa.toml").exists() else None


_SHORT_NAMES = {"CSQA_KAFKA": "CSQA_KAFKA__SERVERS", "CSQA_VLLM": "CSQA_MODEL_SERVER__URLS"}
_NOT_SETTINGS = {"CSQA_CONFIG", *_SHORT_NAMES}


def load_settings(**overrides: object) -> Settings:
    """Settings from TOML file and environment.

    Raises:
        ConfigurationError: names the variable (or the key of the file) that is wrong, and what would be right.
    """
    named = os.environ.get("CSQA_CONFIG")
    if named and not Path(named).is_file():
        msg = f"CSQA_CONFIG names {named!r}, which is not a file"
        raise ConfigurationError(msg)
    known = set(Settings.model_fields)
    for variable in os.environ:
        if variable.startswith("CSQA_") and variable not in _NOT_SETTINGS and not variable.startswith("CSQA_TEST_"):
            section = variable.removeprefix("CSQA_").split("__")[0].lower()
            if section not in known:
                msg = f"{variable} is not a setting; the first part must be one of {', '.join(sorted(known))}"
                raise ConfigurationError(msg)
    with _short_names():
        try:
            settings = Settings(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = [str(part) for part in first["loc"]]
            msg = f"CSQA_{'__'.join(path).upper()} is {str(first['input'])[:80]!r}: {first['msg']}"
            raise ConfigurationError(msg) from error
        except ValueError as error:
            msg = f"settings cannot be read: {error}"
            raise ConfigurationError(msg) from error
    _check_rank(settings)
    return settings


def _check_rank(settings: Settings) -> None:
    training, served = settings.training, settings.model_server.max_lora_rank
    largest = max(training.rank_limit if training.rank == "auto" else training.rank, *training.rank_pattern.values(), 0)
    if largest > served:
        msg = (
            f"CSQA_TRAINING__RANK: adapters may get rank {largest}, and vLLM serves at most CSQA_MODEL_SERVER__MAX_LORA_RANK = {served}; "
            "raise that one, or lower the rank (CSQA_TRAINING__RANK_LIMIT where it is `auto`)"
        )
        raise ConfigurationError(msg)


@contextmanager
def _short_names() -> Iterator[None]:
    """`CSQA_KAFKA` would hide the whole `kafka` section from pydantic: hand it over under its long name."""
    given = {short: os.environ.pop(short) for short in _SHORT_NAMES if short in os.environ}
    added = [long for short, long in _SHORT_NAMES.items() if given.get(short) and long not in os.environ]
    os.environ.update({long: given[short] for short, long in _SHORT_NAMES.items() if long in added})
    try:
        yield
    finally:
        for long in added:
            del os.environ[long]
        os.environ.update(given)
