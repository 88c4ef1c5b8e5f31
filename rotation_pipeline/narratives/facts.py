"""The fact table: everything a sentence about a month may say, computed before any sentence is written.

``history.py`` indexes the input frames by month; this module does the arithmetic of one month: returns are compounded,
Π(1 + r) − 1, percentiles are (values below + ½ the other equal ones) / 11 among the last 12 months (0 lowest,
100 highest), ranks start at 1 for the highest, equal values share the better rank. The last month of a quarter also has the quarter's
result of the strategy, so its narrative tells the quarter as well.

What was decided is measured from the drifted weight (last month's weight after this month's returns), because that is what is
traded from: a weight that only moved with returns was changed by nobody. A change too small to be shown is no change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS, decimals
from rotation_pipeline.narratives.fact import shows_zero
from rotation_pipeline.narratives.hints import HINTS, Snapshot
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
from rotation_pipeline.narratives.tables import FACTS

YEAR = 12
QUARTER = 3


@dataclass(slots=True)
class _Month:
    """The facts of one month while they are collected: numbers and labels by (subject, measure)."""

    numbers: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    labels: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    source_months: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    def number(self, subject: str, measure: str, value: float | None) -> None:
        """Keep a number that exists."""
        if value is not None:
            self.numbers[subject, measure] = float(value)

    def label(self, subject: str, measure: str, value: str | None) -> None:
        """Keep a label that exists."""
        if value is not None:
            self.labels[subject, measure] = value


def compounded(values: list[float | None]) -> float | None:
    """Π(1 + r) − 1 of monthly returns; None when a month is missing."""
    total = 1.0
    for value in values:
        if value is None:
            return None
        total *= 1.0 + value
    return total - 1.0


def percentile_of_last(values: list[float | None]) -> float | None:
    """Where the last value stands among the others, 0 (lowest) to 100 (highest), ties counted half; None when one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) < 2:
        return None
    *others, last = known
    below = sum(1.0 if value < last else 0.5 if value == last else 0.0 for value in others)
    return 100.0 * below / len(others)


def ranks(values: dict[str, float]) -> dict[str, int]:
    """Rank of each, 1 for the highest; equal values share the better rank."""
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def favoured_style(
    weights: dict[str, float], forecasts: dict[str, float], equal_weight_active_share: float
) -> str | None:
    """The style with the highest weight; of several at the cap the one with the higher forecast, then style order.

    It may have been given that weight or have drifted there. None when the weights are equal (active share under the
    threshold): then no style stands out.
    """
    if not weights or _active_share(weights) < equal_weight_active_share:
        return None
    return max(STYLES, key=lambda style: (weights[style], forecasts.get(style, 0.0), -STYLES.index(style)))


def _active_share(weights: dict[str, float]) -> float:
    return 0.5 * sum(abs(weight - 1.0 / len(weights)) for weight in weights.values())


def _extreme(values: dict[str, float], sign: int) -> str | None:
    """The style with the largest (sign 1) or smallest value, first in style order on ties; None without spread."""
    if len(values) < 2 or max(values.values()) == min(values.values()):
        return None
    return max((style for style in STYLES if style in values), key=lambda style: sign * values[style])


def _market_facts(out: _Month, past: History, month: int) -> None:
    regime = past.regimes.get(month)
    if regime is not None:
        out.label("market", "regime", regime.label)
        out.number("market", "probability", regime.probability)
        out.number("market", "months_in_regime", regime.months)
        before = past.regimes.get(month - 1)
        if before is not None and before.label != regime.label:
            out.label("market", "previous_regime", before.label)
            out.source_months["market", "previous_regime"] = month - 1
    out.number("market", "index_months", sum(number <= month for number in past.index_returns))
    out.number("market", "style_months", sum(number <= month for number in past.long_short))
    out.number("market", "weight_months", sum(number <= month for number in past.weights))


def _index_facts(out: _Month, past: History, month: int) -> None:
    year = [past.index_returns.get(number) for number in range(month - YEAR + 1, month + 1)]
    out.number("index", "return_1m", year[-1])
    out.number("index", "return_3m", compounded(year[-QUARTER:]))
    out.number("index", "return_12m", compounded(year))
    out.number("index", "return_percentile", percentile_of_last(year))
    state = past.features[month]
    out.number("index", "volatility", state.volatility)
    volatilities = [
        past.features[number].volatility if number in past.features else None
        for number in range(month - YEAR + 1, month + 1)
    ]
    out.number("index", "volatility_percentile", percentile_of_last(volatilities))
    out.number("index", "drawdown", state.drawdown)
    out.number("index", "trend", state.trend)


def _style_facts(out: _Month, past: History, month: int) -> None:
    weights = past.weights.get(month, {})
    drifted = past.drifted.get(month, {})
    forecasts = past.forecasts.get(month, {})
    weight_ranks, forecast_ranks = ranks(weights), ranks(forecasts)
    for style in STYLES:
        year = [past.long_short.get(number, {}).get(style) for number in range(month - YEAR + 1, month + 1)]
        out.number(style, "return_1m", year[-1])
        out.number(style, "return_3m", compounded(year[-QUARTER:]))
        out.number(style, "return_12m", compounded(year))
        if style in weights:
            out.number(style, "weight", weights[style])
            out.number(style, "weight_rank", weight_ranks[style])
            out.number(style, "above_equal", 100.0 * (weights[style] - 1.0 / len(weights)))
            if style in drifted:
                out.number(style, "weight_change", 100.0 * (weights[style] - drifted[style]))
        if style in forecasts:
            out.number(style, "forecast", forecasts[style])
            out.number(style, "forecast_rank", forecast_ranks[style])


