"""Tunables of the regime stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen

FeatureName = Literal[
    "index_return", "volatility", "downside_deviation", "turnover_ratio", "drawdown", "trend", "half_year_trend"
]
DetectorName = Literal["hmm", "jump", "kmeans", "mixture", "rules"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)


@dataclass(frozen=True)
class RegimeOptions:
    """How regimes are detected and how the evidence is made.

    "Experiment" below means 24 to 40 simulated markets of 145 months with three regimes (16 %, 32 % and 15 % volatility,
    +1.2, −2.5 and 0 % a month, lasting 6 to 18 months), Gaussian and Student-t (5) days. The figures are the balanced
    accuracy of the hidden Markov model's filtered monthly label, standard error about 0.015. The defaults reach 0.68
    and 0.64, with 15 and 18 switches where the truth has 10; k-means 0.58 and 0.54; a filter on daily returns that
    knows the true parameters 0.75 and 0.69. Bear is found (0.9), slow bull and range are hard to tell apart (0.5 to 0.6).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    detectors: Annotated[tuple[DetectorName, ...], MinLen(1)] = DETECTORS
    """Detectors run, each every month: hidden Markov model, statistical jump model, k-means, Gaussian mixture, rules.
    All, so that their agreement can be shown; five take four times as long as the first alone, 163 monthly refits about
    a second more."""
    active: DetectorName = "hmm"
    """The detector whose regimes the evidence and every later stage use; the best of the five in the experiment."""
    n_states: Annotated[int, Ge(2), Le(4)] = 3
    """Hidden states (count); the three regimes that have names. Rules always have three."""
    choose_states: Literal["fixed", "bic"] = "fixed"
    """How many states the hidden Markov model has: ``n_states``, or each month the number from 2 to 4 with the least
    Bayesian information criterion (Schwarz 1978). Fixed: a number that changes from month to month changes what the
    labels mean."""
    features: Annotated[tuple[FeatureName, ...], MinLen(1)] = ("half_year_trend", "volatility")
    """Columns of intermediate.index_features the detectors see. Experiment: half-year trend and
    volatility 0.67 and 0.63; the year's trend 0.65 and 0.58; the 21-day return as good at a third more switches; any
    set with drawdown 0.61 and 0.55 or less."""
    form: Literal["monthly", "daily"] = "monthly"
    """Rows fitted on: month ends, or every ``stride``-th session back from the month's last. 21-day windows do not
    overlap between month ends, as the model assumes; experiment: daily rows are no better and switch more often."""
    stride: Annotated[int, Ge(1), Le(63)] = 5
    """Sessions between two rows of the daily form; weekly, because neighbouring days share 20 of 21 returns."""
    window: Literal["expanding", "rolling"] = "expanding"
    """Fit on all months so far or on the last ``rolling_months``; bear markets are too rare to forget."""
    rolling_months: Annotated[int, Ge(24), Le(600)] = 120
    """Length of the rolling window (months); about two Chinese market cycles."""
    min_history: Annotated[int, Ge(120), Le(5000)] = 240
    """Fewest sessions with features before the first fit (sessions, about a year); two years of prices hold them."""
    covariance: Literal["full", "diag"] = "full"
    """Covariance within a state; experiment: the same. On the SSE 50 labels then depend less on where history begins."""
    mean_prior_months: Annotated[float, Ge(0.0), Le(600.0)] = 20.0
    """Weight of the archetypes on the state means (months of pseudo-observations). Experiment: 0 gives 0.61 and 0.57,
    anything from 10 to 100 within 0.66-0.68 and 0.62-0.64."""
    covariance_prior_months: Annotated[float, Ge(0.0), Le(600.0)] = 20.0
    """Weight of the covariance prior (months). Experiment: 1 to 40 the same. With 5 the bear state of the SSE 50 grows
    so wide that it takes in the volatile rally of winter 2014; 20 keeps it out."""
    transition_prior_months: Annotated[float, Ge(0.0), Le(600.0)] = 20.0
    """Weight of the transition prior (months a row). Experiment: 0 gives 0.65 and 0.60, 20 to 150 equal."""
    expected_duration: Annotated[float, Gt(1.0), Le(120.0)] = 12.0
    """Months a regime lasts by the transition prior; middle of the 6 to 18 that monthly regime studies report."""
    restarts: Annotated[int, Ge(0), Le(100)] = 3
    """Seeded starts beside the warm one (count). Warm starts alone miss the best optimum of most monthly windows when
    the prior is flat; with the archetypes three are enough, more change nothing in the experiment."""
    max_iter: Annotated[int, Ge(1), Le(10_000)] = 300
    """EM steps at most (count); fits that reach the tolerance need 20 to 100."""
    tolerance: Annotated[float, Gt(0.0), Le(10.0)] = 1e-4
    """EM stops when a step gains less (nats of log posterior); far below what moves a probability in the third digit."""
    kmeans_restarts: Annotated[int, Ge(1), Le(100)] = 10
    """Seeded k-means++ starts beside the warm one (count); scikit-learn's long-standing default."""
    jump_restarts: Annotated[int, Ge(1), Le(100)] = 10
    """Seeded k-means++ starts of the jump model beside the warm one (count); the public package's default."""
    jump_penalties: Annotated[tuple[Annotated[float, Ge(0.0), Le(1e6)], ...], MinLen(1)] = (
        0.25,
        0.5,
        1.0,
        2.0,
        4.0,
        8.0,
    )
    """Jump penalties tried, ascending (units of half a squared distance in scaled features). Experiment, 8 markets: one
    fixed penalty reaches 0.57 and 0.56 at best, at 1; 8 and more merge the states."""
    jump_spell: Annotated[float, Ge(1.0), Le(120.0)] = 6.0
    """The penalty is the least with which past labels last this long on average (months). Experiment, 8 markets: 4, 6, 8
    and 12 months give 0.58, 0.57, 0.56, 0.46 and 0.53, 0.58, 0.54, 0.42; the least one-step prediction error 0.58, 0.54."""
    rule_trend: Annotated[float, Ge(0.0), Le(0.5)] = 0.02
    """Half-year trend above which the index rises and below whose negative it falls (fraction)."""
    rule_volatility_quantile: Annotated[float, Gt(0.0), Lt(1.0)] = 2.0 / 3.0
    """Quantile of past volatilities above which the market is volatile (probability): the upper tercile."""
    rule_drawdown: Annotated[float, Gt(0.0), Lt(1.0)] = 0.2
    """Fall from the year's high that makes a bear market (fraction): the customary fifth. Experiment, 8 markets: the
    rules reach 0.52 and 0.57, 0.57 and 0.58 without this one, at 37 switches where the truth has 10."""
    bootstrap_resamples: Annotated[int, Ge(100), Le(100_000)] = 1000
    """Resamples of each interval (count); the 2.5 % point then rests on 25 of them."""
    bootstrap_block: Annotated[float, Ge(1.0), Le(60.0)] = 3.0
    """Mean block of the stationary bootstrap (months); style returns are weakly autocorrelated and regimes short."""
    permutations: Annotated[int, Ge(99), Le(100_000)] = 999
    """Permutations of each test (count); the smallest p value is then 0.001."""
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 7
    """Seed of restarts, bootstrap and permutations, each drawn from (seed, year, month) and nothing else."""

    def __post_init__(self) -> None:
        """Raises ValueError where the choices contradict each other."""
        if len(set(self.detectors)) != len(self.detectors):
            raise ValueError(f"detectors names one twice: {', '.join(self.detectors)}")
        if self.active not in self.detectors:
            raise ValueError(
                f"active = {self.active} is not among detectors ({', '.join(self.detectors)}): add it there"
            )
        if any(b <= a for a, b in pairwise(self.jump_penalties)):
            raise ValueError(f"jump_penalties must ascend, got {list(self.jump_penalties)}")
