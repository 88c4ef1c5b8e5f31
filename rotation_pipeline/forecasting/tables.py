"""Tables of the forecasting stage. A row stamped t forecasts the return of t+1 and was known at the close of t."""

from __future__ import annotations

from typing import get_args

from rotation_pipeline.forecasting.options import ExpertName
from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.regimes.tables import FEATURE_COLUMNS, STYLE

MARKET_FEATURES = ("index_return", "volatility", "turnover_ratio", "drawdown", "p_slow_bull", "p_bear", "p_range")
"""Market inputs of the forecasters: the index state at the month's last close and the filtered regime probabilities."""
_INPUTS = (
    "marts.factor_longshort.long_short",
    "marts.factor_longshort_daily.long_short",
    *(f"intermediate.index_features.{name}" for name in FEATURE_COLUMNS),
    *(f"marts.regimes.{name}" for name in MARKET_FEATURES if name.startswith("p_")),
)
DAILY_FEATURES = FEATURE_COLUMNS
"""Market inputs of the daily networks: the index state at each session's close."""
EXPERTS: tuple[ExpertName, ...] = get_args(ExpertName)
"""``zero`` is the zero-tilt expert: no style is preferred."""
EXPERT = Column("expert", "VARCHAR", "category", "forecaster", allowed=EXPERTS)

