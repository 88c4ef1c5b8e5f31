"""What the facts of a month and of a quarter have in common: the state at the month's end, trades, hints, and rows.

Returns are compounded, Π(1 + r) − 1; percentiles are (values below + ½ the other equal ones) / 11 among the last 12 months (0
lowest, 100 highest); ranks start at 1 for the highest, equal values share the better rank; forecasts that are all equal have none.

What was decided is measured from the drifted weight (last month's weight after this month's returns), because that is what is
traded from: a weight that only moved with returns was changed by nobody. A change too small to be shown is no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.catalogue import CATALOGUE, FACT_IDS, decimals
from rotation_pipeline.narratives.fact import shows_zero
from rotation_pipeline.narratives.hints import HINTS, Snapshot
from rotation_pipeline.narratives.history import HEADLINE, History, month_stamp
from rotation_pipeline.narratives.options import NarrativeOptions, Period

YEAR = 12
QUARTER = 3


@dataclass(slots=True)
class Collected:
    """The facts of one month or quarter while they are collected: numbers and labels by (subject, measure)."""

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


def styles_alive(past: History, month: int) -> list[str]:
    """Styles that had a long-short book in some month so far, in style order."""
    known = {style for number, returns in past.long_short.items() if number <= month for style in returns}
    return [style for style in STYLES if style in known]


def favoured_style(
    weights: dict[str, float],
    forecasts: dict[str, float],
    equal_weight_active_share: float,
    among: Sequence[str] = STYLES,
) -> str | None:
    """The style with the highest weight; of several at the cap the one with the higher forecast, then style order.

    It may have been given that weight or have drifted there. None when the weights are equal (active share under the
    threshold): then no style stands out. ``among``: styles that may be named, those with a book of their own.
    """
    if not weights or not among or active_share(weights) < equal_weight_active_share:
        return None
    return max(among, key=lambda style: (weights[style], forecasts.get(style, 0.0), -STYLES.index(style)))


def active_share(weights: dict[str, float]) -> float:
    """½ Σ|w − 1/K|."""
    return 0.5 * sum(abs(weight - 1.0 / len(weights)) for weight in weights.values())


def extreme(values: dict[str, float], sign: int) -> str | None:
    """The style with the largest (sign 1) or smallest value, first in style order on ties; None without spread."""
    if len(values) < 2 or max(values.values()) == min(values.values()):
        return None
    return max((style for style in STYLES if style in values), key=lambda style: sign * values[style])


def market_facts(out: Collected, past: History, month: int, before_month: int) -> None:
    """Regime at the month's end, what it was at the end of ``before_month``, and the sample sizes."""
    regime = past.regimes.get(month)
    if regime is not None:
        out.label("market", "regime", regime.label)
        out.number("market", "probability", regime.probability)
        out.number("market", "months_in_regime", regime.months)
        before = past.regimes.get(before_month)
        if before is not None and before.label != regime.label:
            out.label("market", "previous_regime", before.label)
            out.source_months["market", "previous_regime"] = before_month
    out.number("market", "index_months", sum(number <= month for number in past.index_returns))
    out.number("market", "style_months", sum(number <= month for number in past.long_short))
    out.number("market", "weight_months", sum(number <= month for number in past.weights))


def index_state(out: Collected, past: History, month: int) -> None:
    """What is true of the index at the month's end: return over a year, volatility, drawdown, trend."""
    year = [past.index_returns.get(number) for number in range(month - YEAR + 1, month + 1)]
    out.number("index", "return_12m", compounded(year))
    state = past.features[month]
    out.number("index", "volatility", state.volatility)
    volatilities = [
        past.features[number].volatility if number in past.features else None
        for number in range(month - YEAR + 1, month + 1)
    ]
    out.number("index", "volatility_percentile", percentile_of_last(volatilities))
    out.number("index", "drawdown", state.drawdown)
    out.number("index", "trend", state.trend)


def style_returns(past: History, month: int, style: str, months: int) -> list[float | None]:
    """Long-short returns of a style over the months up to ``month``, oldest first."""
    return [past.long_short.get(number, {}).get(style) for number in range(month - months + 1, month + 1)]


def style_state(out: Collected, past: History, month: int) -> None:
    """What is true of the styles at the month's end: return over a year, weight, rank, forecast."""
    weights, forecasts = past.weights.get(month, {}), founded_forecasts(past, month)
    weight_ranks, forecast_ranks = ranks(weights), ranks(forecasts)
    told_apart = len(set(forecasts.values())) > 1
    for style in STYLES:
        out.number(style, "return_12m", compounded(style_returns(past, month, style, YEAR)))
        if style in weights:
            out.number(style, "weight", weights[style])
            out.number(style, "weight_rank", weight_ranks[style])
            out.number(style, "above_equal", 100.0 * (weights[style] - 1.0 / len(weights)))
        if style in forecasts:
            out.number(style, "forecast", forecasts[style])
            out.number(style, "forecast_rank", forecast_ranks[style] if told_apart else None)


