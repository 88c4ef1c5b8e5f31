"""Rule-based hints: what the numbers of a month may be said to mean.

A hint is the only place from which a sentence may take an interpretation, so each is a small pure function of the
month's numbers and the thresholds of :class:`NarrativeOptions`. A rule whose numbers are missing does not hold.

Which style suits which regime follows the literature, not this sample: momentum crashes come in bear markets and their
rebounds (Daniel and Moskowitz 2016), low-beta and quality stocks hold up in falling markets (Frazzini and Pedersen
2014; Asness, Frazzini and Pedersen 2019), value counts as the second defensive style, and small stocks are the riskier
side of their premium.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rotation_pipeline.narratives.options import NarrativeOptions

SUITS: dict[str, tuple[str, ...]] = {"slow_bull": ("MOM", "SIZE"), "bear": ("VAL", "VOL", "QLTY"), "range": ()}
"""Styles that suit a regime."""
OPPOSES: dict[str, tuple[str, ...]] = {"slow_bull": ("VAL", "VOL"), "bear": ("MOM", "SIZE"), "range": ()}
"""Styles that oppose a regime; what is in neither list is neutral."""
NO_TRADE = 1e-9
"""Turnover (fraction) up to which it is rounding of floating point numbers (sums of five are off by about 1e-15), not a trade."""
DEFENSIVE = ("VAL", "VOL")
"""Styles an increase of which turns the allocation defensive while the index is in drawdown."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one month the rules look at; None or an empty mapping where the month has none.

    Changes are trades at the month's end, weight minus drifted weight, in percentage points; the drifted active share is that of
    the weights before the trade. Trend, drawdowns, active share, turnover and probability are fractions
    (drawdowns ≤ 0); the volatility percentile is 0–100. Tilts are weights less equal weight, in percentage points. Idle is the
    weight (fraction) of styles that never had a long-short book. Of a quarter,
    changes are the sums of its trades, the drifted active share is the one its trades started from, turnover is a month's mean,
    and what was before is what was at the end of the quarter before.
    """

    idle: float | None = None
    changes: dict[str, float] = field(default_factory=dict[str, float])
    tilts: dict[str, float] = field(default_factory=dict[str, float])
    favoured: str | None = None
    previous_favoured: str | None = None
    best_forecast: str | None = None
    returns: dict[str, float] = field(default_factory=dict[str, float])
    active_share: float | None = None
    drifted_active_share: float | None = None
    is_clone: bool | None = None
    turnover: float | None = None
    regime: str | None = None
    previous_regime: str | None = None
    probability: float | None = None
    trend: float | None = None
    index_drawdown: float | None = None
    volatility_percentile: float | None = None
    strategy_drawdown: float | None = None


def _has_trend(now: Snapshot, options: NarrativeOptions, sign: int) -> bool:
    return now.trend is not None and sign * now.trend > options.trend_margin


def _in_drawdown(now: Snapshot, options: NarrativeOptions) -> bool:
    return now.index_drawdown is not None and now.index_drawdown <= -options.index_drawdown


def _defensive_change(now: Snapshot, options: NarrativeOptions, sign: int) -> bool:
    return any(sign * now.changes.get(style, 0.0) >= options.change_points for style in DEFENSIVE)


def _defensive_net(now: Snapshot) -> float:
    """Change of both defensive styles together (percentage points): one raised at the other's cost is no move to defence or away."""
    return math.fsum(now.changes.get(style, 0.0) for style in DEFENSIVE)


def _raised_above_equal(now: Snapshot, options: NarrativeOptions, style: str) -> bool:
    """Raised, and above equal weight after it by what weights called equal may differ: bringing a weight back is no tilt to it."""
    tilt = now.tilts.get(style, 0.0) > 100.0 * options.equal_weight_active_share
    return now.changes.get(style, 0.0) >= options.change_points and tilt


def _is_equal(now: Snapshot, options: NarrativeOptions) -> bool:
    return now.active_share is not None and now.active_share < options.equal_weight_active_share