EXPERT_FORECASTS = Table(
    "marts",
    "expert_forecasts",
    "each expert's forecast of next month's long-short returns",
    ("month", "expert", "style"),
    reading(
        (
            MONTH,
            EXPERT,
            STYLE,
            Column("mean", "DOUBLE", "fraction per month", "forecast", "the expert needs more history"),
            Column(
                "standard_error",
                "DOUBLE",
                "fraction per month",
                "standard deviation of the forecast error the expert expects",
                "the expert needs more history",
                minimum=0.0,
            ),
        ),
        *_INPUTS,
    ),
    minimum_rows=1,
)
LATENT = Table(
    "marts",
    "latent_states",
    "h_t, the encoder's picture of the market at t: the first seed's, because axes of different seeds cannot be averaged",
    ("month", "expert", "dimension"),
    reading(
        (
            MONTH,
            EXPERT,
            Column("dimension", "INTEGER", "index", "component of h", minimum=0.0),
            Column("value", "DOUBLE", "activation", "its value"),
        ),
        *_INPUTS,
    ),
)
EXPERT_WEIGHTS = Table(
    "marts",
    "expert_weights",
    "weight of each expert in the mixture",
    ("month", "expert"),
    reading(
        (
            MONTH,
            EXPERT,
            Column(
                "weight",
                "DOUBLE",
                "fraction",
                "weight, from past out-of-sample errors only; sums to 1",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.factor_longshort.long_short",
    ),
    minimum_rows=1,
)
FORECASTS = Table(
    "marts",
    "forecasts",
    "the mixture's forecast of next month's long-short return of each style",
    ("month", "style"),
    reading(
        (
            MONTH,
            STYLE,
            Column(
                "mean",
                "DOUBLE",
                "fraction per month",
                "forecast; an expert that has none counts as 0, so that a style no expert can forecast yet has 0 and null volatility",
            ),
            Column(
                "standard_error",
                "DOUBLE",
                "fraction per month",
                "standard deviation of its error, from past errors",
                "fewer than 6 past returns",
                minimum=0.0,
            ),
            Column(
                "low", "DOUBLE", "fraction per month", "lower end of the 80 % interval", "fewer than 6 past returns"
            ),
            Column(
                "high", "DOUBLE", "fraction per month", "upper end of the 80 % interval", "fewer than 6 past returns"
            ),
            Column(
                "volatility",
                "DOUBLE",
                "fraction per month",
                "standard deviation of the last 12 monthly returns",
                "fewer than 6 months",
                minimum=0.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.expert_weights.weight",
        "marts.factor_longshort.long_short",
    ),
    minimum_rows=1,
)
SCORES = Table(
    "marts",
    "forecast_scores",
    "out-of-sample quality of each expert and the mixture over all months up to this one",
    ("month", "expert", "style"),
    reading(
        (
            MONTH,
            Column("expert", "VARCHAR", "category", "forecaster, or mixture", allowed=(*EXPERTS, "mixture")),
            Column("style", "VARCHAR", "category", "style, or ALL pooled"),
            Column("months", "INTEGER", "count", "forecasts with a known outcome", minimum=0.0),
            Column(
                "r2_out_of_sample",
                "DOUBLE",
                "fraction",
                "1 − SSE / SSE of the expanding mean (Campbell-Thompson 2008)",
                "too few months",
            ),
            Column(
                "r2_relative",
                "DOUBLE",
                "fraction",
                "1 − SSE / SSE of no preference, forecasts and outcomes as differences from the mean over styles: what an allocation can use",
                "too few months",
            ),
            Column(
                "hit_rate",
                "DOUBLE",
                "fraction",
                "share of forecasts with the right sign",
                "no forecast other than 0",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "rank_correlation",
                "DOUBLE",
                "correlation",
                "mean over months of the Spearman correlation across styles; ALL rows only",
                "a single style, or constant forecasts",
                minimum=-1.0,
                maximum=1.0,
            ),
            Column(
                "clark_west_t",
                "DOUBLE",
                "t",
                "against the expanding mean (Clark-West 2007)",
                "too few months or no difference",
            ),
            Column("clark_west_p", "DOUBLE", "probability", "one-sided", "the same", minimum=0.0, maximum=1.0),
            Column(
                "diebold_mariano_t",
                "DOUBLE",
                "t",
                "squared errors against the expanding mean's, positive if smaller (Diebold-Mariano 1995, Harvey et al. 1997)",
                "too few months or no difference",
            ),
            Column("diebold_mariano_p", "DOUBLE", "probability", "two-sided", "the same", minimum=0.0, maximum=1.0),
            Column(
                "squared_error_gain",
                "DOUBLE",
                "squared fraction",
                "cumulative squared error of the expanding mean minus the forecaster's; over months it is the difference's path",
            ),
            Column(
                "coverage",
                "DOUBLE",
                "fraction",
                "share of outcomes inside the 80 % interval",
                "no interval",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.expert_forecasts.standard_error",
        "marts.forecasts.mean",
        "marts.factor_longshort.long_short",
    ),
)
LOSSES = ("squared_error", "relative_squared_error")
SET_STATISTICS = ("T_max", "T_R")
CONFIDENCE_SET = Table(
    "marts",
    "forecast_confidence_set",
    "model confidence set: forecasters that cannot be told from the best, over all months up to this one (Hansen, Lunde & Nason 2011)",
    ("month", "loss", "statistic", "expert"),
    reading(
        (
            MONTH,
            Column(
                "loss",
                "VARCHAR",
                "category",
                "squared error, mean over styles; relative: of differences from the mean over styles, what an allocation can use",
                allowed=LOSSES,
            ),
            Column(
                "statistic", "VARCHAR", "category", "test of equal ability the set is made by", allowed=SET_STATISTICS
            ),
            Column("expert", "VARCHAR", "category", "forecaster, or mixture", allowed=(*EXPERTS, "mixture")),
            Column(
                "months",
                "INTEGER",
                "count",
                "months in which all those compared forecast; 0 if not compared",
                minimum=0.0,
            ),
            Column(
                "mean_loss",
                "DOUBLE",
                "squared fraction",
                "mean loss a month",
                "not compared: too few months",
                minimum=0.0,
            ),
            Column(
                "p_value",
                "DOUBLE",
                "probability",
                "in every set of confidence above 1 − p; 1 for the best",
                "not compared: too few months",
                minimum=0.0,
                maximum=1.0,
            ),
            Column(
                "in_set",
                "BOOLEAN",
                "flag",
                "p above 1 − confidence_level: in the 90 % set by default",
                "not compared: too few months",
            ),
        ),
        "marts.expert_forecasts.mean",
        "marts.forecasts.mean",
        "marts.factor_longshort.long_short",
    ),
    minimum_rows=1,
)
TABLES: tuple[Table, ...] = (EXPERT_FORECASTS, LATENT, EXPERT_WEIGHTS, FORECASTS, SCORES, CONFIDENCE_SET)