def traded(past: History, month: int) -> dict[str, float]:
    """What was traded of each style at the month's end, in percentage points; empty in the first month.

    Of a style without figures nothing is: its weight lies idle.
    """
    weights, drifted = past.weights.get(month, {}), past.drifted.get(month, {})
    alive = styles_alive(past, month)
    return {
        style: 100.0 * (weights[style] - drifted[style])
        for style in STYLES
        if style in weights and style in drifted and style in alive
    }


def founded_forecasts(past: History, month: int) -> dict[str, float]:
    """Forecasts of the styles that have figures; that of another is made of nothing but the others."""
    alive = styles_alive(past, month)
    return {style: mean for style, mean in past.forecasts.get(month, {}).items() if style in alive}


def largest_trades(changes: dict[str, float], options: NarrativeOptions) -> tuple[str | None, str | None]:
    """The styles raised and cut most, among changes (percentage points) that are large enough to be shown."""
    shown = {style: change for style, change in changes.items() if not shows_zero(change, options.weight_decimals)}
    raised = {style: change for style, change in shown.items() if change > 0.0}
    cut = {style: change for style, change in shown.items() if change < 0.0}
    return (
        max(raised, key=lambda style: raised[style]) if raised else None,
        min(cut, key=lambda style: cut[style]) if cut else None,
    )


def strategy_state(out: Collected, past: History, month: int, options: NarrativeOptions) -> None:
    """What is true of the strategy at the month's end: drawdown, active share, spread, the styles that stand out."""
    now, book = past.backtest.get((HEADLINE, month)), past.books.get(month)
    out.number("strategy", "drawdown", None if now is None else now.drawdown)
    out.number("strategy", "active_share", None if book is None else book.active_share)
    weights, forecasts = past.weights.get(month, {}), founded_forecasts(past, month)
    if weights:
        out.number("strategy", "weight_spread", 100.0 * (max(weights.values()) - min(weights.values())))
    alive = styles_alive(past, month)
    favoured = favoured_style(weights, forecasts, options.equal_weight_active_share, alive)
    out.label("strategy", "favoured", favoured)
    out.label("strategy", "best_forecast", extreme(forecasts, 1))


@dataclass(frozen=True, slots=True)
class Trades:
    """What the hints of a month or quarter look at beside its state: trades by style in percentage points, style returns,
    active share the weights would have without these trades, one-way turnover a month."""

    changes: dict[str, float]
    returns: dict[str, float]
    untraded_active_share: float | None
    turnover: float | None


def snapshot(
    out: Collected, past: History, month: int, before_month: int, trades: Trades, options: NarrativeOptions
) -> Snapshot:
    """The numbers the hints look at: state at the month's end, trades since ``before_month``, and what was true then."""
    book = past.books.get(month)
    regime_before = past.regimes.get(before_month)
    weights, alive = past.weights.get(month), styles_alive(past, month)
    return Snapshot(
        idle=None if weights is None else sum(weight for style, weight in weights.items() if style not in alive),
        changes=trades.changes,
        tilts={style: out.numbers[style, "above_equal"] for style in STYLES if (style, "above_equal") in out.numbers},
        favoured=out.labels.get(("strategy", "favoured")),
        previous_favoured=favoured_style(
            past.weights.get(before_month, {}),
            past.forecasts.get(before_month, {}),
            options.equal_weight_active_share,
            styles_alive(past, before_month),
        ),
        best_forecast=out.labels.get(("strategy", "best_forecast")),
        returns=trades.returns,
        active_share=None if book is None else book.active_share,
        drifted_active_share=trades.untraded_active_share,
        is_clone=None if book is None else book.is_clone,
        turnover=trades.turnover,
        regime=out.labels.get(("market", "regime")),
        previous_regime=None if regime_before is None else regime_before.label,
        probability=out.numbers.get(("market", "probability")),
        trend=out.numbers.get(("index", "trend")),
        index_drawdown=out.numbers.get(("index", "drawdown")),
        volatility_percentile=out.numbers.get(("index", "volatility_percentile")),
        strategy_drawdown=out.numbers.get(("strategy", "drawdown")),
    )


def hold_hints(out: Collected, now: Snapshot, options: NarrativeOptions) -> None:
    """Keep every hint whose rule holds."""
    for hint in HINTS:
        if hint.rule(now, options):
            out.label(hint.subject, hint.name, hint.name)


def fact_rows(
    out: Collected, past: History, month: int, period: Period, options: NarrativeOptions
) -> list[tuple[object, ...]]:
    """What was collected as rows of FACTS; of the facts of another period there are none."""
    stamp = month_stamp(month)
    as_of = past.features[month].day
    regime = out.labels.get(("market", "regime"))
    rows: list[tuple[object, ...]] = []
    for spec in CATALOGUE:
        value, label = out.numbers.get(spec.key), out.labels.get(spec.key)
        if (value is None and label is None) or not spec.belongs(period):
            continue
        source = spec.source
        if spec.measure in ("probability", "regime_uncertain"):
            source = f"marts.regimes.p_{regime}"
        rows.append(
            (
                stamp, period, FACT_IDS[spec.key], spec.kind, spec.subject, spec.measure, float("nan") if value is None else value, label,
                spec.unit, decimals(spec, options), as_of, source, month_stamp(out.source_months.get(spec.key, month)),
            )
        )  # fmt: skip
    return rows
