"""The FAISS index serves current versions only, at once, whatever order the two topics arrive in."""

import asyncio
import random
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChunksWithdrawn, Event, PolicyIndexed, PolicyPublished, PolicyWithdrawn
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.knowledge.rules.versions import index_version
from tests.fakes.encoder import FakeEncoder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ENCODER = FakeEncoder()


class Raw:
    """A record as the bus hands it over."""

    partition, offset, timestamp_ms = 0, 7, 0

    def __init__(self, topic: str, value: bytes | None) -> None:
        self.topic, self.key, self.value = topic, None, value


def record(event: Event) -> Raw:
    return Raw(event.topic, event.to_json())


async def versions(policy_id: str, *texts: str) -> list[tuple[PolicyPublished, PolicyIndexed]]:
    made = []
    for number, text in enumerate(texts):
        published = publication(policy_id, text, now=NOW + timedelta(seconds=number))
        (indexed,) = await index_policies([published], ENCODER, VectorCache(ENCODER.name), chunk_characters=700, now=NOW)
        assert isinstance(indexed, PolicyIndexed)
        made.append((published, indexed))
    return made


async def ask(index: KnowledgeIndex, question: str, k: int = 3) -> list[tuple[str, str]]:
    (vector,) = await ENCODER.encode_queries([question])
    return [(hit.policy_id, hit.version) for hit in index.search(vector, k)]


@pytest.fixture
def index() -> KnowledgeIndex:
    return KnowledgeIndex(ENCODER.name, ENCODER.dimension, clock=lambda: NOW)


async def test_an_empty_index_answers_nothing(index: KnowledgeIndex) -> None:
    assert await ask(index, "anything") == []
    assert index.version == index_version(())


async def test_the_nearest_chunk_comes_first_with_its_cosine(index: KnowledgeIndex) -> None:
    ((published, indexed),) = await versions("returns", "# Returns\n\n## Laptops\n\nlaptops 14 days\n\n## Shirts\n\nshirts 30 days\n")
    index.apply(record(published))
    index.apply(record(indexed))
    (vector,) = await ENCODER.encode_passages([indexed.chunks[1].text])
    best, other = index.search(vector, 5)
    assert (best.chunk_id, best.section, best.text) == (indexed.chunks[1].chunk_id, "Returns > Shirts", indexed.chunks[1].text)
    assert best.score == pytest.approx(1.0, abs=1e-3)
    assert other.score < best.score <= 1.0
    assert index.version == index_version([("returns", published.version, ENCODER.name)])


async def test_a_new_version_replaces_the_old_one_at_once(index: KnowledgeIndex) -> None:
    (p1, i1), (p2, i2) = await versions("returns", "returns within 14 days", "returns within 30 days")
    for event in (p1, i1):
        index.apply(record(event))
    index.apply(record(i2))
    assert await ask(index, "returns") == [("returns", p1.version)], "chunks wait for their policy, the present ones stay"
    index.apply(record(p2))
    assert await ask(index, "returns") == [("returns", p2.version)]
    assert index.as_of == p2.occurred_at


async def test_a_former_version_goes_on_until_the_new_one_is_here(index: KnowledgeIndex) -> None:
    (p1, i1), (p2, i2) = await versions("returns", "returns within 14 days", "returns within 30 days")
    for event in (p1, i1, p2):
        index.apply(record(event))
    assert await ask(index, "returns") == [("returns", p1.version)]
    assert index.behind == {"returns": p1.version}
    index.apply(record(i1))  # sent again
    assert await ask(index, "returns") == [("returns", p1.version)]
    index.apply(record(i2))
    assert await ask(index, "returns") == [("returns", p2.version)]
    assert index.behind == {}
    index.apply(record(i1))  # late
    assert await ask(index, "returns") == [("returns", p2.version)]


async def test_after_a_start_with_the_indexer_away_a_former_version_serves(index: KnowledgeIndex) -> None:
    (p1, i1), (p2, _) = await versions("returns", "returns within 14 days", "returns within 30 days")
    for event in (p1, p2, i1):
        index.apply(record(event))
    assert await ask(index, "returns") == [("returns", p1.version)]


