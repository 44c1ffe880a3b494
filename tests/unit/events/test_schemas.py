"""The published description of the log is what the code reads and writes."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from csqa_loop.commands.docs import rendered
from csqa_loop.errors import PermanentError
from csqa_loop.events import EVENTS, Event
from csqa_loop.events.schemas import EXAMPLES, asyncapi, event_schemas
from csqa_loop.events.topics import TOPICS
from csqa_loop.events.wire import decode
from tests.unit.events.some_events import some_event

COMMITTED = Path(__file__).parents[3] / "docs" / "events"
KINDS = {event.__name__: event for event in EVENTS}


def validator(name: str) -> Draft202012Validator:
    schema = event_schemas()[name]
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_what_is_committed_is_current() -> None:
    current = rendered()
    assert {name: (COMMITTED / name).read_text(encoding="utf-8") for name in current} == current, "run `csqa docs`"
    assert {f"schemas/{file.name}" for file in (COMMITTED / "schemas").iterdir()} == {name for name in current if name != "asyncapi.yaml"}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_what_this_code_writes_satisfies_the_schema(kind: type[Event]) -> None:
    validator(kind.__name__).validate(json.loads(some_event(kind).to_json()))


def test_the_readme_shows_the_examples() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (COMMITTED / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [json.loads(block) for block in blocks] == list(EXAMPLES.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_and_readable(name: str) -> None:
    validator(name).validate(EXAMPLES[name])
    kind = KINDS[name]
    event = decode(kind.topic, json.dumps(EXAMPLES[name]).encode())
    assert type(event) is kind
    assert event.key == EXAMPLES[name][kind.key_field]
    assert set(EXAMPLES[name]) <= set(kind.model_fields), "writers send no unknown field"


@pytest.mark.parametrize("name", EXAMPLES)
def test_schema_and_reader_demand_the_same_fields(name: str) -> None:
    check = validator(name)
    for field in check.schema["required"]:
        body = copy.deepcopy(EXAMPLES[name])
        del body[field]
        assert not check.is_valid(body), field
        # A topic with one event can do without `type`; the schema still asks writers for it.
        if field != "type":
            with pytest.raises(PermanentError, match=field):
                decode(KINDS[name].topic, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("FeedbackGiven", "thumb", "sideways"),
        ("FeedbackGiven", "comment", "x" * 10_001),
        ("BadCaseReported", "reason", "ugly"),
        ("ArmExposed", "message_id", ""),
        ("ArmExposed", "adapter", "latest"),
        ("AnswerGiven", "messages", []),
        ("AnswerGiven", "latency_ms", -1),
        ("AnswerGiven", "question", None),
    ],
)
def test_schema_and_reader_refuse_the_same_values(name: str, field: str, value: object) -> None:
    body = EXAMPLES[name] | {field: value}
    assert not validator(name).is_valid(body)
    with pytest.raises(PermanentError, match=field):
        decode(KINDS[name].topic, json.dumps(body).encode())


def test_the_document_names_every_topic_as_it_is_created() -> None:
    document = yaml.safe_load(rendered()["asyncapi.yaml"])
    assert document == json.loads(json.dumps(asyncapi()))
    channels = {channel["address"]: channel for channel in document["channels"].values()}
    assert set(channels) == set(TOPICS)
    for name, topic in TOPICS.items():
        binding = channels[name]["bindings"]["kafka"]
        assert binding["partitions"] == topic.partitions
        for key, value in binding["topicConfiguration"].items():
            assert topic.config[key] == (value[0] if isinstance(value, list) else str(value))


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            return [value for key, value in node.items() if key == "$ref"] + [one for value in node.values() for one in references(value)]
        return [one for value in node for one in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        if reference.startswith("#/"):
            node = document
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]
        else:
            assert (COMMITTED / reference).is_file(), reference
