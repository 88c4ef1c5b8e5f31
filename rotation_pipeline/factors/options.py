"""Tunables of the factor stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt


@dataclass(frozen=True)
class FactorOptions:
    """How exposures, groups and evidence are made. Every default is the specification's unless its comment says why."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    n_groups: Annotated[int, Ge(2), Le(20)] = 5
    """Groups the tradable members are sorted into (count); quintiles leave ten names a group in a 50-name index."""
    weighting: Literal["equal", "value"] = "equal"
    """Weights inside a group for the daily series, the export and the summary; the monthly tables hold both."""
    winsorisation: Literal["mad", "quantile", "none"] = "mad"
    """Clipping before scoring: by robust deviations (Iglewicz and Hoaglin 1993) or at two quantiles."""
    mad_limit: Annotated[float, Gt(0.0), Le(100.0)] = 5.0
    """Clip at median ± this many × 1.4826 × MAD (robust standard deviations); 5 touches errors and extremes only."""
    quantile_low: Annotated[float, Ge(0.0), Lt(0.5)] = 0.01
    """Lower clipping quantile (fraction) of ``quantile`` winsorisation; 1 % is the usual choice in asset pricing."""
    quantile_high: Annotated[float, Gt(0.5), Le(1.0)] = 0.99
    """Upper clipping quantile (fraction) of ``quantile`` winsorisation."""
    neutralise: Literal["none", "industry", "size", "both"] = "none"
    """Regressors removed from every factor; none, because 50 names over 20 industries leave nothing to estimate."""
    neutralise_weights: Literal["equal", "sqrt_mv"] = "equal"
    """Weights of that regression; √market value is the usual guess at the inverse residual variance (Barra)."""
    min_window_share: Annotated[float, Gt(0.0), Le(1.0)] = 0.8
    """Share of a window's own trading days that must be there, else the factor is null (fraction)."""
    beta_window: Annotated[int, Ge(20), Le(2000)] = 252
    """Daily pairs beta is estimated on (own trading days, about a year)."""
    beta_min_days: Annotated[int, Ge(3), Le(2000)] = 120
    """Fewest pairs for a beta (own trading days); replaces ``min_window_share`` there, half a year."""
    trading_days_per_year: Annotated[int, Ge(200), Le(366)] = 244
    """Sessions of a year on the Shanghai exchange, for annualising daily figures (count)."""
    lookback_sessions: Annotated[int, Ge(60), Le(5000)] = 504
    """Sessions a month end looks back on, at most; older prices are ignored, so a month needs two years of history."""
    min_names: Annotated[int, Ge(2), Le(10000)] = 20
    """Fewest estimation members of a month (count); four a group, below which no quintile return means anything."""
    min_factor_names: Annotated[int, Ge(2), Le(10000)] = 10
    """Fewest estimation members with a value for a factor to be scored (count); two a group."""
    style_min_share: Annotated[float, Gt(0.0), Le(1.0)] = 0.5
    """Share of a style's factors a name must have for a style score (fraction)."""
    ic_horizons: Annotated[int, Ge(1), Le(60)] = 12
    """Longest horizon of the IC decay (months)."""

    def __post_init__(self) -> None:
        if self.beta_min_days > self.beta_window:
            raise ValueError(
                f"factors.beta_min_days ({self.beta_min_days}) exceeds factors.beta_window ({self.beta_window}); "
                "lower the first or raise the second"
            )
