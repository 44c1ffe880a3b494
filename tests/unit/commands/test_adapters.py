"""`csqa adapters export` on a run of the test's own; the list of adapters still answers to its old name."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from csqa_loop.cli import app
from csqa_loop.console.answers import Adapter
from csqa_loop.errors import PermanentError
from csqa_loop.training.adapters import install
from csqa_loop.training.run.manifest import Manifest
from tests import tiny_model
from tests.adapter_folders import adapter_in
from tests.console_answers import telling
from tests.run_directories import write_run

UNKNOWN = "a-" + "0" * 16


def _manifest(adapter: str, **fields: str) -> Manifest:
    return Manifest(
        run_id="r-1", adapter=adapter, parent="base", recipe_hash="c", data_hash="d", pairs=(), config={}, seed=0, versions={},
        metrics={}, first_loss=0.6931, seconds=1.0, **{"base": "/no/such/model", **fields},
    )  # fmt: skip


@pytest.fixture
def var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CSQA_VAR", str(tmp_path))
    return tmp_path


@pytest.fixture
def adapter(var: Path) -> str:
    """Two small files and the run that made them."""
    name = adapter_in(var / "adapters", b"tensors")
    write_run(var / "runs").write("manifest.json", _manifest(name).model_dump_json().encode())
    return name


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["adapters", *arguments])


def _refusal(*arguments: str) -> str:
    answer = _run("export", *arguments)
    assert isinstance(answer.exception, PermanentError), answer.output
    return str(answer.exception)


def test_an_adapter_is_copied_with_its_runs_manifest(var: Path, adapter: str) -> None:
    out = var / "out"
    told = json.loads(_run("export", adapter, "--out", str(out), "--json").stdout)
    assert told.pop("seconds") >= 0
    files = ["adapter_config.json", "adapter_model.safetensors", "manifest.json"]
    assert told == {"adapter": adapter, "path": str(out), "kind": "adapter", "files": files}
    for name in files[:2]:
        assert (out / name).read_bytes() == (var / "adapters" / adapter / name).read_bytes()
    assert (out / "manifest.json").read_bytes() == (var / "runs" / "r-1" / "manifest.json").read_bytes()


def test_what_was_not_made_here_is_answered_with_what_was(var: Path, adapter: str) -> None:
    out = str(var / "out")
    assert f"made {UNKNOWN}; adapters made there: {adapter}" in _refusal(UNKNOWN, "--out", out)
    assert _refusal("base", "--out", out) == f"base is the bare model and no adapter; adapters made in {var / 'runs'}: {adapter}"


def test_changed_bytes_are_not_exported(var: Path, adapter: str) -> None:
    (var / "adapters" / adapter / "adapter_model.safetensors").write_bytes(b"others")
    assert "has the content of" in _refusal(adapter, "--out", str(var / "out"))
    assert not (var / "out").exists()


def test_a_folder_that_is_not_empty_is_refused_by_name(var: Path, adapter: str) -> None:
    assert f"{var} is there already" in _refusal(adapter, "--out", str(var))


def test_a_merge_that_fails_leaves_nothing_behind(var: Path, adapter: str) -> None:
    pytest.importorskip("peft")
    before = sorted(var.iterdir())
    assert "the base model /no/such/model is neither a folder nor" in _refusal(adapter, "--out", str(var / "out"), "--merged")
    assert sorted(var.iterdir()) == before


def test_quantising_without_its_package_is_refused_before_anything_is_merged(var: Path, adapter: str) -> None:
    pytest.importorskip("peft")
    before = sorted(var.iterdir())
    assert "the package llmcompressor" in _refusal(adapter, "--out", str(var / "out"), "--quantise", "gptq")
    assert sorted(var.iterdir()) == before


def test_a_merged_export_is_a_model_with_a_manifest(var: Path) -> None:
    pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM

    from csqa_loop.training.trl import base, run

    model = tiny_model.make(var / "model")
    run.placebo(var / "draft", base_model=model, parent=None, settings=tiny_model.SETTINGS, label="r-1")
    name = install(var / "draft", var / "adapters")
    manifest = _manifest(name, base=model, base_fingerprint=base.identify(model).fingerprint)
    write_run(var / "runs").write("manifest.json", manifest.model_dump_json().encode())
    answer = _run("export", name, "--out", str(var / "out"), "--merged", "--json")
    assert answer.exception is None, answer.exception
    assert f"merging {name} into {model}, in float32" in answer.stderr
    told = json.loads(answer.stdout)
    assert told["kind"] == "merged"
    assert {"config.json", "manifest.json", "model.safetensors", "tokenizer.json"} <= set(told["files"])
    assert not any("adapter" in file for file in told["files"])
    AutoModelForCausalLM.from_pretrained(var / "out")


def test_adapters_alone_still_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    base = dict.fromkeys(Adapter.model_fields) | {"version": "v0", "adapter": "base", "state": "champion"}
    monkeypatch.setattr("csqa_loop.commands.operators.ask_console", telling(lambda _: {"adapters": [base]}))
    assert json.loads(_run("--json").stdout) == [base]
