"""The JSON files of a run directory, and the names of all of its files."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from pydantic import BaseModel, ConfigDict, Field

from csqa_loop.events import BASE, AdapterName, GateCheck
from csqa_loop.evidence.rules.grading import Grade
from csqa_loop.settings import AnswerSettings, GateSettings, RetrievalSettings, TrainingSettings
from csqa_loop.text.languages import DEFAULT_LANGUAGE, Language

PAIRS, HOLDOUT, REPLAY = "pairs.parquet", "holdout.parquet", "replay.parquet"
UNPAIRED, DEMONSTRATIONS, CONFIG = "unpaired.parquet", "demonstrations.parquet", "config.json"
UNFIT = "unfit.json"


class RunFile(BaseModel):
    """A JSON file of a run directory."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RunRequest(RunFile):
    """`request.json`: the run that was requested."""

    run_id: str = Field(min_length=1)
    attempt: int = Field(default=1, ge=1)
    """The attempt that owns the folder: an older one that still runs records nothing more."""
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
    language: Language = DEFAULT_LANGUAGE
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    """These three as the gateway has them: the gate's prompts and answers are to be the customers'."""
    regression_hash: str = ""
    """Hash of the regression questions and their policies when the run was claimed; empty where they could not be read."""
    model_server_urls: tuple[str, ...] = ()

    @property
    def answer_tokens(self) -> int:
        """The longest answer that the gate asks for."""
        return min(self.answer.max_tokens, self.gate.max_tokens or self.answer.max_tokens)


def parent_of(champion: str, training: TrainingSettings) -> str:
    """What a run continues. A placebo answers like the champion in any mode."""
    return champion if training.mode == "incremental" or training.method == "placebo" else BASE


@dataclass(frozen=True)
class Scores:
    """Scores of some answers.

    A right answer is a true positive, one that holds a forbidden phrase a false positive and one that lacks an expected phrase a false
    negative; an answer that does both is both, as a wrong class is in classification. So precision falls by what is said wrongly, recall by
    what is not said. Where nothing is right all three are 0.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float

    @classmethod
    def of(cls, grades: Sequence[Grade]) -> "Scores":
        """The scores of at least one answer."""
        right = sum(grade.right for grade in grades)
        false, silent = sum(grade.forbidden for grade in grades), sum(not grade.expected for grade in grades)
        if not right:
            return cls(0.0, 0.0, 0.0, 0.0)
        return cls(right / len(grades), right / (right + false), right / (right + silent), 2 * right / (2 * right + false + silent))

    @classmethod
    def mean(cls, scores: "Sequence[Scores]") -> "Scores":
        """The macro mean: each category counts once, however many answers it has."""
        return cls(*(sum(column) / len(scores) for column in zip(*map(astuple, scores), strict=True)))


@dataclass(frozen=True)
class Category:
    """One category, or the mean over all of them."""

    name: str
    answers: int
    champion: Scores
    candidate: Scores


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
    """Hash of the regression questions that were asked and their policies."""


class Unfit(RunFile):
    """`unfit.json`: examples that the last attempt found too long to train on."""

    names: tuple[str, ...]


class ProgressLine(RunFile):
    """The last line of `progress.jsonl`."""

    step: int = 0
    steps: int = 0
    loss: float | None = None
