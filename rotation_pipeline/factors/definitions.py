"""The raw factors, each one typed definition: scores, styles, groups, tables, documentation and lineage follow.

To add a factor, write a function and append a :class:`RawFactor` to :data:`RAW_FACTORS`; nothing else is edited.
``docs/factors.md`` shows how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["figures", "window", "history", "compiled"]
STYLES: tuple[str, ...] = ("MOM", "VAL", "QLTY", "VOL", "SIZE")
"""Style order, everywhere. VOL is low volatility and SIZE is small size: a high score is what the premium pays for."""
INDEX_RETURN = "index_ret"
DAILY: dict[str, str] = {
    **{
        name: f"intermediate.adjusted_bars.{name}"
        for name in ("close", "adj_close", "ret", "volume", "amount", "turnover_rate")
    },
    INDEX_RETURN: "intermediate.index_daily.ret",
}
"""Daily inputs by name and where they are stored. ``index_ret`` is the index over the span of the stock's own return."""
RETURNS = ("ret", INDEX_RETURN)
"""Daily inputs that begin at the own trading day before: unknown on the first day of a lookback."""


@dataclass(frozen=True, slots=True)
class RawFactor:
    """A raw factor: what it reads, how it is computed, and what becomes of it.

    Attributes:
        name: column and series name.
        style: the style it is a part of, one of :data:`STYLES`.
        sign: +1 if a high value is what the premium pays for, −1 if a low one is.
        unit, meaning: for the tables' documentation.
        inputs: columns, in the order the function takes them.
        function: by ``kind``. ``figures``: takes an array per input, a value for each member of a month, NaN unknown,
            and returns as many; inputs are columns of intermediate.stock_snapshot at the month end. ``window``: takes
            an array per input, the security's last own trading days up to the month end, oldest first, NaN unknown, at
            most ``window`` long, and returns a number; inputs are names of :data:`DAILY`. It is handed nothing later
            than the month end. ``history``: takes a :class:`~rotation_pipeline.factors.panel.History`, everything that
            was loaded, and returns values of shape (assets, months): for what windows can't say. It could look ahead;
            replay finds out. ``compiled``: None; the kernels compute it by this name.
        kind: see there.
        window: own trading days a ``window`` function is handed at most; below ``min_window_share`` of them the factor
            is null.
    """

    name: str
    style: str
    sign: Literal[1, -1]
    unit: str
    meaning: str
    inputs: tuple[str, ...]
    function: Callable[..., Any] | None = None
    kind: Kind = "figures"
    window: int = 0

    def __post_init__(self) -> None:
        told = f"raw factor {self.name!r}"
        if not (self.name.isidentifier() and self.name.islower()):
            raise ValueError(f"{told}: a name is a lower-case identifier")
        if self.style not in STYLES:
            raise ValueError(f"{told}: style is one of {STYLES}, got {self.style!r}")
        if self.sign not in (1, -1):
            raise ValueError(f"{told}: sign is 1 or -1, got {self.sign}")
        if not self.inputs or not self.unit or not self.meaning:
            raise ValueError(f"{told}: inputs, unit and meaning are all needed")
        if (self.kind == "compiled") != (self.function is None):
            raise ValueError(f"{told}: a function is needed (only compiled factors have none)")
        if (self.kind == "window") != (self.window > 0):
            raise ValueError(f"{told}: window is the number of days of a window factor and 0 for all others")
        unknown = [name for name in self.inputs if self.kind != "figures" and name not in DAILY]
        if unknown:
            raise ValueError(f"{told}: {unknown} are no daily inputs; there are {sorted(DAILY)}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Stored columns it is computed from, for lineage."""
        if self.kind == "figures":
            return tuple(f"intermediate.stock_snapshot.{name}" for name in self.inputs)
        return tuple(DAILY[name] for name in self.inputs)


def inverse(x: Floats) -> Floats:
    """1 / x; NaN for 0."""
    return np.divide(1.0, x, out=np.full(x.size, np.nan), where=x != 0.0)


def growth(now: Floats, before: Floats) -> Floats:
    """(now − before) / abs(before); NaN where before is 0."""
    return np.divide(now - before, np.abs(before), out=np.full(before.size, np.nan), where=before != 0.0)


def logarithm(x: Floats) -> Floats:
    """ln x; NaN where x is not positive."""
    return np.log(x, out=np.full(x.size, np.nan), where=x > 0.0)


def itself(x: Floats) -> Floats:
    """The figure as it is."""
    return x


RAW_FACTORS: tuple[RawFactor, ...] = (
    RawFactor(
        "mom_20", "MOM", 1, "fraction", "adjusted close / the one 20 own trading days ago − 1", ("adj_close",), kind="compiled"
    ),
    RawFactor(
        "mom_120", "MOM", 1, "fraction", "adjusted close / the one 120 own trading days ago − 1", ("adj_close",), kind="compiled"
    ),
    RawFactor(
        "rsi_14", "MOM", 1, "0–100", "relative strength index, Wilder smoothing 1/14 (Wilder 1978)", ("adj_close",), kind="compiled"
    ),
    RawFactor("book_to_price", "VAL", 1, "ratio", "1 / PB", ("pb",), inverse),
    RawFactor("earnings_yield", "VAL", 1, "fraction", "1 / PE_TTM; negative for a loss", ("pe_ttm",), inverse),
    RawFactor("dividend_yield", "VAL", 1, "fraction", "cash dividends of 12 months / price", ("dividend_yield",), itself),
    RawFactor("roe_ttm", "QLTY", 1, "fraction", "return on equity, announced by then", ("roe_ttm",), itself),
    RawFactor(
        "profit_growth", "QLTY", 1, "fraction", "TTM net profit on the year before, over abs(base) where base ≤ 0",
        ("net_profit_ttm", "net_profit_ttm_year_ago"), growth,
    ),
    RawFactor(
        "volatility_60", "VOL", -1, "fraction per year", "standard deviation of 60 daily returns × √244", ("ret",), kind="compiled"
    ),
    RawFactor(
        "beta_252", "VOL", -1, "ratio", "slope on the index's daily returns over 252 own days, at least 120",
        ("ret", INDEX_RETURN), kind="compiled",
    ),
    RawFactor("log_market_value", "SIZE", -1, "ln CNY", "ln(total market value)", ("total_market_value",), logarithm),
)  # fmt: skip
