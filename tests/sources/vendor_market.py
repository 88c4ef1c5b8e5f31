"""A small market as the vendors' stand-ins serve it: every number is made up, every trap is in it.

600001 trades throughout, with a dividend and new shares on one ex-day; 600002 is suspended from the end of 2021-12 to
the middle of 2022-02; 600003 is under special treatment from 2022-01-10; 300004 is on ChiNext; 688005 on STAR;
000016.SZ has the number of an index; 600007 leaves the exchange on 2022-01-20; 600008 was suspended long before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from rotation_pipeline.market.calendar import sessions

FIRST, LAST = date(2021, 11, 1), date(2022, 2, 28)
MONTHS = (date(2022, 1, 1), date(2022, 2, 1))
INDEX = "000016.SH"
CODES = (
    "600001.SH", "600002.SH", "600003.SH", "300004.SZ", "688005.SH", "000016.SZ", "600007.SH", "600008.SH",
    *(f"6001{n:02d}.SH" for n in range(12)),
)  # fmt: skip
EX_DAY = date(2022, 1, 12)
CASH, SHARES = 0.5, 0.2
DELISTED = date(2022, 1, 20)
LONG_SUSPENDED_SINCE = date(2021, 3, 1)
RETURNS_ON = date(2022, 2, 16)
CANARY = "canary0123456789abcdefcanary"


@dataclass(frozen=True)
class Bar:
    """One day of one security in canonical units."""

    code: str
    day: date
    close: float
    prev_close: float
    volume: float
    amount: float
    factor: float


def suspended(code: str, day: date) -> bool:
    """Whether it did not trade though listed."""
    return (code == "600002.SH" and date(2021, 12, 29) <= day < RETURNS_ON) or (
        code == "600008.SH" and day > LONG_SUSPENDED_SINCE
    )


def members(day: date) -> list[str]:
    """Members of the index: 600100 leaves and 600101 enters in 2022-02."""
    out = "600101.SH" if day < date(2022, 2, 1) else "600100.SH"
    return [code for code in CODES if code.startswith("6001") and code != out]


def bars() -> list[Bar]:
    """Every traded day."""
    found: list[Bar] = []
    for n, code in enumerate(CODES):
        days = sessions(FIRST, LAST)
        if code == "600008.SH":
            days = sessions(date(2021, 2, 1), LAST)
        close, factor = 10.0 + n, 1.0
        for at, day in enumerate(days):
            if suspended(code, day) or (code == "600007.SH" and day >= DELISTED):
                continue
            before = close
            if code == "600001.SH" and day == EX_DAY:
                before = round((close - CASH) / (1 + SHARES), 2)
                factor = round(factor * close / before, 6)
            close = round(before * (1 + 0.01 * ((at * 7 + n * 3) % 5 - 2)), 2)
            volume = 100.0 * (1000 + 37 * at + n)
            found.append(Bar(code, day, close, before, volume, round(volume * (before + close) / 2, 0), factor))
    return found
