"""Vectors in slots: as exact as comparing all of them, whatever was put in, taken away and put in again."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csqa_loop.knowledge import slots as module
from csqa_loop.knowledge.slots import VectorSlots

DIMENSION = 8


def unit(chance: np.random.Generator, rows: int) -> np.ndarray:
    vectors = chance.standard_normal((rows, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", 4)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=25), st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_a_search_finds_what_comparing_all_finds(changes: list[tuple[int, int]], seed: int, most: int) -> None:
    """(document, its new number of rows), one change after the other."""
    chance = np.random.default_rng(seed)
    held: VectorSlots[tuple[int, int, int]] = VectorSlots(DIMENSION)
    documents: dict[int, tuple[list[int], np.ndarray, list[tuple[int, int, int]]]] = {}
    for step, (document, rows) in enumerate(changes):
        gone = documents.pop(document, ([], None, None))[0]
        vectors, items = unit(chance, rows), [(document, step, row) for row in range(rows)]
        documents[document] = (held.replace(gone, vectors, items), vectors, items)
        query = unit(chance, 1)
        everything = {item: float(query[0] @ vector) for _, vs, its in documents.values() for vector, item in zip(vs, its, strict=True)}
        found = {item: score for score, item in held.search(query, most)}
        assert len(found) >= min(most, len(everything)) == min(most, len(held))
        assert found == pytest.approx({item: everything[item] for item in found}, abs=1e-5)
        best = sorted(everything.values(), reverse=True)[:most]
        assert sorted(found.values(), reverse=True)[: len(best)] == pytest.approx(best, abs=1e-5)
        for places, vs, _ in documents.values():
            assert held.vectors(places) == pytest.approx(vs)


def test_places_are_used_again() -> None:
    chance = np.random.default_rng(1)
    held: VectorSlots[int] = VectorSlots(DIMENSION)
    places: list[int] = []
    for step in range(50):
        places = held.replace(places, unit(chance, 3), [step] * 3)
    assert max(places) < 9
    assert len(held) == 3


def test_a_search_under_way_sees_the_moment_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(2)
    held: VectorSlots[str] = VectorSlots(DIMENSION)
    old = held.replace((), unit(chance, 2), ["old"] * 2)
    nearest, inside, go_on = module._nearest, threading.Event(), threading.Event()

    def slowly(*arguments: object) -> object:
        inside.set()
        assert go_on.wait(10)
        return nearest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_nearest", slowly)
    seen: list[list[str]] = []
    searching = threading.Thread(target=lambda: seen.append([item for _, item in held.search(unit(chance, 1), 2)]))
    searching.start()
    assert inside.wait(10)
    new = held.replace(old, unit(chance, 2), ["new"] * 2)
    for _ in range(3):  # places that the search still looks at are not used again
        new = held.replace(new, unit(chance, 2), ["newer"] * 2)
    go_on.set()
    searching.join(timeout=10)
    assert seen == [["old", "old"]]
    assert [item for _, item in held.search(unit(chance, 1), 2)] == ["newer"] * 2
