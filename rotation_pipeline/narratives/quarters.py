"""The facts of a quarter, kept under its last month, and of no month before that: a quarter that is not over has none.

Returns are those of the quarter's three months. The first quarter of a backtest may begin before it: the strategy's figures are
then those of the months it has, and ``quarter_months`` counts them, for the text to say. Trades are the sums of those at the
month ends of the quarter, and what was true before is what was true at the end of the quarter before.
"""

from __future__ import annotations

import math

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.collecting import (
    QUARTER,
    Collected,
    Trades,
    active_share,
    compounded,
    extreme,
    hold_hints,
    index_state,
    largest_trades,
    market_facts,
    snapshot,
    strategy_state,
    style_returns,
    style_state,
    traded,
)
from rotation_pipeline.narratives.history import BASELINE, HEADLINE, History
from rotation_pipeline.narratives.options import NarrativeOptions


def is_quarter_end(month: int) -> bool:
    """Whether a running month number is that of a March, June, September or December."""
    return month % QUARTER == QUARTER - 1


def _result(out: Collected, past: History, months: list[int]) -> None:
    """What the strategy earned and paid over the months of the quarter that have a result."""
    rows = [past.backtest[HEADLINE, number] for number in months]
    bases = [past.backtest.get((BASELINE, number)) for number in months]
    net = compounded([row.net_return for row in rows])
    base = compounded([None if row is None else row.net_return for row in bases])
    out.number("market", "quarter_months", len(rows))
    out.number("strategy", "net_return_q", net)
    if net is not None and base is not None:
        out.number("strategy", "excess_q", 100.0 * (net - base))
    out.number("strategy", "factor_cost_q", math.fsum(row.factor_cost for row in rows))
    out.number("strategy", "book_cost_q", math.fsum(row.book_cost for row in rows))


def _trades(out: Collected, past: History, months: range, options: NarrativeOptions) -> Trades:
    """The trades of the quarter, kept as facts and handed to the hints."""
    by_month = [traded(past, number) for number in months]
    changes = {
        style: math.fsum(found[style] for found in by_month if style in found)
        for style in STYLES
        if any(style in found for found in by_month)
    }
    for style in STYLES:
        out.number(style, "weight_change_q", changes.get(style))
    raised, cut = largest_trades(changes, options)
    out.label("strategy", "largest_increase_q", raised)
    out.label("strategy", "largest_decrease_q", cut)
    turnovers = [past.books[number].turnover for number in months if number in past.books]
    out.number("strategy", "turnover_q", math.fsum(turnovers) if turnovers else None)
    moved = [
        past.books[number].active_share - active_share(past.drifted[number])
        for number in months
        if number in past.books and number in past.drifted
    ]
    now = past.books.get(months[-1])
    returns = {style: out.numbers[style, "return_q"] for style in STYLES if (style, "return_q") in out.numbers}
    return Trades(
        changes,
        returns,
        now.active_share - math.fsum(moved) if now is not None and moved else None,
        math.fsum(turnovers) / len(turnovers) if turnovers else None,
    )


def collect_quarter(past: History, month: int, options: NarrativeOptions) -> Collected | None:
    """The facts of the quarter that ends with ``month``; None where none ends, or none of its months has a result."""
    months = range(month - QUARTER + 1, month + 1)
    with_result = [number for number in months if (HEADLINE, number) in past.backtest]
    if not is_quarter_end(month) or not with_result:
        return None
    out = Collected()
    market_facts(out, past, month, month - QUARTER)
    now = past.regimes.get(month)
    if now is not None:
        labels = [past.regimes[number].label for number in months if number in past.regimes]
        out.number("market", "regime_months_q", labels.count(now.label))
    out.number("index", "return_q", compounded([past.index_returns.get(number) for number in months]))
    index_state(out, past, month)
    style_state(out, past, month)
    for style in STYLES:
        out.number(style, "return_q", compounded(style_returns(past, month, style, QUARTER)))
    strategy_state(out, past, month, options)
    _result(out, past, with_result)
    trades = _trades(out, past, months, options)
    out.label("strategy", "best_return_q", extreme(trades.returns, 1))
    out.label("strategy", "worst_return_q", extreme(trades.returns, -1))
    hold_hints(out, snapshot(out, past, month, month - QUARTER, trades, options), options)
    return out
