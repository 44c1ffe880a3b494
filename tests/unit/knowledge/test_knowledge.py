"""Indexing a policy, and what a folder means for the log."""

from datetime import UTC, datetime

import numpy as np
import pytest

from csqa_loop.errors import PermanentError
from csqa_loop.events import ChunksWithdrawn, PolicyIndexed, PolicyPublished, PolicyWithdrawn
from csqa_loop.knowledge.indexing import VectorCache, index_policies
from csqa_loop.knowledge.rules.current import KnowledgeState
from csqa_loop.knowledge.rules.publishing import plan_sync, publication, withdrawal
from csqa_loop.knowledge.rules.vectors import unpack_vector
from csqa_loop.knowledge.rules.versions import policy_version
from tests.fakes.encoder import FakeEncoder

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RETURNS = "# Returns\n\n## Electronics\n\n14 days.\n\n## Clothing\n\n30 days.\n"


async def indexed(event: PolicyPublished, encoder: FakeEncoder, cache: VectorCache) -> PolicyIndexed:
    (result,) = await index_policies([event], encoder, cache, chunk_characters=700, now=NOW)
    assert isinstance(result, PolicyIndexed)
    return result


async def test_a_policy_becomes_its_chunks_with_vectors() -> None:
    encoder = FakeEncoder()
    event = publication("shop/returns", RETURNS, now=NOW)
    result = await indexed(event, encoder, VectorCache(encoder.name))
    assert (result.policy_id, result.version, result.title) == ("shop/returns", policy_version(RETURNS), "Returns")
    assert (result.encoder, result.dimension) == (encoder.name, encoder.dimension)
    assert [chunk.chunk_id for chunk in result.chunks] == [f"shop/returns@{event.version}#0", f"shop/returns@{event.version}#1"]
    assert [chunk.section for chunk in result.chunks] == ["Returns > Electronics", "Returns > Clothing"]
    expected = await encoder.encode_passages([chunk.text for chunk in result.chunks])
    for chunk, row in zip(result.chunks, expected, strict=True):
        assert unpack_vector(chunk.vector, encoder.dimension) == pytest.approx(row, abs=1e-3)


async def test_indexing_twice_gives_one_event_id_and_encodes_nothing_again() -> None:
    encoder, event = FakeEncoder(), publication("returns", RETURNS, now=NOW)
    cache = VectorCache(encoder.name)
    first = await indexed(event, encoder, cache)
    cache.take(first)
    encoder.passages.clear()
    assert await indexed(event, encoder, cache) == first
    assert encoder.passages == []


async def test_only_changed_chunks_are_encoded() -> None:
    encoder = FakeEncoder()
    cache = VectorCache(encoder.name)
    cache.take(await indexed(publication("returns", RETURNS, now=NOW), encoder, cache))
    encoder.passages.clear()
    cache.take(await indexed(publication("returns", RETURNS.replace("30 days", "45 days"), now=NOW), encoder, cache))
    assert encoder.passages == ["Returns > Clothing\n45 days."]
    assert len(cache) == 2


async def test_the_cache_forgets_withdrawn_policies_but_not_what_another_one_shares() -> None:
    encoder = FakeEncoder()
    cache = VectorCache(encoder.name)
    one = await indexed(publication("one", RETURNS, now=NOW), encoder, cache)
    two = await indexed(publication("two", RETURNS, now=NOW), encoder, cache)
    for event in (one, one, two):
        cache.take(event)
    cache.take(ChunksWithdrawn(occurred_at=NOW, policy_id="one"))
    assert cache.get(one.chunks[0].text) == one.chunks[0].vector
    cache.take(ChunksWithdrawn(occurred_at=NOW, policy_id="two"))
    assert len(cache) == 0


async def test_vectors_of_another_encoder_and_damaged_ones_are_not_used() -> None:
    encoder = FakeEncoder()
    cache = VectorCache(encoder.name)
    event = await indexed(publication("returns", RETURNS, now=NOW), encoder, cache)
    cache.take(event.model_copy(update={"encoder": "another"}))
    cache.take(event.model_copy(update={"chunks": tuple(chunk.model_copy(update={"vector": "AAAA"}) for chunk in event.chunks)}))
    assert len(cache) == 0


