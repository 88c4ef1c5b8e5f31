"""Trials as a table: which are counted and why not, as what they were traded; and styles without figures stand in no table."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reporting_frames import build

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting import sheets
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.trials import trials
from rotation_pipeline.reporting.words import LANGUAGES, Words


@pytest.fixture(scope="module")
def data() -> ReportData:
    return build(24)


def added(data: ReportData, **changes: object) -> ReportData:
    """The same with one more trial, like the headline's but for some columns."""
    first = data.trials.iloc[:1].assign(trial_id="ffff", information_ratio=0.05, **changes)
    return replace(data, trials=pd.concat([data.trials, first], ignore_index=True))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_says_which_trials_are_counted(data: ReportData, language: str) -> None:
    words = Words(language)

    def told(data: ReportData) -> list[str]:
        return [row[2].text for row in trials(data, words).rows]

    yes, equal, same = (words(f"counts.{name}") for name in ("counted", "equal_weight", "repeated"))
    assert told(data) == [yes] * 3
    four = added(data)
    assert told(four) == [yes] * 4
    alike = replace(four, trials=four.trials.assign(information_ratio=0.05))
    assert sorted(told(alike)) == sorted([yes, same, same, same])
    last = four.trials["trial_id"] == "ffff"
    quiet = replace(four, trials=four.trials.assign(information_ratio=four.trials["information_ratio"].mask(last)))
    assert sorted(told(quiet)) == sorted([equal, yes, yes, yes])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_stock_level_trial_is_named_after_its_portfolio(data: ReportData, language: str) -> None:
    words = Words(language)
    for portfolio in ("long_only", "long_short", "index_tilt", "index_enhanced"):
        text = json.dumps({"strategy": "rotation", "configuration": {"portfolio": portfolio, "stock_level": {}}})
        sheet = trials(added(data, kind="stock_book", configuration=text), words)
        (note,) = [row[1].aside for row in sheet.rows if row[0].text == "ffff"]
        assert words(f"stock.{portfolio}") in note
    assert {row[1].aside for row in trials(data, words).rows} == {""}
    cell = trials(added(data, kind="cell"), words)
    assert words("trial.cell") in {row[1].aside for row in cell.rows}


def test_styles_without_figures_stand_in_no_table_as_if_they_had_earned_nothing(data: ReportData) -> None:
    gone = ("VAL", "QLTY")
    longshort = data.longshort.assign(
        long_short=data.longshort["long_short"].where(~data.longshort["factor"].isin(gone), np.nan)
    )
    partly = replace(data, longshort=longshort)
    assert data.absent_styles() == []
    assert partly.absent_styles() == [style for style in STYLES if style in gone]
    words = Words("en")
    shown = {row[0].text for row in sheets.headline(partly, words).rows}
    assert shown == {row[0].text for row in sheets.headline(data, words).rows} - {
        words(f"book.only_{style}") for style in gone
    }
    assert len(shown) > 5
    assert replace(data, longshort=data.longshort.iloc[:0]).absent_styles() == []
