"""The computed verdict: each state, the numbers behind it, and both languages."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from backtest_world import FORECAST_MONTHS, MONTHS, QUICK, TRIAL_SETTINGS, backtest, regimes

from rotation_pipeline.allocation.frames import MissingMonthError
from rotation_pipeline.backtest.measure_table import measure_table
from rotation_pipeline.backtest.significance import significance_table
from rotation_pipeline.backtest.trials import trial_rows
from rotation_pipeline.backtest.verdict import STYLE_NAMES, verdict
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting.vocabulary import VOCABULARY

MONTH = MONTHS[45]


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    book = backtest()
    return {
        "measures": measure_table(book, regimes(), FORECAST_MONTHS, [MONTHS[5], MONTH], QUICK),
        "significance": significance_table(
            book, trial_rows(book, TRIAL_SETTINGS, MONTHS, QUICK), [MONTHS[5], MONTH], QUICK
        ),
        "books": pd.DataFrame(
            {"month": MONTHS, "strategy": "rotation", "active_share": 0.07, "is_equal_weight_clone": False}
        ),
        "forecast_scores": pd.DataFrame(
            {"month": [MONTH], "expert": "mixture", "style": "ALL", "r2_out_of_sample": [-0.012]}
        ),
    }


def judged(
    tables: dict[str, Any],
    low: float = math.nan,
    high: float = math.nan,
    deflated: float = math.nan,
    excess: float = math.nan,
    clone: bool = False,
) -> Any:
    """The verdict after putting given numbers in the places the rule reads."""
    rows = tables["significance"].copy()
    mine = (rows["month"] == MONTH) & (rows["strategy"] == "rotation")
    boot = mine & (rows["statistic"] == "sharpe_difference_bootstrap") & (rows["baseline"] == "equal_weight")
    rows.loc[boot, ["low", "high"]] = [low, high]
    rows.loc[mine & (rows["statistic"] == "deflated_sharpe") & (rows["baseline"] == "zero"), "value"] = deflated
    rows.loc[mine & (rows["statistic"] == "deflated_sharpe") & (rows["baseline"] == "equal_weight"), "value"] = excess
    books = tables["books"].assign(is_equal_weight_clone=clone)
    return verdict(tables["measures"], rows, books, tables["forecast_scores"], MONTH, QUICK)


@pytest.mark.parametrize(
    ("numbers", "state"),
    [
        ({"low": 0.1, "high": 0.9, "deflated": 0.97, "excess": 0.96}, "beats"),
        ({"low": 0.1, "high": 0.9, "deflated": 0.97, "excess": 0.94}, "no better"),
        ({"low": 0.1, "high": 0.9, "deflated": 0.90, "excess": 0.99}, "no better"),
        ({"low": -0.1, "high": 0.9, "deflated": 0.99, "excess": 0.99}, "no better"),
        ({"low": -0.9, "high": -0.1, "deflated": 0.99, "excess": 0.99}, "worse"),
        ({}, "no better"),
        ({"low": 0.1, "high": 0.9, "deflated": 0.99, "excess": math.nan}, "no better"),
        ({"low": 0.1, "high": 0.9, "deflated": 0.99, "excess": 0.99, "clone": True}, "clone"),
    ],
)
def test_states(tables: dict[str, Any], numbers: dict[str, float], state: str) -> None:
    result = judged(tables, **numbers)
    assert result.state == state
    english, chinese = " ".join(result.sentences("en")), "".join(result.sentences("zh"))
    assert {
        "beats": "beats static equal weight",
        "no better": "not shown to be better",
        "worse": "is worse than",
        "clone": "clone",
    }[state] in english
    assert {"beats": "优于静态等权", "no better": "没有证据", "worse": "劣于", "clone": "等同于等权"}[state] in chinese
    assert "nan" not in english + chinese
    believed = all(numbers.get(name, 0.0) >= 0.95 for name in ("deflated", "excess"))
    assert ("would be believed" in english) == believed
    assert ("不可信" in chinese) != believed


def test_numbers_are_those_of_the_tables(tables: dict[str, Any]) -> None:
    result = verdict(**tables, month=MONTH, options=QUICK)
    rows = tables["measures"]
    own = rows[
        (rows["month"] == MONTH)
        & (rows["strategy"] == "rotation")
        & (rows["sample"] == "all")
        & (rows["cost_bp"] == 20.0)
    ]
    assert result.sharpe == own[own["measure"] == "sharpe"]["value"].item()
    assert result.difference == pytest.approx(result.sharpe - result.baseline_sharpe, abs=1e-12)
    assert result.months == 45
    assert result.trials == 3
    assert result.active_share == pytest.approx(0.07)
    text = " ".join(result.sentences("en"))
    for number in (
        f"{result.net_return:.2%}",
        f"{result.low:.2f} to {result.high:.2f}",
        f"p = {result.p_value:.3f}",
        "45 months",
        "-1.20%",
        "20 basis points",
    ):
        assert number.replace("-", "−") in text
    assert result.excess_low < 0.0
    chinese = "".join(result.sentences("zh"))
    assert f"{result.excess_low:.2%} 至 {result.excess_high:.2%}".replace("-", "−") in chinese
    for shown in (text, chinese):
        assert re.search(r"(?<![\d])-\d", shown) is None, "a minus is a minus, as in the tables"


def test_too_few_months_say_so(tables: dict[str, Any]) -> None:
    result = verdict(**{**tables, "forecast_scores": None}, month=MONTHS[5], options=QUICK)
    assert result.state == "no better"
    assert not result.enough_months
    assert "only 5 months" in result.sentences("en")[0]
    assert "仅有 5 个月" in result.sentences("zh")[0]
    assert "nan" not in " ".join((*result.sentences("en"), *result.sentences("zh")))


def test_styles_without_figures_are_named(tables: dict[str, Any]) -> None:
    whole = verdict(**tables, month=MONTH, options=QUICK)
    assert whole.absent == ()
    measures = tables["measures"].copy()
    flat = (measures["measure"] == "volatility") & measures["strategy"].isin(["only_VAL", "only_SIZE"])
    assert flat.any()
    measures.loc[flat, "value"] = 0.0
    partly = verdict(**{**tables, "measures": measures}, month=MONTH, options=QUICK)
    assert partly.absent == ("VAL", "SIZE")
    assert "no figures for value and small size in any month" in partly.sentences("en")[1]
    assert "各月均无价值、小市值的数据" in partly.sentences("zh")[1]
    for language in ("en", "zh"):
        assert (partly.sentences(language)[0], *partly.sentences(language)[2:]) == whole.sentences(language)
        alone = replace(partly, absent=("QLTY",)).sentences(language)[1]
        assert ("its weight" if language == "en" else "该风格") in alone


def test_style_names_are_those_of_the_report() -> None:
    for place, language in enumerate(("en", "zh")):
        names = {style: VOCABULARY[f"style.{style}"][place].lower() for style in STYLES}
        assert STYLE_NAMES[language] == names


def test_missing_rows_are_named(tables: dict[str, Any]) -> None:
    with pytest.raises(MissingMonthError, match=r"marts\.backtest_measures has no rows for 2020-07"):
        verdict(**tables, month=MONTHS[44], options=QUICK)
    with pytest.raises(MissingMonthError, match=r"marts\.backtest_measures .*15"):
        verdict(**tables, month=MONTH, options=replace(QUICK, cost_bp=15.0))
    with pytest.raises(MissingMonthError, match=r"marts\.books has no rows"):
        verdict(**{**tables, "books": tables["books"].iloc[:3]}, month=MONTH, options=QUICK)
