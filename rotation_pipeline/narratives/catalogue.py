"""Every fact there can be, and the opaque id each one has in every month.

The ids number the catalogue in the order (kind, subject, measure), so ``f07`` means the same in every month, and in a month and
the quarter that ends with it; a fact that is missing early in the sample leaves a gap instead of moving the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.narratives.hints import HINTS
from rotation_pipeline.narratives.options import NarrativeOptions, Period
from rotation_pipeline.narratives.tables import FACT_KINDS, SUBJECTS

Unit = Literal["fraction", "fraction_per_year", "points", "rank", "months", "percentile", "label"]
Decimals = Literal["return", "weight", "volatility", "probability", "none"]


@dataclass(frozen=True, slots=True)
class FactSpec:
    """One fact: what is measured about whom, in which unit and precision, and the column it is read from."""

    measure: str
    kind: str
    subject: str
    unit: Unit
    decimals: Decimals
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """(subject, measure), unique in the catalogue."""
        return self.subject, self.measure

    def belongs(self, period: Period) -> bool:
        """Whether a fact table of the period may hold it."""
        of_quarters = self.measure.endswith(_QUARTER_ENDINGS)
        return self.key not in _MONTH_ONLY if period == "quarter" else not of_quarters


def decimals(spec: FactSpec, options: NarrativeOptions) -> int:
    """Decimals shown of the fact (in percent, points, ranks …)."""
    match spec.decimals:
        case "return":
            return options.return_decimals
        case "weight":
            return options.weight_decimals
        case "volatility":
            return options.volatility_decimals
        case "probability":
            return options.probability_decimals
        case "none":
            return 0


_WEIGHT = "marts.weights.weight"
_DRIFTED = "marts.weights.drifted"
"""Source of what was traded, weight minus drifted weight; the weight itself is a fact of its own."""
_FORECAST = "marts.forecasts.mean"
_LONG_SHORT = "marts.factor_longshort.long_short"
_INDEX_RETURN = "intermediate.index_monthly.ret"
_NET = "marts.backtest.net_return"
_QUARTER_ENDINGS = ("_q", "quarter_months")
"""Measures so named are facts of quarters alone."""
_MONTH_ONLY = frozenset(
    {
        ("index", "return_1m"), ("index", "return_3m"), ("index", "return_percentile"), ("strategy", "net_return"),
        ("strategy", "net_return_3m"), ("strategy", "excess"), ("strategy", "excess_3m"), ("strategy", "turnover"),
        ("strategy", "factor_cost"), ("strategy", "book_cost"), ("strategy", "largest_increase"), ("strategy", "largest_decrease"),
        ("strategy", "best_return"), ("strategy", "worst_return"),
        *((style, measure) for style in STYLES for measure in ("return_1m", "return_3m", "weight_change")),
    }
)  # fmt: skip
"""Facts of months alone: those of a quarter have other measures, so that neither can be taken for the other."""

_MARKET = (
    FactSpec("regime", "regime", "market", "label", "none", "marts.regimes.regime"),
    FactSpec("previous_regime", "regime", "market", "label", "none", "marts.regimes.regime"),
    # the column read is the one of the month's own label; see facts.py
    FactSpec("probability", "probability", "market", "fraction", "probability", "marts.regimes.p_slow_bull"),
    FactSpec("months_in_regime", "count", "market", "months", "none", "marts.regimes.months_in_regime"),
    FactSpec("index_months", "count", "market", "months", "none", _INDEX_RETURN),
    FactSpec("style_months", "count", "market", "months", "none", _LONG_SHORT),
    FactSpec("weight_months", "count", "market", "months", "none", _WEIGHT),
    FactSpec("quarter_months", "count", "market", "months", "none", _NET),
    FactSpec("regime_months_q", "count", "market", "months", "none", "marts.regimes.regime"),
)
_INDEX = (
    FactSpec("return_1m", "return", "index", "fraction", "return", _INDEX_RETURN),
    FactSpec("return_3m", "return", "index", "fraction", "return", _INDEX_RETURN),
    FactSpec("return_12m", "return", "index", "fraction", "return", _INDEX_RETURN),
    FactSpec("return_q", "return", "index", "fraction", "return", _INDEX_RETURN),
    FactSpec("return_percentile", "percentile", "index", "percentile", "none", _INDEX_RETURN),
    FactSpec(
        "volatility", "volatility", "index", "fraction_per_year", "volatility", "intermediate.index_features.volatility"
    ),
    FactSpec(
        "volatility_percentile", "percentile", "index", "percentile", "none", "intermediate.index_features.volatility"
    ),
    FactSpec("drawdown", "drawdown", "index", "fraction", "return", "intermediate.index_features.drawdown"),
    FactSpec("trend", "comparison", "index", "fraction", "return", "intermediate.index_features.trend"),
)
_STRATEGY = (
    FactSpec("net_return", "return", "strategy", "fraction", "return", _NET),
    FactSpec("net_return_3m", "return", "strategy", "fraction", "return", _NET),
    FactSpec("excess", "comparison", "strategy", "points", "return", _NET),
    FactSpec("excess_3m", "comparison", "strategy", "points", "return", _NET),
    FactSpec("net_return_q", "return", "strategy", "fraction", "return", _NET),
    FactSpec("excess_q", "comparison", "strategy", "points", "return", _NET),
    FactSpec("drawdown", "drawdown", "strategy", "fraction", "return", "marts.backtest.drawdown"),
    FactSpec("turnover", "turnover", "strategy", "fraction", "weight", "marts.books.turnover"),
    FactSpec("factor_cost", "cost", "strategy", "fraction", "return", "marts.backtest.factor_cost"),
    FactSpec("book_cost", "cost", "strategy", "fraction", "return", "marts.backtest.book_cost"),
    FactSpec("turnover_q", "turnover", "strategy", "fraction", "weight", "marts.books.turnover"),
    FactSpec("factor_cost_q", "cost", "strategy", "fraction", "return", "marts.backtest.factor_cost"),
    FactSpec("book_cost_q", "cost", "strategy", "fraction", "return", "marts.backtest.book_cost"),
    FactSpec("active_share", "comparison", "strategy", "fraction", "weight", "marts.books.active_share"),
    FactSpec("weight_spread", "comparison", "strategy", "points", "weight", _WEIGHT),
    FactSpec("favoured", "style", "strategy", "label", "none", _WEIGHT),
    FactSpec("largest_increase", "style", "strategy", "label", "none", _DRIFTED),
    FactSpec("largest_decrease", "style", "strategy", "label", "none", _DRIFTED),
    FactSpec("best_forecast", "style", "strategy", "label", "none", _FORECAST),
    FactSpec("best_return", "style", "strategy", "label", "none", _LONG_SHORT),
    FactSpec("worst_return", "style", "strategy", "label", "none", _LONG_SHORT),
    FactSpec("largest_increase_q", "style", "strategy", "label", "none", _DRIFTED),
    FactSpec("largest_decrease_q", "style", "strategy", "label", "none", _DRIFTED),
    FactSpec("best_return_q", "style", "strategy", "label", "none", _LONG_SHORT),
    FactSpec("worst_return_q", "style", "strategy", "label", "none", _LONG_SHORT),
)


def _style(name: str) -> tuple[FactSpec, ...]:
    return (
        FactSpec("return_1m", "return", name, "fraction", "return", _LONG_SHORT),
        FactSpec("return_3m", "return", name, "fraction", "return", _LONG_SHORT),
        FactSpec("return_12m", "return", name, "fraction", "return", _LONG_SHORT),
        FactSpec("return_q", "return", name, "fraction", "return", _LONG_SHORT),
        FactSpec("weight", "weight", name, "fraction", "weight", _WEIGHT),
        FactSpec("weight_change", "weight_change", name, "points", "weight", _DRIFTED),
        FactSpec("weight_change_q", "weight_change", name, "points", "weight", _DRIFTED),
        FactSpec("weight_rank", "rank", name, "rank", "none", _WEIGHT),
        FactSpec("above_equal", "comparison", name, "points", "weight", _WEIGHT),
        FactSpec("forecast", "forecast", name, "fraction", "return", _FORECAST),
        FactSpec("forecast_rank", "rank", name, "rank", "none", _FORECAST),
    )


def _ordered() -> tuple[FactSpec, ...]:
    hints = tuple(FactSpec(hint.name, "hint", hint.subject, "label", "none", hint.source) for hint in HINTS)
    styles = tuple(spec for style in STYLES for spec in _style(style))
    specs = (*_MARKET, *_INDEX, *_STRATEGY, *styles, *hints)
    return tuple(sorted(specs, key=lambda spec: (FACT_KINDS.index(spec.kind), SUBJECTS.index(spec.subject))))


CATALOGUE: tuple[FactSpec, ...] = _ordered()
"""All facts in the order (kind, subject, order of declaration)."""
SPECS: dict[tuple[str, str], FactSpec] = {spec.key: spec for spec in CATALOGUE}
FACT_IDS: dict[tuple[str, str], str] = {spec.key: f"f{place:03d}" for place, spec in enumerate(CATALOGUE, start=1)}
"""(subject, measure) → opaque id."""
