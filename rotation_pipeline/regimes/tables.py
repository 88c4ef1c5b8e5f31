"""Tables of the regime stage."""

from __future__ import annotations

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.market.tables import DAY
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.options import DETECTORS

_INDEX = ("intermediate.index_daily.ret", "intermediate.index_daily.amount", "intermediate.index_daily.close")
FEATURE_COLUMNS = (
    "index_return",
    "volatility",
    "downside_deviation",
    "turnover_ratio",
    "drawdown",
    "trend",
    "half_year_trend",
)
_FEATURES = tuple(f"intermediate.index_features.{name}" for name in FEATURE_COLUMNS)
DETECTOR = Column("detector", "VARCHAR", "category", "regime detector", allowed=DETECTORS)
REGIME = Column("regime", "VARCHAR", "category", "regime", allowed=REGIMES)
STYLE = Column("style", "VARCHAR", "category", "style", allowed=STYLES)
LABELLING = Column(
    "labelling",
    "VARCHAR",
    "category",
    "filtered: returns of month s under the filtered label of the close of s − 1, what one could have traded on; in_sample: under the smoothed label of s itself by the model fitted on all data so far, description only",
    allowed=("filtered", "in_sample"),
)
_PROBABILITIES = tuple(
    Column(
        f"p_{name}",
        "DOUBLE",
        "probability",
        f"filtered probability of {name} given data up to the stamp",
        minimum=0.0,
        maximum=1.0,
    )
    for name in REGIMES
)

