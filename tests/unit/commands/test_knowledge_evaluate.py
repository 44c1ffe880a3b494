"""`csqa knowledge evaluate` and `calibrate`, with the packaged encoder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from csqa_loop.cli import app


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "returns.md").write_text("# Returns\n\nLaptops can be sent back within 14 days.\n")
    (folder / "delivery.md").write_text("# Delivery\n\nParcels arrive after two days and cost five euros.\n")
    (tmp_path / "q.csv").write_text(
        "question,document\nhow long may I keep a notebook before returning it,returns\nwhat is the postage,delivery\n"
    )
    return ["q.csv", "--policies", "policies"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["knowledge", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_stages_stand_side_by_side_and_the_curve_is_drawn(shop: list[str], tmp_path: Path) -> None:
    told = json.loads(run("evaluate", *shop, "--json", "--plot", "recall.svg"))
    assert list(told["stages"]) == ["dense", "fused", "late"]
    assert told["stages"]["late"]["recall"] == {"1": 1.0, "2": 1.0, "5": 1.0, "10": 1.0}
    assert told["encoder"] == "sentence-transformers/all-minilm-l6-v2"
    assert "<svg" in (tmp_path / "recall.svg").read_text()
    text = run("evaluate", *shop)
    assert all(word in text for word in ("dense", "late", "delivery", "covered at"))


def test_a_threshold_is_proposed(shop: list[str]) -> None:
    told = json.loads(run("calibrate", *shop, "--json"))
    assert told["current"] == 0.2
    assert 0.1 < told["min_score"] < 0.9
    assert {"threshold", "precision", "recall", "false_alarms"} == set(told["curve"][0])
    assert f"CSQA_RETRIEVAL__MIN_SCORE={told['min_score']:.3f}" in run("calibrate", *shop)


def test_a_page_that_cannot_be_read_is_named(shop: list[str], tmp_path: Path) -> None:
    (tmp_path / "policies" / "bad.md").write_bytes(b"\xff\xfe\x00")
    result = CliRunner().invoke(app, ["knowledge", "evaluate", *shop])
    assert result.exit_code != 0
    assert "bad.md" in result.output + str(result.exception)
