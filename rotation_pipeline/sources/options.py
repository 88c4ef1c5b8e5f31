"""Tunables of comparing two sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, slots=True)
class ReconcileOptions:
    """How far two sources may differ before a value counts; fractions unless said otherwise."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    price: Annotated[float, Ge(0), Le(1)] = 1e-4
    """Prices and index levels, relative, half a cent (0.005) always allowed: vendors print two to four decimals."""
    volume: Annotated[float, Ge(0), Le(1)] = 1e-3
    """Volume and amount, relative; 100 shares and 1,000 CNY always allowed: vendors print whole lots and thousands."""
    returns: Annotated[float, Ge(0), Le(1)] = 1e-4
    """Adjusted daily returns, absolute: the sanity rules demand the same of each source by itself."""
    valuation: Annotated[float, Ge(0), Le(10)] = 0.01
    """Valuation ratios, turnover and market values, relative: vendors count shares and trailing profits by their own rules."""
    fundamentals: Annotated[float, Ge(0), Le(10)] = 1e-3
    """Reported items, relative."""
    cash: Annotated[float, Ge(0), Le(10)] = 0.005
    """Cash per share, CNY, absolute: half a cent."""
    unit_share: Annotated[float, Gt(0), Le(1)] = 0.9
    """Share of rows off by the same power of ten from which a difference is named a unit, not a value."""
    worst: Annotated[int, Ge(1), Le(10_000)] = 20
    """Worst rows kept of each column."""
