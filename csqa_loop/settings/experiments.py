"""The promotion contract and its metrics."""

from typing import Literal, Self

from pydantic import Field, model_validator

from csqa_loop.events import MetricContract
from csqa_loop.settings.metrics import SHIPPED, fault
from csqa_loop.settings.section import SettingsSection


class MetricSettings(SettingsSection):
    """A metric of experiments, declared: `[[experiment.metrics]]` in the TOML file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    numerator: str
    denominator: str = "users"
    direction: Literal["up", "down"]
    """Which way is better."""
    kind: Literal["ratio", "mean", "proportion", "quantile"]
    quantile: float | None = Field(default=None, gt=0, lt=1)
    role: Literal["guardrail", "reported"] = "reported"
    """`experiment.primary` names the primary one."""
    margin: float | None = Field(default=None, gt=0)
    """What a guardrail may lose, in its own unit."""
    unit: str = Field(default="", max_length=20)

    def declared(self) -> MetricContract:
        """As contracts carry it."""
        return MetricContract(
            name=self.name,
            numerator=self.numerator,
            denominator=self.denominator,
            higher_is_better=self.direction == "up",
            kind=self.kind,
            quantile=self.quantile,
            unit=f" {self.unit}" if self.unit else "",
        )

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        if problem := fault(self.declared()):
            raise ValueError(problem)
        if (self.margin is not None) != (self.role == "guardrail"):
            raise ValueError(f"metric {self.name!r}: a guardrail, and only a guardrail, has a margin")
        if self.role == "guardrail" and self.kind == "quantile":
            raise ValueError(f"metric {self.name!r} is a quantile, which has no bounds: it can be reported and not judged")
        return self


class ExperimentSettings(SettingsSection):
    """The promotion contract. See docs/decisions for the method."""

    primary: str = "satisfaction"
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    window_seconds: float = Field(default=24 * 3600.0, gt=0)
    grace_seconds: float = Field(default=2.0, ge=0)
    """A window counts as closed this long after its end, so that events on their way still count."""
    burn_in_users: int = Field(default=200, ge=2)
    max_users: int = Field(default=20_000, ge=2)
    max_seconds: float = Field(default=21 * 24 * 3600.0, gt=0)
    ramp: tuple[float, ...] = (0.1, 0.4, 1.0)
    ramp_users: int = Field(default=500, ge=1)
    handoff_margin: float = Field(default=0.03, gt=0)
    error_margin: float = Field(default=0.02, gt=0)
    latency_margin_ms: float = Field(default=500.0, gt=0)
    rating_margin: float = Field(default=0.10, gt=0)
    """How much more seldom users may rate."""
    unanswered_margin: float = Field(default=0.05, gt=0)
    answer_length_margin: float = Field(default=200.0, gt=0)
    """Characters."""
    error_control: Literal["experiment", "online-fdr"] = "experiment"
    """`experiment`: alpha holds for each one. `online-fdr`: of all promotions, at most a share of alpha is false (docs/statistics.md)."""
    metrics: tuple[MetricSettings, ...] = ()
    """Beside the shipped ones, or instead of those with the same name."""

    @model_validator(mode="after")
    def _metrics_can_be_counted(self) -> Self:
        names = [metric.name for metric in self.metrics]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"metric {min(twice)!r} is declared twice; give each its own name")
        known = {**SHIPPED, **{metric.name: metric.declared() for metric in self.metrics}}
        if self.primary not in known or known[self.primary].kind == "quantile":
            judged = ", ".join(name for name, metric in known.items() if metric.kind != "quantile")
            raise ValueError(f"primary is {self.primary!r}; a declared metric that is no quantile would be right: {judged}")
        return self
