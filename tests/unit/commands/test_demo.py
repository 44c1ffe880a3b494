"""`csqa demo` refuses bad input before anything starts, in one line."""

import os
from pathlib import Path

import pytest

from csqa_loop import cli


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the command adds the demo's settings
    monkeypatch.chdir(tmp_path)


def _refusal(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["csqa", "demo", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("csqa: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scenario", "nowhere.yaml"], ["nowhere.yaml", "does not exist"]),
        (["--sabotage", "--placebo"], ["exclude each other"]),
        (["--out", "no/such/folder.json"], ["--out", "no/such", "not a folder"]),
    ],
)
def test_bad_options_are_named_and_nothing_is_made(
    arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _refusal(arguments, monkeypatch, capsys)
    for word in words:
        assert word in said
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_in_the_scenario_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ncolour: red\nquestions: []\n", encoding="utf-8")
    assert "colour" in _refusal(["--scenario", str(file)], monkeypatch, capsys)
    assert not (tmp_path / "var").exists()


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["CSQA_TRIGGER__MIN_PAIRS"] = "many"
    assert "CSQA_TRIGGER__MIN_PAIRS" in _refusal([], monkeypatch, capsys)


def test_state_that_no_demo_made_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "var" / "ledger").mkdir(parents=True)
    assert "no demo made" in _refusal([], monkeypatch, capsys)
    assert (tmp_path / "var" / "ledger").is_dir()
