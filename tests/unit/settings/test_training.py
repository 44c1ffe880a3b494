"""Settings of training that must agree with others."""

import pytest

from csqa_loop.errors import ConfigurationError
from csqa_loop.settings import load_settings


@pytest.mark.parametrize(
    ("rank", "pattern", "served", "fits"),
    [
        ("8", "{}", "8", True),
        ("16", "{}", "8", False),
        ("auto", "{}", "8", False),
        ("auto", "{}", "16", True),
        ("8", '{"q_proj": 16}', "8", False),
    ],
)
def test_no_adapter_is_trained_that_vllm_would_refuse(
    rank: str, pattern: str, served: str, *, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSQA_TRAINING__RANK", rank)
    monkeypatch.setenv("CSQA_TRAINING__RANK_PATTERN", pattern)
    monkeypatch.setenv("CSQA_MODEL_SERVER__MAX_LORA_RANK", served)
    if fits:
        load_settings()
    else:
        with pytest.raises(ConfigurationError, match=f"rank 16.*MAX_LORA_RANK = {served}"):
            load_settings()


def test_a_batch_that_kto_could_not_use_is_refused_where_kto_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSQA_TRAINING__METHOD", "auto")
    monkeypatch.setenv("CSQA_TRAINING__BATCH_SIZE", "2")
    with pytest.raises(ConfigurationError, match="CSQA_TRAINING__BATCH_SIZE.*at least 4"):
        load_settings()
