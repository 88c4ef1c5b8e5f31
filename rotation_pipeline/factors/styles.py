"""The eleven raw factors and the five styles they make up."""

from __future__ import annotations

from dataclasses import dataclass

STYLES: tuple[str, ...] = ("MOM", "VAL", "QLTY", "VOL", "SIZE")
"""Style order, everywhere. VOL is low volatility and SIZE is small size: a high score is what the premium pays for."""


@dataclass(frozen=True, slots=True)
class RawFactor:
    """A raw factor: its style, the sign that turns it into what the premium pays for, unit and definition."""

    name: str
    style: str
    sign: int
    unit: str
    meaning: str
    reads: tuple[str, ...]


_PRICES = ("intermediate.adjusted_bars.adj_close",)
_RETURNS = ("intermediate.adjusted_bars.ret",)
RAW_FACTORS: tuple[RawFactor, ...] = (
    RawFactor("mom_20", "MOM", 1, "fraction", "adjusted close / the one 20 own trading days ago − 1", _PRICES),
    RawFactor("mom_120", "MOM", 1, "fraction", "adjusted close / the one 120 own trading days ago − 1", _PRICES),
    RawFactor("rsi_14", "MOM", 1, "0–100", "relative strength index, Wilder smoothing 1/14 (Wilder 1978)", _PRICES),
    RawFactor("book_to_price", "VAL", 1, "ratio", "1 / PB", ("intermediate.stock_snapshot.pb",)),
    RawFactor(
        "earnings_yield",
        "VAL",
        1,
        "fraction",
        "1 / PE_TTM; negative for a loss",
        ("intermediate.stock_snapshot.pe_ttm",),
    ),
    RawFactor(
        "dividend_yield",
        "VAL",
        1,
        "fraction",
        "cash dividends of 12 months / price",
        ("intermediate.stock_snapshot.dividend_yield",),
    ),
    RawFactor(
        "roe_ttm",
        "QLTY",
        1,
        "fraction",
        "return on equity, announced by then",
        ("intermediate.stock_snapshot.roe_ttm",),
    ),
    RawFactor(
        "profit_growth",
        "QLTY",
        1,
        "fraction",
        "TTM net profit on the year before, over abs(base) where base ≤ 0",
        ("intermediate.stock_snapshot.net_profit_ttm", "intermediate.stock_snapshot.net_profit_ttm_year_ago"),
    ),
    RawFactor(
        "volatility_60", "VOL", -1, "fraction per year", "standard deviation of 60 daily returns × √244", _RETURNS
    ),
    RawFactor(
        "beta_252",
        "VOL",
        -1,
        "ratio",
        "slope on the index's daily returns over 252 own days, at least 120",
        (*_RETURNS, "intermediate.index_daily.ret"),
    ),
    RawFactor(
        "log_market_value",
        "SIZE",
        -1,
        "ln CNY",
        "ln(total market value)",
        ("intermediate.stock_snapshot.total_market_value",),
    ),
)
RAW_FACTOR_NAMES: tuple[str, ...] = tuple(factor.name for factor in RAW_FACTORS)
SERIES: tuple[str, ...] = (*STYLES, *RAW_FACTOR_NAMES)
"""Every long-short series: styles first, then raw factors."""
