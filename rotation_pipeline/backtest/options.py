"""Settings of the backtest stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """Costs, resampling and annualisation."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    cost_bp: Annotated[float, Ge(0.0), Le(1000.0)] = 20.0
    """Cost of one unit of turnover, a sale and the purchase it pays for (basis points): commission 2 × 2.5, stamp duty 5 (10 before
    28 August 2023), transfer fee 2 × 0.1, and 2 × 2.5 to 5 of spread and impact in large caps: about 15 to 20. Stock lending
    for the short leg is not in it."""
    cost_grid_bp: tuple[Annotated[float, Ge(0.0), Le(1000.0)], ...] = (0.0, 10.0, 20.0, 30.0, 50.0)
    """Costs at which the headline measures are repeated (basis points): from none to more than twice the default; the default cost is always added."""
    resamples: Annotated[int, Ge(100), Le(100_000)] = 1000
    """Bootstrap resamples (count): the Monte Carlo error of a 2.5 % tail is then about half a point."""
    mean_block: Annotated[float, Ge(1.0), Le(60.0)] = 6.0
    """Mean block of the stationary bootstrap, and rounded the block of the studentised one (months): n^(1/3) = 5 for ten years
    of months (Politis & Romano 1994), and half a year so that a regime spell survives."""
    seed: Annotated[int, Ge(0)] = 20240131
    """Seed of every resampling; the month is mixed in."""
    confidence: Annotated[float, Gt(0.5), Lt(1.0)] = 0.95
    """Coverage of every interval (probability): the customary 95 %."""
    periods_per_year: Annotated[float, Gt(0.0)] = 12.0
    """Periods a year (count): months."""
    minimum_months: Annotated[int, Ge(5)] = 12
    """Fewest months for an interval or a test (months): below a year the bootstrap repeats a handful of numbers. The long-run
    variance of a Sharpe ratio is corrected by n/(n − 4) and needs 5."""
    rolling_months: Annotated[int, Ge(12)] = 36
    """Window of the rolling sample (months): three years, as short as a Sharpe ratio bears."""
    overfitting_parts: Annotated[int, Ge(2), Le(16)] = 10
    """Blocks of the probability of backtest overfitting (count, even): 252 splits, blocks of a year in ten years; the paper
    takes 16 for thousands of days. Fewer while a block would be shorter than 4 months."""
    oracle_epsilon: Annotated[float, Gt(0.0)] = 0.01
    """ε of the oracle's weights 1/(regret + ε) (fraction per month): a style one point behind the best gets half its weight."""
    deflated_threshold: Annotated[float, Gt(0.5), Lt(1.0)] = 0.95
    """Deflated Sharpe ratio a claim must reach to be believed (probability): Bailey & López de Prado (2014)."""

    def __post_init__(self) -> None:
        """Raises ValueError for an odd number of blocks."""
        if self.overfitting_parts % 2:
            raise ValueError(f"overfitting_parts must be even, got {self.overfitting_parts}")
