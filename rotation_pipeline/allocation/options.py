"""Settings of the allocation stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True, slots=True)
class AllocationOptions:
    """How forecasts become weights; fixed before the test sample, and hashed into the trial they make."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    book: Literal["anchored", "softmax"] = "anchored"
    """Book of the headline strategy. Anchored: equal weight plus a bounded tilt, because about 100 monthly samples do not
    pay for leaving 1/N unprotected (DeMiguel, Garlappi & Uppal 2009)."""
    score_form: Literal["ratio", "penalty", "raw"] = "ratio"
    """Score of a style: r̂/σ, r̂ − λσ or r̂. Ratio: styles differ in volatility, and return per risk compares them."""
    risk_penalty: Annotated[float, Ge(0.0)] = 1.0
    """λ of the penalty form, per unit of monthly volatility (dimensionless): one standard deviation for one of return."""
    temperature: Annotated[float, Gt(0.0)] = 1.0
    """τ of the softmax on standardised scores (standard deviations): at 1 the best of five styles gets about half."""
    inertia: Annotated[float, Ge(0.0), Lt(1.0)] = 0.5
    """α of w = α w⁺ + (1 − α) w̃ in softmax books (fraction): halves trading for a mean delay α/(1 − α) of one month."""
    inertia_from: Literal["drifted", "undrifted"] = "drifted"
    """What inertia holds on to: last month's weights as they stand now, or as they were set (the paper's formula)."""
    tilt_scale: Annotated[float, Ge(0.0), Le(1.0)] = 0.06
    """κ, weight per standard deviation of score (fraction): K styles have scores of at most √(K−1) = 2 for five, so that
    6 points use the whole tilt cap and the cap seldom distorts."""
    tilt_cap: Annotated[float, Gt(0.0), Le(1.0)] = 0.12
    """Largest |tilt| of a style away from 1/K (fraction): 12 points, the house rule (spec, allocation)."""
    no_trade_band: Annotated[float, Ge(0.0), Lt(1.0)] = 0.02
    """The anchored book trades only if some style is further than this from its target (fraction): 2 points, house rule."""
    shrinkage: Annotated[float, Ge(0.0)] = 0.05
    """q of the tilt's shrinkage max(0, 1 − q·se/|r̂|), in standard errors of the forecast (its prediction error, close to
    the monthly volatility). The error of a mean over ten years is 1/√120 = 0.09 of it, and the mixture, half of whose prior is
    zero, halves forecast and error: 0.05. The 80 % interval itself would be 1.28 and would forbid every tilt."""
    floor: Annotated[float, Ge(0.0), Le(1.0)] = 0.0
    """Smallest weight of a style in a strategy (fraction): no short styles."""
    cap: Annotated[float, Gt(0.0), Le(1.0)] = 1.0
    """Largest weight of a style in a strategy (fraction): 1 is no cap beyond the tilt cap."""
    turnover_cap: Annotated[float, Gt(0.0)] | None = None
    """Largest ½ Σ|Δw| of a strategy per month (fraction); the whole step is scaled. None: band and inertia suffice."""
    volatility_target: Annotated[float, Gt(0.0)] | None = None
    """Annual volatility a strategy is scaled down to (fraction per year), the rest in cash. None: volatility-managed
    non-market factors add nothing after costs (Cederburg, O'Doherty, Wang & Yan 2020)."""
    leverage_cap: Annotated[float, Gt(0.0), Le(5.0)] = 1.0
    """Largest scale under a volatility target (ratio): 1 never borrows."""
    covariance_months: Annotated[int, Ge(12)] | None = None
    """Window of the covariance for risk parity and the volatility target (months). None: all months so far."""
    minimum_months: Annotated[int, Ge(3)] = 12
    """Months of data before risk parity, the volatility target and the tercile of volatility
    say anything (months): one year, more than twice the number of styles."""
    rule_tilt: Annotated[float, Ge(0.0), Le(0.3)] = 0.12
    """Points the rule-based baseline adds to each style it prefers (fraction): the strategy's own cap, for a fair race."""
    momentum_months: Annotated[int, Ge(1)] = 12
    """Months of the factor-momentum mean (months): Ehsani & Linnainmaa (2022), one year."""
    clone_threshold: Annotated[float, Ge(0.0), Le(1.0)] = 0.01
    """A book whose mean active share so far is below this is reported as an equal-weight clone (fraction): house rule."""
