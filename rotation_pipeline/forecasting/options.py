"""Tunables of the forecasting stage, each with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

ExpertName = Literal[
    "zero",
    "historical_mean",
    "factor_momentum",
    "time_series_momentum",
    "rank_random_walk",
    "regime_mean",
    "jump_model",
    "pooled_ridge",
    "pooled_elastic_net",
    "pooled_pls",
    "pooled_lightgbm",
    "network_lstm",
    "network_transformer",
    "network_gru",
    "network_lstm_daily",
    "network_transformer_daily",
    "network_gru_daily",
]


@dataclass(frozen=True)
class PanelOptions:
    """One extra training panel: a file of monthly long-short returns, or another database of this pipeline."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    path: str = ""
    """CSV or Parquet file with one row a month, or a ``.duckdb`` file that `rotation run` made; a panel without is refused."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Column of the file → role: a style (MOM, VAL, QLTY, VOL, SIZE; ``-SIZE`` turns the sign) or MARKET, the market's
    return. Empty for a database, which has the styles themselves."""
    unit: Literal["percent", "fraction"] = "fraction"
    """Unit of the file's returns: the project's own exports are fractions, public factor libraries mostly percent."""
    month_column: str | None = None
    """Where the month stands; by default yyyymm, date, month or day, or year and month."""
    content: str | None = None
    """SHA-256 of what the panel holds (hexadecimal): filled in when settings are loaded and recorded with the run. Given, it
    pins the file: another content is refused."""


