"""An adapter whose files are damaged, or that the base cannot take: it is named, gets no traffic, and the champion goes on."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from csqa_loop import events as e
from csqa_loop.answering.model.vllm import VllmServer
from csqa_loop.events import ChatMessage, Sampling
from csqa_loop.local.base_model import base_model_path
from csqa_loop.rollout.reconciler import Reconciler
from csqa_loop.settings import ModelServerSettings
from csqa_loop.training.adapters import CONFIG_FILE, TENSORS_FILE, AdapterFolders, adapter_name
from tests import events as make
from tests.boards import ADAPTER, build, deployed, gated
from tests.fakes.model_server import FakeModelServer
from tests.faults.conftest import Report
from tests.vllm import Vllm, write_adapter

pytestmark = pytest.mark.fault(17, "an adapter is damaged: a bit, its files, its numbers, its rank, its base")


def flipped(folder: Path, report: Report) -> None:
    file = folder / TENSORS_FILE
    body = bytearray(file.read_bytes())
    place = report.random.randrange(8 * len(body))
    body[place // 8] ^= 1 << place % 8
    file.write_bytes(body)


def cut(folder: Path, report: Report) -> None:
    file = folder / TENSORS_FILE
    file.write_bytes(file.read_bytes()[: report.random.randrange(file.stat().st_size)])


def without(name: str) -> Callable[[Path, Report], None]:
    return lambda folder, _: (folder / name).unlink()


def with_another(folder: Path, report: Report) -> None:
    del report
    (folder / "tokenizer.json").write_text("{}")


ON_DISK = {
    "a bit": flipped,
    "its end": cut,
    "its tensors": without(TENSORS_FILE),
    "its shape": without(CONFIG_FILE),
    "one more": with_another,
}


@pytest.mark.parametrize("damage", ON_DISK)
async def test_damaged_before_its_experiment_it_is_given_up_by_name(damage: str, report: Report) -> None:
    server = FakeModelServer()
    decider, board, bus, _ = build(server)
    await gated(board, decider)
    ON_DISK[damage](board.adapters / ADAPTER, report)
    for _ in range(4):
        await decider.beat()
        board.now += timedelta(seconds=1)
    (given_up,) = bus.of_type(e.AdapterUnservable)
    assert given_up.adapter == ADAPTER
    assert str(board.adapters / ADAPTER) in given_up.reason
    assert (deployed(board).champion, deployed(board).candidate, deployed(board).challenger) == ("base", None, None)
    assert server.log == []
    report.runs += 1


@pytest.mark.parametrize("damage", ON_DISK)
async def test_damaged_while_it_serves_no_replica_that_restarts_is_given_it(damage: str, report: Report) -> None:
    server = FakeModelServer(replicas=("http://one", "http://two"))
    decider, board, _, reconciler = build(server)
    await gated(board, decider)
    await decider.beat()
    assert all(ADAPTER in held for held in server.held.values())
    folder = board.adapters / ADAPTER
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    ON_DISK[damage](folder, report)
    server.held["http://two"] = {e.BASE}
    await decider.beat()
    assert server.held == {"http://one": {e.BASE, ADAPTER}, "http://two": {e.BASE}}
    (trouble,) = reconciler.troubles
    assert trouble.replica == "http://two"
    assert str(folder) in trouble.reason
    # Restored, it is loaded again.
    for file in folder.iterdir():
        file.unlink()
    for name, body in kept.items():
        (folder / name).write_bytes(body)
    await decider.beat()
    assert all(ADAPTER in held for held in server.held.values())
    assert reconciler.troubles == []
    report.runs += 1


def no_numbers(folder: Path) -> None:
    tensors = load_file(folder / TENSORS_FILE)
    save_file({name: np.full_like(tensor, np.nan) for name, tensor in tensors.items()}, folder / TENSORS_FILE)


def other_rank(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"r": 4096}))


def other_base(folder: Path) -> None:
    tensors = load_file(folder / TENSORS_FILE)
    # As of a base with twice the width.
    save_file(
        {name: np.concatenate([tensor, tensor], axis=1 if "lora_A" in name else 0) for name, tensor in tensors.items()},
        folder / TENSORS_FILE,
    )


def no_lora(folder: Path) -> None:
    save_file({"weight": np.zeros((2, 2), np.float32)}, folder / TENSORS_FILE)


@pytest.mark.vllm
@pytest.mark.timeout(400)
@pytest.mark.parametrize("make_it", [no_numbers, other_rank, other_base, no_lora], ids=["NaN", "rank", "base", "no LoRA"])
async def test_what_the_base_cannot_take_gets_no_traffic(
    make_it: Callable[[Path], None], vllm_server: Vllm, tmp_path: Path, report: Report
) -> None:
    """Whole on the disk, under the name of its content. Numbers that are none must not reach the server: the base would answer no more."""
    (tmp_path / "adapters").mkdir()
    draft = write_adapter(tmp_path / "draft", Path(base_model_path(vllm_server.settings)), seed=3)
    make_it(draft)
    adapter = adapter_name(draft)
    draft.rename(tmp_path / "adapters" / adapter)
    server = VllmServer((vllm_server.url,), ModelServerSettings(), adapters=tmp_path / "adapters")
    await server.start()
    reconciler = Reconciler(server, AdapterFolders(tmp_path / "adapters").fault)
    deployment = e.DeploymentChanged(occurred_at=make.at(0), revision=1, champion="base", candidate=adapter, cause="a new candidate")
    try:
        await reconciler.reconcile(deployment, make.at(1), patience=60)
        assert not reconciler.holds_everywhere(adapter)
        assert not reconciler.holds_somewhere(adapter)
        assert reconciler.holds_everywhere(e.BASE)
        obstacle = reconciler.obstacle(adapter)
        assert vllm_server.url in obstacle.reason
        greedy = Sampling(temperature=0.0, top_p=1.0, max_tokens=8)
        answer = await server.generate(e.BASE, (ChatMessage(role="user", content="Hello"),), greedy, fallback=e.BASE)
        assert answer.text.strip()
        report.runs += 1
    finally:
        await server.unload(vllm_server.url, adapter)
        await reconciler.close()
        await server.stop()