def _conviction_change(now: Snapshot) -> float:
    """What trading changed of active share, in percentage points; 0 when one of the two is unknown."""
    if now.active_share is None or now.drifted_active_share is None:
        return 0.0
    return 100.0 * (now.active_share - now.drifted_active_share)


def trend_reinforced(now: Snapshot, options: NarrativeOptions) -> bool:
    """Momentum's weight is raised above equal while the index trends up."""
    return _raised_above_equal(now, options, "MOM") and _has_trend(now, options, 1) and not _is_equal(now, options)


def trend_faded(now: Snapshot, options: NarrativeOptions) -> bool:
    """Momentum's weight is cut while the index trends down; not where all weights are equal again."""
    cut = now.changes.get("MOM", 0.0) <= -options.change_points
    return cut and _has_trend(now, options, -1) and not _is_equal(now, options)


def turning_defensive(now: Snapshot, options: NarrativeOptions) -> bool:
    """Value or low volatility is raised above equal, and both together are raised, while the index is in drawdown."""
    raised = any(_raised_above_equal(now, options, style) for style in DEFENSIVE)
    more = _defensive_net(now) >= options.change_points
    return raised and more and _in_drawdown(now, options) and not _is_equal(now, options)


def leaving_defence(now: Snapshot, options: NarrativeOptions) -> bool:
    """Value or low volatility is cut, and both together are cut, while the index trends up; not where all weights are equal again."""
    left = _defensive_change(now, options, -1) and _defensive_net(now) <= -options.change_points
    return left and _has_trend(now, options, 1) and not _is_equal(now, options)


def equal_weights(now: Snapshot, options: NarrativeOptions) -> bool:
    """This month's weights differ from equal weight by less than the clone threshold."""
    return _is_equal(now, options)


def equal_weight_clone(now: Snapshot, options: NarrativeOptions) -> bool:
    """The book's mean active share so far is under the clone threshold."""
    return now.is_clone is True


def low_conviction(now: Snapshot, options: NarrativeOptions) -> bool:
    """The weights were traded nearer to equal, without being equal."""
    return _conviction_change(now) <= -options.conviction_points and not _is_equal(now, options)


def high_conviction(now: Snapshot, options: NarrativeOptions) -> bool:
    """The weights were traded away from equal."""
    return _conviction_change(now) >= options.conviction_points


def left_to_drift(now: Snapshot, options: NarrativeOptions) -> bool:
    """Nothing was traded between styles; the first month, which has nothing to trade from, does not count."""
    return bool(now.changes) and now.turnover is not None and now.turnover <= NO_TRADE


def fits_regime(now: Snapshot, options: NarrativeOptions) -> bool:
    """The style with the highest weight suits the regime."""
    return now.favoured is not None and now.favoured in SUITS.get(now.regime or "", ())


def opposes_regime(now: Snapshot, options: NarrativeOptions) -> bool:
    """The style with the highest weight opposes the regime."""
    return now.favoured is not None and now.favoured in OPPOSES.get(now.regime or "", ())


def neutral_to_regime(now: Snapshot, options: NarrativeOptions) -> bool:
    """The style with the highest weight neither suits nor opposes the regime."""
    known = now.favoured is not None and now.regime is not None
    return known and not fits_regime(now, options) and not opposes_regime(now, options)


def tension(now: Snapshot, options: NarrativeOptions) -> bool:
    """Forecast and regime disagree: the style with the highest forecast opposes the regime."""
    return now.best_forecast is not None and now.best_forecast in OPPOSES.get(now.regime or "", ())


def regime_changed(now: Snapshot, options: NarrativeOptions) -> bool:
    """The regime label is another one than last month."""
    return now.regime is not None and now.previous_regime is not None and now.regime != now.previous_regime


def regime_uncertain(now: Snapshot, options: NarrativeOptions) -> bool:
    """The label's filtered probability is below the threshold."""
    return now.probability is not None and now.probability < options.sure_probability


def volatility_high(now: Snapshot, options: NarrativeOptions) -> bool:
    """Index volatility is in the upper part of its last 12 months."""
    return now.volatility_percentile is not None and now.volatility_percentile >= options.high_percentile


