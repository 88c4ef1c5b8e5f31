"""A raw factor is one definition: everything else follows from it, and one that looks ahead fails replay."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from factors_reference import Market, make_market

from rotation_pipeline.factors.definitions import RAW_FACTORS, STYLES, RawFactor
from rotation_pipeline.factors.errors import BadInput
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.panel import History
from rotation_pipeline.factors.raw import bar_columns, compute_raw_factors, figure_columns, unequal_on_replay

OPTIONS = FactorOptions(min_names=10, min_factor_names=5)


@pytest.fixture(scope="module")
def market() -> Market:
    return make_market(5, n_assets=20, n_months=30)


def largest_return(ret: np.ndarray) -> float:
    """Largest daily return (Bali, Cakici and Whitelaw 2011)."""
    return float(np.nanmax(ret)) if np.isfinite(ret).any() else np.nan


LARGEST = RawFactor(
    "max_20",
    "VOL",
    -1,
    "fraction",
    "largest daily return of 20 own trading days",
    ("ret",),
    largest_return,
    "window",
    20,
)


def closes_at(history: History, ahead: int) -> np.ndarray:
    """Adjusted close on the session ``ahead`` of each month end, shape (assets, months); NaN where none is loaded."""
    panel = history.panel
    out = np.full((panel.asset_key.size, history.closes.size), np.nan)
    for asset in range(panel.asset_key.size):
        rows = slice(panel.start[asset], panel.stop[asset])
        at = np.searchsorted(panel.session[rows], history.closes + ahead, side="right") - 1
        out[asset] = np.where(at >= 0, panel.columns["adj_close"][rows][np.maximum(at, 0)], np.nan)
    return out


def raw_of(market: Market, *factors: RawFactor) -> pl.DataFrame:
    return compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[-4:], OPTIONS,
        (*RAW_FACTORS, *factors),
    )  # fmt: skip


def replay(market: Market, *factors: RawFactor) -> dict[str, object]:
    months = [market.months[3], *market.months[-3:]]
    return unequal_on_replay(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, months, OPTIONS, factors
    )


def test_every_factor_of_the_project_is_equal_on_replay(market: Market) -> None:
    assert replay(market, *RAW_FACTORS) == {}


def test_a_window_factor_is_its_function_of_the_last_own_days(market: Market) -> None:
    month = market.months[-1]
    got = raw_of(market, LARGEST).filter(pl.col("month") == month)
    assert got.columns[-1] == "max_20"
    checked = 0
    for key, value in got.select("asset_key", "max_20").iter_rows():
        own = market.bars.filter((pl.col("asset_key") == key) & ~pl.col("is_suspended")).sort("day")["ret"].to_numpy()
        if own.size > 600:
            assert value == own[-20:].max()
            checked += 1
    assert checked > 5
    assert replay(market, LARGEST) == {}


def test_too_few_days_give_null_and_returns_from_before_the_lookback_are_unknown(market: Market) -> None:
    seen: list[np.ndarray] = []

    def watch(ret: np.ndarray, index: np.ndarray) -> float:
        seen.append(ret)
        assert np.isnan(ret[0]) == np.isnan(index[0])
        return float(ret.size)

    long = RawFactor("days", "VOL", 1, "count", "days", ("ret", "index_ret"), watch, "window", 504)
    got = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[-1:],
        FactorOptions(lookback_sessions=100, min_window_share=0.15), (long,),
    )  # fmt: skip
    assert max(window.size for window in seen) == 100
    assert all(np.isnan(window[0]) for window in seen)
    assert got["days"].max() == 100.0
    strict = compute_raw_factors(
        market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, market.months[-1:],
        FactorOptions(lookback_sessions=100), (long,),
    )  # fmt: skip
    assert strict["days"].null_count() == strict.height


def test_a_figure_factor_is_a_function_of_the_snapshot(market: Market) -> None:
    margin = RawFactor(
        "profit_to_value", "VAL", 1, "fraction", "TTM net profit / market value", ("net_profit_ttm", "total_market_value"),
        lambda profit, value: profit / value,
    )  # fmt: skip
    got = raw_of(market, margin).join(market.snapshot, on=["month", "asset_key"], how="left")
    expected = got["net_profit_ttm"] / got["total_market_value"]
    assert got["profit_to_value"].equals(expected.rename("profit_to_value"), null_equal=True)


def test_a_factor_that_looks_ahead_fails_replay(market: Market) -> None:
    def ahead(history: History) -> np.ndarray:
        return closes_at(history, 5) / closes_at(history, 0) - 1.0

    def behind(history: History) -> np.ndarray:
        return closes_at(history, 0) / closes_at(history, -5) - 1.0

    leak = RawFactor(
        "next_week", "MOM", 1, "fraction", "return of the next 5 sessions", ("adj_close",), ahead, "history"
    )
    honest = RawFactor(
        "last_week", "MOM", 1, "fraction", "return of the last 5 sessions", ("adj_close",), behind, "history"
    )
    assert set(replay(market, leak, honest)) == {"next_week"}


def test_a_factor_that_remembers_between_months_fails_replay(market: Market) -> None:
    carried = [0.0]

    def counting(ret: np.ndarray) -> float:
        carried[0] += 1.0
        return carried[0]

    assert set(replay(market, RawFactor("n", "MOM", 1, "count", "calls", ("ret",), counting, "window", 5))) == {"n"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Max 20"}, "lower-case identifier"),
        ({"style": "CARRY"}, "style is one of"),
        ({"sign": 0}, "sign is 1 or -1"),
        ({"unit": ""}, "are all needed"),
        ({"window": 0}, "window is the number"),
        ({"kind": "figures"}, "window is the number"),
        ({"function": None}, "a function is needed"),
        ({"inputs": ("tomorrow",)}, "no daily inputs"),
    ],
)
def test_a_wrong_definition_is_named(change: dict[str, object], words: str) -> None:
    right = {"name": "a", "style": "MOM", "sign": 1, "unit": "u", "meaning": "m", "inputs": ("ret",), "function": largest_return, "kind": "window", "window": 5}  # fmt: skip
    with pytest.raises(ValueError, match=words):
        RawFactor(**(right | change))  # type: ignore[arg-type]


def test_results_of_another_shape_are_named(market: Market) -> None:
    wide = RawFactor("wide", "MOM", 1, "u", "m", ("pb",), lambda pb: pb[:-1])
    with pytest.raises(BadInput, match="wide"):
        raw_of(market, wide)
    flat = RawFactor("flat", "MOM", 1, "u", "m", ("ret",), lambda history: np.zeros(3), "history")
    with pytest.raises(BadInput, match="flat"):
        raw_of(market, flat)


def test_columns_to_read_follow_from_the_definitions() -> None:
    thin = RawFactor("thin", "SIZE", -1, "fraction", "turnover", ("turnover_rate",), np.nanmean, "window", 20)
    assert bar_columns((*RAW_FACTORS, thin)) == (*bar_columns(), "turnover_rate")
    assert figure_columns((*RAW_FACTORS, thin)) == figure_columns()


WITH_ONE_MORE = """
import json, sys
import numpy as np
from rotation_pipeline.factors import definitions

