"""Small SVG plots: well-formed, inside their box, escaped, deterministic."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.reporting.thumbnails import ThumbnailError, bars_svg, sparkline_svg, svg_data_uri

VALUES = st.lists(st.one_of(st.none(), st.just(float("nan")), st.floats(-1e9, 1e9)), max_size=40)
NAME = "{http://www.w3.org/2000/svg}"


@settings(deadline=None, max_examples=25)
@given(values=VALUES)
def test_drawings_are_well_formed_and_stay_inside(values: list[float | None]) -> None:
    for draw in (sparkline_svg, bars_svg):
        svg = draw(values, width=120, height=30)
        assert svg == draw(values, width=120, height=30)
        root = ET.fromstring(svg)
        for points in (one.get("points", "") for one in root.iter(f"{NAME}polyline")):
            for pair in points.split():
                x, y = map(float, pair.split(","))
                assert 0 <= x <= 120
                assert 0 <= y <= 30
        for bar in root.iter(f"{NAME}rect"):
            top, height = float(bar.get("y", "nan")), float(bar.get("height", "nan"))
            assert 0 <= top <= top + height <= 30.6


def test_a_gap_breaks_the_line() -> None:
    root = ET.fromstring(sparkline_svg([1.0, 2.0, None, 3.0, 4.0, 5.0]))
    assert [len(line.get("points", "").split()) for line in root.iter(f"{NAME}polyline")] == [2, 3]


def test_higher_values_are_drawn_higher_and_zero_is_marked() -> None:
    root = ET.fromstring(sparkline_svg([-1.0, 1.0], height=40))
    (line,) = root.iter(f"{NAME}polyline")
    first, second = (float(point.split(",")[1]) for point in line.get("points", "").split())
    assert first > second
    assert len(list(root.iter(f"{NAME}line"))) == 1
    assert not list(ET.fromstring(sparkline_svg([1.0, 2.0])).iter(f"{NAME}line"))


def test_bars_grow_from_zero() -> None:
    bars = list(ET.fromstring(bars_svg([2.0, -1.0], height=36, colours=["#c4513a", "#2f6f9f"])).iter(f"{NAME}rect"))
    assert [float(bar.get("height", "0")) for bar in bars] == [20.0, 10.0]
    assert [bar.get("fill") for bar in bars] == ["#c4513a", "#2f6f9f"]


def test_labels_are_escaped() -> None:
    svg = sparkline_svg([1.0, 2.0], label="<b>&\"'")
    assert ET.fromstring(svg).findtext(f"{NAME}title") == "<b>&\"'"


def test_nothing_known_is_an_empty_picture() -> None:
    assert list(ET.fromstring(sparkline_svg([None, float("nan")]))) == []
    assert list(ET.fromstring(bars_svg([]))) == []


def test_data_uri_round_trip() -> None:
    svg = bars_svg([1.0])
    head, body = svg_data_uri(svg).split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(body).decode() == svg


def test_impossible_drawings_are_refused() -> None:
    with pytest.raises(ThumbnailError, match="value 1 is infinite"):
        sparkline_svg([1.0, float("inf")])
    with pytest.raises(ThumbnailError, match="no area"):
        bars_svg([1.0], width=4)
    with pytest.raises(ThumbnailError, match="2 colours for 1 bars"):
        bars_svg([1.0], colours=["#000000", "#ffffff"])
