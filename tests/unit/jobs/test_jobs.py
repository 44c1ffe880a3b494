"""The jobs as a person or the trainer starts them: bad input, finished runs, a full disk."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from csqa_loop.gate.suite import suite_hash
from csqa_loop.training.run.files import Evaluation
from csqa_loop.training.run.manifest import Manifest, PairSource
from jobs import entry, evaluate_adapter, train_adapter
from tests.adapter_folders import adapter_in
from tests.run_directories import pair, write_run

ADAPTER = "a-8f35fad14134839f"


def _manifest(run_id: str = "r-1") -> Manifest:
    sources = (PairSource(pair_id="p-1", message_id="m-1", answer_event_id="e-1", evidence_event_id="e-2"),)
    return Manifest(
        run_id=run_id, adapter=ADAPTER, base="/model", parent="base", recipe_hash="c" * 16, data_hash="d" * 16, pairs=sources, config={}, seed=0,
        versions={}, metrics={}, first_loss=0.6931, seconds=1.0,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def adapters(tmp_path: Path) -> Path:
    assert adapter_in(tmp_path / "adapters", b"tensors") == ADAPTER
    return tmp_path / "adapters"


@pytest.mark.parametrize("job", [train_adapter, evaluate_adapter])
def test_what_is_no_run_directory_is_bad_input_in_one_line(job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        assert job.main([str(folder)]) == entry.BAD_INPUT
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert str(folder) in lines[0]


def test_a_missing_argument_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        train_adapter.main([])
    assert "RUN_DIR" in capsys.readouterr().err


def test_a_missing_parent_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs", champion="a-" + "1" * 16)
    assert train_adapter.main([str(run.path)]) == entry.BAD_INPUT
    assert f"adapter a-{'1' * 16} is not in" in capsys.readouterr().err


def test_a_trained_run_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs")
    run.write("manifest.json", _manifest().model_dump_json().encode())
    assert train_adapter.main([str(run.path)]) == 0  # the base model of this run does not exist: nothing was loaded
    assert f"{ADAPTER} is trained already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"run_id": "r-9"}, "run_id is 'r-9', and the run asks for 'r-1'"),
        ({"data_hash": "0" * 16}, "data_hash is '0000000000000000'"),
        ({"recipe_hash": "0" * 16}, "recipe_hash is '0000000000000000'"),
        ({"parent": "a-" + "1" * 16}, "parent is 'a-1111111111111111', and the run asks for 'base'"),
        ({}, "has the content of a-"),
    ],
)
def test_what_another_run_left_or_what_is_damaged_is_neither_trained_nor_evaluated(
    tmp_path: Path,
    adapters: Path,
    changes: dict[str, str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = write_run(tmp_path / "runs")
    run.write("manifest.json", _manifest().model_copy(update=changes).model_dump_json().encode())
    if not changes:
        (adapters / ADAPTER / "adapter_model.safetensors").write_bytes(b"tens")
    assert evaluate_adapter.main([str(run.path)]) == entry.BAD_INPUT
    assert told in capsys.readouterr().err
    monkeypatch.setattr(train_adapter, "_train", lambda *_: "another")
    assert train_adapter.main([str(run.path)]) == 0
    assert capsys.readouterr().out == "another is trained\n"
    assert told in caplog.text
    assert run.manifest() is None


def test_an_older_attempt_records_nothing_once_a_newer_one_has_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "runs", gate={"enabled": False})
    run.write("manifest.json", _manifest().model_dump_json().encode())
    real = evaluate_adapter._judge

    async def overtaken(*arguments: object) -> object:
        newer = run.request().model_copy(update={"attempt": 2})
        run.write("request.json", newer.model_dump_json().encode())
        return await real(*arguments)

    monkeypatch.setattr(evaluate_adapter, "_judge", overtaken)
    assert evaluate_adapter.main([str(run.path)]) == entry.FAILED
    assert "attempt 2 has taken" in capsys.readouterr().err
    assert run.evaluation() is None


def test_a_regression_question_is_never_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "regression.yaml"
    file.write_text(
        'regression:\n- {id: f, policy: p.md, ask: ["how long may I keep the blue lamps before I send it back"], expect: [a]}\n'
    )
    asked = pair(1, question="How long may I keep the blue lamp before I send it back?")
    run = write_run(tmp_path / "runs", pairs=[asked, pair(2)], gate={"regression_file": str(file)})
    assert train_adapter.main([str(run.path)]) == entry.BAD_INPUT
    told = capsys.readouterr().err
    assert f"of the regression questions in {file}; what the gate asks must not be trained on" in told


def test_a_run_without_manifest_cannot_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs")
    assert evaluate_adapter.main([str(run.path)]) == entry.BAD_INPUT
    assert "manifest.json is missing: train first" in capsys.readouterr().err


def test_a_switched_off_gate_needs_no_model_server(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs", gate={"enabled": False}, model_server_urls=())
    run.write("manifest.json", _manifest().model_dump_json().encode())
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert isinstance(evaluation, Evaluation)
    assert evaluation.passed
    assert [check.name for check in evaluation.checks] == ["gate"]
    assert "switched off" in evaluation.checks[0].detail
    assert "switched off" in (run.path / "evaluation.html").read_text(encoding="utf-8")


def test_an_evaluated_run_is_not_evaluated_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs")  # its model server does not exist
    run.write("manifest.json", _manifest().model_dump_json().encode())
    known = Evaluation(run_id="r-1", adapter=ADAPTER, champion="base", passed=False, checks=(), seconds=1.0)
    run.write("evaluation.json", known.model_dump_json().encode())
    assert evaluate_adapter.main([str(run.path)]) == 0
    assert "is evaluated already" in capsys.readouterr().out


def test_an_edit_of_the_regression_questions_after_an_evaluation_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "regression.yaml"
    file.write_text("regression: []")
    run = write_run(tmp_path / "runs", gate={"regression_file": str(file)})
    run.write("manifest.json", _manifest().model_dump_json().encode())
    known = Evaluation(
        run_id="r-1", adapter=ADAPTER, champion="base", passed=True, checks=(), seconds=1.0, regression_hash=suite_hash(str(file))
    )
    run.write("evaluation.json", known.model_dump_json().encode())
    assert evaluate_adapter.main([str(run.path)]) == 0
    assert "edited" not in capsys.readouterr().out
    file.write_text("regression: []  # edited")
    assert evaluate_adapter.main([str(run.path)]) == 0
    assert "is evaluated already; the regression questions or their policies were edited since" in capsys.readouterr().out


def test_a_model_server_that_is_down_fails_in_one_line_within_the_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs")
    run.write("manifest.json", _manifest().model_dump_json().encode())
    assert evaluate_adapter.main([str(run.path), "--residency-seconds", "0.1"]) == entry.FAILED
    assert capsys.readouterr().err.splitlines()[-1].startswith("evaluate_adapter: candidate and champion are not resident")
    assert run.evaluation() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "must be a mapping"),
        ("regression: 7", "must be a mapping"),
        ("regression:\n- {id: f, policy: p.md, ask: [a]}", r"regression\[0\].expect"),
        ("regression:\n- {id: f, policy: gone.md, ask: [a], expect: [b]}", "gone.md"),
        (
            "regression:\n- {id: f, policy: p.md, ask: [a], expect: [b]}\n- {id: f, policy: p.md, ask: [a], expect: [b]}",
            "ids must be unique",
        ),
        ("regression:\n- {id: f, policy: p.md, ask: [a], expect: [b], zero_tolerance: often}", r"regression\[0\].zero_tolerance"),
        ("regression: [", "cannot be read"),
    ],
)
def test_a_wrong_regression_file_is_bad_input(tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(content)
    run = write_run(tmp_path / "runs", gate={"regression_file": str(file)})
    run.write("manifest.json", _manifest().model_dump_json().encode())
    assert evaluate_adapter.main([str(run.path)]) == entry.BAD_INPUT
    error = capsys.readouterr().err
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("Error: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "the disk is full"),
        (MemoryError(), "out of memory"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("basic_ios::clear: iostream error"), "the disk is full"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (RuntimeError("CUDA error: out of memory"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (RuntimeError("unable to mmap 538 bytes from file: Cannot allocate memory (12)"), "out of memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("OpenBLAS error: Memory allocation still failed after 10 retries, giving up."), "out of memory"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_what_the_machine_lacks_is_said_in_words(tmp_path: Path, error: Exception, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    def work(_) -> None:
        raise error

    assert entry.run("train_adapter", tmp_path, work) == entry.FAILED
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_disk_that_is_nearly_full_is_named_whatever_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_) -> None:
        raise RuntimeError("stream is bad")

    monkeypatch.setattr("jobs.entry.shutil.disk_usage", lambda _: SimpleNamespace(free=3 << 10))
    assert entry.run("train_adapter", tmp_path, work) == entry.FAILED
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"the disk may be full: 3 KiB are free on the volume of {tmp_path} (RuntimeError: stream is bad)" in told


def test_what_torch_says_of_a_full_disk_is_still_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")

    def work(_) -> None:
        torch.save({"optimiser": torch.zeros(1_000_000)}, "/dev/full")

    assert entry.run("train_adapter", tmp_path, work) == entry.FAILED
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
