"""Tables of the backtest stage. A row stamped t covers the month t, earned by the weights stamped t−1."""

from __future__ import annotations

from rotation_pipeline.allocation.tables import ALTERNATIVES, BASELINES, HEADLINE
from rotation_pipeline.backtest.stock_level.tables import STOCK_TABLES
from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.tables import STYLE

TIMED = (HEADLINE, *ALTERNATIVES)
"""Every book that may be computed to time styles."""
UNHELD = ("oracle", "index")
"""Series that have no weights known beforehand."""
SERIES = (*TIMED, *BASELINES, *UNHELD)
STRATEGY = Column(
    "strategy",
    "VARCHAR",
    "category",
    "book, the perfect-foresight oracle (an upper bound, not a strategy) or the index",
    allowed=SERIES,
)
_INPUTS = (
    "marts.weights.weight",
    "marts.weights.drifted",
    "marts.factor_longshort.long_short",
    "marts.factor_longshort.book_turnover",
    "intermediate.index_monthly.ret",
)

BACKTEST = Table(
    "marts",
    "backtest",
    "monthly returns of every book, gross and after costs",
    ("month", "strategy"),
    reading(
        (
            MONTH,
            STRATEGY,
            Column(
                "role",
                "VARCHAR",
                "category",
                "what the row may be used for",
                allowed=("strategy", "alternative", "baseline", "upper_bound", "index"),
            ),
            Column("gross_return", "DOUBLE", "fraction per month", "Σ w × long-short return", minimum=-5.0),
            Column(
                "factor_turnover",
                "DOUBLE",
                "fraction",
                "½ Σ|w − drifted w| when the weights were set; 0 at the start of the backtest",
                minimum=0.0,
            ),
            Column(
                "book_turnover",
                "DOUBLE",
                "fraction",
                "Σ |w| × turnover inside each style's long-short book",
                minimum=0.0,
            ),
            Column(
                "uninvested",
                "DOUBLE",
                "fraction",
                "Σ |w| of the styles whose long-short book could not be formed; it earns and costs nothing",
                minimum=0.0,
            ),
            Column("factor_cost", "DOUBLE", "fraction per month", "factor turnover × cost", minimum=0.0),
            Column("book_cost", "DOUBLE", "fraction per month", "book turnover × cost", minimum=0.0),
            Column("net_return", "DOUBLE", "fraction per month", "gross − both costs at the default cost"),
            Column("net_value", "DOUBLE", "ratio", "compounded net return, 1 before the first month", minimum=0.0),
            Column("peak", "DOUBLE", "ratio", "highest net value so far, the start's 1 included", minimum=1.0),
            Column(
                "drawdown",
                "DOUBLE",
                "fraction",
                "net value / its highest so far (start included) − 1",
                minimum=-1.0,
                maximum=0.0,
            ),
        ),
        *_INPUTS,
    ),
)
MEASURES = Table(
    "marts",
    "backtest_measures",
    "performance over all months up to this one, with stationary-bootstrap intervals",
    ("month", "strategy", "sample", "cost_bp", "measure"),
    reading(
        (
            MONTH,
            STRATEGY,
            Column(
                "sample",
                "VARCHAR",
                "category",
                "all, forecast (months with an active forecast), last36, regime:NAME (known at the close before) or year:YYYY",
            ),
            Column("cost_bp", "DOUBLE", "basis points", "cost per unit of turnover", minimum=0.0),
            Column("measure", "VARCHAR", "category", "what is measured"),
            Column("value", "DOUBLE", "by measure", "the value", "cannot be computed on this sample"),
            Column(
                "low",
                "DOUBLE",
                "by measure",
                "lower end of the 95 % interval",
                "no interval for this measure or sample",
            ),
            Column(
                "high",
                "DOUBLE",
                "by measure",
                "upper end of the 95 % interval",
                "no interval for this measure or sample",
            ),
            Column("months", "INTEGER", "count", "months in the sample", minimum=0.0),
        ),
        "marts.backtest.gross_return",
        "marts.backtest.factor_turnover",
        "marts.backtest.book_turnover",
        "marts.regimes.regime",
    ),
)
SIGNIFICANCE = Table(
    "marts",
    "significance",
    "how sure one can be, over all months up to this one",
    ("month", "strategy", "baseline", "statistic"),
    reading(
        (
            MONTH,
            STRATEGY,
            Column(
                "baseline",
                "VARCHAR",
                "category",
                "series compared with; zero where there is none",
                allowed=(*SERIES, "zero"),
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
                "trials counted, where the statistic needs it: configurations ever evaluated, those of the same results once and equal weight under another name not",
                "not needed",
                minimum=1.0,
            ),
            Column("detail", "VARCHAR", "text", "method and the year of its formula"),
        ),
        "marts.backtest.net_return",
        "marts.trials.sharpe",
    ),
)
TRIALS = Table(
    "marts",
    "trials",
    "every configuration ever evaluated, kept when settings change; the deflated Sharpe ratio counts them",
    ("month", "trial_id"),
    reading(
        (
            MONTH,
            Column("trial_id", "VARCHAR", "hex", "hash of everything that shapes the book"),
            Column(
                "kind",
                "VARCHAR",
                "category",
                "book: a strategy of the factor-level backtest; cell: of the grid of nested selection; stock_book: a strategy traded as stocks",
                allowed=("book", "cell", "stock_book"),
            ),
            Column("strategy", "VARCHAR", "category", "book", allowed=TIMED),
            Column("configuration", "VARCHAR", "JSON", "the settings behind the hash"),
            Column("months", "INTEGER", "count", "months of returns", minimum=0.0),
            Column(
                "sharpe",
                "DOUBLE",
                "per month",
                "Sharpe ratio of net returns, not annualised",
                "fewer than 3 months or constant",
            ),
            Column(
                "information_ratio",
                "DOUBLE",
                "per month",
                "Sharpe ratio of net returns in excess of equal weight (traded as stocks in the same way, of a stock_book), not annualised",
                "fewer than 3 months or constant",
            ),
        ),
        "marts.backtest.net_return",
        "marts.selection.gross_return",
        "marts.stock_backtest.nav_fen",
    ),
    scope=("trial_id",),
)
EFFECTS = ("forecast", "risk_scaling", "inertia", "cost")
ATTRIBUTION = Table(
    "marts",
    "attribution",
    "where each month's net excess over equal weight came from; all rows of a book and month sum to it",
    ("month", "strategy", "effect", "style"),
    reading(
        (
            MONTH,
            Column("strategy", "VARCHAR", "category", "book", allowed=TIMED),
            Column(
                "effect",
                "VARCHAR",
                "category",
                "forecast: target from raw forecasts − equal weight; risk_scaling: target − that; inertia: weight − target (inertia, no-trade band, limits, volatility target); cost: of both kinds, less those of equal weight",
                allowed=EFFECTS,
            ),
            STYLE,
            Column(
                "regime",
                "VARCHAR",
                "category",
                "regime at the close before the month",
                "no regime yet",
                allowed=REGIMES,
            ),
            Column("value", "DOUBLE", "fraction per month", "what it added to the net excess"),
        ),
        "marts.backtest.net_return",
        "marts.weights.target",
        "marts.weights.weight",
        "marts.weights.drifted",
        "marts.forecasts.mean",
        "marts.expert_forecasts.mean",
        "marts.factor_longshort.long_short",
        "marts.factor_longshort.book_turnover",
        "marts.regimes.regime",
        "marts.selection.is_chosen",
    ),
)
AXES = ("score", "tilt", "temperature", "inertia", "cost", "lag", "groups", "universe", "start")
SENSITIVITY = Table(
    "marts",
    "sensitivity",
    "the headline book with one setting or convention changed at a time, as of the study's last month; no rows before a study",
    ("month", "fingerprint", "axis", "position"),
    reading(
        (
            MONTH,
            Column(
                "fingerprint",
                "VARCHAR",
                "hex",
                "hash of the settings, raw data and net returns the cells were compared with: cells of others are not shown",
            ),
            Column("axis", "VARCHAR", "category", "what is varied", allowed=AXES),
            Column("position", "INTEGER", "count", "place on the axis, from 0", minimum=0.0),
            Column("value", "VARCHAR", "text", "value on the axis"),
            Column("changes", "VARCHAR", "JSON", "settings that differ from those in use; lags beside them"),
            Column("is_default", "BOOLEAN", "flag", "the settings in use"),
            Column("trial_id", "VARCHAR", "hex", "the cell's row in marts.trials"),
            Column("code_version", "VARCHAR", "text", "code and versions of the packages that computed the cell"),
            Column("months", "INTEGER", "count", "months of returns", minimum=0.0),
            Column("sharpe", "DOUBLE", "per year", "Sharpe ratio of net returns", "too few months"),
            Column(
                "baseline_sharpe", "DOUBLE", "per year", "that of equal weight in the same months", "too few months"
            ),
            Column("difference", "DOUBLE", "per year", "the one minus the other", "too few months or no variance"),
            Column("low", "DOUBLE", "per year", "lower end of its 95 % interval", "no interval"),
            Column("high", "DOUBLE", "per year", "upper end of its 95 % interval", "no interval"),
            Column("p_value", "DOUBLE", "probability", "two-sided", "no test", minimum=0.0, maximum=1.0),
            Column("active_share", "DOUBLE", "fraction", "mean ½ Σ|w − 1/K|", minimum=0.0),
            Column("turnover", "DOUBLE", "fraction per year", "½ Σ|w − drifted w|", minimum=0.0),
        ),
        "marts.backtest.gross_return",
        "marts.backtest.factor_turnover",
        "marts.backtest.book_turnover",
        "marts.books.active_share",
    ),
    scope=("fingerprint", "axis"),
)
TABLES: tuple[Table, ...] = (BACKTEST, MEASURES, SIGNIFICANCE, TRIALS, ATTRIBUTION, SENSITIVITY, *STOCK_TABLES)
