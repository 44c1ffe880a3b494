"""What all tests of the cycle share."""

import pytest


@pytest.fixture(autouse=True)
def patient_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a beat sees the planner through; a test that wants none to wait says so itself."""
    monkeypatch.setattr("csqa_loop.rollout.decider._PLANNING_SECONDS", 60.0)
