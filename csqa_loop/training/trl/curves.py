"""A training's curves as one picture. matplotlib is imported when it is drawn, and never opens a window."""

import io
from collections.abc import Mapping, Sequence

_PANELS = (
    ("Loss", (("loss", "training"), ("eval_loss", "validation"))),
    ("Margin", (("margin", "chosen over rejected"), ("rewards/margins", "liked over disliked"))),
    ("Chosen answers, nats a token", (("drift", "against the reference"),)),
)
"""Title, and what is drawn in it: name in the log and label."""


def draw(history: Sequence[Mapping[str, float]]) -> bytes:
    """Whatever of loss, margin and drift was logged, over the steps: a PNG. Equal histories give equal files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(title, drawn) for title, names in _PANELS if (drawn := _drawn(history, names))]
    figure = Figure(figsize=(8.0, 2.6 * len(panels)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, drawn) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        for label, steps, values in drawn:
            axes.plot(steps, values, label=label, marker="." if len(steps) < 50 else None)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _drawn(history: Sequence[Mapping[str, float]], names: Sequence[tuple[str, str]]) -> list[tuple[str, list[float], list[float]]]:
    curves = []
    for name, label in names:
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        if points:
            curves.append((label, [step for step, _ in points], [value for _, value in points]))
    return curves
