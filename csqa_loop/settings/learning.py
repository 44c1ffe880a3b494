"""From feedback to an adapter that may be tried."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from csqa_loop.settings.section import SettingsSection

Source = Literal["correction", "review", "rated", "resample", "judge", "import"]
"""Where a better answer came from."""
WEIGHTS: Mapping[Source, float] = MappingProxyType(
    {"correction": 1.0, "review": 1.0, "rated": 0.5, "resample": 0.5, "judge": 0.3, "import": 0.5}
)
"""How much a pair counts in training, by its source: a person's word is the unit."""
KTO_MIN_BATCH = 4
"""Examples a batch below which KTO has no divergence to estimate."""


class TriggerSettings(SettingsSection):
    """When a run starts."""

    min_pairs: int = Field(default=200, ge=1)
    """Fresh pairs that start a run."""
    max_pairs: int = Field(default=2000, ge=1)
    """Most new pairs of a run; the rest wait for the next."""
    max_age_hours: float = Field(default=0.0, ge=0)
    """Age of the oldest fresh pair from which `fewest_pairs` start a run. 0: they wait for `min_pairs`."""
    schedule: Literal["when_due", "daily", "weekly"] = "when_due"
    """Daily and weekly start at most one run a UTC day or ISO week, from `fewest_pairs` on, instead of counting to `min_pairs`."""
    fewest_pairs: int = Field(default=20, ge=1)
    """Fresh pairs that a run by age or schedule needs."""
    min_rated: int = Field(default=100, ge=1)
    """Liked and disliked answers, of each, that start a run by KTO."""
    min_demonstrations: int = Field(default=100, ge=1)
    """Demonstrations that start a run by SFT."""
    newest_share: float = Field(default=0.1, ge=0, le=0.5)
    """Newest part of the fresh pairs that a run only measures itself by; a later run may train on them. 0: none."""
    progress_timeout_seconds: float = Field(default=300.0, gt=0)
    """Silence after which a run gets its next attempt."""
    max_attempts: int = Field(default=3, ge=1)
    """The pause between two grows from half a minute on, four times as long each."""


class PreferenceSettings(SettingsSection):
    """Which preference pairs are made, and which of them a training set may hold."""

    grounding: Literal["required", "off"] = "required"
    """Whether a correction must be supported by a policy that was current; off trusts agents blindly (the demo's sabotage needs that)."""
    min_raters: int = Field(default=2, ge=1)
    """Distinct customers whose thumbs make one answer better than another."""
    weights: dict[Source, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=lambda: dict(WEIGHTS))
    """How much a pair counts in training, by where it comes from; a source that is left out keeps its default."""
    user_share: float = Field(default=0.02, gt=0, le=1)
    """Largest part of a training set that comes from one customer's conversations; one pair is always allowed."""
    contributor_share: float = Field(default=0.5, gt=0, le=1)
    """Largest part of a training set that rests on one reviewer's or judge's word; one pair is always allowed, and a single one is not capped."""
    category_share: float = Field(default=1.0, gt=0, le=1)
    """Largest part of a training set about one category of policies; 1 lets the topic of the week be all of it."""
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
        return {**WEIGHTS, **value} if isinstance(value, dict) else value


class JudgeSettings(SettingsSection):
    """A stronger model that compares answers, behind any OpenAI-compatible endpoint. Without one no answer is proposed."""

    url: str = ""
    """Base URL such as http://127.0.0.1:8080/v1. Empty: no judge."""
    model: str = Field(default="", max_length=200, validate_default=True)
    """The model's name at that endpoint."""
    api_key: SecretStr | None = None
    """Key of that endpoint, where it wants one."""
    prompt_file: str = ""
    """How it is asked which answer is better: MT-Bench's JSON lines, or a template; docs/evaluation.md. Empty: in our words."""
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


class TrainingSettings(SettingsSection):
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
    """Batches of examples that are nearly equally long: less padding. KTO, and SFT with `order` easy_first, keep their order all the same."""
    replay_share: float = Field(default=0.3, ge=0, lt=1)
    """Part of an incremental training set that repeats earlier pairs."""
    sft_mix: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default={})
    """Category -> share of the demonstrations, such as knowledge 0.6, dialogue 0.3, exceptions 0.1. Empty: all as they are. The share of a
    category without demonstrations goes to the others; what the mix leaves out waits for a later run.
    """
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
        if info.data.get("method") in {"kto", "auto"} and value < KTO_MIN_BATCH:
            msg = (
                f"KTO, which `auto` may choose, estimates a divergence within each batch and needs at least {KTO_MIN_BATCH} examples in it"
            )
            raise ValueError(msg)
        return value

    @field_validator("sft_mix")
    @classmethod
    def _sums_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        if value and abs(sum(value.values()) - 1) > 1e-6:
            msg = f"the shares must add up to 1, not to {sum(value.values()):g}"
            raise ValueError(msg)
        return value


class GateSettings(SettingsSection):
    """The offline gate. A margin is how much worse than the champion a candidate may be; docs/decisions/0014 has the rule."""

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
    max_tokens: int = Field(default=0, ge=0)
    """Longest answer that is asked for, where `answer.max_tokens` would take too long; what is cut cannot be right. 0: as customers get it."""
