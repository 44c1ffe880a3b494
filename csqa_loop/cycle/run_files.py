"""The JSON files of a run directory, and the names of all of its files."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.domain.events import BASE, AdapterName, GateCheck
from csqa_loop.domain.regression import Category
from csqa_loop.settings import AnswerSettings, GateSettings, RetrievalSettings, TrainingSettings

PAIRS, HOLDOUT, REPLAY = "pairs.parquet", "holdout.parquet", "replay.parquet"
UNPAIRED, DEMONSTRATIONS, CONFIG = "unpaired.parquet", "demonstrations.parquet", "config.json"
UNFIT = "unfit.json"


class RunFile(BaseModel):
    """A JSON file of a run directory."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RunRequest(RunFile):
    """`request.json`: what was asked for."""

    run_id: str = Field(min_length=1)
    attempt: int = Field(default=1, ge=1)
    """Whose the folder is: an older attempt that still works records nothing more."""
    champion: AdapterName
    reason: str = ""
    """Why there is such a run."""
    pair_ids: tuple[str, ...]
    holdout_pair_ids: tuple[str, ...] = ()
    replay_pair_ids: tuple[str, ...] = ()
    data_hash: str
    recipe_hash: str
    files: dict[str, str]
    """File -> its SHA-256 when the run was requested."""


class RunConfig(RunFile):
    """`config.json`: how to do it. Paths are absolute, so that a job may start anywhere."""

    base_model: str = Field(min_length=1)
    """Folder or hub name of the base model, exactly as vLLM was given it."""
    parent: AdapterName = BASE
    """The adapter to continue: the champion, or the bare base for a run that starts afresh."""
    base_fingerprint: str = ""
    """SHA-256 over the base's files when the run was requested. Empty where the loop has no base: the first checkpoint pins it then."""
    adapters: str = Field(min_length=1)
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    language: Literal["en", "zh"] = "en"
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    """These three as the gateway has them: the gate's prompts and answers are to be the customers'."""
    regression_hash: str = ""
    """Of the regression questions and their policies when the run was claimed; empty where they were not at hand."""
    model_server_urls: tuple[str, ...] = ()

    @property
    def answer_tokens(self) -> int:
        """The longest answer that the gate asks for."""
        return min(self.answer.max_tokens, self.gate.max_tokens or self.answer.max_tokens)


def parent_of(champion: str, training: TrainingSettings) -> str:
    """What a run continues. A placebo answers like the champion in any mode."""
    return champion if training.mode == "incremental" or training.method == "placebo" else BASE


class Evaluation(RunFile):
    """`evaluation.json`: the offline gate's verdict on one adapter against one champion."""

    run_id: str
    adapter: AdapterName
    champion: AdapterName
    passed: bool
    checks: tuple[GateCheck, ...]
    seconds: float
    categories: tuple[Category, ...] = ()
    """Accuracy, precision, recall and F1 of the regression questions, a category each."""
    regression_hash: str = ""
    """Of the regression questions that were asked and their policies."""


class Unfit(RunFile):
    """`unfit.json`: examples that the last attempt found too long to train on."""

    names: tuple[str, ...]


class Step(RunFile):
    """The last line of `progress.jsonl`."""

    step: int = 0
    steps: int = 0
    loss: float | None = None
