"""The simulated market month by month: state carried forward, nothing ever taken from later months.

Random numbers come from a generator per month and concern, and no quantity is normalised over the span, so a market
simulated to a later month is equal, bit for bit, in every earlier one.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.calendar import add_months, month_last_day, session_array
from rotation_pipeline.market.simulation import companies as firms
from rotation_pipeline.market.simulation import kernels as k
from rotation_pipeline.market.simulation.events import MonthEvents, draw_events, start_standing
from rotation_pipeline.market.simulation.exposures import WINDOW, Snapshot, expected_excess, style_scores
from rotation_pipeline.market.simulation.membership import BASE_LEVEL, month_members, start_membership
from rotation_pipeline.market.simulation.options import SimulationError, SimulationOptions, Stream, generator
from rotation_pipeline.market.simulation.placements import enlarge, placed_shares, size_gaps
from rotation_pipeline.market.simulation.prices import MonthReturns, draw_returns, price_limits, start_dynamics
from rotation_pipeline.market.simulation.records import MonthRecord, Records
from rotation_pipeline.market.simulation.regimes import STYLES, next_regime, premia
from rotation_pipeline.market.simulation.roster import Bools, Floats, Ints, draw_roster

_LONG_AGO = -1e9
_FLOAT_AT_LISTING = 0.4
_UNLOCK_HAZARD = 1 / 30
_LEVEL_UNIT = 10_000.0
_DEAREST_DIVIDEND = 0.10
"""A year's cash is at most this share of the price."""


