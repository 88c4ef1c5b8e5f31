"""The section of the sensitivity study: every cell drawn and tabled, the rank said, or how to run the study."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_frames import build

from rotation_pipeline.backtest.sensitivity import Judged, Row, sensitivity_rows
from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.reporting.blocks import Chart, Note, Table, sample_text
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.report import render_report, sections
from rotation_pipeline.reporting.words import LANGUAGES, Words

VALUES = {"score": ("r̂/σ", "r̂"), "lag": ("0", "1 d", "1 m")}


def cell(axis: str, position: int, value: str, difference: float) -> Row:
    judged = Judged(60, 0.5, 0.5 - difference, difference, difference - 0.2, difference + 0.1, 0.4, 0.021, 0.31)
    return Row(axis, position, value, "{}", position == 0, "own" if position == 0 else f"{axis}{position}", "1", judged)


@pytest.fixture(scope="module")
def data() -> ReportData:
    random = np.random.default_rng(1)
    rows = [
        cell(axis, n, value, 0.05 if n == 0 else float(random.normal(0.05, 0.1)))
        for axis in AXES
        for n, value in enumerate(VALUES.get(axis, ("a", "b")))
    ]
    base = build(24)
    order = {axis: place for place, axis in enumerate(AXES)}
    frame = sensitivity_rows(rows, base.month, "mark").sort_values(
        ["axis", "position"], key=lambda column: column.map(order) if column.name == "axis" else column
    )
    return replace(base, sensitivity=pd.DataFrame(frame))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_cell_is_drawn_and_tabled(data: ReportData, language: str) -> None:
    (section,) = [one for one in sections(data, Words(language)) if one.name == "sensitivity"]
    chart, table = section.blocks
    assert isinstance(chart, Chart)
    assert isinstance(table, Table)
    assert sample_text(data.history("backtest"), Words(language)) in chart.sample
    others, own = json.loads(chart.figure)["data"]
    assert len(own["x"]) == len(AXES)
    assert len(own["x"]) + len(others["x"]) == len(data.sensitivity) == len(table.sheet.rows)
    assert own["marker"]["symbol"] == "diamond"
    assert own["error_x"]["array"] == pytest.approx([0.1] * len(AXES))
    assert own["error_x"]["arrayminus"] == pytest.approx([0.2] * len(AXES))
    assert len(table.sheet.marked) == len(AXES)
    assert all(re.fullmatch(r"\[−?\d\.\d{3}, −?\d\.\d{3}\]", row[4].aside) for row in table.sheet.rows)
    shown = [row[1].text for row in table.sheet.rows]
    assert Words(language)("sensitivity.one_session") in shown
    assert "1 d" not in shown
    rank = 1 + int((data.sensitivity.drop_duplicates("trial_id")["difference"] > 0.05).sum())
    assert f" {rank}" in table.sheet.how


def test_it_costs_little_and_without_a_study_one_line_says_how(data: ReportData) -> None:
    bare = build(24)
    for language in LANGUAGES:
        (section,) = [one for one in sections(bare, Words(language)) if one.name == "sensitivity"]
        (note,) = section.blocks
        assert isinstance(note, Note)
        assert "rotation study sensitivity" in note.text
        assert len(render_report(data, language)) - len(render_report(bare, language)) < 60_000
