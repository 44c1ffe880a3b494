"""A judge is named whole or not at all."""

import os
from pathlib import Path

import pytest

from csqa_loop.bootstrap import build_judge, build_judge_prompt, build_trainer
from csqa_loop.errors import ConfigurationError
from csqa_loop.evidence.judge.rules.judging import PROMPT_VERSION
from csqa_loop.settings import load_settings
from tests.fakes.bus import MemoryBus


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if not name.startswith("CSQA_")})


def test_without_an_endpoint_there_is_no_judge() -> None:
    assert build_judge(load_settings()) is None


async def test_an_endpoint_and_a_model_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__URL", "http://127.0.0.1:8080/v1/")
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__MODEL", "big")
    settings = load_settings()
    judge = build_judge(settings)
    assert judge is not None
    assert (judge.model, settings.judge.url) == ("big", "http://127.0.0.1:8080/v1")
    await judge.stop()


@pytest.mark.parametrize(
    ("url", "model", "named"),
    [
        ("http://127.0.0.1:8080/v1", "", "CSQA_JUDGE__MODEL is ''"),
        ("http://127.0.0.1:8080/v1", "  ", "CSQA_JUDGE__MODEL is '  '"),
        ("127.0.0.1:8080", "big", "CSQA_JUDGE__URL is '127.0.0.1:8080'"),
    ],
)
def test_half_a_judge_stops_the_process(monkeypatch: pytest.MonkeyPatch, url: str, model: str, named: str) -> None:
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__URL", url)
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__MODEL", model)
    with pytest.raises(ConfigurationError, match=named):
        load_settings()


def test_without_a_prompt_file_the_judge_is_asked_in_our_words() -> None:
    assert build_judge_prompt(load_settings()).version == PROMPT_VERSION


def test_a_wrong_prompt_file_stops_the_trainer_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__URL", "http://127.0.0.1:8080/v1")
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__MODEL", "big")
    file = tmp_path / "prompt.txt"
    monkeypatch.setitem(os.environ, "CSQA_JUDGE__PROMPT_FILE", str(file))
    with pytest.raises(ConfigurationError, match="CSQA_JUDGE__PROMPT_FILE .*prompt.txt cannot be read"):
        build_trainer(load_settings(), MemoryBus())
    file.write_text("Which is better, {answer_a} or {answer_b}?")
    with pytest.raises(ConfigurationError, match=r"CSQA_JUDGE__PROMPT_FILE .*prompt.txt: \{question\} is missing"):
        build_trainer(load_settings(), MemoryBus())
