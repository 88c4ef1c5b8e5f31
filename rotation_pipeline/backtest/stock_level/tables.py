"""Tables of the stock-level backtest. Money is in integers of 0.01 CNY (fen): it adds up exactly, in any query."""

from __future__ import annotations

from rotation_pipeline.backtest.stock_level.kernel import REASONS, SIDES
from rotation_pipeline.backtest.stock_level.targets import PORTFOLIOS
from rotation_pipeline.market.schema import ASSET, MONTH, Column, Table, reading

STOCK_STRATEGIES = ("rotation", "equal_weight")
"""Style weights that are traded as stocks: the headline book's, and static equal weight to compare it with."""
FEN = "fen (0.01 CNY)"
_STRATEGY = Column(
    "strategy", "VARCHAR", "category", "whose style weights make the composite score", allowed=STOCK_STRATEGIES
)
_PORTFOLIO = Column(
    "portfolio",
    "VARCHAR",
    "category",
    "long_only: the top group in equal parts; long_short: the top less the bottom group, shorts on paper; index_tilt: all "
    "members, long only, float market value tilted by the score; index_enhanced: all members, long only, the largest score within "
    "limits against the index",
    allowed=PORTFOLIOS,
)
_BOOK = (MONTH, _STRATEGY, _PORTFOLIO)
_INPUTS = (
    "marts.weights.weight",
    "marts.factor_exposures.score",
    "marts.factor_exposures.in_tradable",
    "intermediate.stock_snapshot.float_market_value",
    "raw.daily_bars.close",
    "raw.daily_bars.open",
    "raw.daily_bars.prev_close",
    "raw.daily_bars.volume",
    "raw.daily_bars.amount",
    "raw.daily_bars.is_suspended",
    "raw.daily_bars.is_st",
    "raw.dividends.cash_per_share",
    "raw.dividends.shares_per_share",
    "raw.listings.listed_on",
    "raw.listings.delisted_on",
    "raw.trading_days.day",
    "raw.index_weights.weight",
    "intermediate.universe.industry",
)


def _fen(name: str, meaning: str, minimum: float | None = None) -> Column:
    return Column(f"{name}_fen", "BIGINT", FEN, meaning, minimum=minimum)


