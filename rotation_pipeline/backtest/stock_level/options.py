"""Settings of the stock-level backtest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

Execution = Literal["open", "vwap", "close"]
Portfolio = Literal["long_only", "long_short", "index_tilt", "index_enhanced"]


@dataclass(frozen=True, slots=True)
class EnhancedOptions:
    """The portfolio index_enhanced: the largest composite score within limits against the index, solved each month."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    active_limit: Annotated[float, Gt(0.0), Le(1.0)] = 0.008
    """Largest |weight − index weight| of a stock (fraction): the specification's 0.8 %."""
    industry_limit: Annotated[float, Ge(0.0), Le(1.0)] = 0.02
    """Largest |weight − index weight| of an industry (fraction): the specification's."""
    tracking_error: Annotated[float, Gt(0.0), Le(1.0)] = 0.04
    """Largest expected tracking error (fraction per year): the specification's for the CSI 300."""
    turnover: Annotated[float, Gt(0.0), Le(2.0)] = 0.3
    """Largest two-sided turnover Σ|w − held| a month, the first month excepted (fraction): the specification's."""
    risk_months: Annotated[int, Ge(3), Le(36)] = 12
    """Months of daily returns behind the covariance (months): 244 sessions, shrunk to the identity (Ledoit & Wolf 2004), because
    an index has as many stocks as a year has sessions."""


@dataclass(frozen=True, slots=True)
class StockLevelOptions:
    """Capital, how orders are executed, and what trading costs beyond the statutory fees."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    capital: Annotated[float, Ge(10_000.0), Le(1e10)] = 100_000_000.0
    """Money each book starts with (CNY): the specification's 100 million. The upper bound keeps every product of the
    integer arithmetic inside 64 bits."""
    execution: Literal["open", "vwap", "close"] = "vwap"
    """Price of the sessions after the signal at which orders are done: the day's volume-weighted average (amount / volume),
    which is the price a participation in the whole day's volume earns; open and close are single auctions."""
    order_sessions: Annotated[int, Ge(1), Le(10)] = 5
    """Sessions an order is tried again before it is given up (count): a week, as a desk works a monthly list."""
    participation: Annotated[float, Gt(0.0), Le(1.0)] = 0.1
    """Largest share of a stock's volume of the day that one book may trade (fraction): above a tenth the price would not
    have been the recorded one (Almgren et al. 2005 fit their impact below it)."""
    slippage_bp: Annotated[float, Ge(0.0), Le(500.0)] = 4.0
    """Spread and impact paid on every trade (basis points of its amount, per side): between the 2.5 and 5 of large caps
    that the factor-level cost contains."""
    commission_rate: Annotated[float, Ge(0.0), Le(0.003)] | None = None
    """Commission (fraction of the amount); by default the customary rate of the date in the trading conventions. 0.3 % is the
    legal maximum."""
    commission_minimum: Annotated[float, Ge(0.0), Le(1000.0)] | None = None
    """Least commission of an order (CNY); by default that of the trading conventions."""
    short_fee: Annotated[float, Ge(0.0), Le(0.5)] = 0.08
    """Fee for borrowed shares (fraction of the short value per year, by calendar day): Chinese brokers lend at about 8 %. The short
    leg is on paper: it takes for granted that every share can be borrowed, which is not so."""
    cash_buffer: Annotated[float, Ge(0.0), Lt(1.0)] = 0.01
    """Part of the net value not invested (fraction): prices move between the signal and the trade, and fees must be paid."""
    top_fraction: Annotated[float, Gt(0.0), Le(0.5)] = 0.2
    """Share of the scored members bought by the long-only book, and sold short at the other end by the long-short one
    (fraction): the quintile of the style returns."""
    portfolios: Annotated[tuple[Portfolio, ...], MinLen(1)] = ("long_only", "long_short", "index_tilt")
    """Portfolios held for each set of style weights. ``index_enhanced`` solves two convex problems a month, about four seconds in
    ten years, and reads a year of daily bars before each month: only on request."""
    index_tilt: Annotated[float, Ge(0.0), Le(5.0)] = 0.5
    """Tilt γ of the book held against the index: weight ∝ float market value × max(0, 1 + γ z) with z the standardised
    composite score (per standard deviation): at 0.5 a name two deviations below the mean is not held."""
    delisting_recovery: Annotated[float, Ge(0.0), Le(1.0)] = 1.0
    """Part of the last price paid out when a held stock is delisted (fraction): the price path of a failing firm ends near
    its worth, and the delistings of large caps were mergers."""
    enhanced: EnhancedOptions = field(default_factory=EnhancedOptions)
    """Of the portfolio index_enhanced."""

    def __post_init__(self) -> None:
        """Raises ValueError for a portfolio named twice."""
        if len(set(self.portfolios)) != len(self.portfolios):
            raise ValueError(f"portfolios names a portfolio twice: {', '.join(self.portfolios)}")
