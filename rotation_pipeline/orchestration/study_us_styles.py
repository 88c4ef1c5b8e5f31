"""Can the graph's forecasters time published US factors? Walk-forward on a folder of public factor files.

The files are those of a public factor library, in percent: the five factors (columns ``Mkt-RF``, ``SMB``, ``HML``, ``RMW``,
``CMA``) and momentum (``Mom``). Their returns stay where they are; only statistics of them are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.backtest import factor_timing as timing
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.forecasting.confidence_set import model_confidence_set
from rotation_pipeline.forecasting.experts import expanding_means
from rotation_pipeline.forecasting.frames import month_at
from rotation_pipeline.forecasting.mixture import trailing_volatility
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.scores import clark_west, diebold_mariano, hit_rate, out_of_sample_r2
from rotation_pipeline.forecasting.series import (
    SeriesForecasts,
    forecasters,
    market_state,
    past_errors,
    walk_series,
)
from rotation_pipeline.forecasting.walk_forward import MonthlyPanel
from rotation_pipeline.regimes.statistics import benjamini_hochberg, stationary_bootstrap_indices
from rotation_pipeline.sources.factor_files import FactorFileError, read_factor_returns

Floats = npt.NDArray[np.float64]
FIVE_FILE, MOMENTUM_FILE = "us_ff5_monthly.csv", "us_ff_momentum_monthly.csv"
FIVE = {"Mkt-RF": "MKT", "SMB": "SMB", "HML": "HML", "RMW": "RMW", "CMA": "CMA"}
MOMENTUM = {"Mom": "MOM"}
EQUAL = "equal_weight"
SPANS = (1, 3, 6, 12)
ACTIVE = ("historical_mean", "factor_momentum", "pooled_ridge", "network_lstm", "network_transformer", "mixture")
"""Forecasters whose books are shown."""


@dataclass(frozen=True)
class StudyOptions:
    """What a run of the study may choose."""

    train_months: int = 120
    """Months before the first forecast: ten years, as long as the graph's whole backtest."""
    refit_every: int = 12
    """Calendar months between refits of networks and ridge: a year adds a tenth or less to the sample."""
    network_seeds: int = 5
    """Networks averaged: half of the graph's, for time."""
    workers: int = 2
    """Processes that train networks."""
    cost_bp: float = 14.0
    """Cost per unit of turnover (basis points): the published study's."""
    last_months: int = 384
    """Months of the shorter sample, the last ones: as many as the published study has."""
    epochs: int = 60
    """Most passes of a network's training, as in the graph."""

    @property
    def forecasts(self) -> ForecastOptions:
        """The graph's options, with this study's spans and refits."""
        return ForecastOptions(refit_every=self.refit_every, momentum_spans=SPANS)

    @property
    def network(self) -> NetworkOptions:
        """The graph's options, with this study's seeds."""
        return NetworkOptions(seeds=self.network_seeds, workers=self.workers, epochs=self.epochs)


@dataclass(frozen=True)
class ForecastQuality:
    """One forecaster over one sample, all factors pooled, against the expanding mean."""

    forecaster: str
    months: int
    r2: float
    by_series: tuple[float, ...]
    clark_west_t: float
    clark_west_p: float
    diebold_mariano_t: float
    hit_rate: float
    set_p: float


@dataclass(frozen=True)
class BookQuality:
    """One book over one sample."""

    book: str
    judged: timing.Judged
    adjusted_p: float
    """p of the Sharpe difference to equal weight, corrected for all books of the sample (Benjamini & Hochberg 1995)."""


@dataclass(frozen=True)
class Sample:
    """Everything said of one span of months."""

    first: str
    last: str
    forecasts: tuple[ForecastQuality, ...]
    books: tuple[BookQuality, ...]
    five_equal: timing.Judged
    """Equal weight in the five factors without momentum."""


