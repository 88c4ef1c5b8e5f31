"""The names of the simulated market: what each company is, drawn once.

Codes come from ranges no real security uses (609…, 687… and so on), and names say that they are simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import add_months, session_array
from rotation_pipeline.market.identifiers import asset_key
from rotation_pipeline.market.simulation.options import SimulationError, SimulationOptions, Stream, generator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BOARDS: tuple[str, ...] = ("main", "chinext", "star", "beijing")
INDUSTRIES: tuple[str, ...] = (
    "银行", "非银金融", "食品饮料", "医药生物", "电子", "电力设备",
    "有色金属", "煤炭", "建筑装饰", "房地产", "公用事业", "交通运输",
)  # fmt: skip
"""Twelve industries, called as in the Shenwan classification."""
_INDUSTRY_SHARES = (0.16, 0.16, 0.08, 0.08, 0.07, 0.06, 0.08, 0.06, 0.08, 0.05, 0.05, 0.07)
"""Share of the names in each; the SSE 50 is heavy in banks and brokers."""
_CODES: dict[str, tuple[int, int, str]] = {
    "shanghai": (606001, 679999, "SH"),
    "star": (684001, 687999, "SH"),
    "shenzhen": (4001, 9999, "SZ"),
    "chinext": (303001, 309999, "SZ"),
    "beijing": (930001, 939999, "BJ"),
}
"""First code, last code and exchange of each segment, unused by the real exchanges. An index of 5,000 is filled from Shanghai's."""
_BOARD_OF = {"shanghai": "main", "shenzhen": "main", "star": "star", "chinext": "chinext", "beijing": "beijing"}
BOARD_OPENED = {
    "main": date(1990, 12, 19),
    "chinext": date(2009, 11, 1),
    "star": date(2019, 8, 1),
    "beijing": date(2021, 12, 1),
}
"""First month in which a name may list, the opening day's cohort left out."""


_SIZE_REACH, _SIZE_TAIL, _SIZE_MOST = 1.75, 0.42, 5.9
"""ln market value of a small name = median + min(reach × (exp(tail × normal) − 1), most) when trading starts: ln value is
log-normal. Set, with what profits until then add to the spread, to all A shares of 2010 to 2021, whose 10th percentile lay 0.84
below the median in the months' mean, the 90th 1.52, the 99th 3.45 and the largest 5.9 above."""
_SMALL_VOLATILITY_SPREAD = 0.30
"""Standard deviation of ln idiosyncratic volatility between small names: the means of ln monthly volatility of A shares differ
by 0.17, volatility of the market and of attention included."""
_SMALL_TURNOVER_SPREAD = 0.40
"""Standard deviation of ln turnover between small names of one size: the means of all A shares differ by 0.54, size included."""


@dataclass(frozen=True, slots=True)
class Roster:
    """Fixed traits of every name, arrays of shape (n,)."""

    keys: Ints
    names: list[str]
    board: NDArray[np.int64]
    """Index into ``BOARDS``."""
    small: Bools
    """Beyond the ``large_names`` first: drawn like the rest of the market."""
    eligible: Bools
    """Listed in Shanghai, so it may be a member of the index."""
    listed_at_start: Bools
    listed_on: NDArray[np.datetime64]
    """First trading day of those listed at the start, NaT for the others."""
    industry: Ints
    beta: Floats
    volatility: Floats
    """Long-run idiosyncratic volatility a year."""
    log_turnover: Floats
    """Mean log of the daily turnover rate; of a small name that of one of median size."""
    log_size: Floats
    """ln of the market value aimed at when trading starts, CNY."""
    price_to_book: Floats
    """Price to book aimed at when trading starts, and the company's habit while unlisted."""
    price: Floats
    """First price, CNY."""
    float_share: Floats
    """Share of all shares that trade at the start."""
    profitability: Floats
    """Log of the company's profitability relative to what its price implies."""
    profit_noise: Floats
    """Standard deviation of a quarter's shock to profitability, a year."""
    payout: Floats
    """Share of annual profit paid out in cash; 0 for those that never pay."""
    asset_turnover: Floats
    """Annual sales / book equity."""


