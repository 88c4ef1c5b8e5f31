"""Pictures of studies: every value and interval where it belongs, the same bytes, nothing from data as markup."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from rotation_pipeline.reporting.pictures import Mark, intervals_svg

MARKS = [
    Mark("a", 0.0, -0.1, 0.1, "one", marked=True),
    Mark("b <i>&", 0.2, 0.1, 0.4, "one"),
    Mark("c", -0.3, math.nan, math.nan, "two"),
]


def test_values_stand_in_their_order_and_on_one_scale() -> None:
    text = intervals_svg(MARKS, title="Title <b>", axis="difference")
    root = ElementTree.fromstring(text)
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter("{http://www.w3.org/2000/svg}circle")
    ]
    (xa, ya), (xb, yb), (xc, yc) = dots
    assert (xb - xa) / (xa - xc) == pytest.approx(0.2 / 0.3, rel=0.01)
    assert yc - yb > yb - ya > 0  # a gap between groups
    widths = [float(line.attrib["x2"]) - float(line.attrib["x1"]) for line in root.iter("{http://www.w3.org/2000/svg}line") if line.attrib["y1"] == line.attrib["y2"]]  # fmt: skip
    assert widths[1] / widths[0] == pytest.approx(0.3 / 0.2, rel=0.01)
    assert len(widths) == 2
    assert "<i>" not in text
    assert "−0.2" in text
    assert text == intervals_svg(MARKS, title="Title <b>", axis="difference")


def test_shares_are_told_in_percent_and_nothing_is_no_picture() -> None:
    text = intervals_svg([Mark("a", 0.1, 0.0, 0.4)], title="t", axis="share", reference=0.025, percent=True)
    assert re.search(r">\d+%<", text)
    with pytest.raises(ValueError, match="no value"):
        intervals_svg([Mark("a", math.nan, 0.0, 0.4)], title="t", axis="share")
