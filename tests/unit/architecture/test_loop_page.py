"""The page that shows the loop says what there is: its functions exist, no fact is left out, and the loop is closed."""

import importlib

import pytest

from csqa_loop import events as e
from csqa_loop.events.topics import FACT_TOPICS
from csqa_loop.loop import LOOP, Process, Station, topics_read_by

READERS: tuple[Process, ...] = ("gateway", "indexer", "loop", "trainer")


@pytest.mark.parametrize("step", LOOP, ids=lambda step: f"{step.on if isinstance(step.on, str) else step.on.__name__} {step.does}")
def test_every_use_case_exists(step: Station) -> None:
    module, _, name = step.does.partition(":")
    found = importlib.import_module(f"csqa_loop.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    assert found.__module__ == f"csqa_loop.{module}", "named where it is defined, not where it is imported"


def test_every_fact_comes_from_some_step_and_leads_to_one() -> None:
    facts = set(e.EVENTS)
    assert {kind for step in LOOP for kind in step.makes} == facts
    assert {step.on for step in LOOP if not isinstance(step.on, str)} == facts - {e.DeadLettered}


def test_the_loop_is_closed() -> None:
    reached: set[object] = {"thumb"}
    while more := {kind for step in LOOP if step.on in reached for kind in step.makes} - reached:
        reached |= more
    assert {e.TrainingRequested, e.AdapterEvaluated, e.VerdictReached, e.DeploymentChanged} <= reached
    assert any(step.on is e.DeploymentChanged and step.process == "gateway" for step in LOOP)


def test_the_ledger_reads_every_fact_topic() -> None:
    assert set(topics_read_by("loop")) == set(FACT_TOPICS)


@pytest.mark.parametrize("process", READERS)
def test_every_process_reads_something(process: Process) -> None:
    assert topics_read_by(process)
