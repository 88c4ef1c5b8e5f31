"""The companies behind the names: quarterly profit and equity, reports with lags and revisions, yearly dividends.

Profit follows price, never the other way round: a company's profitability drifts towards what its price-to-book implies
and takes up part of last quarter's relative return. Reports therefore carry no news for prices, and no style is paid
for beyond the planted premia; valuation ratios stay in a plausible range over decades.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np

from rotation_pipeline.market.calendar import add_months, month_last_day
from rotation_pipeline.market.simulation.options import Stream, generator
from rotation_pipeline.market.simulation.roster import Bools, Floats, Ints, Roster

ITEMS: tuple[str, ...] = ("net_profit_ttm", "book_equity", "roe_ttm", "net_profit_yoy", "revenue_ttm")
PROFIT, BOOK, ROE, GROWTH, REVENUE = range(len(ITEMS))
YEAR_AGO = len(ITEMS)
"""Column of the trailing profit a year before, used for exposures and not reported on its own."""
HISTORY_QUARTERS = 10
"""Quarters reported before the first bars: profit growth needs five, a year of dividends two more."""
_BURN_IN = 9
_MEAN_REVERSION = 0.12
_PRICE_LEADS = 0.20
_REVISED = 0.03
_IMPAIRED = 0.03


def ordinal(day: date) -> int:
    """Days since 1970-01-01, as NumPy counts them."""
    return int(np.datetime64(day, "D").astype(np.int64))


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports as columns of equal length; days are ordinals (days since 1970-01-01)."""

    asset: Ints
    period: Ints
    announced: Ints
    is_revision: Bools
    values: Floats
    """Shape (reports, 6): the items, then the trailing profit a year before."""

    def select(self, mask: Bools | Ints) -> Reports:
        """The reports under a boolean mask or in a given order."""
        return Reports(
            self.asset[mask], self.period[mask], self.announced[mask], self.is_revision[mask], self.values[mask]
        )

    @classmethod
    def join(cls, parts: list[Reports]) -> Reports:
        """All reports of the parts, in order."""
        return cls(
            np.concatenate([part.asset for part in parts]),
            np.concatenate([part.period for part in parts]),
            np.concatenate([part.announced for part in parts]),
            np.concatenate([part.is_revision for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class PastDividend:
    """A year's distributions decided before the first month, arrays of shape (n,); see :class:`Companies`."""

    year: int
    cash: Floats
    month: Ints
    draw: Floats
    announced: Ints


@dataclass(slots=True)
class Companies:
    """State of all companies, arrays of shape (n,) or (n, quarters)."""

    book: Floats
    profitability: Floats
    """Return on equity of the ongoing business, a year."""
    profits: Floats
    """Profits of the last eight quarters, latest last."""
    annual_announced: Ints
    """Day the last annual report is published; the first-quarter report never comes earlier."""
    pending: Reports
    """Reports written but not yet published."""
    dividend_cash: Floats
    """Cash for the whole company decided with the last annual report, CNY."""
    dividend_bonus: Floats
    """New shares per share decided with it."""
    dividend_month: Ints
    """Calendar month (5, 6 or 7) of its ex-day."""
    dividend_draw: Floats
    """Place of the ex-day within the month, 0 to 1."""
    recent: list[Reports] = field(default_factory=list[Reports])
    """First versions of the last quarters' reports: the prospectus of a later listing."""
    past_dividends: list[PastDividend] = field(default_factory=list[PastDividend])
    """Distributions of the reported years before the first month."""


def quarter_ended(month: date) -> bool:
    """True in March, June, September and December."""
    return month.month % 3 == 0


def start_companies(roster: Roster, seed: int, first_month: date) -> Companies:
    """Companies at the end of the last quarter before ``first_month``, with ``HISTORY_QUARTERS`` reports written."""
    n = roster.keys.size
    implied = implied_profitability(roster, roster.price_to_book)
    # the book has grown by about a twelfth a year until trading starts
    book = np.exp(roster.log_size) / roster.price_to_book * 0.72
    profits = np.repeat((book * implied / 4)[:, None], 8, axis=1)
    none = np.zeros(0, dtype=np.int64)
    empty = Reports(none, none, none, np.zeros(0, dtype=bool), np.zeros((0, len(ITEMS) + 1)))
    never, nothing = np.zeros(n, dtype=np.int64), np.zeros(n)
    companies = Companies(book, implied, profits, never, empty, nothing, nothing, never, nothing)
    last = add_months(first_month, -1)
    while not quarter_ended(last):
        last = add_months(last, -1)
    for back in range(HISTORY_QUARTERS + _BURN_IN - 1, -1, -1):
        month = add_months(last, -3 * back)
        paid = companies.dividend_cash * (month.month == 6)
        close_quarter(companies, roster, seed, month, roster.price_to_book, np.zeros(n), paid, np.full(n, 10.0))
        if month.month == 12 and back < HISTORY_QUARTERS:
            companies.past_dividends.append(_past_dividend(companies, month.year + 1))
        if back >= HISTORY_QUARTERS:
            companies.pending = empty
            companies.recent.clear()
    return companies


def _past_dividend(companies: Companies, year: int) -> PastDividend:
    """The distribution just decided, to be booked before trading starts; bonus shares are left to later years."""
    return PastDividend(
        year, companies.dividend_cash, companies.dividend_month, companies.dividend_draw, companies.annual_announced
    )


def implied_profitability(roster: Roster, price_to_book: Floats) -> Floats:
    """Return on equity a year that a price-to-book stands for: dear companies earn more on their equity."""
    implied = 0.105 * (np.clip(price_to_book, 0.2, 20.0) / 1.9) ** 0.75
    return np.clip(implied * np.exp(roster.profitability), 0.01, 0.45)


def close_quarter(
    companies: Companies,
    roster: Roster,
    seed: int,
    month: date,
    price_to_book: Floats,
    relative_return: Floats,
    paid: Floats,
    price: Floats,
) -> None:
    """End the quarter of ``month``: profits, equity, the report with its day of publication, in December the dividend.

    ``relative_return``: log return of the quarter beyond the average's; ``paid``: cash paid out in the quarter (CNY);
    all shapes (n,).
    """
    n = roster.keys.size
    rng = generator(seed, Stream.COMPANY, month)
    target = implied_profitability(roster, price_to_book)
    shock = roster.profit_noise * rng.standard_t(4.0, n) / np.sqrt(2.0)
    business = companies.profitability + _MEAN_REVERSION * (target - companies.profitability) + shock
    business += _PRICE_LEADS * np.clip(relative_return, -0.5, 0.5) * np.maximum(target, 0.03)
    companies.profitability = np.clip(business, -0.30, 0.50)
    impaired = np.where(rng.random(n) < _IMPAIRED, rng.uniform(0.02, 0.10, n), 0.0) * (month.month == 12)
    profit = companies.book * (companies.profitability / 4 * (1 + 0.12 * rng.normal(size=n)) - impaired)
    companies.profits = np.column_stack([companies.profits[:, 1:], np.rint(profit)])
    floor = 0.2 * companies.book
    companies.book = np.rint(np.maximum(companies.book + companies.profits[:, -1] - paid, floor))
    if month.month == 12:
        _decide_dividend(companies, roster, price, rng)
    _write_reports(companies, roster, seed, month)


def _decide_dividend(companies: Companies, roster: Roster, price: Floats, rng: np.random.Generator) -> None:
    """Next year's distribution from the year's profit; dear shares are split by bonus shares."""
    n = roster.keys.size
    profit = companies.profits[:, 4:].sum(axis=1)
    pays = (profit > 0) & (rng.random(n) < 0.95)
    companies.dividend_cash = np.where(pays, roster.payout * profit * rng.uniform(0.8, 1.2, n), 0.0)
    ratios = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
    chance = 0.04 + 0.25 * (price > 60.0) + 0.35 * (price > 150.0)
    split = (rng.random(n) < chance) & (price > 6.0)
    picks = np.where(price > 150.0, 5, rng.integers(0, ratios.size, n))
    companies.dividend_bonus = np.where(split, ratios[picks], 0.0)
    companies.dividend_month = np.array([5, 6, 6, 7, 7])[rng.integers(0, 5, n)]
    companies.dividend_draw = rng.random(n)


def _write_reports(companies: Companies, roster: Roster, seed: int, month: date) -> None:
    """Append the quarter's reports, and the few revisions of them, to those waiting for their day."""
    n = roster.keys.size
    rng = generator(seed, Stream.ANNOUNCEMENT, month)
    announced = _publication_days(companies, rng, month, n)
    quarters = companies.profits
    trailing, before = quarters[:, 4:].sum(axis=1), quarters[:, :4].sum(axis=1)
    elapsed = month.month // 3
    to_date = quarters[:, 8 - elapsed :].sum(axis=1)
    same_last_year = quarters[:, 4 - elapsed : 4].sum(axis=1)
    growth = (to_date - same_last_year) / np.maximum(np.abs(same_last_year), 1.0)
    revenue = np.rint(roster.asset_turnover * companies.book * (1 + 0.04 * rng.normal(size=n)))
    values = np.column_stack([trailing, companies.book, trailing / companies.book, growth, revenue, before])
    period = np.full(n, ordinal(month_last_day(month)))
    first = Reports(np.arange(n), period, announced, np.zeros(n, dtype=bool), values)
    revised = rng.random(n) < _REVISED
    later = announced + rng.integers(15, 151, n)
    change = np.rint(0.06 * rng.normal(size=n) * np.abs(trailing))
    corrected = values.copy()
    corrected[:, PROFIT] += change
    corrected[:, BOOK] += change
    corrected[:, ROE] = corrected[:, PROFIT] / corrected[:, BOOK]
    corrected[:, GROWTH] += change / np.maximum(np.abs(same_last_year), 1.0)
    second = Reports(np.arange(n), period, later, np.ones(n, dtype=bool), corrected).select(revised)
    companies.pending = Reports.join([companies.pending, first, second])
    companies.recent = [*companies.recent[-(HISTORY_QUARTERS - 1) :], first]


def _publication_days(companies: Companies, rng: np.random.Generator, month: date, n: int) -> Ints:
    """Days of publication inside the legal deadlines (30 April, 31 August, 31 October), shape (n,)."""
    year = month.year
    draw = rng.random(n)
    if month.month == 12:
        first, last = ordinal(date(year + 1, 1, 20)), ordinal(date(year + 1, 4, 30))
        companies.annual_announced = first + np.floor(draw**0.45 * (last - first + 1)).astype(np.int64)
        return companies.annual_announced
    if month.month == 3:
        first, last = ordinal(date(year, 4, 10)), ordinal(date(year, 4, 30))
        days = first + np.floor(draw**0.5 * (last - first + 1)).astype(np.int64)
        return np.maximum(days, companies.annual_announced)
    first, last = (
        (date(year, 7, 15), date(year, 8, 31)) if month.month == 6 else (date(year, 10, 12), date(year, 10, 31))
    )
    span = ordinal(last) - ordinal(first) + 1
    return ordinal(first) + np.floor(draw**0.45 * span).astype(np.int64)


def take_published(companies: Companies, up_to: int) -> Reports:
    """Remove and return the reports published on or before day ``up_to`` (ordinal), by day, asset and period."""
    pending = companies.pending
    due = pending.announced <= up_to
    companies.pending = pending.select(~due)
    published = pending.select(due)
    return published.select(np.lexsort((published.is_revision, published.period, published.asset, published.announced)))


def prospectus(companies: Companies, assets: Ints, day: int) -> Reports:
    """The past quarters' reports of newly listed ``assets``, published on ``day``; those due later are left out."""
    parts = [report.select(np.isin(report.asset, assets) & (report.announced <= day)) for report in companies.recent]
    joined = Reports.join(parts)
    return Reports(joined.asset, joined.period, np.full(joined.asset.size, day), joined.is_revision, joined.values)
