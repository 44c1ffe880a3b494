"""A scenario: policies, questions that customers ask, what a right answer holds, and what an agent would have said."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from csqa_loop.errors import ConfigurationError
from csqa_loop.evidence.rules.grading import Phrase, Probe, _Part
from csqa_loop.text.languages import DEFAULT_LANGUAGE, Language

_EXAMPLES = {
    "name": "name: harbour-shop",
    "language": "language: en, or language: zh",
    "policies": "policies: policies (a folder of .md files, relative to the scenario file)",
    "id": "id: return-electronics, another one for each question",
    "policy": "policy: returns.md (a file in the policies folder)",
    "ask": 'ask: ["How long do I have to return electronics?"], one phrasing or more',
    "expect": 'expect: ["14 days"], one string or more',
    "forbid": 'forbid: ["30 days"], or forbid: []',
    "correction": "correction: one sentence that an agent would have answered",
    "holdout": "holdout: true (asked to measure, never corrected), or holdout: false",
    "questions": "questions: a list with one question or more",
    "regression": "regression: a list of questions without correction, or left out",
}


class ScenarioQuestion(Probe):
    """A question that customers ask. Held out: asked to measure, never rated and never corrected."""

    correction: Phrase | None = None
    holdout: bool = False

    @model_validator(mode="after")
    def _corrected(self) -> Self:
        if not self.holdout and self.correction is None:
            raise ValueError("correction is missing; every question that is not held out needs one")
        return self


class Scenario(_Part):
    """A scenario file's content, valid."""

    name: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,100}$")]
    language: Language = DEFAULT_LANGUAGE
    policies: Annotated[str, StringConstraints(min_length=1)] = "policies"
    questions: tuple[ScenarioQuestion, ...] = Field(min_length=1)
    regression: tuple[Probe, ...] = ()

    @property
    def holdout(self) -> tuple[ScenarioQuestion, ...]:
        """Questions that only measure."""
        return tuple(question for question in self.questions if question.holdout)

    @property
    def trainable(self) -> tuple[ScenarioQuestion, ...]:
        """Questions that customers ask and agents correct."""
        return tuple(question for question in self.questions if not question.holdout)


def parse_scenario(content: Any, *, where: str, policy_files: frozenset[str] | None = None) -> Scenario:
    """The scenario in `content`, what a YAML reader made of the file named `where`.

    Args:
        content: the parsed YAML.
        where: the file's name, for messages.
        policy_files: names that exist in the policies folder, relative to it; None leaves that unchecked.

    Raises:
        ConfigurationError: names file and key, what is wrong, and what would be right.
    """
    if not isinstance(content, dict):
        raise ConfigurationError(f"{where}: a mapping with name, language, policies and questions is expected, not {_shortened(content)}")
    try:
        scenario = Scenario.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_explain(error, content)}") from None
    _refuse_duplicates(scenario, where)
    if not scenario.trainable:
        raise ConfigurationError(f"{where}: every question is held out; at least one needs holdout: false, else there is nothing to learn")
    if policy_files is not None:
        _refuse_missing_policies(scenario, where, policy_files)
    return scenario


def _refuse_duplicates(scenario: Scenario, where: str) -> None:
    ids: set[str] = set()
    for key, probes in (("questions", scenario.questions), ("regression", scenario.regression)):
        for number, probe in enumerate(probes):
            if probe.id in ids:
                raise ConfigurationError(f"{where}: {key}[{number}].id is {probe.id!r}, which another question has; ids must be unique")
            ids.add(probe.id)


def _refuse_missing_policies(scenario: Scenario, where: str, policy_files: frozenset[str]) -> None:
    for key, probes in (("questions", scenario.questions), ("regression", scenario.regression)):
        for number, probe in enumerate(probes):
            if probe.policy not in policy_files:
                existing = ", ".join(sorted(policy_files)[:20]) or "none"
                raise ConfigurationError(
                    f"{where}: {key}[{number}].policy ({probe.id}) is {probe.policy!r}, "
                    f"which is not a file in the folder {scenario.policies!r}; files there: {existing}"
                )


def _explain(error: ValidationError, content: dict[Any, Any]) -> str:
    # A misspelt key is also a missing one; the unknown name explains both.
    first = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".") or "the file"
    names = [part for part in first["loc"] if isinstance(part, str)]
    key = names[-1] if names else ""
    question = _id_at(first["loc"], content)
    if first["type"] == "extra_forbidden":
        model = Scenario if len(first["loc"]) == 1 else Probe if first["loc"][0] == "regression" else ScenarioQuestion
        return f"{path}{question} is not a known key; known here: {', '.join(model.model_fields)}"
    if first["type"] == "missing":
        return f"{path}{question} is missing; for example {_EXAMPLES.get(key, key)}"
    if first["type"] == "value_error":
        return f"{path}{question}: {first['msg'].removeprefix('Value error, ')}"
    hint = f"; for example {_EXAMPLES[key]}" if key in _EXAMPLES else ""
    return f"{path}{question} is {_shortened(first['input'])}: {first['msg']}{hint}"


def _id_at(path: tuple[int | str, ...], content: dict[Any, Any]) -> str:
    """` (id)` of the question that the path leads into."""
    if len(path) < 2 or not isinstance(path[1], int):
        return ""
    items = content.get(path[0])
    item = items[path[1]] if isinstance(items, list) and path[1] < len(items) else None
    name = item.get("id") if isinstance(item, dict) else None
    return f" ({name})" if isinstance(name, str) and name else ""


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
