"""Figures as PNG files. matplotlib is imported when one is drawn, and never opens a window."""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from csqa_loop.errors import PermanentError

_INCHES = (8.0, 4.5)
_DPI = 110
_BINS = 40
_CHINESE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei", "SimHei")


def bars(values: Mapping[str, float], *, title: str, x_label: str) -> bytes:
    """Horizontal bars, in the order given from the top, each with its value: a PNG."""
    with _style():
        figure, axes = _figure(title, height=max(2.0, 1.2 + 0.32 * len(values)))
        drawn = axes.barh([_short(name) for name in values], list(values.values()), color="#4c72b0")
        axes.bar_label(drawn, padding=3, fmt="{:,g}")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel(x_label)
        if all(float(value).is_integer() for value in values.values()):
            axes.xaxis.get_major_locator().set_params(integer=True)
        return _png(figure)


def histogram(series: Mapping[str, Sequence[float]], *, title: str, x_label: str, y_label: str = "rows") -> bytes:
    """One outline a series over common bins: a PNG. What lies beyond the 99th percentile of all values goes to the last bin."""
    import numpy as np

    together = np.concatenate([np.zeros(1), *(np.asarray(values, dtype=float) for values in series.values())])
    bins = np.linspace(float(together.min()), max(float(np.percentile(together, 99)), 1.0), _BINS + 1)
    with _style():
        figure, axes = _figure(title)
        for name, values in series.items():
            axes.hist(np.minimum(values, bins[-1]), bins=bins, histtype="step", linewidth=1.6, label=name)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if series:
            axes.legend()
        return _png(figure)


@dataclass(frozen=True)
class Range:
    """An estimate with its bounds, none where it is unbounded; `limit` is where the bounds must not reach."""

    name: str
    estimate: float
    lower: float | None
    upper: float | None
    limit: float | None = None
    unit: str = ""


def ranges(rows: Sequence[Range], *, title: str) -> bytes:
    """Estimates with their bounds below each other, each on a scale of its own, as their units differ: a PNG. Zero is a line, a limit a dashed one."""
    with _style():
        figure, first = _figure(title, height=max(2.0, 0.8 + 0.75 * len(rows)))
        first.remove()
        figure.suptitle(title)
        for place, row in enumerate(rows, start=1):
            axes = figure.add_subplot(len(rows), 1, place)
            axes.spines[["top", "right", "left"]].set_visible(False)
            low, high = (row.estimate if bound is None else bound for bound in (row.lower, row.upper))
            axes.axvline(0.0, color="grey", linewidth=1)
            if row.limit is not None:
                axes.axvline(row.limit, color="#c44e52", linewidth=1, linestyle="--")
            axes.plot([low, high], [0, 0], color="#4c72b0", linewidth=3, solid_capstyle="butt")
            axes.plot([row.estimate], [0], color="#4c72b0", marker="o")
            axes.margins(x=0.1)
            axes.set_yticks([0], [_short(f"{row.name}{f' ({row.unit})' if row.unit else ''}")])
            axes.set_ylim(-1, 1)
        return _png(figure)


@contextmanager
def _style() -> Iterator[None]:
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise PermanentError(f"figures need matplotlib ({error}); install it with pip install 'csqa-loop[reports]'") from error

    with rc_context({"font.family": [*_installed_chinese_fonts(), "DejaVu Sans"]}), warnings.catch_warnings():
        # Without a Chinese font its characters are boxes; the numbers are in the JSON report.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _figure(title: str, *, height: float = _INCHES[1]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES[0], height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # No version: equal data give equal files.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@cache
def _installed_chinese_fonts() -> tuple[str, ...]:
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in _CHINESE_FONTS if name in installed)


def _short(name: str, most: int = 40) -> str:
    # A dollar sign would begin a formula.
    plain = name.replace("$", r"\$")
    return plain if len(plain) <= most else plain[: most - 1] + "…"
