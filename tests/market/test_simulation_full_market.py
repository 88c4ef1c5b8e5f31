"""Moments of a whole market by months, by hand on small panels; the study and its page."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rotation_pipeline.market.calendar import add_months, month_sessions
from rotation_pipeline.market.simulation.full_market import full_market_moments, monthly_panel
from rotation_pipeline.orchestration.study_moments import BEGIN, END, Line, into_page, markdown

MONTHS = [add_months(date(2014, 1, 1), n) for n in range(72)]


def test_a_panel_of_daily_rows_by_hand() -> None:
    days = month_sessions(date(2020, 1, 1))[-2:] + month_sessions(date(2020, 2, 1))[:3]
    bars = pl.DataFrame(
        {
            "asset_key": [1] * 5, "day": days, "close": [10.0, 11.0, 11.0, 12.1, 6.6], "prev_close": [10.0, 10.0, 11.0, 11.0, 6.05],
            "adj_factor": [1.0, 1.0, 1.0, 1.0, 2.0], "amount": [100.0, 100.0, 0.0, 200.0, 300.0],
            "is_suspended": [False, False, True, False, False], "is_st": [False] * 4 + [True],
        }
    )  # fmt: skip
    valuation = bars.select(
        "asset_key", "day", total_market_value=pl.col("close") * 1e3, float_market_value=pl.col("close") * 100
    )
    january, february = monthly_panel(bars, valuation).to_dicts()
    assert january["ret"] is None
    assert february["ret"] == pytest.approx(6.6 * 2 / 11 - 1)
    assert february["size"] == pytest.approx(6600)
    assert february["turnover"] == pytest.approx(500 / 660)
    assert (february["traded"], february["is_st"]) == (2, True)
    changes = [12.1 / 11 - 1, 6.6 / 6.05 - 1]
    assert february["daily_volatility"] == pytest.approx(np.std(changes, ddof=1))
    assert february["largest"] == pytest.approx(max(changes))


def panel(names: int, common: float, own: float, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    market = rng.normal(0, common, len(MONTHS))
    frames = [
        pl.DataFrame(
            {
                "asset": [name] * len(MONTHS), "month": MONTHS, "ret": market + rng.normal(0, own, len(MONTHS)),
                "size": [float(np.exp(name % 10))] * len(MONTHS), "turnover": [0.3] * len(MONTHS),
                "daily_volatility": [0.02] * len(MONTHS), "largest": [0.1 if name % 5 == 0 else 0.05] * len(MONTHS),
                "traded": [len(month_sessions(month)) - (name == 0) for month in MONTHS], "is_st": [name < 2] * len(MONTHS),
            }
        )
        for name in range(names)
    ]  # fmt: skip
    return pl.concat(frames)


def test_moments_of_a_panel_whose_moments_are_known() -> None:
    found = dict(full_market_moments(panel(50, 0.06, 0.08, 2)).select("moment", "value").iter_rows())
    assert found["names, mean"] == 50
    assert found["stock volatility of monthly returns, median"] == pytest.approx(0.1 * np.sqrt(12), rel=0.1)
    assert found["mean pairwise correlation, monthly"] == pytest.approx(0.36, abs=0.1)
    assert found["dispersion of stocks within a month, mean"] == pytest.approx(0.08, rel=0.05)
    assert abs(found["stock kurtosis of monthly returns, median"]) < 0.6
    assert found["spread of ln market value"] == pytest.approx(np.std([n % 10 for n in range(50)], ddof=1))
    assert found["skewness of ln market value"] == pytest.approx(0.0, abs=1e-9)
    assert found["months with a day up 9.8 % or more"] == pytest.approx(0.2)
    assert found["turnover, median"] == 0.3
    assert found["special treatment"] == pytest.approx(0.04)
    sessions = sum(len(month_sessions(month)) for month in MONTHS)
    assert found["suspension rate"] == pytest.approx(len(MONTHS) / (50 * sessions))


def test_first_months_and_months_without_trading_do_not_count_for_returns() -> None:
    rows = panel(30, 0.05, 0.05, 3)
    usual = full_market_moments(rows)
    wild = rows.with_columns(
        pl.when(pl.col("month") < MONTHS[3]).then(5.0).otherwise("ret").alias("ret"),
    )
    assert full_market_moments(wild)["value"].to_list() == pytest.approx(usual["value"].to_list())
    idle = rows.with_columns(pl.when(pl.col("month") == MONTHS[40]).then(0).otherwise("traded").alias("traded"))
    assert full_market_moments(idle).filter(pl.col("moment") == "names, mean")["value"][0] == 30


def test_what_is_far_is_said() -> None:
    assert Line("market", "m", "fraction", 0.1, 0.21).far
    assert not Line("market", "m", "fraction", 0.1, 0.19).far
    assert Line("market", "m", "correlation", 0.1, -0.1).far
    assert not Line("market", "m", "correlation", 0.01, -0.02).far
    assert not Line("market", "m", "fraction", None, 1.0).far
    assert not Line("market", "names, mean", "count", 10.0, 1.0).far
    text = markdown(
        [Line("index", "one", "fraction", 0.1, 0.5), Line("market", "two", "fraction", 0.1, 0.1)],
        "rotation study moments",
    )
    assert "| one | fraction | **far** | 0.1 | 0.5 |" in text
    assert "| two | fraction |  | 0.1 | 0.1 |" in text


def test_only_the_marked_section_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    section = markdown([Line("index", "one", "fraction", 0.1, 0.5)], "rotation study moments")
    into_page(page, section)
    into_page(page, section)
    text = page.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert text.count("| one |") == 1
    page.write_text("nothing marked")
    with pytest.raises(ValueError, match="has no lines"):
        into_page(page, section)


def test_the_command_on_a_small_market(rotation: Any) -> None:
    answer = rotation("study", "moments", "--stocks", "300", "--years", "6", "--json")
    assert answer.code == 0
    lines = {line["moment"]: line for line in answer.json}
    assert all(line["real"] is None and np.isfinite(line["simulated"]) for line in lines.values())
    assert 0 < lines["suspension rate"]["simulated"] < 0.1
    assert json.dumps(answer.json) == answer.stdout.strip()