def volatility_low(now: Snapshot, options: NarrativeOptions) -> bool:
    """Index volatility is in the lower part of its last 12 months."""
    return now.volatility_percentile is not None and now.volatility_percentile <= options.low_percentile


def high_turnover(now: Snapshot, options: NarrativeOptions) -> bool:
    """The weights set this month trade more than the threshold."""
    return now.turnover is not None and now.turnover >= options.high_turnover


def deep_drawdown(now: Snapshot, options: NarrativeOptions) -> bool:
    """The strategy stands further below its high than the threshold."""
    return now.strategy_drawdown is not None and now.strategy_drawdown <= -options.strategy_drawdown


def idle_weight(now: Snapshot, options: NarrativeOptions) -> bool:
    """A style that never had a long-short book, for want of figures, holds weight."""
    return now.idle is not None and now.idle > 0.0


def at_high(now: Snapshot, options: NarrativeOptions) -> bool:
    """The strategy's net value is the highest so far."""
    return now.strategy_drawdown is not None and now.strategy_drawdown >= 0.0


def favourite_lost(now: Snapshot, options: NarrativeOptions) -> bool:
    """The style with the highest weight last month had a negative long-short return this month."""
    return now.previous_favoured is not None and now.returns.get(now.previous_favoured, 0.0) < 0.0


def favourite_paid(now: Snapshot, options: NarrativeOptions) -> bool:
    """The style with the highest weight last month had a positive long-short return this month."""
    return now.previous_favoured is not None and now.returns.get(now.previous_favoured, 0.0) > 0.0


@dataclass(frozen=True, slots=True)
class Hint:
    """A named rule, whom it is about, and the column that decides it."""

    name: str
    subject: str
    rule: Callable[[Snapshot, NarrativeOptions], bool]
    source: str


_WEIGHT = "marts.weights.weight"
_DRIFTED = "marts.weights.drifted"
HINTS: tuple[Hint, ...] = (
    Hint("equal_weights", "strategy", equal_weights, "marts.books.active_share"),
    Hint("equal_weight_clone", "strategy", equal_weight_clone, "marts.books.is_equal_weight_clone"),
    Hint("left_to_drift", "strategy", left_to_drift, "marts.books.turnover"),
    Hint("turning_defensive", "strategy", turning_defensive, _DRIFTED),
    Hint("trend_reinforced", "strategy", trend_reinforced, _DRIFTED),
    Hint("trend_faded", "strategy", trend_faded, _DRIFTED),
    Hint("leaving_defence", "strategy", leaving_defence, _DRIFTED),
    Hint("low_conviction", "strategy", low_conviction, _DRIFTED),
    Hint("high_conviction", "strategy", high_conviction, _DRIFTED),
    Hint("fits_regime", "strategy", fits_regime, _WEIGHT),
    Hint("opposes_regime", "strategy", opposes_regime, _WEIGHT),
    Hint("neutral_to_regime", "strategy", neutral_to_regime, _WEIGHT),
    Hint("tension", "strategy", tension, "marts.forecasts.mean"),
    Hint("high_turnover", "strategy", high_turnover, "marts.books.turnover"),
    Hint("deep_drawdown", "strategy", deep_drawdown, "marts.backtest.drawdown"),
    Hint("idle_weight", "strategy", idle_weight, _WEIGHT),
    Hint("at_high", "strategy", at_high, "marts.backtest.drawdown"),
    Hint("favourite_lost", "strategy", favourite_lost, "marts.factor_longshort.long_short"),
    Hint("favourite_paid", "strategy", favourite_paid, "marts.factor_longshort.long_short"),
    Hint("regime_changed", "market", regime_changed, "marts.regimes.regime"),
    Hint("regime_uncertain", "market", regime_uncertain, "marts.regimes.p_slow_bull"),
    Hint("volatility_high", "market", volatility_high, "intermediate.index_features.volatility"),
    Hint("volatility_low", "market", volatility_low, "intermediate.index_features.volatility"),
)
"""In the order in which a sentence prefers them."""