async def test_a_withdrawal_takes_the_chunks_along() -> None:
    encoder = FakeEncoder()
    event = PolicyWithdrawn(occurred_at=NOW, policy_id="returns", reason="old")
    (first,) = await index_policies([event], encoder, VectorCache(encoder.name), chunk_characters=700, now=NOW)
    (again,) = await index_policies([event], encoder, VectorCache(encoder.name), chunk_characters=700, now=NOW)
    assert isinstance(first, ChunksWithdrawn)
    assert first == again
    assert first.policy_id == "returns"


async def test_a_policy_without_chunks_is_indexed_all_the_same() -> None:
    encoder = FakeEncoder()
    event = PolicyPublished(occurred_at=NOW, policy_id="blank", version="0" * 12, title="", text=" \n")
    result = await indexed(event, encoder, VectorCache(encoder.name))
    assert result.chunks == ()
    assert np.isfinite(result.dimension)


async def test_what_the_chunks_lack_is_told() -> None:
    encoder, state = FakeEncoder(), KnowledgeState()
    cache = VectorCache(encoder.name)
    done, changed, old = (publication(name, RETURNS, now=NOW) for name in ("done", "changed", "old-encoder"))
    for event in (done, changed, old):
        state.take(event)
        state.take(await indexed(event, encoder, cache))
    newer = publication("changed", RETURNS + "\nMore.\n", now=NOW)
    gone = publication("gone", RETURNS, now=NOW)
    state.take(newer)
    state.take(await indexed(old, FakeEncoder(name="older"), VectorCache("older")))
    state.take(gone)
    state.take(await indexed(gone, encoder, cache))
    withdrawn = withdrawal("gone", "", {"gone": gone.version}, now=NOW)
    state.take(withdrawn)

    def lacking() -> list[object]:
        return [event for name in ("done", "changed", "gone", "old-encoder") if (event := state.lacks(name, encoder.name))]

    assert lacking() == [newer, withdrawn, old]
    assert state.is_indexed("done", done.version)
    assert not state.is_indexed("changed", newer.version)
    state.take(ChunksWithdrawn(occurred_at=NOW, policy_id="gone"))
    state.take(await indexed(newer, encoder, cache))
    state.take(await indexed(old, encoder, cache))
    assert lacking() == []


def test_a_folder_against_the_log() -> None:
    files = {
        "returns": RETURNS,
        "fees": "# Fees\n\n5 EUR.\n",
        "empty": "---\ntitle: x\n---\n \n",
        "new/zh": "# 退货\n\n十四天。\n",
        "x" * 201: "# Long\n\na\n",
    }
    texts = {"returns": RETURNS, "fees": "4 EUR.", "old": "Of last year.", "binary": "Text."}
    current = {name: publication(name, text, now=NOW) for name, text in texts.items()}
    plan = plan_sync(files, {"binary": "not UTF-8"}, current, now=NOW)
    assert [(event.policy_id, event.title, event.language) for event in plan.publish] == [("fees", "Fees", "en"), ("new/zh", "退货", "zh")]
    assert plan.unchanged == ("returns",)
    assert plan.missing == ("old",)
    assert [name for name, _ in plan.refused] == ["binary", "empty", "x" * 201]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [("---\nlanguage: de\n---\nText", "zh", "de"), ("Text", "zh", "zh"), ("正文 text", "", "zh"), ("14", "", "en")],
)
def test_a_language_is_the_document_s_else_the_caller_s_else_what_the_letters_tell(text: str, language: str, expected: str) -> None:
    assert publication("p", text, now=NOW, language=language).language == expected


def test_what_cannot_be_published_or_withdrawn_is_refused_by_name() -> None:
    with pytest.raises(PermanentError, match="language"):
        publication("p", "---\nlang: simplified-chinese-of-the-mainland\n---\nText", now=NOW)
    with pytest.raises(PermanentError, match=r"'fee' is not published; current policies: fees"):
        withdrawal("fee", "", {"fees": "0" * 12}, now=NOW)
    assert publication("plain/name", "no heading", now=NOW).title == "plain/name"