@dataclass(frozen=True)
class ForecastOptions:
    """Walk-forward, simple experts, mixture and scores."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    experts: Annotated[tuple[ExpertName, ...], MinLen(1)] = (
        "zero",
        "historical_mean",
        "factor_momentum",
        "regime_mean",
        "pooled_ridge",
        "network_lstm",
        "network_transformer",
    )
    """Experts that forecast; ``zero`` must be among them because the mixture returns to it. The others of the list of names
    are reached by naming them: more experts share the same half of the prior, so each starts with less."""
    lookback: Annotated[int, Ge(2), Le(60)] = 12
    """Months of inputs the networks and the ridge see: one year, the formation period of factor momentum
    (Ehsani & Linnainmaa 2022)."""
    min_train_months: Annotated[int, Ge(12)] = 36
    """Months of style returns before an expert speaks: three years, so that a network has 24 complete samples."""
    window: Literal["expanding", "rolling"] = "expanding"
    """Expanding keeps every month; about a hundred are too few to throw any away."""
    rolling_months: Annotated[int, Ge(24)] = 60
    """Months of history when ``window`` is rolling: five years."""
    refit_every: Annotated[int, Ge(1), Le(12)] = 1
    """Calendar months between refits of the networks, counted from January (1: every month, 3: Jan, Apr, Jul, Oct).
    Between refits the model fitted on history up to the last refit month forecasts from current inputs."""
    momentum_spans: Annotated[tuple[Annotated[int, Ge(1), Le(60)], ...], MinLen(1)] = (1, 3, 6, 12)
    """Months averaged by factor momentum; Gupta & Kelly (2019) find one month to a year all carry signal."""
    momentum_halflife: Annotated[float, Gt(0.0)] = 6.0
    """Months after which the exponential weight inside a span has halved: the middle of the spans."""
    momentum_shrinkage_months: Annotated[float, Ge(0.0)] = 24.0
    """Prior observations at slope 0 in the shrunk slope of returns on momentum, in months: two years, so that a slope
    from three years of data keeps about half of itself."""
    regime_shrinkage_months: Annotated[float, Gt(0.0)] = 24.0
    """Prior months at a premium of 0 in each regime's mean: two years, about (3.5 % noise / 0.7 % premium)²."""
    ridge_penalties: Annotated[tuple[Annotated[float, Gt(0.0)], ...], MinLen(1)] = (10.0, 100.0, 1000.0, 10000.0)
    """Candidate penalties on standardised predictors, in observations; the largest is nearly the zero forecast."""
    ridge_validation_folds: Annotated[int, Ge(1), Le(20)] = 4
    """Time-ordered folds, each predicted from what lies before it, that choose the penalty (or the number of components or
    trees) of every pooled regression."""
    elastic_net_penalties: Annotated[tuple[Annotated[float, Gt(0.0)], ...], MinLen(1)] = (0.025, 0.05, 0.1, 0.2, 0.4)
    """Candidate penalties of the elastic net per observation, on standardised predictors and returns: the largest correlation
    of 50 predictors that mean nothing with 500 returns is about 0.12, so 0.4 × ``elastic_net_l1_ratio`` drops them all."""
    elastic_net_l1_ratio: Annotated[float, Gt(0.0), Le(1.0)] = 0.5
    """Share of the penalty on absolute coefficients: half, so that correlated lags and means share a slope."""
    pls_components: Annotated[int, Ge(1), Le(10)] = 3
    """Most components of partial least squares; with returns this noisy further ones fit noise."""
    lightgbm_trees: Annotated[tuple[Annotated[int, Ge(1), Le(1000)], ...], MinLen(1)] = (10, 20, 40, 80)
    """Candidate numbers of trees beside none."""
    lightgbm_leaves: Annotated[int, Ge(2), Le(64)] = 4
    """Leaves of a tree: two splits deep."""
    lightgbm_leaf_rows: Annotated[int, Ge(1), Le(1000)] = 30
    """Fewest rows (months × styles) in a leaf: half a year of five styles."""
    lightgbm_learning_rate: Annotated[float, Gt(0.0), Le(1.0)] = 0.05
    """Shrinkage of each tree; 80 trees of 0.05 make four whole ones."""
    time_series_volatility_months: Annotated[int, Ge(6), Le(120)] = 36
    """Months of the volatility that scales time-series momentum: three years (Gupta & Kelly 2019)."""
    time_series_limit: Annotated[float, Gt(0.0), Le(10.0)] = 2.0
    """Time-series momentum is capped at ± this many standard deviations (Gupta & Kelly 2019)."""
    jump_penalty: Annotated[float, Ge(0.0), Le(1e6)] = 50.0
    """Cost of a change of state in the jump model of a style's daily returns, in half squared standard deviations. Of 5 to
    400 the best where planted states differ in volatility alone (83 % of months right; 92 % where they differ in mean too)."""
    jump_halflives: Annotated[tuple[Annotated[float, Gt(0.0), Le(500.0)], ...], MinLen(1)] = (10.0, 20.0, 60.0)
    """Half-lives of its features, sessions: downside deviation over the first, Sortino ratios over the others (half a month,
    a month, a quarter)."""
    jump_min_sessions: Annotated[int, Ge(60), Le(5000)] = 244
    """Sessions of a style before its jump model is fitted: a year."""
    panels: tuple[PanelOptions, ...] = ()
    """Extra training panels of the monthly networks, whose encoder then learns from them too while only the heads are fitted
    on the target. None by default: what universes share is to be shown first."""
    panel_refit_every: Annotated[int, Ge(1), Le(12)] = 12
    """Calendar months between trainings of that encoder, counted from January: a year, because a year adds little to a panel
    and a training sees all of them."""
    zero_prior: Annotated[float, Ge(0.5), Lt(1.0)] = 0.5
    """Prior weight of the zero-tilt expert: at least half, because most timing fails out of sample; others share the
    rest equally."""
    learning_rate: Annotated[float, Ge(0.0), Le(10.0)] = 1.0
    """Exponent of the predictive likelihood ratio against the zero forecast; 1 is Bayesian averaging."""
    fixed_share: Annotated[float, Gt(0.0), Lt(1.0)] = 0.05
    """Share of every weight returned to the prior each month (Herbster & Warmuth 1998): a regime of about 20 months.
    It also keeps the zero-tilt expert at or above ``fixed_share × zero_prior``."""
    loss_memory_months: Annotated[int, Ge(6)] = 60
    """Past months whose squared zero-forecast errors scale the likelihood: five years of style volatility."""
    interval_level: Annotated[float, Gt(0.0), Lt(1.0)] = 0.8
    """Nominal coverage of the interval; 80 % is what the tables state."""
    min_interval_errors: Annotated[int, Ge(5)] = 24
    """Past mixture errors per style before the interval is conformal rather than normal; the 80 % quantile of fewer is
    noise."""
    volatility_months: Annotated[int, Ge(2)] = 12
    """Months of the volatility column: one year."""
    min_volatility_months: Annotated[int, Ge(2)] = 6
    """Fewest months for it: half a year."""
    min_score_months: Annotated[int, Ge(3)] = 12
    """Forecasts with an outcome before R² and tests are reported: one year."""
    confidence_level: Annotated[float, Gt(0.5), Lt(1.0)] = 0.9
    """Coverage of the model confidence set (probability): 90 %, one of the two levels Hansen, Lunde & Nason (2011) use."""
    confidence_resamples: Annotated[int, Ge(100), Le(100_000)] = 1000
    """Bootstrap resamples of the model confidence set (count), as many as the backtest's intervals have."""
    confidence_block: Annotated[float, Ge(1.0), Le(60.0)] = 6.0
    """Mean block of its stationary bootstrap (months): half a year, as in the backtest."""
    confidence_seed: Annotated[int, Ge(0)] = 20240131
    """Seed of its resamples; the month and the number of months are mixed in."""