STOCK_BACKTEST = Table(
    "marts",
    "stock_backtest",
    "stock-level books day by day: net value = cash + long − short; its change = profit − the six costs, exactly",
    ("strategy", "portfolio", "day"),
    reading(
        (
            *_BOOK,
            Column("day", "DATE", "date", "session"),
            _fen("nav", "net value at the close"),
            _fen("cash", "cash at the close"),
            _fen("long_value", "worth of the shares held, suspended ones at their last price", 0.0),
            _fen("short_value", "worth of the shares owed", 0.0),
            _fen("bought", "amount bought, closing of shorts included", 0.0),
            _fen("sold", "amount sold, short sales included", 0.0),
            _fen("commission", "commission", 0.0),
            _fen("stamp_duty", "stamp duty", 0.0),
            _fen("transfer_fee", "transfer fee", 0.0),
            _fen("slippage", "spread and impact", 0.0),
            _fen("dividends", "cash dividends received, before tax", 0.0),
            _fen("dividends_paid", "dividends owed on shorts", 0.0),
            _fen(
                "other_rights",
                "rights issues and the like, settled at the value the exchange's previous close took off",
            ),
            _fen("delisted", "paid out for delisted positions"),
            _fen("dividend_tax", "tax on dividends, taken at the sale by holding period, first in first out", 0.0),
            _fen("lending_fee", "fee for borrowed shares", 0.0),
            _fen("profit", "gross profit of all positions, counted from prices, trades, dividends and rights"),
            Column("net_return", "DOUBLE", "fraction per day", "change of the net value", minimum=-10.0),
            Column("net_value", "DOUBLE", "ratio", "net value / initial capital"),
        ),
        *_INPUTS,
    ),
    minimum_rows=1,
)
STOCK_ORDERS = Table(
    "marts",
    "stock_orders",
    "every order of the stock-level books and session it was tried, with what was done and why not more",
    ("month", "strategy", "portfolio", "asset_id", "side", "day"),
    reading(
        (
            *_BOOK,
            ASSET,
            Column("side", "VARCHAR", "category", "what was ordered", allowed=(*SIDES, "delisting")),
            Column("day", "DATE", "date", "session"),
            Column("requested", "BIGINT", "shares", "ordered and not yet done before this session", minimum=1.0),
            Column("filled", "BIGINT", "shares", "done this session", minimum=0.0),
            Column("capacity", "BIGINT", "shares", "participation × volume of the day", minimum=0.0),
            _fen("requested", "requested shares at the closing price of the signal", 0.0),
            Column("price", "DOUBLE", "CNY", "price of execution, before slippage", "nothing done", minimum=0.0),
            _fen("amount", "filled × price", 0.0),
            _fen("commission", "commission", 0.0),
            _fen("stamp_duty", "stamp duty", 0.0),
            _fen("transfer_fee", "transfer fee", 0.0),
            _fen("slippage", "spread and impact", 0.0),
            _fen("dividend_tax", "dividend tax of the shares sold", 0.0),
            Column("reason", "VARCHAR", "category", "filled, or what kept the rest from being done", allowed=REASONS),
        ),
        *_INPUTS,
    ),
)
STOCK_POSITIONS = Table(
    "marts",
    "stock_positions",
    "positions of the stock-level books at the close of the month, and what each stock earned in it",
    ("month", "strategy", "portfolio", "asset_id"),
    reading(
        (
            *_BOOK,
            ASSET,
            Column("shares", "BIGINT", "shares", "held at the last close, negative = owed"),
            Column("close", "DOUBLE", "CNY", "last closing price, unadjusted", minimum=0.0),
            _fen("value", "shares × close"),
            Column("weight", "DOUBLE", "fraction", "value / net value"),
            Column("target_weight", "DOUBLE", "fraction", "weight the month's orders aimed at, of the invested money"),
            Column("score", "DOUBLE", "standard deviations", "composite score behind it", "not aimed at"),
            _fen("profit", "gross profit of the month; sums to that of the book"),
        ),
        *_INPUTS,
    ),
)
STOCK_LOTS = Table(
    "marts",
    "stock_lots",
    "shares held by day of purchase, from which dividend tax is taken first in first out",
    ("month", "strategy", "portfolio", "asset_id", "acquired_on"),
    reading(
        (
            *_BOOK,
            ASSET,
            Column(
                "acquired_on",
                "DATE",
                "date",
                "day bought, or ex-day of bonus shares; the oldest of lots held over a year",
            ),
            Column("shares", "BIGINT", "shares", "still held", minimum=1.0),
            Column(
                "tax_month",
                "BIGINT",
                "1e-8 CNY per share",
                "dividend tax if sold within a month of purchase",
                minimum=0.0,
            ),
            Column("tax_year", "BIGINT", "1e-8 CNY per share", "if sold within a year", minimum=0.0),
            Column("tax_longer", "BIGINT", "1e-8 CNY per share", "if sold later", minimum=0.0),
        ),
        *_INPUTS,
    ),
)
STOCK_MEASURES = Table(
    "marts",
    "stock_measures",
    "performance of the stock-level books over all months up to this one, with stationary-bootstrap intervals",
    ("month", "strategy", "portfolio", "measure"),
    reading(
        (
            *_BOOK,
            Column("measure", "VARCHAR", "category", "what is measured"),
            Column("value", "DOUBLE", "by measure", "the value", "cannot be computed on this sample"),
            Column("low", "DOUBLE", "by measure", "lower end of the 95 % interval", "no interval for this measure"),
            Column("high", "DOUBLE", "by measure", "upper end of the 95 % interval", "no interval for this measure"),
            Column("months", "INTEGER", "count", "months in the sample", minimum=0.0),
        ),
        "marts.stock_backtest.nav_fen",
        "marts.stock_backtest.profit_fen",
        "marts.stock_orders.requested_fen",
        "marts.stock_orders.capacity",
        "intermediate.index_monthly.ret",
    ),
    minimum_rows=1,
)
STOCK_SIGNIFICANCE = Table(
    "marts",
    "stock_significance",
    "how sure one can be of the stock-level books, over all months up to this one; every trial of both levels is counted",
    ("month", "strategy", "portfolio", "baseline", "statistic"),
    reading(
        (
            *_BOOK,
            Column(
                "baseline",
                "VARCHAR",
                "category",
                "compared with: equal_weight, traded as the same portfolio, or the index",
                allowed=("equal_weight", "index"),
            ),
            Column("statistic", "VARCHAR", "category", "what is tested"),
            Column("value", "DOUBLE", "by statistic", "the value", "too few months"),
            Column("low", "DOUBLE", "by statistic", "lower end of the 95 % interval", "no interval"),
            Column("high", "DOUBLE", "by statistic", "upper end of the 95 % interval", "no interval"),
            Column(
                "p_value",
                "DOUBLE",
                "probability",
                "two-sided unless the detail says otherwise",
                "no test",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "trials",
                "INTEGER",
                "count",
                "trials counted at both levels, where the statistic needs it",
                "not needed",
                minimum=1.0,
            ),
            Column("detail", "VARCHAR", "text", "method and the year of its formula"),
        ),
        "marts.stock_backtest.nav_fen",
        "marts.trials.information_ratio",
        "intermediate.index_monthly.ret",
    ),
    minimum_rows=1,
)
STOCK_TABLES: tuple[Table, ...] = (
    STOCK_BACKTEST,
    STOCK_ORDERS,
    STOCK_POSITIONS,
    STOCK_LOTS,
    STOCK_MEASURES,
    STOCK_SIGNIFICANCE,
)
