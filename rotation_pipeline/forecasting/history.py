"""What forecasters may see: everything known at a month's close, months and, where given, the sessions behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DailyHistory:
    """Sessions up to a month's last: ``styles`` D × K long-short returns (fraction per day; NaN before a style exists or
    without names in a leg), ``market`` D × F index features (NaN where unknown), oldest first, and ``months`` (D), the
    month of each session as year × 12 + month − 1."""

    styles: FloatArray
    market: FloatArray
    months: NDArray[np.int64]

    def until(self, month: int) -> DailyHistory:
        """The sessions of months up to ``month`` (year × 12 + month − 1); copies."""
        rows = int(np.searchsorted(self.months, month, side="right"))
        return DailyHistory(self.styles[:rows].copy(), self.market[:rows].copy(), self.months[:rows].copy())

    def since(self, month: int) -> DailyHistory:
        """The sessions of months from ``month`` on; copies."""
        first = int(np.searchsorted(self.months, month, side="left"))
        return DailyHistory(self.styles[first:].copy(), self.market[first:].copy(), self.months[first:].copy())


@dataclass(frozen=True)
class History:
    """All that is known at a month's close: ``styles`` T × K long-short returns (fraction per month; NaN before a style
    exists) and ``market`` T × M features (NaN where unknown), oldest first, last row the month itself (``year``,
    ``month``); ``daily``: its sessions, for the experts that look at them."""

    styles: FloatArray
    market: FloatArray
    year: int
    month: int
    daily: DailyHistory | None = None

    @property
    def ordinal(self) -> int:
        """The last month as year × 12 + month − 1."""
        return self.year * 12 + self.month - 1

    def until(self, rows: int) -> History:
        """The first ``rows`` months; the calendar date is that of the full history's end minus the months cut."""
        ordinal = self.ordinal - (len(self.styles) - rows)
        daily = None if self.daily is None else self.daily.until(ordinal)
        return History(self.styles[:rows].copy(), self.market[:rows].copy(), ordinal // 12, ordinal % 12 + 1, daily)

    def sessions(self) -> DailyHistory:
        """``daily``; an error where it is missing."""
        if self.daily is None:
            raise ValueError("this expert looks at sessions, but the history has none (History.daily)")
        return self.daily