@dataclass(frozen=True)
class NetworkOptions:
    """The multi-task networks and how they are trained."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    hidden: Annotated[int, Ge(4), Le(256)] = 32
    """Width of the shared state h_t: about 17,000 parameters for five styles, the size this system is specified for."""
    layers: Annotated[int, Ge(1), Le(4)] = 2
    """Encoder layers of either network: two, as the method specifies (spec/forecasting.md)."""
    attention_heads: Annotated[int, Ge(1), Le(16)] = 4
    """Attention heads of the Transformer, a divisor of ``hidden``; 8 dimensions each by default."""
    feed_forward: Annotated[int, Ge(4), Le(1024)] = 64
    """Width of the Transformer's feed-forward part: twice ``hidden``."""
    head_hidden: Annotated[int, Ge(1), Le(128)] = 16
    """Width of each style's head: half of ``hidden``."""
    seeds: Annotated[int, Ge(1), Le(100)] = 10
    """Networks averaged; the variance from initial values falls with 1 / seeds."""
    epochs: Annotated[int, Ge(1), Le(2000)] = 60
    """Most passes over the training windows: in one batch, in the daily form in several that take turns."""
    patience: Annotated[int, Ge(1)] = 10
    """Epochs without a better validation loss before a seed stops (also in the daily form, where an epoch is several
    updates)."""
    learning_rate: Annotated[float, Gt(0.0), Le(1.0)] = 3e-3
    """AdamW step per epoch; with one batch an epoch, 60 epochs must be able to get somewhere."""
    weight_decay: Annotated[float, Ge(0.0), Lt(100.0)] = 1e-2
    """Decoupled weight decay (Loshchilov & Hutter 2019), AdamW's usual value."""
    dropout: Annotated[float, Ge(0.0), Lt(1.0)] = 0.2
    """Share of units dropped between layers and before the heads; one mask for all months of a window
    (Gal & Ghahramani 2016)."""
    clip: Annotated[float, Gt(0.0)] = 1.0
    """Largest gradient norm of one network (Pascanu, Mikolov & Bengio 2013)."""
    huber_delta: Annotated[float, Gt(0.0)] = 1.0
    """Where the loss turns linear, in standard deviations of the style's return; 1 damps crash months."""
    scale_targets: bool = True
    """Divide each style's return by its training-window standard deviation, so that no style owns the loss."""
    input_limit: Annotated[float, Gt(0.0)] = 4.0
    """Scaled inputs are clamped to ± this many standard deviations."""
    validation_share: Annotated[float, Gt(0.0), Lt(0.5)] = 0.2
    """Last share of the training windows kept for early stopping."""
    min_validation: Annotated[int, Ge(2)] = 6
    """Fewest validation windows: half a year."""
    purge: Annotated[int, Ge(0)] = 1
    """Windows left out between training and validation: one month, the reach of the target."""
    seed: Annotated[int, Ge(0)] = 7
    """Root of every random number; combined with year, month, encoder and network, never with a position in a range."""
    daily_step: Annotated[int, Ge(1), Le(63)] = 5
    """Sessions in one input step of the daily form: a week, so that a quarter is twelve steps, as many as the monthly form
    has; cost grows with the steps."""
    daily_lookback: Annotated[int, Ge(2), Le(250)] = 12
    """Input steps of the daily form: 12 weeks. The index features look back a year by themselves."""
    daily_horizon: Annotated[int, Ge(1), Le(63)] = 21
    """Sessions of the target: one month."""
    daily_stride: Annotated[int, Ge(1), Le(63)] = 1
    """Sessions between the window ends that train in turn, one set an update and all sets an epoch: with 1 every session
    ends a window; at ``daily_step`` or more all updates see the same windows, at a fifth of the cost and with more overfit."""
    daily_refit_every: Annotated[int, Ge(1), Le(12)] = 3
    """Calendar months between refits of the daily form, counted from January: a quarter, because a fit costs several times
    a monthly one and a month adds one part in forty to ninety of the windows."""
    workers: Annotated[int, Ge(1), Le(64)] = 2
    """Processes that train months side by side, one thread each; 1 trains in this process."""