FEATURES = Table(
    "intermediate",
    "index_features",
    "daily state of the benchmark index; unscaled (scaling uses the past only and belongs to the detectors)",
    ("day",),
    reading(
        (
            MONTH,
            DAY,
            Column(
                "index_return",
                "DOUBLE",
                "fraction",
                "simple return over the last 21 sessions",
                "too little history",
                minimum=-1.0,
            ),
            Column(
                "volatility",
                "DOUBLE",
                "fraction per year",
                "standard deviation of the last 21 daily returns × √244",
                "too little history",
                minimum=0.0,
            ),
            Column(
                "downside_deviation",
                "DOUBLE",
                "fraction per year",
                "root mean square of the negative part of the last 21 daily returns × √244",
                "too little history",
                minimum=0.0,
            ),
            Column(
                "turnover_ratio",
                "DOUBLE",
                "ratio",
                "mean amount of the last 21 sessions / that of the last 244",
                "too little history or no amounts",
                minimum=0.0,
            ),
            Column(
                "drawdown",
                "DOUBLE",
                "fraction",
                "close / highest close of the last 244 sessions − 1",
                "too little history",
                minimum=-1.0,
                maximum=0.0,
            ),
            Column(
                "trend",
                "DOUBLE",
                "fraction",
                "close / mean close of the last 244 sessions − 1",
                "too little history",
                minimum=-1.0,
            ),
            Column(
                "half_year_trend",
                "DOUBLE",
                "fraction",
                "close / mean close of the last 122 sessions − 1",
                "too little history",
                minimum=-1.0,
            ),
        ),
        *_INDEX,
    ),
)
MODELS = Table(
    "marts",
    "regime_models",
    "fitted parameters of each month's detector, the start of the next month's fit",
    ("month", "detector"),
    reading(
        (
            MONTH,
            DETECTOR,
            Column(
                "parameters",
                "VARCHAR",
                "JSON",
                "everything needed to filter and to continue: scaling, start, transitions, means, covariances, names",
            ),
            Column("log_likelihood", "DOUBLE", "nats", "of the fit", "the detector has none"),
            Column("observations", "INTEGER", "count", "days or months fitted on", minimum=0.0),
            Column("converged", "BOOLEAN", "flag", "the fit reached its tolerance"),
        ),
        *_FEATURES,
    ),
)
REGIMES_TABLE = Table(
    "marts",
    "regimes",
    "market regime at the close of the month, by filtered probabilities",
    ("month", "detector"),
    reading(
        (
            MONTH,
            DETECTOR,
            REGIME,
            *_PROBABILITIES,
            Column(
                "months_in_regime",
                "INTEGER",
                "count",
                "months since the label last changed, this one included",
                minimum=1.0,
            ),
        ),
        *_FEATURES,
        "marts.regime_models.parameters",
    ),
)
EVIDENCE = Table(
    "marts",
    "regime_evidence",
    "style returns by regime over all months up to this one",
    ("month", "labelling", "style", "regime"),
    reading(
        (
            MONTH,
            LABELLING,
            STYLE,
            REGIME,
            Column("months", "INTEGER", "count", "months in the regime", minimum=0.0),
            Column("mean", "DOUBLE", "fraction per month", "mean long-short return", "no month"),
            Column("annualised_mean", "DOUBLE", "fraction per year", "12 × mean", "no month"),
            Column("t_newey_west", "DOUBLE", "t", "of the mean (Newey-West 1987)", "fewer than 3 months or constant"),
            Column("sharpe", "DOUBLE", "per year", "annualised Sharpe ratio", "fewer than 3 months or constant"),
            Column(
                "low",
                "DOUBLE",
                "fraction per month",
                "lower end of the 95 % bootstrap interval of the mean",
                "fewer than 3 months",
            ),
            Column("high", "DOUBLE", "fraction per month", "upper end of the same", "fewer than 3 months"),
            Column("hit_rate", "DOUBLE", "fraction", "share of months above 0", "no month", minimum=0.0, maximum=1.0),
        ),
        "marts.factor_longshort.long_short",
        "marts.regimes.regime",
        "marts.regime_models.parameters",
    ),
)
TESTS = Table(
    "marts",
    "regime_tests",
    "do style returns differ between regimes? over all months up to this one",
    ("month", "labelling", "style"),
    reading(
        (
            MONTH,
            LABELLING,
            STYLE,
            Column(
                "kruskal_h", "DOUBLE", "statistic", "Kruskal-Wallis H (1952)", "fewer than two regimes with 3 months"
            ),
            Column("kruskal_p", "DOUBLE", "probability", "its p value", "the same", minimum=0.0, maximum=1.0),
            Column(
                "permutation_p",
                "DOUBLE",
                "probability",
                "permutation of whole regime spells, run lengths kept",
                "the same",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "adjusted_p",
                "DOUBLE",
                "probability",
                "permutation p corrected over styles (Benjamini-Hochberg 1995)",
                "the same",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.factor_longshort.long_short",
        "marts.regimes.regime",
        "marts.regime_models.parameters",
    ),
)
TRANSITIONS = Table(
    "marts",
    "regime_transitions",
    "how often regimes followed each other, filtered monthly labels up to this month",
    ("month", "detector", "from_regime", "to_regime"),
    reading(
        (
            MONTH,
            DETECTOR,
            Column("from_regime", "VARCHAR", "category", "regime before", allowed=REGIMES),
            Column("to_regime", "VARCHAR", "category", "regime after", allowed=REGIMES),
            Column("count", "INTEGER", "count", "transitions seen", minimum=0.0),
            Column(
                "probability",
                "DOUBLE",
                "probability",
                "share of the months in from_regime",
                "from_regime was never left or entered",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.regimes.regime",
    ),
)
SUMMARY = Table(
    "marts",
    "regime_summary",
    "persistence and agreement of the detectors up to this month",
    ("month", "detector", "statistic"),
    reading(
        (
            MONTH,
            DETECTOR,
            Column(
                "statistic",
                "VARCHAR",
                "category",
                "what is measured",
                allowed=("switches", "expected_duration", "filtered_smoothed_agreement", "adjusted_rand_with_active"),
            ),
            Column("value", "DOUBLE", "count, months or fraction", "the value", "cannot be computed yet"),
        ),
        "marts.regimes.regime",
        "marts.regime_models.parameters",
    ),
)
TABLES: tuple[Table, ...] = (FEATURES, MODELS, REGIMES_TABLE, EVIDENCE, TESTS, TRANSITIONS, SUMMARY)
