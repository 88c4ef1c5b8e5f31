"""Returns and evidence where a code was given to a second company: as if that one had a code of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, cast

import pandas as pd
import polars as pl
import pytest
from factors_reference import Market, key_of, make_market

import rotation_pipeline as rp
from rotation_pipeline.factors.exposures import compute_exposures
from rotation_pipeline.factors.raw import compute_raw_factors
from rotation_pipeline.market.calendar import add_months, month_start, months_between
from rotation_pipeline.market.identifiers import asset_id
from rotation_pipeline.notebook.frames import plain
from rotation_pipeline.orchestration import factor_stages
from rotation_pipeline.orchestration.stages import Work
from rotation_pipeline.settings import Settings, load_settings

FIRST, SECOND = key_of(6), key_of(40)
NEXT = FIRST + 1
"""A code nobody has, next in order."""
MARKET = make_market(31, n_assets=41, first=date(2017, 1, 1), n_months=28)
MONTHS = months_between(date(2018, 3, 1), date(2019, 4, 1))
"""Months with exposures."""
CASES = [
    (date(2018, 9, 12), date(2018, 12, 4)),  # months with neither between them
    (date(2018, 9, 12), date(2018, 9, 19)),  # both in one month
    (date(2018, 9, 28), date(2018, 10, 8)),  # one after the other
]
"""Day the first company is gone, first day of the second."""
Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(
        sample={"start": "2019-03", "end": "2019-04", "history_months": 37, "style_history_months": 12},
        factors={"min_names": 10, "min_factor_names": 5, "ic_horizons": 6},
    )


def apart(market: Market, settings: Settings, gone: date, back: date) -> Frames:
    """The tables where the first company trades before ``gone`` and the second, by a code of its own, from ``back`` on."""

    def lived(when: pl.Expr, first: date, second: date) -> pl.Expr:
        key = pl.col("asset_key")
        return ~key.is_in([FIRST, SECOND]) | ((key == FIRST) & (when < first)) | ((key == SECOND) & (when >= second))

    def renamed(frame: pl.DataFrame) -> pl.DataFrame:
        key = pl.col("asset_key")
        return frame.with_columns(pl.when(key == SECOND).then(NEXT).otherwise(key).cast(pl.Int32).alias("asset_key"))

    at_ends = lived(pl.col("month"), month_start(gone), month_start(back))
    bars = renamed(market.bars.filter(lived(pl.col("day"), gone, back))).sort("asset_key", "day")
    fresh = (pl.col("asset_key") == NEXT) & (pl.col("day") == pl.col("day").filter(pl.col("asset_key") == NEXT).min())
    bars = bars.with_columns(pl.when(~fresh).then(pl.col("ret")).alias("ret"))
    universe, snapshot = (renamed(frame.filter(at_ends)) for frame in (market.universe, market.snapshot))
    raw = compute_raw_factors(bars, market.index_daily, snapshot, universe, market.sessions, MONTHS, settings.factors)
    listed = [(month, FIRST, date(2001, 3, 5)) for month in market.months if month <= month_start(gone)]
    listed += [(month, NEXT, back) for month in market.months if month >= month_start(back)]
    return {
        "intermediate.adjusted_bars": bars,
        "intermediate.stock_snapshot": snapshot.sort("month", "asset_key"),
        "intermediate.universe": universe.sort("month", "asset_key"),
        "intermediate.index_daily": market.index_daily,
        "marts.factor_exposures": compute_exposures(raw, universe, snapshot, settings.factors),
        "raw.listings": pl.DataFrame(
            listed, schema={"month": pl.Date, "asset_key": pl.Int32, "listed_on": pl.Date}, orient="row"
        ),
    }


def one_code(frames: Frames) -> Frames:
    """The same with one code for both companies."""
    key = pl.when(pl.col("asset_key") == NEXT).then(FIRST).otherwise("asset_key").cast(pl.Int32).alias("asset_key")
    found = {name: frame.with_columns(key) if "asset_key" in frame else frame for name, frame in frames.items()}
    order = ["month", "asset_key"]
    found["raw.listings"] = found["raw.listings"].sort(*order, "listed_on").unique(order, keep="last")
    found["intermediate.adjusted_bars"] = found["intermediate.adjusted_bars"].sort("asset_key", "day")
    return found


class Tables(Work):
    """Work on frames instead of a warehouse."""

    frames: Frames

    def table(
        self, name: str, *, back: int | None = None, order: Sequence[str] | None = None, **options: Any
    ) -> pl.DataFrame:
        begin = add_months(self.first, -back) if back is not None else date.min
        columns = options.get("columns")
        rows = self.frames[name].filter(pl.col("month").is_between(begin, self.last))
        rows = rows if order is None else rows.sort(order)
        return rows if columns is None else rows.select(columns)


class Bars:
    """The one thing the exposures ask of a warehouse itself."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def batches(
        self, name: str, *, columns: Sequence[str], order: Sequence[str], first: date, last: date
    ) -> Iterator[Any]:
        rows = self.frames[name].filter(pl.col("month").is_between(first, last)).sort(order).select(columns)
        yield from rows.to_arrow().to_batches(max_chunksize=1000)


