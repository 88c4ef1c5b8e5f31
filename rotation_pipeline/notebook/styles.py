"""From bars and figures, or from scores of your own, to long-short returns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import cast

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.factors.returns import LongShortResult
from rotation_pipeline.factors.styles import SERIES, STYLES
from rotation_pipeline.factors.tables import LONGSHORT
from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.identifiers import asset_id
from rotation_pipeline.market.reused_codes import by_code, by_company, later_companies
from rotation_pipeline.notebook.frames import Months, NotebookError, checked, keyed_by_month, months_of, plain, read

_HELD = {"day": "day", "asset_id": "asset", "adj_close": "number", "ret": "number?", "is_suspended": "flag"}


def _bars(bars: pd.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    """Bars with their month, sorted by asset_key, day."""
    found = read(bars, "bars", columns)
    return found.with_columns(pl.col("day").dt.truncate("1mo").alias("month")).sort("asset_key", "day")


def later_of(listings: pd.DataFrame | None, bars: pl.DataFrame) -> pl.DataFrame:
    """Companies that were given another one's code: ``asset_key``, ``listed_on``, as market.reused_codes finds them.

    Args:
        listings: ``month``, ``asset_id``, ``listed_on``, as known in the month; None: nothing is known of them.
        bars: sorted by asset_key, day.

    Raises:
        NotebookError: a security trades and has no return though it has earlier rows, and no listing says why.
    """
    later = pl.DataFrame(schema={"asset_key": pl.Int32, "listed_on": pl.Date})
    if listings is not None:
        kinds = {"month": "month", "asset_id": "asset", "listed_on": "day"}
        later = later_companies(read(listings, "listings", kinds))
    company = by_company(bars, later)["asset_key"]
    known = company == company.shift(1)
    broken = bars.filter(known & pl.col("ret").is_null() & ~pl.col("is_suspended")).head(1)
    if broken.height:
        raise NotebookError(
            f"bars: {asset_id(broken['asset_key'][0])} trades on {broken['day'][0]} and has no return though it has earlier rows. "
            "Its code may have been given to another company, and no window may reach from one into the other: pass listings "
            "(month, asset_id, listed_on: the first trading day as known in the month) of the months of the bars, or fill in the "
            "return if it is one company"
        )
    return later


def _everybody(bars: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Who has a bar on a month's last session, as a universe without industries."""
    rows = bars.join(ends, on=["month", "day"]).sort("month", "asset_key")
    return rows.select(
        "month", "asset_key", pl.lit(True).alias("in_estimation"), (~pl.col("is_suspended")).alias("in_tradable"),
        pl.lit(None, dtype=pl.String).alias("industry"),
    )  # fmt: skip


