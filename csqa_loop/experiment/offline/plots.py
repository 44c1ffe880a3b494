"""Power and time to verdict as a PNG. matplotlib is imported when one is drawn, and never opens a window."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from csqa_loop.errors import PermanentError

Point = tuple[float, float, float, float]
"""(effect, value, lower, upper)."""


def draw_power(target: Path, promoted: Mapping[str, Sequence[Point]], users: Mapping[str, Sequence[Point]], *, alpha: float) -> None:
    """Share promoted, and users an arm at the median promotion, against the effect; one line a rule, with 95 % intervals.

    Raises:
        PermanentError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PermanentError("--plot needs matplotlib; install csqa-loop[reports]") from error
    figure = Figure(figsize=(8.0, 7.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, series in ((above, promoted), (below, users)):
        for name, points in series.items():
            if points:
                effects, values, lower, upper = (list(column) for column in zip(*sorted(points), strict=True))
                errors = [
                    [value - low for value, low in zip(values, lower, strict=True)],
                    [high - value for value, high in zip(values, upper, strict=True)],
                ]
                axes.errorbar(effects, values, yerr=errors, marker="o", capsize=3, label=name.replace("_", " "))
        axes.spines[["top", "right"]].set_visible(False)
    above.axhline(alpha, linestyle="--", linewidth=1, color="grey")
    above.set_ylabel("share promoted")
    above.legend()
    below.set_ylabel("users an arm until promoted (median)")
    below.set_xlabel("effect on satisfaction")
    try:
        # No version: equal data give equal files.
        figure.savefig(target, format="png", metadata={"Software": None})
    except OSError as error:
        raise PermanentError(f"{target} cannot be written: {error.strerror}; name a file in a folder that exists") from error
