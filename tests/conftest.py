"""Fixtures that several suites share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import brokers, vllm
from tests.brokers import Broker
from tests.vllm import Vllm

# What a busy machine takes for one example says nothing about the code; pytest's own time-out bounds a test.
settings.register_profile("csqa", deadline=None)
settings.load_profile("csqa")


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Broker]:
    """The embedded broker, one for the session: tests tell their data apart by ids of their own."""
    broker = brokers.embedded()
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, one for the session; skips with the reason where there is none."""
    reason = brokers.why_no_kafka()
    if reason:
        pytest.skip(reason)  # Java and 100 MB that no package registry has: every test here runs on the embedded broker too
    broker = brokers.kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


_BOTH = [pytest.param("embedded", id="embedded"), pytest.param("kafka", id="kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=_BOTH)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each test once on each broker. Shared with other tests."""
    shared: Broker = request.getfixturevalue(f"{request.param}_broker")
    return shared


@pytest.fixture
def mortal_broker() -> Iterator[Broker]:
    """An embedded broker of the test's own, empty, to be killed and started at will."""
    broker = brokers.embedded()
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def mortal_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka of the test's own, empty, to be killed and started at will."""
    reason = brokers.why_no_kafka()
    if reason or "KAFKA_HOME" not in os.environ:
        pytest.skip(reason or "a broker that can be killed needs KAFKA_HOME")  # the cluster of CSQA_TEST_KAFKA is not ours to kill
    broker = brokers.kafka(tmp_path_factory.mktemp("mortal-kafka"), private=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A real vLLM with the packaged model, one for the session; whoever loads an adapter unloads it again."""
    if reason := vllm.why_no_vllm():
        pytest.fail(reason)  # `make setup` installs it: without it an environment is broken, not poorer
    server, process = vllm.start(tmp_path_factory.mktemp("vllm"))
    yield server
    if process is not None:
        vllm.stop(process)
