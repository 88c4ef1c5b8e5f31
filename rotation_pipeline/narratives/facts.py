"""The fact table: everything a sentence about a month or quarter may say, computed before any sentence is written.

``history.py`` indexes the input frames by month; this module does the arithmetic of one month, ``quarters.py`` that of the quarter
that ends with it, which is kept under the same month.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pandas as pd

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.collecting import (
    QUARTER,
    YEAR,
    Collected,
    Trades,
    active_share,
    compounded,
    extreme,
    fact_rows,
    hold_hints,
    index_state,
    largest_trades,
    market_facts,
    percentile_of_last,
    snapshot,
    strategy_state,
    style_returns,
    style_state,
    traded,
)
from rotation_pipeline.narratives.hints import Snapshot
from rotation_pipeline.narratives.history import (
    BASELINE,
    HEADLINE,
    History,
    NarrativeInputError,
    NarrativeInputs,
    month_number,
    month_stamp,
)
from rotation_pipeline.narratives.options import NarrativeOptions
from rotation_pipeline.narratives.quarters import collect_quarter
from rotation_pipeline.narratives.tables import FACTS


def _index_facts(out: Collected, past: History, month: int) -> None:
    year = [past.index_returns.get(number) for number in range(month - YEAR + 1, month + 1)]
    out.number("index", "return_1m", year[-1])
    out.number("index", "return_3m", compounded(year[-QUARTER:]))
    out.number("index", "return_percentile", percentile_of_last(year))
    index_state(out, past, month)


def _style_facts(out: Collected, past: History, month: int) -> None:
    style_state(out, past, month)
    changes = traded(past, month)
    for style in STYLES:
        quarter = style_returns(past, month, style, QUARTER)
        out.number(style, "return_1m", quarter[-1])
        out.number(style, "return_3m", compounded(quarter))
        out.number(style, "weight_change", changes.get(style))


def _strategy_facts(out: Collected, past: History, month: int, options: NarrativeOptions) -> None:
    quarter = range(month - QUARTER + 1, month + 1)
    nets = [past.backtest.get((HEADLINE, number)) for number in quarter]
    bases = [past.backtest.get((BASELINE, number)) for number in quarter]
    is_quarter_end = month % QUARTER == QUARTER - 1
    quarter_net = compounded([None if row is None else row.net_return for row in nets])
    quarter_base = compounded([None if row is None else row.net_return for row in bases])
    if is_quarter_end:
        out.number("strategy", "net_return_3m", quarter_net)
    if is_quarter_end and quarter_net is not None and quarter_base is not None:
        out.number("strategy", "excess_3m", 100.0 * (quarter_net - quarter_base))
    now, base = nets[-1], bases[-1]
    if now is not None:
        out.number("strategy", "net_return", now.net_return)
        out.number("strategy", "factor_cost", now.factor_cost)
        out.number("strategy", "book_cost", now.book_cost)
        if base is not None:
            out.number("strategy", "excess", 100.0 * (now.net_return - base.net_return))
    book = past.books.get(month)
    if book is not None:
        out.number("strategy", "turnover", book.turnover)
    strategy_state(out, past, month, options)
    raised, cut = largest_trades(traded(past, month), options)
    out.label("strategy", "largest_increase", raised)
    out.label("strategy", "largest_decrease", cut)
    realised = {style: out.numbers[style, "return_1m"] for style in STYLES if (style, "return_1m") in out.numbers}
    out.label("strategy", "best_return", extreme(realised, 1))
    out.label("strategy", "worst_return", extreme(realised, -1))


def _snapshot(out: Collected, past: History, month: int, options: NarrativeOptions) -> Snapshot:
    book, drifted = past.books.get(month), past.drifted.get(month)
    now = Trades(
        traded(past, month),
        {style: out.numbers[style, "return_1m"] for style in STYLES if (style, "return_1m") in out.numbers},
        None if drifted is None else active_share(drifted),
        None if book is None else book.turnover,
    )
    return snapshot(out, past, month, month - 1, now, options)


def _collect(past: History, month: int, options: NarrativeOptions) -> Collected:
    out = Collected()
    market_facts(out, past, month, month - 1)
    _index_facts(out, past, month)
    _style_facts(out, past, month)
    _strategy_facts(out, past, month, options)
    hold_hints(out, _snapshot(out, past, month, options), options)
    return out


def fact_table(
    inputs: NarrativeInputs, months: Iterable[pd.Timestamp | date], options: NarrativeOptions
) -> pd.DataFrame:
    """Facts of the months and of the quarters that end with them, as table FACTS (without run_id), sorted by its key.

    ``inputs`` must hold all rows up to the latest month (see :class:`NarrativeInputs`); rows after a month never change its
    facts. A fact whose numbers do not exist yet (no weights, fewer than 12 months) is absent. Every month has at least the
    sample sizes. A quarter has facts where at least one of its months has a result; ``quarter_months`` says how many have.
    Raises :class:`NarrativeInputError` for a missing column, a repeated key, an infinite value, an incomplete
    set of weights, or a month without index features.
    """
    past = History.of(inputs)
    numbers = sorted({month_number(month) for month in months})
    rows: list[tuple[object, ...]] = []
    for number in numbers:
        if number not in past.features:
            raise NarrativeInputError(
                f"index_features has no row in {month_stamp(number):%Y-%m}; build intermediate.index_features for that month first"
            )
        rows.extend(fact_rows(_collect(past, number, options), past, number, "month", options))
        quarter = collect_quarter(past, number, options)
        if quarter is not None:
            rows.extend(fact_rows(quarter, past, number, "quarter", options))
    frame = pd.DataFrame(rows, columns=pd.Index(FACTS.stored_names))
    for name in ("month", "as_of", "source_month"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
    frame["value"] = frame["value"].astype("float64")
    frame["precision"] = frame["precision"].astype("int32")
    return frame.sort_values(["month", "period", "fact_id"], ignore_index=True)