extra = definitions.RawFactor(
    "max_20", "VOL", -1, "fraction", "largest daily return of 20 own trading days", ("ret",),
    lambda ret: float(np.nanmax(ret)) if np.isfinite(ret).any() else np.nan, "window", 20,
)
definitions.RAW_FACTORS = (*definitions.RAW_FACTORS, extra)  # as if it stood in the file

from factors_reference import make_market
from rotation_pipeline.factors.evidence import monthly_evidence
from rotation_pipeline.factors.exposures import compute_exposures
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.factors.returns import long_short_returns
from rotation_pipeline.factors.tables import EXPOSURES, FACTOR
from rotation_pipeline.warehouse.dictionary import dictionary_markdown

market = make_market(5, n_assets=40, n_months=28)
options = FactorOptions(min_names=10, min_factor_names=5)
months = market.months[-4:]
raw = compute_raw_factors(market.bars, market.index_daily, market.snapshot, market.universe, market.sessions, months, options)
exposures = compute_exposures(raw, market.universe, market.snapshot, options)
last = exposures.filter(exposures["month"] == months[-1])
style = last.filter(last["factor"] == "VOL")["score"]
returns = long_short_returns(exposures, market.bars, market.snapshot, months[1:], options, months[0])
evidence = monthly_evidence(exposures, market.bars, months[1:], months[0])
print(json.dumps({
    "raw": raw.columns, "scored": last.filter(last["factor"] == "max_20")["score"].count(), "style": style.to_list(),
    "returns": int((returns.longshort["factor"] == "max_20").sum()), "evidence": int((evidence["factor"] == "max_20").sum()),
    "allowed": "max_20" in FACTOR.allowed, "reads": list(EXPOSURES.column("raw_value").reads), "documented": "max_20" in dictionary_markdown(),
}))
"""


def test_one_more_definition_is_all_it_takes() -> None:
    script = WITH_ONE_MORE
    found = json.loads(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=__file__.rsplit("/", 1)[0]).stdout
    )  # fmt: skip
    assert found["raw"][-1] == "max_20"
    assert found["scored"] > 20
    assert found["returns"] == 3
    assert found["evidence"] == 3
    assert found["allowed"]
    assert found["documented"]
    assert "intermediate.adjusted_bars.ret" in found["reads"]
    without = json.loads(
        subprocess.run(
            [sys.executable, "-c", script.replace("definitions.RAW_FACTORS = (*definitions.RAW_FACTORS, extra)", "")],
            capture_output=True, text=True, check=False, cwd=__file__.rsplit("/", 1)[0],
        ).stdout
    )  # fmt: skip
    assert "max_20" not in without["raw"]
    assert without["style"] != found["style"]  # the new factor is a part of its style
    assert len(STYLES) == 5