def _figures(figures: pd.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The named figures and the market value; each must have a column, be it empty."""
    kinds = dict.fromkeys((*names, "total_market_value"), "number?")
    lacking = [name for name in kinds if name not in figures.columns]
    if lacking:
        raise NotebookError(
            f"figures: column {lacking[0]!r} is missing; it has {[str(name) for name in figures.columns]}"
        )
    return read(figures, "figures", {"month": "month", "asset_id": "asset", **kinds})


def exposures(
    bars: pd.DataFrame,
    index: pd.DataFrame,
    figures: pd.DataFrame,
    universe: pd.DataFrame | None = None,
    months: Months | None = None,
    options: FactorOptions | None = None,
    listings: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Raw factors and styles of every member at each month's last close: rows of marts.factor_exposures.

    Args:
        bars: ``day``, ``asset_id``, ``adj_close`` (CNY), ``ret`` (fraction since the last own trading day; null when
            suspended), ``is_suspended``, and what further factors read (``turnover_rate``, …). Two years before the first
            month fill every window; with fewer, factors are null.
        index: ``day``, ``ret`` (fraction, nullable), a row for every session of the exchange.
        figures: ``month``, ``asset_id`` and the figures the factors read: ``pb``, ``pe_ttm``, ``dividend_yield``,
            ``roe_ttm``, ``net_profit_ttm``, ``net_profit_ttm_year_ago``, ``total_market_value`` (all nullable), **as public
            at the month's last close**.
        universe: ``month``, ``asset_id``, ``in_estimation``, ``in_tradable``, ``industry`` (nullable). None: everybody with
            a bar at the month's last close is estimated on, and tradable unless suspended.
        months: months wanted; None: those of ``figures`` (and of ``universe``).
        listings: ``month``, ``asset_id``, ``listed_on`` (first trading day, as known in the month): a code that was given to
            another company after a delisting is two securities, and no window of prices reaches from one into the other.
            None: every code is one security.

    Returns:
        ``month``, ``asset_id``, ``factor`` (a style or a raw factor), ``kind``, ``raw_value``, ``score`` (standard
        deviations, high is what the premium pays for, null: no value), ``quantile`` (1 … n_groups among tradable
        members, NaN for the others), ``in_coverage``, ``in_estimation``, ``in_tradable``.

    Raises:
        NotebookError: a column is missing or of another kind; a security that trades without a return in the midst of its rows
            though ``listings`` tell of no other company there. TooFewNames, MissingInput, BadInput: see the messages.

    >>> import rotation_pipeline as rp
    >>> market = rp.simulated_market("2012-06", "2013-01", n_stocks=30, n_members=30, n_spare=20)
    >>> found = rp.exposures(market.bars, market.index, market.figures, market.universe, months=["2013-01"])
    >>> values = found[found.factor == "VOL"].score  # low volatility
    >>> len(values), round(float(values.std()), 6)
    (30, 1.0)
    """
    from rotation_pipeline.factors.exposures import compute_exposures
    from rotation_pipeline.factors.raw import bar_columns, compute_raw_factors, figure_columns

    chosen = checked(options or FactorOptions())
    extra = dict.fromkeys([name for name in bar_columns() if name not in ("day", "asset_key", *_HELD)], "number?")
    held = _bars(bars, {**_HELD, **extra})
    daily = read(index, "index", {"day": "day", "ret": "number?"}).sort("day")
    snapshot = _figures(figures, figure_columns())
    ends = daily.group_by(pl.col("day").dt.truncate("1mo").alias("month")).agg(pl.col("day").max())
    if universe is None:
        members = _everybody(held, ends)
    else:
        members = read(
            universe, "universe",
            {"month": "month", "asset_id": "asset", "in_estimation": "flag", "in_tradable": "flag", "industry": "text?"},
        )  # fmt: skip
    own = set(snapshot["month"].to_list()) & set(members["month"].to_list()) & set(ends["month"].to_list())
    wanted = sorted(own) if months is None else months_of(months)
    later = later_of(listings, held)
    of_company = by_company(snapshot, later), by_company(members, later)
    held = by_company(held, later)
    raw = compute_raw_factors(held, daily, *of_company, daily["day"].to_list(), wanted, chosen)
    raw = raw if later.is_empty() else by_code(raw)
    # a column of groups is of one type whether or not some member has none
    return plain(compute_exposures(raw, members, snapshot, chosen).with_columns(pl.col("quantile").cast(pl.Float64)))


def scored_exposures(scores: pd.DataFrame, options: FactorOptions | None = None) -> pd.DataFrame:
    """Your own scores in the form :func:`long_short_returns` takes: rows of marts.factor_exposures.

    Args:
        scores: ``month``, ``asset_id``, and a column per series you have: a style (MOM, VAL, QLTY, VOL, SIZE) or a raw
            factor by name; a number known at the month's last close, high is what you would hold, null: unknown.
            Optional ``in_tradable`` (default: True). One row per month and asset.

    Scores are taken as they are; groups need only their order. Series without a column are null throughout.

    >>> import pandas as pd, rotation_pipeline as rp
    >>> scores = pd.DataFrame({"month": "2020-01", "asset_id": [f"60000{n}.SH" for n in range(5)], "MOM": range(5)})
    >>> found = rp.scored_exposures(scores)
    >>> found.loc[found.factor == "MOM", "quantile"].tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    from rotation_pipeline.factors.exposures import quantile_groups

    chosen = checked(options or FactorOptions())
    own = [name for name in SERIES if name in scores.columns]
    if not own:
        raise NotebookError(f"scores: no column is a series; name them {', '.join(STYLES)} or as raw factors")
    given = scores if "in_tradable" in scores.columns else scores.assign(in_tradable=True)
    kinds = {"month": "month", "asset_id": "asset", "in_tradable": "flag", **dict.fromkeys(own, "number?")}
    rows = read(given, "scores", kinds).sort("month", "asset_key")
    twice = rows.filter(rows.select("month", "asset_key").is_duplicated())
    if twice.height:
        raise NotebookError(f"scores: month {twice['month'][0]:%Y-%m} has the same asset_id twice; keep one row")
    parts: list[pl.DataFrame] = []
    for _, month in rows.group_by("month", maintain_order=True):
        keys, tradable = month["asset_key"].to_numpy(), month["in_tradable"].to_numpy()
        for name in sorted(SERIES):
            values = month[name].to_numpy() if name in own else np.full(keys.size, np.nan)
            groups = quantile_groups(values.astype(np.float64), tradable, keys, chosen.n_groups)
            parts.append(
                month.select("month", "asset_key").with_columns(
                    pl.lit(name).alias("factor"),
                    pl.lit("style" if name in STYLES else "raw").alias("kind"),
                    pl.lit(None, dtype=pl.Float64).alias("raw_value"),
                    pl.Series("score", values, dtype=pl.Float64).fill_nan(None),
                    pl.Series("quantile", groups).replace(0, None).cast(pl.Float64),
                    pl.Series("in_coverage", ~np.isnan(values)),
                    pl.Series("in_estimation", ~np.isnan(values)),
                    pl.Series("in_tradable", tradable),
                )
            )
    return plain(pl.concat(parts).sort("month", "asset_key", "factor"))


def exposure_rows(exposures: pd.DataFrame) -> pl.DataFrame:
    """Rows of marts.factor_exposures out of a plain frame."""
    kinds = {
        "month": "month", "asset_id": "asset", "factor": "text", "kind": "text", "score": "number?",
        "quantile": "number?", "in_coverage": "flag", "in_tradable": "flag",
    }  # fmt: skip
    return read(exposures, "exposures", kinds).with_columns(pl.col("quantile").cast(pl.Int32))


def held_bars(bars: pd.DataFrame) -> pl.DataFrame:
    """Rows of intermediate.adjusted_bars out of a plain frame, as far as holding them needs."""
    return _bars(bars, _HELD)


def return_months(rows: pl.DataFrame, held: pl.DataFrame, months: Months | None) -> tuple[date, list[date]]:
    """First month with exposures, and the months wanted (default: all with bars, and exposures the month before)."""
    formed = sorted(rows["month"].unique().to_list())
    traded = set(held["month"].unique().to_list())
    wanted = [add_months(month, 1) for month in formed if add_months(month, 1) in traded]
    return formed[0], wanted if months is None else months_of(months)


def long_short_returns(
    exposures: pd.DataFrame,
    bars: pd.DataFrame,
    figures: pd.DataFrame | None = None,
    months: Months | None = None,
    options: FactorOptions | None = None,
    listings: pd.DataFrame | None = None,
) -> LongShortResult:
    """Top minus bottom group of each style and factor: groups formed at the close of t − 1, held over (t − 1, t].

    Args:
        exposures: result of :func:`exposures` or :func:`scored_exposures`.
        bars: as for :func:`exposures`.
        figures: ``month``, ``asset_id``, ``total_market_value`` (CNY, nullable); None: no value-weighted returns.
        months: months of returns wanted; None: every month with bars whose month before has exposures.
        listings: as for :func:`exposures`: what was bought of one company is held to its delisting and no further.

    Returns:
        ``.longshort`` (a row per month and series: ``long_short``, fraction per month, null: no book; ``book_turnover``, …),
        ``.groups`` (returns of every group) and ``.daily`` (fraction per day): rows of marts.factor_longshort,
        marts.factor_groups and marts.factor_longshort_daily.

    >>> import pandas as pd, rotation_pipeline as rp
    >>> days = ["2020-01-31", "2020-02-28"]
    >>> assets = [f"60000{n}.SH" for n in range(5)]
    >>> bars = pd.DataFrame([(d, a) for a in assets for d in days], columns=["day", "asset_id"])
    >>> bars["ret"] = [None, 0.00, None, 0.01, None, 0.02, None, 0.03, None, 0.04]
    >>> bars["adj_close"], bars["is_suspended"] = [10, 10, 10, 10.1, 10, 10.2, 10, 10.3, 10, 10.4], False
    >>> scores = rp.scored_exposures(pd.DataFrame({"month": "2020-01", "asset_id": assets, "MOM": range(5)}))
    >>> result = rp.long_short_returns(scores, bars)
    >>> float(rp.style_returns(result.longshort).loc["2020-02-01", "MOM"].round(6))
    0.04
    """
    from rotation_pipeline.factors.returns import long_short_returns as compute

    chosen, rows, held = checked(options or FactorOptions()), exposure_rows(exposures), held_bars(bars)
    if figures is None:
        values = rows.select("month", "asset_key").unique().with_columns(
            pl.lit(None, dtype=pl.Float64).alias("total_market_value")
        )  # fmt: skip
    else:
        values = read(figures, "figures", {"month": "month", "asset_id": "asset", "total_market_value": "number?"})
    first, wanted = return_months(rows, held, months)
    later = later_of(listings, held)
    rows, held, values = (by_company(frame, later) for frame in (rows, held, values))
    return compute(rows, held, values, wanted, chosen, first_month=first)


def style_returns(longshort: pd.DataFrame) -> pd.DataFrame:
    """Long-short returns of the five styles, wide: index ``month``, a column per style, fraction per month, NaN: no book.

    ``longshort``: ``month``, ``factor``, ``long_short`` (other series are left out).

    >>> import pandas as pd, rotation_pipeline as rp
    >>> rows = pd.DataFrame({"month": "2020-02", "factor": ["VAL", "MOM"], "long_short": [-0.01, 0.02]})
    >>> rp.style_returns(rows).loc["2020-02-01"].tolist()
    [0.02, -0.01, nan, nan, nan]
    """
    rows = keyed_by_month(longshort, "longshort", ("factor", "long_short"))
    rows = cast(pd.DataFrame, rows[rows["factor"].isin(STYLES)])
    if rows.duplicated(["month", "factor"]).any():
        raise NotebookError("longshort: a month has the same factor twice; keep one row")
    wide = rows.pivot(index="month", columns="factor", values="long_short").sort_index()
    return pd.DataFrame(wide.reindex(columns=pd.Index(STYLES))).rename_axis(columns=None)


def longshort_rows(returns: pd.DataFrame, book_turnover: pd.DataFrame | float) -> pd.DataFrame:
    """The inverse of :func:`style_returns`, for style returns from elsewhere (a published factor history, say).

    Args:
        returns: index of months, columns MOM, VAL, QLTY, VOL, SIZE, fraction per month, NaN: no book.
        book_turnover: what each style's own long-short book trades a month, ½ Σ|Δw|: a frame of the same shape, or one
            number for all. It is charged in the backtest; published factors seldom come with it, and 0 flatters.

    Returns:
        ``month``, ``factor``, ``kind``, ``long_short``, ``book_turnover``: what :func:`run_backtest` and :func:`facts` read.

    >>> import pandas as pd, rotation_pipeline as rp
    >>> month = pd.DataFrame([[0.01, 0.0, 0.0, 0.0, 0.0]], index=["2020-01"], columns=["MOM", "VAL", "QLTY", "VOL", "SIZE"])
    >>> rp.longshort_rows(month, book_turnover=0.3)[["factor", "long_short", "book_turnover"]].head(2).values.tolist()
    [['MOM', 0.01, 0.3], ['VAL', 0.0, 0.3]]
    """
    absent = [name for name in STYLES if name not in returns.columns]
    if absent:
        raise NotebookError(f"returns: column {absent[0]!r} is missing; all of {', '.join(STYLES)} are needed")
    months = months_of(returns.index, "returns: index")
    if len(months) != len(returns):
        raise NotebookError("returns: the index has a month twice")
    wide = cast(pd.DataFrame, returns[list(STYLES)]).set_axis(pd.DatetimeIndex(months), axis=0)
    if isinstance(book_turnover, pd.DataFrame):
        traded = book_turnover.set_axis(
            pd.DatetimeIndex(months_of(book_turnover.index, "book_turnover: index")), axis=0
        )
        traded = traded.reindex(index=wide.index, columns=wide.columns)
    else:
        traded = pd.DataFrame(float(book_turnover), index=wide.index, columns=wide.columns)
    if (traded.isna() & wide.notna()).to_numpy().any() or (traded < 0.0).to_numpy().any():
        raise NotebookError("book_turnover: a number of 0 or more is needed wherever there is a return")
    rows = wide.rename_axis("month").reset_index().melt("month", var_name="factor", value_name="long_short")
    rows["book_turnover"] = traded.to_numpy(dtype=np.float64).ravel(order="F")
    rows["kind"] = "style"
    rows["month"] = rows["month"].astype("datetime64[ns]")
    columns = [name for name in LONGSHORT.stored_names if name in rows.columns]
    return cast(pd.DataFrame, rows[columns]).sort_values(["month", "factor"], key=_style_order, ignore_index=True)


def _style_order(column: pd.Series) -> pd.Series:
    return column if column.name == "month" else column.map(STYLES.index)