async def test_a_former_version_is_quoted_for_so_long_and_no_longer() -> None:
    moment = [NOW]
    index = KnowledgeIndex(ENCODER.name, ENCODER.dimension, stale_seconds=60, clock=lambda: moment[0])
    (p1, i1), (p2, i2), (p3, _) = await versions("returns", "returns within 14 days", "returns within 30 days", "returns within 60 days")
    for event in (p1, i1, p2, p3):
        index.apply(record(event))
    moment[0] = p2.occurred_at + timedelta(seconds=59)
    assert await ask(index, "returns") == [("returns", p1.version)]
    moment[0] = p2.occurred_at + timedelta(seconds=60)
    assert await ask(index, "returns") == []
    assert index.version == index_version(())
    index.apply(record(i2))
    assert await ask(index, "returns") == [("returns", p2.version)], "it was current one second longer"
    moment[0] = p3.occurred_at + timedelta(seconds=60)
    assert await ask(index, "returns") == []


async def test_what_was_withdrawn_is_not_quoted_for_a_later_version(index: KnowledgeIndex) -> None:
    (p1, i1), (p2, i2) = await versions("returns", "returns within 14 days", "returns within 30 days")
    withdrawn = PolicyWithdrawn(occurred_at=NOW, policy_id="returns")
    for event in (p1, i1, withdrawn, p2):
        index.apply(record(event))
        assert await ask(index, "returns") == ([("returns", p1.version)] if event is i1 else [])
    index.apply(record(i1))
    assert await ask(index, "returns") == []
    index.apply(record(i2))
    assert await ask(index, "returns") == [("returns", p2.version)]


