"""Tables of the factor stage."""

from __future__ import annotations

from rotation_pipeline.factors.styles import RAW_FACTORS, SERIES, STYLES
from rotation_pipeline.market.schema import ASSET, MONTH, Column, Table, reading
from rotation_pipeline.market.tables import DAY

_ALL_INPUTS = tuple(dict.fromkeys(source for factor in RAW_FACTORS for source in factor.reads))
_SCORES = ("marts.factor_exposures.score", "marts.factor_exposures.in_tradable")
FACTOR = Column("factor", "VARCHAR", "category", "style or raw factor", allowed=SERIES)
KIND = Column("kind", "VARCHAR", "category", "style or raw", allowed=("style", "raw"))

EXPOSURES = Table(
    "marts",
    "factor_exposures",
    "exposure of each member to each raw factor and style at the month's last close",
    ("month", "asset_id", "factor"),
    (
        MONTH,
        ASSET,
        FACTOR,
        KIND,
        Column(
            "raw_value",
            "DOUBLE",
            "the factor's own",
            "value before preprocessing, unsigned",
            "style rows; or too little data",
            reads=_ALL_INPUTS,
        ),
        Column(
            "score",
            "DOUBLE",
            "standard deviations",
            "winsorised, (neutralised,) z-scored, signed so that high is good",
            "no value, too few names with one, or a cross-section without spread",
            minimum=-20.0,
            maximum=20.0,
            reads=(*_ALL_INPUTS, "intermediate.universe.in_estimation", "intermediate.universe.industry"),
        ),
        Column(
            "quantile",
            "INTEGER",
            "1–5",
            "group on the score among tradable members, 5 highest",
            "not tradable or no score",
            minimum=1.0,
            maximum=20.0,
            reads=(*_ALL_INPUTS, "intermediate.universe.in_tradable"),
        ),
        Column("in_coverage", "BOOLEAN", "flag", "has a value", reads=_ALL_INPUTS),
        Column(
            "in_estimation",
            "BOOLEAN",
            "flag",
            "statistics are estimated on it",
            reads=("intermediate.universe.in_estimation",),
        ),
        Column(
            "in_tradable",
            "BOOLEAN",
            "flag",
            "may be held from the next day on",
            reads=("intermediate.universe.in_tradable",),
        ),
    ),
    minimum_rows=1,
)
LONGSHORT = Table(
    "marts",
    "factor_longshort",
    "top minus bottom quintile return of each style and raw factor over the month",
    ("month", "factor"),
    reading(
        (
            MONTH,
            FACTOR,
            KIND,
            Column(
                "long_short",
                "DOUBLE",
                "fraction per month",
                "return of group 5 minus group 1, equal weights, groups formed at the close of the month before",
                "fewer than one name in a group",
                minimum=-1.5,
                maximum=3.0,
            ),
            Column(
                "long_short_value_weighted",
                "DOUBLE",
                "fraction per month",
                "the same, weighted by market value",
                "no market value",
                minimum=-1.5,
                maximum=3.0,
            ),
            Column("n_long", "INTEGER", "count", "names in group 5", minimum=0.0),
            Column("n_short", "INTEGER", "count", "names in group 1", minimum=0.0),
            Column("n_members", "INTEGER", "count", "members of the universe at formation", minimum=0.0),
            Column(
                "book_turnover",
                "DOUBLE",
                "fraction",
                "½ Σ|Δw| of the equal-weighted long-short book when it was formed at the close of the month before, against the drifted previous book (first book: 1)",
                minimum=0.0,
                maximum=2.0,
            ),
        ),
        *_SCORES,
        "intermediate.adjusted_bars.ret",
        "intermediate.stock_snapshot.total_market_value",
    ),
    minimum_rows=len(STYLES),
)
GROUPS = Table(
    "marts",
    "factor_groups",
    "return of every quantile group",
    ("month", "factor", "quantile"),
    reading(
        (
            MONTH,
            FACTOR,
            Column("quantile", "INTEGER", "1–5", "group, 5 has the highest score", minimum=1.0),
            Column("n", "INTEGER", "count", "names", minimum=0.0),
            Column(
                "return_equal",
                "DOUBLE",
                "fraction per month",
                "equal-weighted buy-and-hold return",
                "no names",
                minimum=-1.0,
            ),
            Column(
                "return_value",
                "DOUBLE",
                "fraction per month",
                "value-weighted buy-and-hold return",
                "no market value",
                minimum=-1.0,
            ),
            Column(
                "turnover",
                "DOUBLE",
                "fraction",
                "share of names that were not in the group a month before",
                "first month or no names",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        *_SCORES,
        "intermediate.adjusted_bars.ret",
        "intermediate.stock_snapshot.total_market_value",
    ),
)
LONGSHORT_DAILY = Table(
    "marts",
    "factor_longshort_daily",
    "daily return of the same books, bought and held within the month",
    ("day", "factor"),
    reading(
        (
            MONTH,
            DAY,
            FACTOR,
            Column(
                "long_short",
                "DOUBLE",
                "fraction per day",
                "long leg's daily return minus the short leg's",
                "no names in a leg",
            ),
        ),
        *_SCORES,
        "intermediate.adjusted_bars.ret",
    ),
)
EVIDENCE = Table(
    "marts",
    "factor_evidence",
    "monthly diagnostics; stamped with the month in which they became known",
    ("month", "factor"),
    reading(
        (
            MONTH,
            FACTOR,
            Column(
                "ic",
                "DOUBLE",
                "correlation",
                "Pearson correlation of last month's score with this month's return",
                "constant or fewer than 3 pairs",
                minimum=-1.0,
                maximum=1.0,
            ),
            Column(
                "rank_ic",
                "DOUBLE",
                "correlation",
                "Spearman correlation of the same",
                "constant or fewer than 3 pairs",
                minimum=-1.0,
                maximum=1.0,
            ),
            Column("coverage", "DOUBLE", "fraction", "members with a value at formation", minimum=0.0, maximum=1.0),
            Column(
                "autocorrelation",
                "DOUBLE",
                "correlation",
                "rank correlation of this month's with last month's score",
                "constant or too few",
                minimum=-1.0,
                maximum=1.0,
            ),
        ),
        *_SCORES,
        "intermediate.adjusted_bars.ret",
    ),
)
SUMMARY = Table(
    "marts",
    "factor_summary",
    "tear sheet of each series over all months up to this one",
    ("month", "factor"),
    reading(
        (
            MONTH,
            FACTOR,
            Column("months", "INTEGER", "count", "months of returns", minimum=0.0),
            Column("mean", "DOUBLE", "fraction per month", "mean long-short return", "no month"),
            Column("t_newey_west", "DOUBLE", "t", "of the mean (Newey-West 1987)", "fewer than 3 months or constant"),
            Column(
                "sharpe",
                "DOUBLE",
                "per year",
                "annualised Sharpe ratio of the long-short return",
                "fewer than 3 months or constant",
            ),
            Column("hit_rate", "DOUBLE", "fraction", "share of months above 0", "no month", minimum=0.0, maximum=1.0),
            Column(
                "max_drawdown",
                "DOUBLE",
                "fraction",
                "largest fall of the compounded return (≤ 0)",
                "no month",
                maximum=0.0,
            ),
            Column("ic_mean", "DOUBLE", "correlation", "mean rank IC", "no IC"),
            Column(
                "icir",
                "DOUBLE",
                "ratio",
                "mean / standard deviation of the monthly rank IC",
                "fewer than 3 ICs or constant",
            ),
            Column(
                "ic_positive",
                "DOUBLE",
                "fraction",
                "share of months with rank IC above 0",
                "no IC",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "monotonicity",
                "DOUBLE",
                "correlation",
                "Spearman correlation of group number with mean group return",
                "fewer than 3 groups",
                minimum=-1.0,
                maximum=1.0,
            ),
        ),
        "marts.factor_longshort.long_short",
        "marts.factor_evidence.rank_ic",
        "marts.factor_groups.return_equal",
    ),
)
DECAY = Table(
    "marts",
    "factor_decay",
    "how long a score keeps telling: its rank correlation with the return of one later month, by how much later",
    ("month", "factor", "horizon"),
    reading(
        (
            MONTH,
            FACTOR,
            Column(
                "horizon", "INTEGER", "months", "age of the score at the end of the month of the return", minimum=1.0
            ),
            Column(
                "rank_ic",
                "DOUBLE",
                "correlation",
                "Spearman correlation of the score of month − horizon with this month's return",
                "constant or fewer than 3 pairs",
                minimum=-1.0,
                maximum=1.0,
            ),
        ),
        *_SCORES,
        "intermediate.adjusted_bars.ret",
    ),
)
TABLES: tuple[Table, ...] = (EXPOSURES, LONGSHORT, GROUPS, LONGSHORT_DAILY, EVIDENCE, SUMMARY, DECAY)