def tables(frames: Frames, settings: Settings, months: Sequence[date]) -> dict[str, pd.DataFrame]:
    """What both stages make of the months."""
    work = Tables(cast("Any", Bars(frames)), settings, cast("Any", None), "run", list(months))
    work.frames = frames
    found = {**factor_stages.factor_returns(work), **factor_stages.factor_evidence(work)}
    return {name: cast("pd.DataFrame", frame) for name, frame in found.items()}


@pytest.mark.parametrize(("gone", "back"), CASES)
def test_a_second_company_of_the_code_is_as_one_of_another_code(
    settings: Settings, gone: date, back: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = apart(MARKET, settings, gone, back)
    reused = one_code(frames)
    months = MONTHS[1:]
    expected, found = tables(frames, settings, months), tables(reused, settings, months)
    assert len(found) == 5
    for name, frame in expected.items():
        assert len(frame), name
        pd.testing.assert_frame_equal(found[name], frame, check_exact=True, obj=name)
    for month in (month_start(gone), month_start(back), add_months(month_start(back), 1), months[-1]):
        alone = tables(reused, settings, [month])
        for name, frame in expected.items():
            rows = frame[frame["month"] == pd.Timestamp(month)].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone[name], rows, check_exact=True, obj=f"{name} of {month}")
    monkeypatch.setattr(factor_stages, "later_companies", lambda rows: rows.clear().select("asset_key", "listed_on"))
    blind = tables(reused, settings, months)
    assert not blind["marts.factor_decay"].equals(expected["marts.factor_decay"]), "else nothing is tested"


# ---------------------------------------------------------------------- the same functions on plain frames

LONG = make_market(31, n_assets=41, first=date(2016, 1, 1), n_months=40)
"""Enough history to fill every window of a month and of the months before it."""


def exposures_of(frames: Frames, settings: Settings, months: Sequence[date]) -> pd.DataFrame:
    work = Tables(cast("Any", Bars(frames)), settings, cast("Any", None), "run", list(months))
    work.frames = frames
    (found,) = factor_stages.factor_exposures(work).values()
    return plain(cast("pl.DataFrame", found).sort("month", "asset_key", "factor"))


@pytest.mark.parametrize(("gone", "back"), CASES)
def test_a_notebook_has_the_numbers_of_the_pipeline(settings: Settings, gone: date, back: date) -> None:
    months = months_between(date(2018, 11, 1), date(2019, 4, 1))
    frames = one_code(apart(LONG, settings, gone, back))
    names = ("adjusted_bars", "index_daily", "stock_snapshot", "universe")
    bars, index, figures, universe = (plain(frames[f"intermediate.{name}"]) for name in names)
    listings = plain(frames["raw.listings"])
    expected = exposures_of(frames, settings, months)
    found = rp.exposures(bars, index, figures, universe, months, settings.factors, listings)
    found = found.sort_values(["month", "asset_id", "factor"], ignore_index=True)[list(expected.columns)]
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    one = found["asset_id"] == asset_id(FIRST)
    assert found.loc[one & (found["factor"] == "mom_120"), "raw_value"].isna().any(), "too few days of its own"

    months = MONTHS[1:]
    stored = tables(frames, settings, months)
    traded = rp.long_short_returns(
        plain(frames["marts.factor_exposures"]), bars, figures, months, settings.factors, listings
    )
    for name in ("longshort", "groups"):
        pd.testing.assert_frame_equal(getattr(traded, name), stored[f"marts.factor_{name}"], check_exact=True)
    pd.testing.assert_frame_equal(traded.daily, stored["marts.factor_longshort_daily"], check_exact=True)


def test_a_notebook_refuses_bars_that_break_where_no_listing_says_why(settings: Settings) -> None:
    frames = one_code(apart(LONG, settings, *CASES[0]))
    bars, scores = plain(frames["intermediate.adjusted_bars"]), plain(frames["marts.factor_exposures"])
    words = rf"bars: {asset_id(FIRST)} trades on {CASES[0][1]} and has no return .* pass listings"
    with pytest.raises(rp.NotebookError, match=words):
        rp.long_short_returns(scores, bars, None, MONTHS[1:], settings.factors)
    index, figures = (plain(frames[f"intermediate.{name}"]) for name in ("index_daily", "stock_snapshot"))
    with pytest.raises(rp.NotebookError, match=words):
        rp.exposures(bars, index, figures, None, MONTHS, settings.factors)
    known = plain(frames["raw.listings"])
    # nothing of the month it began in, nor of any before
    later = cast("pd.DataFrame", known[known["month"] > pd.Timestamp(CASES[0][1])])
    with pytest.raises(rp.NotebookError, match=words):
        rp.long_short_returns(scores, bars, None, MONTHS[1:], settings.factors, later)
    with pytest.raises(rp.NotebookError, match=words):
        rp.exposures(bars, index, figures, None, MONTHS, settings.factors, later)
    listings = known.drop(columns="listed_on")
    with pytest.raises(rp.NotebookError, match="listings: column 'listed_on' is missing"):
        rp.long_short_returns(scores, bars, None, MONTHS[1:], settings.factors, listings)