def draw_roster(options: SimulationOptions) -> Roster:
    """Draw the names. Raises :class:`SimulationError` where a segment has too few codes."""
    start = options.first_month
    rng = generator(options.seed, Stream.ROSTER, date(2000, 1, 1))
    segments = _segments(options)
    n = len(segments)
    board = np.array([BOARDS.index(_BOARD_OF[s]) for s in segments])
    codes, names = _codes(segments)
    late = rng.random(n) < 0.12
    late[: options.members + 2] = False  # enough names to fill the index on the first day
    opened = np.array([BOARD_OPENED[BOARDS[b]] < start for b in board])
    listed = opened & ~late
    growth_board = (board == BOARDS.index("chinext")) | (board == BOARDS.index("star"))
    quality = rng.normal(size=n)
    small = np.arange(n) >= options.large_names
    log_size = rng.normal(size=n)
    log_size = np.where(
        small,
        options.small_size + np.minimum(_SIZE_REACH * np.expm1(_SIZE_TAIL * log_size), _SIZE_MOST),
        24.55 + 0.95 * log_size - 0.8 * growth_board,
    )
    median = options.idiosyncratic_volatility * np.where(small, options.small_volatility, 1.0)
    volatility = median * np.exp(
        np.where(small, _SMALL_VOLATILITY_SPREAD, 0.42) * rng.normal(size=n)
        - 0.08 * (log_size - np.where(small, options.small_size, 24.55))
        + 0.12 * growth_board
    )
    beta = 1.0 + 0.19 * rng.normal(size=n) + 0.20 * np.log(volatility / median)
    return Roster(
        keys=np.array([asset_key(code) for code in codes], dtype=np.int64),
        names=names,
        board=board,
        small=small,
        eligible=np.array([s in ("shanghai", "star") for s in segments]),
        listed_at_start=listed,
        listed_on=_first_days(listed, board, start, rng),
        industry=np.searchsorted(np.cumsum(_INDUSTRY_SHARES)[:-1], rng.random(n), side="right"),
        beta=np.clip(beta, 0.6, 1.4),
        volatility=np.clip(volatility, 0.10, np.where(small, 1.5 * median, 0.60)),
        log_turnover=np.where(small, np.log(options.small_turnover), -5.10 - 0.28 * (log_size - 24.55))
        + np.where(small, _SMALL_TURNOVER_SPREAD, 0.55) * rng.normal(size=n),
        log_size=log_size,
        price_to_book=np.clip(
            np.exp(0.90 + 0.40 * rng.normal(size=n) + 0.30 * quality + 0.3 * growth_board), 0.6, 12.0
        ),
        price=np.clip(np.exp(2.85 + 0.55 * rng.normal(size=n) + 0.15 * quality), 6.0, 150.0),
        float_share=np.where(rng.random(n) < 0.45, 1.0, rng.uniform(0.25, 0.95, n)),
        profitability=0.20 * quality,
        profit_noise=np.exp(np.log(0.016) + 0.6 * rng.normal(size=n)),
        payout=np.where(rng.random(n) < 0.12, 0.0, rng.uniform(0.20, 0.55, n)),
        asset_turnover=np.exp(-0.1 + 0.5 * rng.normal(size=n)),
    )


def _segments(options: SimulationOptions) -> list[str]:
    """Exchange segment of each name: Shanghai's main board first, so that the index can always be filled."""
    others = options.n_spare // 3
    free = options.n_stocks - options.members
    shares = {"shanghai": 0.40, "shenzhen": 0.25, "chinext": 0.22, "star": 0.09, "beijing": 0.04}
    counts = {name: int(free * share) for name, share in shares.items()}
    counts["shanghai"] += options.members + free - sum(counts.values()) + (options.n_spare - others)
    star, shenzhen, chinext = others // 3, others // 3, others // 4
    counts["star"] += star
    counts["shenzhen"] += shenzhen
    counts["chinext"] += chinext
    counts["beijing"] += others - star - shenzhen - chinext
    return [name for name, count in counts.items() for _ in range(count)]


def _codes(segments: list[str]) -> tuple[list[str], list[str]]:
    """Identifier and short name of each name."""
    used = dict.fromkeys(_CODES, 0)
    codes: list[str] = []
    for segment in segments:
        first, last, exchange = _CODES[segment]
        code = first + used[segment]
        if code > last:
            raise SimulationError(
                f"segment {segment} has codes for {last - first + 1} names only; lower simulation.n_stocks, n_members or n_spare"
            )
        used[segment] += 1
        codes.append(f"{code:06d}.{exchange}")
    return codes, [f"模拟{number:04d}" for number in range(1, len(segments) + 1)]


def _first_days(listed: Bools, board: Ints, start: date, rng: np.random.Generator) -> NDArray[np.datetime64]:
    """For those listed at the start a session one to fifteen years before it, once the board was open; else NaT."""
    draws = rng.random(listed.size)
    days = np.full(listed.size, np.datetime64("NaT"), dtype="datetime64[D]")
    for code, name in enumerate(BOARDS):
        mine = listed & (board == code)
        if not mine.any():
            continue
        first = max(add_months(start, -180), BOARD_OPENED[name], date(1992, 1, 1))
        last = add_months(start, -12)
        choices = session_array(first, last if last > first else start - timedelta(days=1))
        days[mine] = choices[(draws[mine] * choices.size).astype(np.int64)]
    return days