async def test_what_is_withdrawn_during_a_search_is_not_found_though_another_version_came_back(
    index: KnowledgeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    (p1, i1), (p2, i2) = await versions("returns", "returns within 14 days", "returns within 30 days")
    withdrawn = PolicyWithdrawn(occurred_at=NOW, policy_id="returns")
    for event in (p1, i1):
        index.apply(record(event))
    search = index._slots.search

    def interrupted(query: np.ndarray, most: int) -> object:
        found = search(query, most)
        monkeypatch.setattr(index._slots, "search", search)
        for event in (withdrawn, p2, i2):
            index.apply(record(event))
        return found

    monkeypatch.setattr(index._slots, "search", interrupted)
    assert await ask(index, "returns") == [("returns", p2.version)]


async def test_a_late_word_of_the_indexer_takes_nothing_away_that_was_published_again(index: KnowledgeIndex) -> None:
    ((p1, i1),) = await versions("returns", "returns within 14 days")
    gone = ChunksWithdrawn(occurred_at=NOW, policy_id="returns")
    counts = []
    for event in (p1, i1, PolicyWithdrawn(occurred_at=NOW, policy_id="returns"), p1, gone, i1):
        index.apply(record(event))
        counts.append(len(await ask(index, "returns")))
    assert counts == [0, 1, 0, 1, 1, 1]


@given(st.lists(st.tuples(st.sampled_from("pcwd"), st.integers(0, 2)), max_size=14), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_whatever_the_topics_say_no_withdrawn_text_is_served(words: list[tuple[str, int]], chance: random.Random) -> None:
    """p: a version is published, w: the policy is withdrawn, c: a version is indexed, d: the indexer withdraws. The topics know no order."""
    made = asyncio.run(versions("returns", "one text", "another text", "a third text"))
    policies: list[Event] = []
    chunks: list[Event] = []
    for word, number in words:
        published, indexed = made[number]
        if word == "p":
            policies.append(published)
        elif word == "w":
            policies.append(PolicyWithdrawn(occurred_at=NOW, policy_id="returns"))
        else:
            chunks.append(indexed if word == "c" else ChunksWithdrawn(occurred_at=NOW, policy_id="returns"))
    index = KnowledgeIndex(ENCODER.name, ENCODER.dimension, clock=lambda: NOW)
    vector = asyncio.run(ENCODER.encode_queries(["text"]))[0]
    allowed: list[str] = []  # published since the last withdrawal
    waiting, seen = [list(policies), list(chunks)], ""
    while any(waiting):
        event = chance.choice([queue for queue in waiting if queue]).pop(0)
        index.apply(record(event))
        if isinstance(event, PolicyPublished):
            allowed.append(event.version)
        elif isinstance(event, PolicyWithdrawn):
            allowed = []
        served = {hit.version for hit in index.search(vector, 5)}
        assert len(served) <= 1
        assert served <= set(allowed)
        if not isinstance(event, PolicyWithdrawn) and seen:
            assert served, "only a withdrawal takes something away"
        seen = next(iter(served), "")
    if allowed and chunks and isinstance(chunks[-1], PolicyIndexed) and chunks[-1].version == allowed[-1]:
        assert seen == allowed[-1]


async def test_a_withdrawal_needs_no_indexer(index: KnowledgeIndex) -> None:
    ((published, indexed),) = await versions("returns", "returns within 14 days")
    for event in (published, indexed, PolicyWithdrawn(occurred_at=NOW, policy_id="returns")):
        index.apply(record(event))
    assert await ask(index, "returns") == []
    assert index.version == index_version(())
    index.apply(record(published))
    assert await ask(index, "returns") == [("returns", published.version)], "published again in the same text"


async def test_what_cannot_be_used_is_skipped_and_named(index: KnowledgeIndex, caplog: pytest.LogCaptureFixture) -> None:
    ((published, indexed),) = await versions("returns", "returns within 14 days")
    index.apply(record(published))
    damaged = indexed.model_copy(update={"chunks": (indexed.chunks[0].model_copy(update={"vector": "AAAA"}),)})
    for raw in (
        Raw("csqa.chunks", None),
        Raw("csqa.policies", b"{"),
        record(damaged),
        record(indexed.model_copy(update={"encoder": "another"})),
    ):
        index.apply(raw)
    assert await ask(index, "returns") == []
    text = caplog.text
    assert all(words in text for words in ("no value", "not JSON", "has 3 bytes", "encoder another"))
    with pytest.raises(PermanentError, match="3 numbers"):
        index.search(np.zeros(3, np.float32), 1)
    index.apply(record(indexed))
    assert await ask(index, "returns") == [("returns", published.version)]


async def test_gateways_that_saw_the_same_agree_whatever_the_order() -> None:
    """Within a topic a policy's records keep their order; everything else is shuffled."""
    shuffle = random.Random(5)
    policies: dict[str, list[Event]] = {}
    chunks: dict[str, list[Event]] = {}
    for number in range(8):
        made = await versions(f"p{number}", "same words everywhere", f"words number {number}", f"final words {number % 3}")
        policies[f"p{number}"] = [published for published, _ in made]
        chunks[f"p{number}"] = [indexed for _, indexed in made]
        if number % 4 == 0:
            policies[f"p{number}"].append(PolicyWithdrawn(occurred_at=NOW, policy_id=f"p{number}"))
            chunks[f"p{number}"].append(ChunksWithdrawn(occurred_at=NOW, policy_id=f"p{number}"))
    results = []
    for _ in range(20):
        index = KnowledgeIndex(ENCODER.name, ENCODER.dimension)
        queues = [list(events) for events in (*policies.values(), *chunks.values())]
        while queues:
            queue = shuffle.choice(queues)
            index.apply(record(queue.pop(0)))
            queues = [queue for queue in queues if queue]
        (vector,) = await ENCODER.encode_queries(["final words"])
        results.append((index.version, index.as_of, [(hit.chunk_id, hit.score) for hit in index.search(vector, 4)]))
    assert all(result == results[0] for result in results)
    assert len(results[0][2]) == 4


async def test_searches_beside_an_applier_see_whole_documents(index: KnowledgeIndex) -> None:
    texts = [f"# Returns\n\n## A\n\nalpha {n}\n\n## B\n\nbeta {n}\n" for n in range(2)]
    made = await versions("returns", *texts)
    (vector,) = await ENCODER.encode_queries(["returns alpha beta"])
    for event in made[0]:
        index.apply(record(event))
    seen: list[list[str]] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            seen.append([hit.version for hit in index.search(vector, 4)])

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        for published, indexed in made:
            index.apply(record(indexed))
            index.apply(record(published))
    stop.set()
    for thread in threads:
        thread.join(timeout=10)
    assert seen
    assert all(len(found) == 2 and len(set(found)) == 1 for found in seen), "never two versions of one document, nor none"
