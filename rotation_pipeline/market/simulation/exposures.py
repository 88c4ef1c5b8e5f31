"""Style scores of the names at a month's last close, from what was known then: what next month's premia are paid on.

The eleven quantities and the way from raw to style are those the pipeline measures (spec/factors.md): own returns, known
reports, known prices. The mean and spread of a score are those of the index members, so one unit is one standard
deviation among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.market.simulation.roster import Bools, Floats

WINDOW = 253
"""Sessions of history kept: the longest factor looks back 252."""
_CAP = 3.0
_SHARE_NEEDED = 0.8
_RIDGE = 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at a close, arrays of shape (n,), NaN = unknown; ``returns`` (≤ 253, n), NaN = not traded."""

    returns: Floats
    index_returns: Floats
    price: Floats
    market_value: Floats
    profit: Floats
    profit_year_ago: Floats
    book: Floats
    cash_ttm: Floats


def style_scores(snapshot: Snapshot, members: Bools) -> Floats:
    """Scores of every name on MOM, VAL, QLTY, VOL and SIZE, shape (n, 5); 0 where too little is known."""
    mom_20, mom_120, rsi = _momentum(snapshot.returns)
    volatility, beta = _risk(snapshot.returns, snapshot.index_returns)
    value = snapshot.market_value
    base = snapshot.profit_year_ago
    growth = (snapshot.profit - base) / np.maximum(np.abs(base), 1.0)
    styles = (
        (mom_20, mom_120, rsi),
        (snapshot.book / value, snapshot.profit / value, snapshot.cash_ttm / snapshot.price),
        (snapshot.profit / snapshot.book, growth),
        (-volatility, -beta),
        (-np.log(value),),
    )
    return np.column_stack([_composite([_standardise(raw, members) for raw in raws], members) for raws in styles])


def expected_excess(scores: Floats, members: Bools, premia: Floats) -> Floats:
    """Expected monthly return beyond the market's, shape (n,): each style's univariate slope among members is its premium.

    Scores are correlated, and a premium is what sorting on one style alone earns; so the scores are multiplied by the
    inverse of their correlation (with a small ridge) before the premia. Exactly 0 if every premium is.
    """
    if not premia.any() or int(members.sum()) < 2:
        return np.zeros(scores.shape[0])
    inside = scores[members]
    moments: Floats = np.einsum("ij,ik->jk", inside, inside) / inside.shape[0] + _RIDGE * np.eye(scores.shape[1])
    loadings = np.asarray(np.linalg.solve(moments, premia), dtype=np.float64)
    excess: Floats = np.einsum("ij,j->i", scores, loadings)
    return np.clip(excess, -0.08, 0.08)


def _standardise(raw: Floats, members: Bools) -> Floats:
    """Winsorised at median ± 5 × 1.4826 × MAD and z-scored on the members, capped at ±3; NaN stays."""
    known = members & np.isfinite(raw)
    if int(known.sum()) < 3:
        return np.full(raw.shape, np.nan)
    centre = np.median(raw[known])
    reach = 5 * 1.4826 * np.median(np.abs(raw[known] - centre))
    clipped = np.clip(raw, centre - reach, centre + reach) if reach > 0 else raw
    mean, spread = clipped[known].mean(), clipped[known].std()
    if not spread > 0:
        return np.full(raw.shape, np.nan)
    return np.clip((clipped - mean) / spread, -_CAP, _CAP)


def _composite(parts: list[Floats], members: Bools) -> Floats:
    """Mean of the scores present (at least half of them), standardised again, 0 where there is none."""
    stacked = np.column_stack(parts)
    present = np.isfinite(stacked)
    count = present.sum(axis=1)
    total = np.where(present, stacked, 0.0).sum(axis=1)
    mean = np.where(2 * count >= len(parts), total / np.maximum(count, 1), np.nan)
    score = _standardise(mean, members)
    return np.where(np.isfinite(score), score, 0.0)


def _momentum(returns: Floats) -> tuple[Floats, Floats, Floats]:
    """20- and 120-session returns and Wilder's 14-session RSI; a suspended day counts as no move."""
    traded = np.isfinite(returns)
    filled = np.where(traded, returns, 0.0)

    def over(window: int) -> Floats:
        enough = traded[-window:].sum(axis=0) >= _SHARE_NEEDED * window
        return np.where(enough, np.expm1(np.log1p(filled[-window:]).sum(axis=0)), np.nan)

    weights = (13.0 / 14.0) ** np.arange(filled.shape[0] - 1, -1, -1.0)
    gains = (np.maximum(filled, 0.0) * weights[:, None]).sum(axis=0)
    losses = (np.maximum(-filled, 0.0) * weights[:, None]).sum(axis=0)
    known = (traded[-28:].sum(axis=0) >= 14) & (gains + losses > 0)
    rsi = np.where(known, 100.0 * gains / np.where(known, gains + losses, 1.0), np.nan)
    return over(20), over(120), rsi


def _risk(returns: Floats, index_returns: Floats) -> tuple[Floats, Floats]:
    """Standard deviation of 60 sessions and the slope on the index over 252 (at least 120)."""
    recent = returns[-60:]
    volatility = _masked_spread(recent, np.isfinite(recent), int(_SHARE_NEEDED * 60))
    window, index = returns[-252:], index_returns[-252:]
    traded = np.isfinite(window)
    count = np.maximum(traded.sum(axis=0), 1)
    index_part = np.where(traded, index[:, None], 0.0)
    index_gap = np.where(traded, index_part - index_part.sum(axis=0) / count, 0.0)
    filled = np.where(traded, window, 0.0)
    variance = (index_gap * index_gap).sum(axis=0)
    enough = (traded.sum(axis=0) >= 120) & (variance > 0)
    beta = np.where(enough, (index_gap * filled).sum(axis=0) / np.where(enough, variance, 1.0), np.nan)
    return volatility, beta


def _masked_spread(values: Floats, present: NDArray[np.bool_], needed: int) -> Floats:
    """Standard deviation of the present values of each column, NaN where fewer than ``needed``."""
    count = present.sum(axis=0)
    filled = np.where(present, values, 0.0)
    gap = np.where(present, filled - filled.sum(axis=0) / np.maximum(count, 1), 0.0)
    spread = np.sqrt((gap * gap).sum(axis=0) / np.maximum(count - 1, 1))
    return np.where(count >= needed, spread, np.nan)