def _changes(out: _Month) -> dict[str, float]:
    """What was traded of each style, in percentage points; empty in the first month."""
    return {style: out.numbers[style, "weight_change"] for style in STYLES if (style, "weight_change") in out.numbers}


def _strategy_facts(out: _Month, past: History, month: int, options: NarrativeOptions) -> None:
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
        out.number("strategy", "drawdown", now.drawdown)
        out.number("strategy", "factor_cost", now.factor_cost)
        out.number("strategy", "book_cost", now.book_cost)
        if base is not None:
            out.number("strategy", "excess", 100.0 * (now.net_return - base.net_return))
    book = past.books.get(month)
    if book is not None:
        out.number("strategy", "turnover", book.turnover)
        out.number("strategy", "active_share", book.active_share)
    weights, forecasts = past.weights.get(month, {}), past.forecasts.get(month, {})
    if weights:
        out.number("strategy", "weight_spread", 100.0 * (max(weights.values()) - min(weights.values())))
    out.label("strategy", "favoured", favoured_style(weights, forecasts, options.equal_weight_active_share))
    changes = {
        style: change for style, change in _changes(out).items() if not shows_zero(change, options.weight_decimals)
    }
    raised = {style: change for style, change in changes.items() if change > 0.0}
    cut = {style: change for style, change in changes.items() if change < 0.0}
    out.label("strategy", "largest_increase", max(raised, key=lambda style: raised[style]) if raised else None)
    out.label("strategy", "largest_decrease", min(cut, key=lambda style: cut[style]) if cut else None)
    realised = {style: out.numbers[style, "return_1m"] for style in STYLES if (style, "return_1m") in out.numbers}
    out.label("strategy", "best_forecast", _extreme(forecasts, 1))
    out.label("strategy", "best_return", _extreme(realised, 1))
    out.label("strategy", "worst_return", _extreme(realised, -1))


def _snapshot(out: _Month, past: History, month: int, options: NarrativeOptions) -> Snapshot:
    book, drifted = past.books.get(month), past.drifted.get(month)
    regime_before = past.regimes.get(month - 1)
    return Snapshot(
        changes=_changes(out),
        favoured=out.labels.get(("strategy", "favoured")),
        previous_favoured=favoured_style(
            past.weights.get(month - 1, {}), past.forecasts.get(month - 1, {}), options.equal_weight_active_share
        ),
        best_forecast=out.labels.get(("strategy", "best_forecast")),
        returns={style: out.numbers[style, "return_1m"] for style in STYLES if (style, "return_1m") in out.numbers},
        active_share=None if book is None else book.active_share,
        drifted_active_share=None if drifted is None else _active_share(drifted),
        is_clone=None if book is None else book.is_clone,
        turnover=None if book is None else book.turnover,
        regime=out.labels.get(("market", "regime")),
        previous_regime=None if regime_before is None else regime_before.label,
        probability=out.numbers.get(("market", "probability")),
        trend=out.numbers.get(("index", "trend")),
        index_drawdown=out.numbers.get(("index", "drawdown")),
        volatility_percentile=out.numbers.get(("index", "volatility_percentile")),
        strategy_drawdown=out.numbers.get(("strategy", "drawdown")),
    )


def _collect(past: History, month: int, options: NarrativeOptions) -> _Month:
    out = _Month()
    _market_facts(out, past, month)
    _index_facts(out, past, month)
    _style_facts(out, past, month)
    _strategy_facts(out, past, month, options)
    now = _snapshot(out, past, month, options)
    for hint in HINTS:
        if hint.rule(now, options):
            out.label(hint.subject, hint.name, hint.name)
    return out


def _rows(out: _Month, past: History, month: int, options: NarrativeOptions) -> list[tuple[object, ...]]:
    stamp = month_stamp(month)
    as_of = past.features[month].day
    regime = out.labels.get(("market", "regime"))
    rows: list[tuple[object, ...]] = []
    for spec in CATALOGUE:
        value, label = out.numbers.get(spec.key), out.labels.get(spec.key)
        if value is None and label is None:
            continue
        source = spec.source
        if spec.measure in ("probability", "regime_uncertain"):
            source = f"marts.regimes.p_{regime}"
        rows.append(
            (
                stamp, FACT_IDS[spec.key], spec.kind, spec.subject, spec.measure, float("nan") if value is None else value, label,
                spec.unit, decimals(spec, options), as_of, source, month_stamp(out.source_months.get(spec.key, month)),
            )
        )  # fmt: skip
    return rows


def fact_table(
    inputs: NarrativeInputs, months: Iterable[pd.Timestamp | date], options: NarrativeOptions
) -> pd.DataFrame:
    """Facts of the months, as table FACTS (without run_id), sorted by month and fact id.

    ``inputs`` must hold all rows up to the latest month (see :class:`NarrativeInputs`); rows after a month never change its
    facts. A fact whose numbers do not exist yet (no weights, fewer than 12 months) is absent. Every month has at least the
    sample sizes. Raises :class:`NarrativeInputError` for a missing column, a repeated key, an infinite value, an incomplete
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
        rows.extend(_rows(_collect(past, number, options), past, number, options))
    frame = pd.DataFrame(rows, columns=pd.Index(FACTS.stored_names))
    for name in ("month", "as_of", "source_month"):
        frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
    frame["value"] = frame["value"].astype("float64")
    frame["precision"] = frame["precision"].astype("int32")
    return frame.sort_values(["month", "fact_id"], ignore_index=True)
