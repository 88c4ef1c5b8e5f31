"""From style weights and exposures to the weights of stocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import polars as pl

from rotation_pipeline.backtest.stock_level.enhanced import IndexState, enhanced_weights
from rotation_pipeline.backtest.stock_level.kernel import Flags, Ints
from rotation_pipeline.backtest.stock_level.options import Portfolio, StockLevelOptions
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.market.conventions import Floats


@dataclass(frozen=True, slots=True)
class Signal:
    """Members at the close of a month: keys ascending (n,), style scores (n, K) with NaN = none, and what may be held."""

    assets: Ints
    scores: Floats
    tradable: Flags
    market_value: Floats
    """Float market value, CNY; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Target:
    """Signed weights (n,) of the invested money, keys ascending, their composite score, and members that are left as they are."""

    assets: Ints
    weight: Floats
    score: Floats
    frozen: Ints
    relaxed: dict[str, float] = field(default_factory=dict[str, float])
    """Limits that gave way, and by how much."""


def read_signal(exposures: pl.DataFrame, snapshot: pl.DataFrame) -> Signal:
    """``exposures``: rows of one month of marts.factor_exposures; ``snapshot``: rows of intermediate.stock_snapshot."""
    styles = exposures.filter(pl.col("factor").is_in(list(STYLES)))
    assets = np.unique(styles["asset_key"].to_numpy()).astype(np.int64)
    scores = np.full((assets.size, len(STYLES)), np.nan)
    tradable = np.zeros(assets.size, dtype=np.bool_)
    place = np.searchsorted(assets, styles["asset_key"].to_numpy())
    style = np.array([STYLES.index(name) for name in styles["factor"]], dtype=np.int64)
    scores[place, style] = styles["score"].cast(pl.Float64).to_numpy()
    tradable[place] = styles["in_tradable"].to_numpy()
    value = np.full(assets.size, np.nan)
    known = snapshot.filter(pl.col("asset_key").is_in(pl.Series(assets, dtype=pl.Int32).implode()))
    value[np.searchsorted(assets, known["asset_key"].to_numpy())] = (
        known["float_market_value"].cast(pl.Float64).to_numpy()
    )
    return Signal(assets, scores, tradable, value)


def composite(signal: Signal, weights: Floats) -> Floats:
    """Σ over styles of weight × score, (n,); a style without a score counts 0, a stock without any is NaN."""
    total = np.zeros(signal.assets.size)
    for style in range(len(STYLES)):  # a fixed order of additions: the same bits however many months are computed
        total += weights[style] * np.nan_to_num(signal.scores[:, style])
    return np.where(np.isnan(signal.scores).all(axis=1), np.nan, total)


def build_target(
    portfolio: str,
    signal: Signal,
    weights: Floats,
    options: StockLevelOptions,
    index: IndexState | None = None,
    held: Floats | None = None,
) -> Target:
    """Weights of the stocks of one book.

    ``portfolio``: long_only, the top group in equal parts; long_short, the same less the bottom group; index_tilt, all members by
    float market value times max(0, 1 + γ z). ``weights`` (K,) in the order of STYLES. Members that cannot trade at the
    signal are left as they are. ``index_enhanced`` (see there) needs ``index``, and ``held`` (n,), the weights held of the money
    invested (None: nothing yet). KeyError for another portfolio, ValueError for one without its index.
    """
    score = composite(signal, weights)
    if portfolio == "index_enhanced":
        if index is None:
            raise ValueError("index_enhanced needs the state of the index at the signal")
        return _index_enhanced(signal, score, index, held, options)
    chosen = np.flatnonzero(signal.tradable & ~np.isnan(score))
    weight = _BOOKS[portfolio](score[chosen], signal.market_value[chosen], options)
    kept = np.flatnonzero(weight != 0.0)
    return Target(signal.assets[chosen][kept], weight[kept], score[chosen][kept], signal.assets[~signal.tradable])


def _group(score: Floats, options: StockLevelOptions) -> tuple[Ints, int]:
    """Positions from the best to the worst (ties in the order of keys), and how many make a group."""
    count = max(1, round(options.top_fraction * score.size)) if score.size else 0
    return np.argsort(-score, kind="stable"), count


def _long_only(score: Floats, _value: Floats, options: StockLevelOptions) -> Floats:
    order, count = _group(score, options)
    weight = np.zeros(score.size)
    weight[order[:count]] = 1.0 / max(count, 1)
    return weight


def _long_short(score: Floats, value: Floats, options: StockLevelOptions) -> Floats:
    weight = _long_only(score, value, options)
    order, count = _group(score, options)
    if 2 * count > score.size:
        return np.zeros(score.size)  # too few names for two groups: no book
    weight[order[score.size - count :]] = -1.0 / max(count, 1)
    return weight


def _index_tilt(score: Floats, value: Floats, options: StockLevelOptions) -> Floats:
    known = np.where(np.isnan(value), 0.0, value)
    spread = float(score.std()) if score.size else 0.0
    z = (score - score.mean()) / spread if spread > 0.0 else np.zeros(score.size)
    raw = known * np.maximum(0.0, 1.0 + options.index_tilt * z)
    total = float(raw.sum())
    return raw / total if total > 0.0 else np.zeros(score.size)


def _index_enhanced(
    signal: Signal, score: Floats, index: IndexState, held: Floats | None, options: StockLevelOptions
) -> Target:
    found = enhanced_weights(score, signal.tradable, index, held, options.enhanced)
    chosen = np.flatnonzero(signal.tradable & (found.weight > 0.0))
    weight = found.weight[chosen]
    weight = weight / float(weight.sum())  # of the money that is not frozen
    known = np.nan_to_num(score[chosen])
    return Target(signal.assets[chosen], weight, known, signal.assets[~signal.tradable], found.relaxed)


_BOOKS = {"long_only": _long_only, "long_short": _long_short, "index_tilt": _index_tilt}
PORTFOLIOS: tuple[str, ...] = get_args(Portfolio)
"""Every portfolio that may be held; ``stock_level.portfolios`` says which are."""


def style_vector(rows: Mapping[str, float]) -> Floats:
    """(K,) weights in the order of STYLES; KeyError for a style without one."""
    return np.array([rows[style] for style in STYLES], dtype=np.float64)
