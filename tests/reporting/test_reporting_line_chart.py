"""The line chart of the studies, read back from its SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from rotation_pipeline.reporting.line_chart import line_chart_svg
from rotation_pipeline.reporting.thumbnails import ThumbnailError

COLOURS = {"a & b": "#112233", "other": "#445566"}
LINES = {"a & b": [0.0, 0.5, 1.0], "other": [0.0, -0.2, 0.98]}


def points(svg: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in found]


def test_lines_labels_and_axis_are_where_the_values_say() -> None:
    svg = line_chart_svg(LINES, {0: "2000", 2: "2002"}, COLOURS, label="two <lines>")
    ElementTree.fromstring(svg)  # well-formed, names escaped
    first, second = points(svg)
    assert [x for x, _ in first] == [x for x, _ in second]
    assert first[0][1] == second[0][1]
    rise, fall = first[0][1] - first[1][1], second[1][1] - second[0][1]
    assert rise == pytest.approx(2.5 * fall, rel=0.01)
    zero = float(
        next(y for y, text in re.findall(r'y="([\d.]+)" fill="[^"]+" text-anchor="end">([^<]+)<', svg) if text == "0%")
    )
    assert zero - 4 == pytest.approx(first[0][1], abs=0.11)
    names = {text: float(y) for y, text in re.findall(r'y="([\d.]+)" fill="[^"]+" text-anchor="start">([^<]+)<', svg)}
    assert abs(names["a &amp; b"] - names["other"]) >= 15.0 - 0.11  # ends that are close are told apart
    assert "2002" in svg
    assert svg == line_chart_svg(LINES, {0: "2000", 2: "2002"}, COLOURS, label="two <lines>")


@pytest.mark.parametrize("lines", [{}, {"a & b": [1.0]}, {"a & b": [1.0, 2.0], "other": [1.0]}])
def test_lines_that_cannot_be_drawn_are_refused(lines: dict[str, list[float]]) -> None:
    with pytest.raises(ThumbnailError, match="one length"):
        line_chart_svg(lines, {}, COLOURS, label="x")


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ThumbnailError, match="finite"):
        line_chart_svg({"other": [0.0, float("nan")]}, {}, COLOURS, label="x")