class Simulator:
    """A market that can be carried on month by month; :attr:`records` holds what happened so far."""

    def __init__(self, options: SimulationOptions) -> None:
        self.options = options
        self.roster = draw_roster(options)
        self.next_month = options.first_month
        n = self.roster.keys.size
        self.standing = start_standing(self.roster)
        self.companies = firms.start_companies(self.roster, options.seed, self.next_month)
        self.dynamics = start_dynamics(n)
        self.regime: str | None = None
        self.scores = np.zeros((n, len(STYLES)))
        self.state = np.zeros((12, n))
        self.known_period = np.full(n, -(10**9))
        self.known = np.full((n, len(firms.ITEMS) + 1), np.nan)
        self.returns = np.zeros((0, n))
        self.index_returns = np.zeros(0)
        self.quarter_growth = np.zeros(n)
        self.records = Records(options, self.roster)
        self._open_market()

    def advance(self, last_month: date) -> None:
        """Simulate up to ``last_month``; months already there are left alone. :class:`SimulationError` before the start."""
        if last_month < self.options.first_month:
            raise SimulationError(
                f"{last_month:%Y-%m} lies before the simulated market's first month {self.options.start_month}; "
                "ask for later months or set option start_month"
            )
        while self.next_month <= last_month:
            self._step(self.next_month)
            self.next_month = add_months(self.next_month, 1)

    # --- start -------------------------------------------------------------------------------------------------------

    def _open_market(self) -> None:
        """Reports, prices, shares, dividends and members before the first session."""
        month = self.next_month
        published = firms.take_published(self.companies, firms.ordinal(month) - 1)
        self._publish(self._of_listed(published))
        listed = np.flatnonzero(self.standing.listed)
        self.state[k.EX_NEW] = self.state[k.EX_OLD] = _LONG_AGO
        self._issue(listed, self.known[listed, firms.BOOK], 1.0)
        for past in self.companies.past_dividends:
            self._past_dividend(past, month)
        self.float_value = self._float_value()
        self.membership = start_membership(self.roster, self.standing, self.options.members, self.float_value, month)
        self.level = BASE_LEVEL

    def _issue(self, names: Ints, book: Floats, float_cap: float) -> None:
        """First price and shares of names, so that price to book is the roster's."""
        price = np.rint(self.roster.price[names] * 100) / 100
        shares = np.rint(self.roster.price_to_book[names] * book / price)
        self.state[k.LAST, names] = price
        self.state[k.FACTOR, names] = 1.0
        self.state[k.TOTAL, names] = shares
        self.state[k.TRADABLE, names] = np.rint(shares * np.minimum(self.roster.float_share[names], float_cap))

    def _past_dividend(self, past: firms.PastDividend, first_month: date) -> None:
        """Book a distribution whose ex-day lay before the first month."""
        for calendar_month in (5, 6, 7):
            month = date(past.year, calendar_month, 1)
            if month >= first_month:
                continue
            days = session_array(month, month_last_day(month))
            ex = days[(past.draw * days.size).astype(np.int64)]
            paid = (
                self.standing.listed & (past.month == calendar_month) & (past.cash > 0) & (self.roster.listed_on < ex)
            )
            names = np.flatnonzero(paid)
            cash = self._per_share(past.cash, names)
            self.state[k.CASH_OLD, names] = self.state[k.CASH_NEW, names]
            self.state[k.EX_OLD, names] = self.state[k.EX_NEW, names]
            self.state[k.CASH_NEW, names] = cash
            self.state[k.EX_NEW, names] = ex[names].astype(np.int64)
            self.records.add_dividends(names, ex[names], past.announced[names], cash, np.zeros(names.size))

    def _per_share(self, cash: Floats, names: Ints) -> Floats:
        """Cash per share in whole 0.001 CNY."""
        shares, price = self.state[k.TOTAL, names], self.state[k.LAST, names]
        return np.floor(np.minimum(cash[names] / shares, _DEAREST_DIVIDEND * price) * 1000) / 1000

    # --- one month ---------------------------------------------------------------------------------------------------

    def _step(self, month: date) -> None:
        options, roster = self.options, self.roster
        days = session_array(month, month_last_day(month))
        self.regime = next_regime(self.regime, options.seed, month)
        profit = np.nan_to_num(self.known[:, firms.PROFIT], nan=1.0)
        formed_on = self.membership.members
        events = draw_events(options, roster, self.standing, month, days, profit, self.state[k.LAST])
        inside = month_members(self.membership, roster, self.standing, events, month, self.float_value)
        premium = premia(self.regime, options.premium_strength)
        excess = expected_excess(self.scores, formed_on, premium)
        self._list(events)
        if roster.small.any():
            value = self.state[k.LAST] * self.state[k.TOTAL]
            self.dynamics.size_gap = size_gaps(roster, self.standing.listed, value)
        moves = draw_returns(
            options, roster, self.dynamics, events, self.standing.industry, month, self.regime, self.scores, excess
        )
        before = self.state[k.TRADABLE].copy(), self.state[k.LAST].copy()
        self._unlock(month)
        self._place(month, events)
        out, ex_cash, ex_bonus = self._trade(month, events, moves)
        self._index(month, events, inside, moves, before, out, ex_bonus)
        published = self._published(month, events)
        panel = self._know(days, published)
        self._remember(month, events, out)
        self._settle_quarter(month)
        self.records.add_month(
            MonthRecord(month, self.regime, premium, moves.beta, events, out, ex_cash, ex_bonus, panel, inside[-1]),
            self.companies.annual_announced,
            self.float_value,
        )

    def _list(self, events: MonthEvents) -> None:
        """Give newly listed names a price, shares and a published past."""
        self._issue(events.newly, self.companies.book[events.newly], _FLOAT_AT_LISTING)

    def _unlock(self, month: date) -> None:
        """Locked shares become tradable now and then, on the month's first session."""
        draw = generator(self.options.seed, Stream.UNLOCK, month).random(self.roster.keys.size)
        total, tradable = self.state[k.TOTAL], self.state[k.TRADABLE]
        opened = (draw < _UNLOCK_HAZARD) & (tradable < total) & self.standing.listed
        self.state[k.TRADABLE] = np.where(opened, np.minimum(np.rint(tradable + 0.2 * total), total), tradable)

    def _place(self, month: date, events: MonthEvents) -> None:
        """Small companies take others over for new shares, on the month's first session."""
        if not self.roster.small.any():
            return
        growth = placed_shares(self.options, self.roster, events, month, self.dynamics.size_gap)
        total = np.rint(self.state[k.TOTAL] * growth)
        exact = np.where(growth > 1.0, total / np.maximum(self.state[k.TOTAL], 1.0), 1.0)
        self.state[k.TOTAL] = np.where(growth > 1.0, total, self.state[k.TOTAL])
        enlarge(self.companies, exact)

    def _due(self, month: date, events: MonthEvents) -> Ints:
        """Session from which each name's distribution is due, −1 = none; those missed in a suspension are due at once."""
        state, firm = self.state, self.companies
        waiting = (state[k.DUE_CASH] > 0) | (state[k.DUE_BONUS] > 0)
        plan = np.where(waiting, 0, -1)
        ongoing = self.standing.listed.copy()
        ongoing[events.newly] = False
        names = np.flatnonzero(ongoing & ~waiting & (firm.dividend_month == month.month))
        cash, bonus = self._per_share(firm.dividend_cash, names), firm.dividend_bonus[names]
        gives = (cash > 0) | (bonus > 0)
        names = names[gives]
        state[k.DUE_CASH, names], state[k.DUE_BONUS, names] = cash[gives], bonus[gives]
        plan[names] = (firm.dividend_draw[names] * events.days.size).astype(np.int64)
        return plan

    def _trade(self, month: date, events: MonthEvents, moves: MonthReturns) -> tuple[Floats, Floats, Floats]:
        nd, n = events.listed.shape
        rng = generator(self.options.seed, Stream.INTRADAY, month)
        draws = np.concatenate([rng.normal(size=(nd, n, 1)), 1.0 - rng.random((nd, n, 3))], axis=2)
        down, up = price_limits(self.roster, self.standing.listed_on, events)
        out = np.full((12, nd, n), np.nan)
        ex_cash, ex_bonus = np.full((nd, n), np.nan), np.full((nd, n), np.nan)
        k.trade_month(
            events.days.astype(np.int64), events.listed, events.suspended, moves.change, moves.sigma, down, up,
            moves.turnover, draws, self._due(month, events), self.state, out, ex_cash, ex_bonus,
        )  # fmt: skip
        gone = ~np.isnat(self.standing.delisted_on)
        self.state[k.DUE_CASH, gone] = self.state[k.DUE_BONUS, gone] = 0.0
        return out, ex_cash, ex_bonus

    def _index(
        self,
        month: date,
        events: MonthEvents,
        inside: Bools,
        moves: MonthReturns,
        before: tuple[Floats, Floats],
        out: Floats,
        ex_bonus: Floats,
    ) -> None:
        """Chain the price index: members' tradable shares of the day before × price, bonus shares added on ex-days."""
        tradable, last = before
        rng = generator(self.options.seed, Stream.INDEX, month)
        draws = np.column_stack([rng.normal(size=events.days.size), 1.0 - rng.random((events.days.size, 2))])
        bars = np.empty((events.days.size, 6))
        changes = np.empty(events.days.size)
        for d in range(events.days.size):
            members = inside[d]
            units = tradable[members] * (1.0 + np.nan_to_num(ex_bonus[d, members]))
            ratio = float((units * out[k.CLOSE, d, members]).sum() / (tradable[members] * last[members]).sum())
            level = np.rint(self.level * ratio * _LEVEL_UNIT) / _LEVEL_UNIT
            path = k.index_path(self.level, level, 0.9 * moves.market_sigma[d], draws[d], _LEVEL_UNIT)
            volume, amount = out[k.VOLUME, d, members].sum(), out[k.AMOUNT, d, members].sum()
            bars[d] = *path, level, volume, amount
            changes[d] = level / self.level - 1.0
            self.level = level
            tradable = np.where(events.listed[d], out[k.FLOATING, d], tradable)
            last = np.where(events.listed[d], out[k.CLOSE, d], last)
        self.records.add_index(events.days, bars)
        self.index_returns = np.concatenate([self.index_returns, changes])[-WINDOW:]

    # --- what is known -----------------------------------------------------------------------------------------------

    def _of_listed(self, reports: firms.Reports) -> firms.Reports:
        """Reports published while their company was listed."""
        on, off = self.standing.listed_on[reports.asset], self.standing.delisted_on[reports.asset]
        day = reports.announced.astype("datetime64[D]")
        started = ~np.isnat(on) & ((day > on) | (on < np.datetime64(self.options.first_month)))
        return reports.select(started & (np.isnat(off) | (day < off)))

    def _published(self, month: date, events: MonthEvents) -> firms.Reports:
        """The month's reports in order of day, the prospectuses of new names included."""
        published = self._of_listed(firms.take_published(self.companies, firms.ordinal(month_last_day(month))))
        parts = [published]
        for name in events.newly:
            day = int(self.standing.listed_on[name].astype(np.int64))
            parts.append(firms.prospectus(self.companies, np.array([name]), day))
        joined = firms.Reports.join(parts)
        order = np.lexsort((joined.is_revision, joined.period, joined.asset, joined.announced))
        return joined.select(order)

    def _publish(self, reports: firms.Reports) -> None:
        """Record reports and make them what is known; a revision of an older period changes nothing known."""
        self.records.add_reports(reports)
        for at in range(reports.asset.size):
            name = reports.asset[at]
            if reports.period[at] >= self.known_period[name]:
                self.known_period[name] = reports.period[at]
                self.known[name] = reports.values[at]

    def _know(self, days: NDArray[np.datetime64], reports: firms.Reports) -> Floats:
        """Items known at each close, shape (nd, n, 3): profit, book and revenue; publishes the month's reports."""
        columns = [firms.PROFIT, firms.BOOK, firms.REVENUE]
        panel = np.empty((days.size, self.roster.keys.size, len(columns)))
        session = np.searchsorted(days, reports.announced.astype("datetime64[D]"), side="left")
        for d in range(days.size + 1):
            today = session == d
            if today.any():
                self._publish(reports.select(today))
            if d < days.size:
                panel[d] = self.known[:, columns]
        return panel

    def _float_value(self) -> Floats:
        """Tradable market value at the last close, NaN for names not listed."""
        return np.where(self.standing.listed, self.state[k.LAST] * self.state[k.TRADABLE], np.nan)

    def _remember(self, month: date, events: MonthEvents, out: Floats) -> None:
        """Keep the month's returns and take the month-end scores next month's premia are paid on."""
        returns = out[k.RETURN].copy()
        for name in events.newly:
            returns[int(np.argmax(events.listed[:, name])), name] = np.nan
        self.returns = np.concatenate([self.returns, returns])[-WINDOW:]
        self.quarter_growth += np.log1p(np.nan_to_num(returns)).sum(axis=0)
        self.float_value = self._float_value()
        if month.month in (4, 10):
            self.membership.review_value = self.float_value.copy()
        listed = self.standing.listed
        day = int(events.days[-1].astype(np.int64))
        cash = sum(
            np.where(self.state[ex] > day - 365, self.state[row], 0.0)
            for ex, row in ((k.EX_NEW, k.CASH_NEW), (k.EX_OLD, k.CASH_OLD))
        )
        hide = np.where(listed, 1.0, np.nan)
        price = self.state[k.LAST] * hide
        snapshot = Snapshot(
            self.returns, self.index_returns, price, price * self.state[k.TOTAL], self.known[:, firms.PROFIT],
            self.known[:, firms.YEAR_AGO], self.known[:, firms.BOOK], cash * hide,
        )  # fmt: skip
        scores = style_scores(snapshot, self.membership.members & listed)
        self.scores = np.where(listed[:, None], scores, 0.0)

    def _settle_quarter(self, month: date) -> None:
        """Close the companies' books in March, June, September and December."""
        if not firms.quarter_ended(month):
            return
        listed = self.standing.listed
        value = np.where(listed, self.state[k.LAST] * self.state[k.TOTAL], np.nan)
        multiple = np.where(listed, value / self.companies.book, self.roster.price_to_book)
        mean = self.quarter_growth[listed].mean()
        relative = np.where(listed, self.quarter_growth - mean, 0.0)
        private = self.companies.dividend_cash * (month.month == 6)
        paid = np.where(listed, self.state[k.PAID], private)
        price = np.where(listed, self.state[k.LAST], 10.0)
        firms.close_quarter(self.companies, self.roster, self.options.seed, month, multiple, relative, paid, price)
        self.quarter_growth[:] = 0.0
        self.state[k.PAID] = 0.0