@dataclass(frozen=True)
class Study:
    """Result of the study: two samples, factor persistence over the whole file, and the lines of the picture."""

    names: tuple[str, ...]
    data_first: str
    data_last: str
    months: int
    whole: Sample
    recent: Sample
    persistence: timing.Persistence
    five_persistence: timing.Persistence
    lines: dict[str, Floats]
    line_first: pd.Timestamp
    options: StudyOptions
    mixture_weights: dict[str, float]


def load_panel(folder: Path) -> MonthlyPanel:
    """The six factors on their common months, and the market's state. FactorFileError names what is wrong."""
    if not folder.is_dir():
        raise FactorFileError(f"{folder} is no folder; give one that holds {FIVE_FILE} and {MOMENTUM_FILE}")
    five = read_factor_returns(folder / FIVE_FILE, FIVE, "percent")
    momentum = read_factor_returns(folder / MOMENTUM_FILE, MOMENTUM, "percent")
    both = five.join(momentum, how="inner")
    if both.empty:
        raise FactorFileError(f"{FIVE_FILE} and {MOMENTUM_FILE} have no month in common")
    gaps = both.isna()
    if bool(gaps.to_numpy().any()):
        row, column = (int(found[0]) for found in np.nonzero(gaps.to_numpy()))
        raise FactorFileError(
            f"{both.columns[column]} has no return for {both.index[row]:%Y-%m}; the study needs complete months"
        )
    returns = np.ascontiguousarray(both.to_numpy(dtype=np.float64))
    return MonthlyPanel(pd.DatetimeIndex(both.index), tuple(both.columns), returns, market_state(returns[:, 0]))


def run_study(
    folder: Path, options: StudyOptions | None = None, listen: Callable[[str], None] = lambda _text: None
) -> Study:
    """Forecast, build the books and judge them; see the module docstring."""
    chosen = options or StudyOptions()
    panel = load_panel(folder)
    first = chosen.train_months - 1
    found = walk_series(panel, first, chosen.forecasts, chosen.network, listen)
    listen("books")
    books = _books(found, chosen)
    earned = {name: timing.earn(weights, panel.styles, first) for name, weights in books.items()}
    count = len(panel.calendar) - 1 - first
    recent = min(chosen.last_months, count)
    return Study(
        names=panel.names,
        data_first=_month(panel, 0),
        data_last=_month(panel, -1),
        months=len(panel.calendar),
        whole=_sample(found, earned, count, chosen),
        recent=_sample(found, earned, recent, chosen),
        persistence=timing.persistence(panel.styles),
        five_persistence=timing.persistence(panel.styles[:, : len(FIVE)]),
        lines=_lines(earned, chosen.cost_bp),
        line_first=month_at(panel.calendar, first + 1),
        options=chosen,
        mixture_weights=_weights(found),
    )


def _month(panel: MonthlyPanel, row: int) -> str:
    return f"{month_at(panel.calendar, row):%Y-%m}"


def _weights(found: SeriesForecasts) -> dict[str, float]:
    """Mean weight of each member of the mixture over the forecast months."""
    from rotation_pipeline.forecasting.series import MIXED

    mean = found.weights[found.first : -1].mean(axis=0)
    return dict(zip(MIXED, map(float, mean), strict=True))


def _books(found: SeriesForecasts, options: StudyOptions) -> dict[str, Floats]:
    """Weights of every book, T × K."""
    returns, count = found.panel.styles, len(found.panel.names)
    books: dict[str, Floats] = {EQUAL: np.full(returns.shape, 1.0 / count)}
    for span in SPANS:
        signal = timing.trailing_mean(returns, span)
        books[f"sign_{span}"] = timing.by_sign(signal)
        books[f"scaled_{span}"] = timing.scaled_momentum(returns, span)
    year = timing.trailing_mean(returns, 12)
    books["winners_12"], books["across_12"] = timing.winners(year), timing.across(year)
    memory = options.forecasts.loss_memory_months
    volatility = np.array([trailing_volatility(returns[: t + 1], options.forecasts) for t in range(len(returns))])
    allocation = AllocationOptions()
    for name in ACTIVE:
        mean = found.means[name]
        views = timing.Views(mean, past_errors(mean, returns, memory), volatility)
        books[f"timed_{name}"] = timing.by_sign(mean)
        books[f"softmax_{name}"] = timing.softmax_book(views, returns, allocation)
        books[f"anchored_{name}"] = timing.anchored_book(views, returns, allocation)
    return books


