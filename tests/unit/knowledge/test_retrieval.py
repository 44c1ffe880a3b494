"""The one call: stages over what is served."""

from datetime import UTC, datetime

import pytest

from csqa_loop.errors import TransientError
from csqa_loop.events import PolicyWithdrawn
from csqa_loop.knowledge import retrieval
from csqa_loop.knowledge.index import KnowledgeIndex
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.retrieval import Retriever
from csqa_loop.knowledge.rules.publishing import publication
from csqa_loop.knowledge.stages.late import LateInteraction
from csqa_loop.knowledge.stages.lexical import LexicalIndex
from tests.fakes.encoder import FakeEncoder
from tests.unit.knowledge.stages.test_late import Words

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAGES = {"returns": "# Returns\n\n## Laptops\n\nlaptops 14 days\n\n## Shirts\n\nshirts 30 days\n", "fees": "shipping costs five euros"}


async def shop(lexical: LexicalIndex | None = None, pages: dict[str, str] = PAGES) -> tuple[KnowledgeIndex, FakeEncoder]:
    encoder = FakeEncoder()
    index = KnowledgeIndex(encoder.name, encoder.dimension, clock=lambda: NOW, listeners=[lexical] if lexical else ())
    published = [publication(name, text, now=NOW) for name, text in pages.items()]
    for event in (*published, *await index_policies(published, encoder, VectorCache(encoder.name), chunk_characters=700, now=NOW)):
        index.take(event)
    return index, encoder


async def test_every_stage_tells_what_it_saw() -> None:
    lexical = LexicalIndex()
    index, encoder = await shop(lexical)
    lexical.settle(10)
    found = await Retriever(encoder, index, lexical=lexical, late=LateInteraction(Words(), 10)).retrieve("how many days for shirts", 2)
    assert found.hits == tuple(candidate.hit for candidate in found.candidates[:2])
    assert found.hits[0].section == "Returns > Shirts"
    assert len(found.candidates) == 3
    best = found.candidates[0]
    assert best.lexical is not None
    assert best.late is not None
    assert found.nearest == max(candidate.hit.score for candidate in found.candidates)
    assert (found.index_version, found.as_of, found.query) == (index.version, index.as_of, "how many days for shirts")
    lexical.close()


async def test_what_only_the_lexical_stage_finds_is_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CANDIDATES", 1)
    lexical = LexicalIndex()
    index, encoder = await shop(lexical, {"near": "red blue green red blue", "said": "zebra " + "other words " * 20})
    lexical.settle(10)
    found = await Retriever(encoder, index, lexical=lexical).retrieve("red blue green zebra", 2)
    assert [hit.policy_id for hit in found.hits] == ["near", "said"]
    assert found.hits[1].score < found.hits[0].score
    lexical.close()


async def test_what_was_withdrawn_is_not_found_though_the_lexical_index_lags() -> None:
    lexical = LexicalIndex()
    index, encoder = await shop(lexical)
    lexical.settle(10)
    lexical.unserved = lambda policy_id: None  # type: ignore[method-assign]  # it never hears of it
    index.take(PolicyWithdrawn(occurred_at=NOW, policy_id="returns"))
    found = await Retriever(encoder, index, lexical=lexical).retrieve("laptops days", 5)
    assert {candidate.hit.policy_id for candidate in found.candidates} == {"fees"}
    lexical.close()


async def test_a_large_index_goes_without_late_interaction_and_so_does_a_failing_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    index, encoder = await shop()
    words = Words()
    small = await Retriever(encoder, index, late=LateInteraction(words, most_kept=2)).retrieve("shirts", 2)
    assert words.asked == []
    assert all(candidate.late is None for candidate in small.candidates)

    async def refuse(texts: object) -> object:
        raise TransientError("away")

    monkeypatch.setattr(words, "encode_tokens", refuse)
    found = await Retriever(encoder, index, late=LateInteraction(words, most_kept=20)).retrieve("shirts", 2)
    assert found.hits == small.hits


async def test_nothing_is_found_where_nothing_is_served() -> None:
    index, encoder = await shop(pages={})
    found = await Retriever(encoder, index, late=LateInteraction(Words(), 10)).retrieve("shirts", 2)
    assert (found.hits, found.candidates, found.nearest) == ((), (), -1.0)


async def test_a_follow_up_is_searched_with_what_it_refers_to() -> None:
    index, encoder = await shop()
    retriever = Retriever(encoder, index)
    found = await retriever.retrieve("and how long?", 1, turns=["can I send back laptops"])
    assert found.query == "can I send back laptops\nand how long?"
    assert found.hits[0].section == "Returns > Laptops"
