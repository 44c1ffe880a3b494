"""The evaluation as a job writes it: verdict and report together, or neither."""

from pathlib import Path

import pytest

from csqa_loop import bootstrap
from csqa_loop.errors import TransientError
from csqa_loop.gate.suite import suite_hash
from csqa_loop.training.run.directory import RunDirectory
from csqa_loop.training.run.manifest import Manifest, PairSource
from jobs import entry, evaluate_adapter
from tests.adapter_folders import adapter_in
from tests.fakes.model_server import FakeModelServer
from tests.run_directories import pair, write_run

ADAPTER = "a-8f35fad14134839f"
REPLICA = "http://fake-vllm"
RIGHT, WRONG = "You have 14 days to return it.", "You have <b>30 days</b> to return it."


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "returns.md").write_text("# Returns\n\nGoods may be returned within 14 days.\n")
    file = tmp_path / "regression.yaml"
    file.write_text('regression:\n- {id: term, policy: returns.md, ask: ["How long?"], expect: [14 days], zero_tolerance: true}\n')
    run = write_run(
        tmp_path / "runs", holdout=[pair(90), pair(91)], gate={"regression_file": str(file)}, model_server_urls=(REPLICA,)
    )  # fmt: skip
    _trained(run)
    return run


def _trained(run: RunDirectory) -> None:
    run.write("manifest.json", _manifest().model_dump_json().encode())
    assert adapter_in(Path(run.config().adapters), b"tensors") == ADAPTER


def _manifest() -> Manifest:
    sources = (PairSource(pair_id="p-1", message_id="m-1", answer_event_id="e-1", evidence_event_id="e-2"),)
    return Manifest(
        run_id="r-1", adapter=ADAPTER, base="/model", parent="base", recipe_hash="c" * 16, data_hash="d" * 16, pairs=sources, config={}, seed=0,
        versions={}, metrics={}, first_loss=0.6931, seconds=1.0,
    )  # fmt: skip


def _serve(monkeypatch: pytest.MonkeyPatch, candidate_says: str) -> FakeModelServer:
    server = FakeModelServer(answer=lambda adapter, _: candidate_says if adapter == ADAPTER else RIGHT)
    server.held[REPLICA].add(ADAPTER)
    monkeypatch.setattr(bootstrap, "build_model_server_at", lambda *_: server)
    return server


def test_a_lost_zero_tolerance_question_is_in_verdict_and_report(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, WRONG)
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert evaluation is not None
    assert [check.name for check in evaluation.checks if not check.passed] == ["zero-tolerance questions"]
    assert {"BLEU, en", "chrF, en", "ROUGE-L, en", "superiority"} <= {check.name for check in evaluation.checks}
    page = (run.path / "evaluation.html").read_text(encoding="utf-8")
    assert "FAIL: zero-tolerance questions" in page
    assert f"<td>How long?</td><td>{RIGHT}</td><td>You have &lt;b&gt;30 days&lt;/b&gt; to return it.</td>" in page
    assert page.count("data:image/png;base64,") == 2


def test_a_candidate_that_is_as_good_passes_in_both(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, RIGHT)
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation.passed
    assert "judged better" not in {check.name for check in evaluation.checks}
    page = (run.path / "evaluation.html").read_text(encoding="utf-8")
    assert '<p class="verdict good">PASS</p>' in page
    assert "too few questions to decide anywhere; not required" in page
    assert "0 of 1 answers; 0 changed from wrong to right." in page
    assert [(one.name, one.answers, one.champion.f1, one.candidate.recall) for one in evaluation.categories] == [
        ("returns.md", 1, 1.0, 1.0)
    ]
    for column in ("accuracy, candidate", "precision, candidate", "recall, champion", "F1, candidate"):
        assert f">{column}</th>" in page
    assert evaluation.regression_hash == suite_hash(run.config().gate.regression_file)
    assert "regression file" not in {check.name for check in evaluation.checks}


def test_a_suite_that_was_edited_since_the_claim_is_told_in_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "regression.yaml"
    file.write_text("regression: []")
    run = write_run(tmp_path / "runs", holdout=[pair(90)], gate={"regression_file": str(file)}, model_server_urls=(REPLICA,))
    claimed = run.config().regression_hash
    file.write_text("regression: []  # edited")
    _trained(run)
    _serve(monkeypatch, RIGHT)
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert evaluation is not None
    (told,) = (check for check in evaluation.checks if check.name == "regression file")
    assert told.passed
    assert f"edited since the run was claimed: {claimed[:12]} then, {evaluation.regression_hash[:12]} now" in told.detail
    assert claimed != evaluation.regression_hash


def test_answers_are_as_long_as_the_runs_gateway_lets_them_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {}
    for name, config in {"own": {}, "cut": {"gate": {"max_tokens": 5}}, "more": {"gate": {"max_tokens": 5000}}}.items():
        run = write_run(
            tmp_path / name / "runs", holdout=[pair(90)], model_server_urls=(REPLICA,), **({"answer": {"max_tokens": 17}} | config)
        )
        _trained(run)
        server = _serve(monkeypatch, RIGHT)
        assert evaluate_adapter.main([str(run.path)]) == 0
        lengths[name] = {sampling.max_tokens for _, _, sampling in server.asked}
    assert lengths == {"own": {17}, "cut": {5}, "more": {17}}


def test_a_judge_is_asked_only_where_one_is_configured(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, WRONG)
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    monkeypatch.setenv("CSQA_JUDGE__URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CSQA_JUDGE__MODEL", "some-judge")
    assert evaluate_adapter.main([str(run.path)]) == 0
    evaluation = run.evaluation()
    assert evaluation is not None
    (judged,) = (check for check in evaluation.checks if check.name == "judged better")
    assert judged.passed
    assert judged.detail.startswith("not judged: the judge at http://127.0.0.1:9/v1/chat/completions does not answer")


def test_a_server_that_dies_half_way_leaves_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("csqa_loop.gate.evaluate._TRIES", 1)
    server = _serve(monkeypatch, RIGHT)

    def dies(adapter: str, _: object) -> str:
        if len(server.asked) >= 2:
            raise TransientError(f"{REPLICA} closed the connection")
        return RIGHT

    server.answer = dies
    before = sorted(path.name for path in run.path.iterdir())
    assert evaluate_adapter.main([str(run.path)]) == entry.FAILED
    assert capsys.readouterr().err.splitlines()[-1] == f"evaluate_adapter: {REPLICA} closed the connection"
    assert sorted(path.name for path in run.path.iterdir()) == before