def _sample(found: SeriesForecasts, earned: dict[str, timing.Earned], last: int, options: StudyOptions) -> Sample:
    panel = found.panel
    rows = slice(len(panel.calendar) - 1 - last, len(panel.calendar) - 1)
    outcome = panel.styles[1:][rows]
    benchmark = expanding_means(panel.styles)[rows]
    names = forecasters(options.forecasts)
    losses = np.column_stack([((outcome - found.means[name][rows]) ** 2).mean(axis=1) for name in names])
    backtest = BacktestOptions()
    drawn = stationary_bootstrap_indices(last, backtest.mean_block, backtest.resamples, (backtest.seed, last))
    set_p = model_confidence_set(losses, drawn, "T_max")
    quality = tuple(
        _quality(name, outcome, benchmark, found.means[name][rows], float(p))
        for name, p in zip(names, set_p, strict=True)
    )
    judged = {name: timing.judge(book, earned[EQUAL], last, options.cost_bp, backtest) for name, book in earned.items()}
    adjusted = benjamini_hochberg([one.difference_p for one in judged.values()])
    books = tuple(BookQuality(name, one, float(p)) for (name, one), p in zip(judged.items(), adjusted, strict=True))
    five = timing.earn(_five_equal(panel), panel.styles, found.first)
    alone = timing.judge(five, five, last, options.cost_bp, backtest)
    return Sample(_month(panel, rows.start + 1), _month(panel, rows.stop), quality, books, alone)


def _five_equal(panel: MonthlyPanel) -> Floats:
    weights = np.zeros(panel.styles.shape)
    weights[:, : len(FIVE)] = 1.0 / len(FIVE)
    return weights


def _quality(name: str, outcome: Floats, benchmark: Floats, forecast: Floats, set_p: float) -> ForecastQuality:
    clark, p = clark_west(outcome, benchmark, forecast)
    diebold, _ = diebold_mariano(((outcome - benchmark) ** 2).mean(axis=1), ((outcome - forecast) ** 2).mean(axis=1))
    each = [out_of_sample_r2(outcome[:, k], forecast[:, k], benchmark[:, k]) for k in range(outcome.shape[1])]
    return ForecastQuality(
        forecaster=name,
        months=len(outcome),
        r2=out_of_sample_r2(outcome, forecast, benchmark),
        by_series=tuple(each),
        clark_west_t=clark,
        clark_west_p=p,
        diebold_mariano_t=diebold,
        hit_rate=hit_rate(outcome, forecast),
        set_p=set_p,
    )


SHOWN = (EQUAL, "sign_12", "scaled_1", "timed_network_lstm", "softmax_network_lstm", "anchored_mixture")
"""Books of the picture."""


def _lines(earned: dict[str, timing.Earned], cost_bp: float) -> dict[str, Floats]:
    """Sums of net returns, each book scaled to the volatility that equal weight had over the sample."""
    base = earned[EQUAL].net(cost_bp).std(ddof=1)
    found: dict[str, Floats] = {}
    for name in SHOWN:
        net = earned[name].net(cost_bp)
        found[name] = np.cumsum(net * (base / net.std(ddof=1)))
    return found


def book_named(sample: Sample, name: str) -> timing.Judged:
    """The judgement of one book."""
    return next(item.judged for item in sample.books if item.book == name)


def summary_rows(study: Study) -> list[dict[str, str | float | None]]:
    """One line a book for a terminal or a machine; None = cannot be computed."""
    rows: list[dict[str, str | float | None]] = []
    for sample in (study.whole, study.recent):
        for item in sample.books:
            numbers = {**item.judged.__dict__, "adjusted_p": item.adjusted_p}
            known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
            rows.append({"sample": f"{sample.first}..{sample.last}", "book": item.book, **known})
    return rows
