"""Settings of the allocation stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from rotation_pipeline.factors.styles import STYLES

BookKind = Literal["anchored", "softmax", "softmax_network", "mean_variance", "inverse_volatility", "decision_focused"]
"""How a strategy's weights are made; ``softmax`` trades the mixture's forecasts."""
Alternative = Literal["softmax_mixture", "softmax_network", "mean_variance", "inverse_volatility", "decision_focused"]
"""Books that may be computed beside the headline."""
Criterion = Literal["utility", "sharpe"]


@dataclass(frozen=True, slots=True)
class MeanVarianceOptions:
    """The book max μ'w − γ/2 w'Σw − cost of trading, within floor, cap and turnover cap."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    risk_aversion: Annotated[float, Gt(0.0), Le(1000.0)] = 5.0
    """γ per unit of monthly variance (dimensionless): that of Brandt, Santa-Clara & Valkanov (2009)."""


@dataclass(frozen=True, slots=True)
class DecisionOptions:
    """The book whose forecast map is trained through the optimisation to the net utility it leads to."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    risk_aversion: Annotated[float, Gt(0.0), Le(1000.0)] = 5.0
    """γ of the layer and of the utility mean − γ/2 variance (dimensionless): as for mean-variance."""
    refit_months: Annotated[tuple[Annotated[int, Ge(1), Le(12)], ...], MinLen(1)] = (1,)
    """Calendar months at whose close the map is trained again: once a year, because a training costs a hundred small
    optimisations an epoch and a year adds a tenth to the sample."""
    minimum_months: Annotated[int, Ge(12)] = 36
    """Months of style returns before the first training (months), equal weight until then: three years, as the experts."""
    epochs: Annotated[int, Ge(1), Le(1000)] = 30
    """Steps of gradient ascent a training (count): the four coefficients have settled by then."""
    learning_rate: Annotated[float, Gt(0.0), Le(1.0)] = 0.05
    """Step of Adam (per coefficient, which starts between 0 and 1)."""
    penalty: Annotated[float, Ge(0.0)] = 1e-4
    """Pull of the coefficients to the mean-variance book on the mixture's forecasts (utility per month per squared
    coefficient): a basis point, so that a month's noise does not move them far."""
    jitter: Annotated[float, Ge(0.0), Le(1.0)] = 0.05
    """Standard deviation of the start around that book (per coefficient): the utility is not concave."""
    seed: Annotated[int, Ge(0)] = 20240131
    """Seed of the start; the month of the training is mixed in."""


@dataclass(frozen=True, slots=True)
class NestedOptions:
    """The grid from which nested selection chooses, on past months only. Every cell is a trial."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    criterion: Criterion = "utility"
    """What is maximised over the past months of a cell's net returns: mean − γ/2 variance, or the Sharpe ratio."""
    risk_aversion: Annotated[float, Gt(0.0), Le(1000.0)] = 5.0
    """γ of the utility (dimensionless): as for mean-variance."""
    every: Literal["month", "year"] = "month"
    """When a choice is made: at each close, or at January's and kept for a year."""
    minimum_months: Annotated[int, Ge(3)] = 36
    """Months of net returns before the first choice (months): until then the fixed settings hold. A Sharpe ratio of three
    years still has a standard error of 0.6 a year."""
    score_forms: Annotated[tuple[Literal["ratio", "penalty", "raw"], ...], MinLen(1)] = ("ratio", "raw")
    """Score forms tried; ``penalty`` is tried at each of risk_penalties."""
    risk_penalties: Annotated[tuple[Annotated[float, Ge(0.0)], ...], MinLen(1)] = (1.0,)
    """λ tried with the penalty form (per unit of monthly volatility)."""
    temperatures: Annotated[tuple[Annotated[float, Gt(0.0)], ...], MinLen(1)] = (0.5, 1.0, 2.0)
    """τ tried in softmax books (standard deviations): half and double the fixed one."""
    inertias: Annotated[tuple[Annotated[float, Ge(0.0), Lt(1.0)], ...], MinLen(1)] = (0.0, 0.5, 0.8)
    """α tried in softmax books (fraction): none, the fixed one, a mean delay of four months."""
    tilt_scales: Annotated[tuple[Annotated[float, Ge(0.0), Le(1.0)], ...], MinLen(1)] = (0.0, 0.03, 0.06, 0.09)
    """κ tried in the anchored book (weight per standard deviation): 0, equal weight itself, may win."""


@dataclass(frozen=True, slots=True)
class AllocationOptions:
    """How forecasts become weights; fixed before the test sample, and hashed into the trial they make."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    book: BookKind = "anchored"
    """Book of the headline strategy. Anchored: equal weight plus a bounded tilt, because about 100 monthly samples do not
    pay for leaving 1/N unprotected (DeMiguel, Garlappi & Uppal 2009)."""
    books: tuple[Alternative, ...] = ("softmax_mixture", "softmax_network")
    """Books computed beside the headline, each a trial: two cheap ones. ``decision_focused`` costs about 0.1 s of training per
    month of history a refit."""
    selection: Literal["fixed", "nested"] = "fixed"
    """Are τ, α, κ and the score form those set here, or chosen month by month from the grid ``nested`` on past months only?
    Fixed: a choice among cells that differ by less than their standard errors follows noise."""
    cost_bp: Annotated[float, Ge(0.0), Le(1000.0)] = 20.0
    """Cost of one unit of turnover that nested selection, mean-variance and decision-focused books reckon with (basis points):
    what the backtest charges by default."""
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
    mean_variance: MeanVarianceOptions = field(default_factory=MeanVarianceOptions)
    """Of the book mean_variance."""
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    """Of the book decision_focused."""
    nested: NestedOptions = field(default_factory=NestedOptions)
    """Of ``selection = "nested"``."""

    def __post_init__(self) -> None:
        """Raises ValueError for a book named twice, limits no weights satisfy, or a covariance window that is never enough."""
        if len(set(self.books)) != len(self.books):
            raise ValueError(f"books names a book twice: {', '.join(self.books)}")
        count = len(STYLES)
        if not self.floor <= 1.0 / count <= self.cap:
            raise ValueError(
                f"floor = {self.floor:g} and cap = {self.cap:g} leave no weights of {count} styles that sum to 1: floor must be "
                f"at most {1.0 / count:g} and cap at least that"
            )
        if self.covariance_months is not None and self.covariance_months < self.minimum_months:
            raise ValueError(
                f"covariance_months = {self.covariance_months} is less than minimum_months = {self.minimum_months}: no covariance "
                "would ever be known; raise the one or lower the other"
            )
