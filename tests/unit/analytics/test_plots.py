"""Figures are PNG files, equal for equal data, also with Chinese names and without any data."""

import warnings

from csqa_loop.analytics import plots


def test_bars_and_histograms_are_png_and_the_same_each_time() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [
            (
                plots.bars({"returns": 3, "退货": 2, "$x$ " * 30: 1}, title="Categories", x_label="rows"),
                plots.histogram({"question": [1, 2, 3, 400], "answer": [5]}, title="Lengths", x_label="characters"),
                plots.histogram({}, title="Nothing", x_label="characters"),
                plots.bars({}, title="Nothing", x_label="rows"),
                plots.ranges(
                    [plots.Range("满意度", 0.1, -0.1, 0.3), plots.Range("latency", 40.0, None, 90.0, limit=300.0, unit="ms")], title="Both"
                ),
                plots.ranges([], title="Nothing"),
            )
            for _ in range(2)
        ]
    assert drawn[0] == drawn[1]
    assert all(image.startswith(b"\x89PNG\r\n") and len(image) > 1000 for image in drawn[0])
    assert drawn[0][1] != drawn[0][2]
