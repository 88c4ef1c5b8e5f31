"""Tunables of the simulated market and the streams of random numbers they seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from enum import IntEnum
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from rotation_pipeline.market.calendar import CalendarError, parse_month

FIRST_START = date(1998, 5, 1)
"""Price limits under special treatment are recorded from April 1998; no simulated market starts before them."""


class SimulationError(ValueError):
    """Options or months no market can be simulated for."""


_USUAL_MEMBERS = 50


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """What the simulated market looks like. Annual volatilities are fractions a year, hazards fractions a month."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    seed: Annotated[int, Ge(0), Lt(2**31)] = 25
    """Every number of the market follows from it and the other options. This one's regime shares of 2014 to 2024 and moments lie close to the long-run shares and the SSE 50's (docs/simulated-market.md); style returns were not looked at."""
    n_stocks: Annotated[int, Ge(10), Le(6000)] = 50
    """Names beside the spare ones. The SSE 50 is the universe of the method (spec/factors.md)."""
    n_members: Annotated[int, Ge(10), Le(6000)] = _USUAL_MEMBERS
    """Members of the index, at most ``n_stocks``, and all of them where there are fewer than 50; the SSE 50 has 50 (sanity rule 4 counts them)."""
    n_spare: Annotated[int, Ge(15), Le(1000)] = 30
    """Further names: candidates of reviews, later listings, other boards. 135 names were in the SSE 50 in 12 years; 30 give reviews a choice at little cost."""
    index_id: str = "000016.SH"
    """The index whose members are the universe."""
    start_month: str = "2010-12"
    """First month with prices: the default sample begins 36 months before 2014-01, and the first return needs a close before."""
    premium_strength: Annotated[float, Ge(0.0), Le(2.0)] = 1.0
    """Multiplies every style premium: 0 = nothing to find, 1 = long-short returns of 0.2 to 2 % a month by regime, as in published Chinese style returns (Liu, Stambaugh and Yuan 2019: 0.6 to 1.1 % a month unconditionally)."""
    style_volatility: Annotated[float, Ge(0.0), Le(0.2)] = 0.025
    """Volatility of a style's common return for one unit of exposure, a year; with the idiosyncratic part of 10 names a leg this makes long-short returns of about 4 % volatility a month, as in the real SSE 50."""
    idiosyncratic_volatility: Annotated[float, Gt(0.0), Le(1.0)] = 0.25
    """Median idiosyncratic volatility a year; with the market's and the industry's share a stock has the 37 % of SSE 50 names 2013-2025."""
    idiosyncratic_tail: Annotated[float, Gt(2.5), Le(30.0)] = 3.0
    """Degrees of freedom of the idiosyncratic Student t; 3 to 5 is the usual estimate for daily stock returns (Cont 2001)."""
    market_tail: Annotated[float, Gt(2.5), Le(30.0)] = 4.5
    """Degrees of freedom of the market's Student t, less heavy than a stock's (Cont 2001, aggregational Gaussianity)."""
    industry_volatility: Annotated[float, Ge(0.0), Le(0.5)] = 0.13
    """Volatility a year of an industry beyond the market; gives the mean pairwise correlation of real SSE 50 names."""
    suspension_hazard: Annotated[float, Ge(0.0), Lt(0.5)] = 0.05
    """Share of names whose trading is suspended anew each month; real SSE 50 names spent 2.0 % of their days suspended 2013-2025."""
    st_hazard: Annotated[float, Ge(0.0), Lt(0.1)] = 0.0006
    """Share of names put under special treatment each month; real candidates spent 0.6 % of their days there."""
    delisting_hazard: Annotated[float, Ge(0.0), Lt(0.1)] = 0.0004
    """Share of names delisted each month, ten times that under special treatment; three of 135 names in 12 years."""
    listing_hazard: Annotated[float, Gt(0.0), Le(1.0)] = 0.012
    """Share of unlisted names that list each month: most come within ten years."""

    large_names: Annotated[int, Ge(0), Le(7000)] = 150
    """Names drawn like the SSE 50's candidates, to which the numbers above were fitted (135 in 12 years); every further name is drawn like the rest of all A shares, by the numbers below. 7000 = every name like the SSE 50's."""
    small_size: Annotated[float, Ge(15.0), Le(30.0)] = 22.2
    """ln of the further names' median market value (CNY) when trading starts: 21.7 to 23.2 for all A shares in the months of 2010-2021, 22.0 in June 2010."""
    small_volatility: Annotated[float, Gt(0.0), Le(3.0)] = 1.6
    """Their median idiosyncratic volatility over ``idiosyncratic_volatility``; fitted to the 2.4 % a day (months' median) of all A shares 2010-2021."""
    small_attention: Annotated[float, Ge(0.0), Le(1.0)] = 0.42
    """Standard deviation of ln idiosyncratic volatility through a name's attention, a state of its own that fades by a tenth a month and drives trading too (mixture of distributions: Clark 1973; Tauchen and Pitts 1983); fitted to the autocorrelation of a stock's ln monthly volatility, 0.29, 0.14 and 0.03 after 2, 6 and 12 months for all A shares 2010-2021."""
    small_attention_turnover: Annotated[float, Ge(0.0), Le(2.0)] = 0.6
    """Standard deviation of ln turnover through the same state; ln monthly turnover of an A share varies by 0.71 about its mean, with autocorrelations 0.54 and 0.19 after 3 and 12 months."""
    small_turnover: Annotated[float, Gt(0.0), Le(0.2)] = 0.018
    """Usual turnover a day of a further name of median size; fitted to the 32 % a month (median) of all A shares 2010-2021."""
    small_turnover_slope: Annotated[float, Ge(0.0), Le(1.0)] = 0.32
    """Fall of ln turnover for one more ln of market value: 0.30 in regressions over all A shares month by month 2010-2021, steeper among the large, flat among the smallest third."""
    small_issues: Annotated[float, Ge(0.0), Le(1.0)] = 0.28
    """Shares a year, over those outstanding, that one of them issues for companies it takes over, times the squared distance (ln) of its market value below :data:`placements.REACH`; fitted to the spread of ln market value of all A shares, 1.0 in the mean of 2010-2021. 0 = none."""
    small_st: Annotated[float, Ge(0.0), Le(100.0)] = 4.0
    """Their hazard of special treatment over ``st_hazard``: 3.3 % of all A shares' months are under it, of the SSE 50's candidates' days 0.6 %."""
    small_suspension: Annotated[float, Ge(0.0), Le(10.0)] = 1.2
    """Their hazard of suspension over ``suspension_hazard``: 2.2 % of all A shares' days, 2.0 % of the SSE 50's."""

    def __post_init__(self) -> None:
        """Raises SimulationError for more members than names, but for the default number of them."""
        if self.n_members > self.n_stocks and self.n_members != _USUAL_MEMBERS:
            raise SimulationError(
                f"n_members {self.n_members} is more than n_stocks {self.n_stocks}, of which members are taken; raise n_stocks"
            )

    @property
    def members(self) -> int:
        """Members of the index at every close."""
        return min(self.n_members, self.n_stocks)

    @property
    def total(self) -> int:
        """Names simulated, those never listed included."""
        return self.n_stocks + self.n_spare

    @property
    def in_effect(self) -> dict[str, object]:
        """The options something of the market depends on, by name: without further names those for them do not count."""
        values: dict[str, object] = asdict(self)
        if self.total <= self.large_names:
            values = {name: value for name, value in values.items() if not name.startswith(("large_", "small_"))}
        return values

    @property
    def first_month(self) -> date:
        """First calendar day of the first month; :class:`SimulationError` if it is none or too early."""
        try:
            month = parse_month(self.start_month)
        except CalendarError as error:
            raise SimulationError(f"option start_month: {error}") from error
        if month < FIRST_START:
            raise SimulationError(f"option start_month is {month:%Y-%m}; choose {FIRST_START:%Y-%m} or later")
        return month


class Stream(IntEnum):
    """Independent streams of random numbers, one per concern, so that a change in one leaves the others alone."""

    ROSTER = 1
    REGIME = 2
    MARKET = 3
    INDUSTRY = 4
    STYLE = 5
    IDIOSYNCRATIC = 6
    INTRADAY = 25
    TURNOVER = 8
    EVENTS = 9
    COMPANY = 10
    ANNOUNCEMENT = 11
    INDEX = 12
    LISTING = 13
    DRIFT = 14
    UNLOCK = 15
    ATTENTION = 16
    PLACEMENT = 17


def generator(seed: int, stream: Stream, month: date) -> np.random.Generator:
    """The random numbers of one concern and month: they depend on nothing else, so a longer span changes none."""
    return np.random.default_rng([seed, int(stream), month.year * 12 + month.month])
