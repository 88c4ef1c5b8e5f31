"""Performance measures of simple returns.

Every function takes ``returns`` of shape (n,) or (n, S) (S series over the same months) and reduces the first axis: a number
or (S,) comes back. In (n,) input NaN is skipped; in (n, S) it is an error. What cannot be computed (too few returns, no
spread) is NaN, never a large number that rounding made. Conventions are those of empyrical: sample deviation (ddof 1), the
starting value 1 counts as the first peak, downside deviation over all observations, alpha compounded to a year.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NOISE = 1e-12
"""Spread relative to the largest return below which returns are constant but for rounding."""


def clean(returns: npt.ArrayLike) -> Floats:
    """``returns`` as a contiguous float array, NaN skipped if (n,); ValueError for NaN in (n, S), infinity or another shape."""
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim == 1:
        values = values[~np.isnan(values)]
    if values.ndim not in (1, 2) or not np.isfinite(values).all():
        raise ValueError(
            "returns must be (n,) or complete (n, S) and finite; drop the months in which a series has no return"
        )
    return np.ascontiguousarray(values)


def _result(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _missing(values: Floats) -> Floats:
    return _result(np.full(values.shape[1:], np.nan))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0 or NaN."""
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return _result(np.divide(numerator, denominator, out=out, where=np.asarray(denominator != 0.0)))


def deviation(returns: npt.ArrayLike) -> Floats:
    """Sample standard deviation per period (ddof 1); 0 for returns equal but for rounding, NaN below two returns."""
    values = clean(returns)
    if values.shape[0] < 2:
        return _missing(values)
    spread = values.std(axis=0, ddof=1)
    return _result(np.where(spread <= _NOISE * np.abs(values).max(axis=0), 0.0, spread))


def total_return(returns: npt.ArrayLike) -> Floats:
    """Compounded return, −1 once everything is lost; NaN without returns."""
    values = clean(returns)
    if values.shape[0] == 0:
        return _missing(values)
    lost = (values <= -1.0).any(axis=0)
    return _result(np.where(lost, -1.0, np.prod(1.0 + np.maximum(values, -1.0), axis=0) - 1.0))


def annualised_return(returns: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Geometric mean return a year: (Π (1 + r))^(periods/n) − 1."""
    values = clean(returns)
    if values.shape[0] == 0:
        return _missing(values)
    return _result((1.0 + total_return(values)) ** (periods / values.shape[0]) - 1.0)


def volatility(returns: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Annualised standard deviation (ddof 1)."""
    return _result(deviation(returns) * np.sqrt(periods))


def sharpe_ratio(returns: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Mean over standard deviation, × √periods (Sharpe 1994, no risk-free rate: long-short returns finance themselves)."""
    values = clean(returns)
    if values.shape[0] < 2:
        return _missing(values)
    return _result(_ratio(values.mean(axis=0), deviation(values)) * np.sqrt(periods))


def sortino_ratio(returns: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Mean over downside deviation √(mean min(r, 0)²), taken over all observations, × √periods (Sortino & Price 1994)."""
    values = clean(returns)
    if values.shape[0] == 0:
        return _missing(values)
    downside = np.sqrt(np.mean(np.minimum(values, 0.0) ** 2, axis=0))
    return _result(_ratio(values.mean(axis=0), _result(downside)) * np.sqrt(periods))


def drawdowns(returns: npt.ArrayLike) -> Floats:
    """Net value over its highest so far (start included) − 1 after each period, same shape as the cleaned returns."""
    values = clean(returns)
    wealth = np.cumprod(1.0 + values, axis=0)
    return _result(wealth / np.maximum(np.maximum.accumulate(wealth, axis=0), 1.0) - 1.0)


def max_drawdown(returns: npt.ArrayLike) -> Floats:
    """Largest fall below the highest value so far, the starting value 1 included (≤ 0)."""
    values = clean(returns)
    return _missing(values) if values.shape[0] == 0 else _result(drawdowns(values).min(axis=0))


def max_drawdown_span(returns: npt.ArrayLike) -> tuple[int, int, int | None]:
    """Where the maximum drawdown of ``returns`` (n,) began, was deepest and ended, as positions.

    Peak: the last period at the high before the fall, −1 if that is the start. Trough: the period of the largest fall.
    Recovery: the first period back at the high, None if not yet. ValueError for (n, S) or no returns.
    """
    values = clean(returns)
    if values.ndim != 1 or values.size == 0:
        raise ValueError("the span of a drawdown needs one series with at least one return")
    below = drawdowns(values)
    trough = int(np.argmin(below))
    at_high = np.flatnonzero(below[: trough + 1] == 0.0)
    after = np.flatnonzero(below[trough:] == 0.0)
    return (int(at_high[-1]) if at_high.size else -1, trough, trough + int(after[0]) if after.size else None)


def calmar_ratio(returns: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Annualised return over |maximum drawdown|; NaN without a drawdown (Young 1991)."""
    values = clean(returns)
    return _ratio(annualised_return(values, periods), _result(-max_drawdown(values)))


def hit_rate(returns: npt.ArrayLike) -> Floats:
    """Share of returns above 0."""
    values = clean(returns)
    return _missing(values) if values.shape[0] == 0 else _result((values > 0.0).mean(axis=0))


def _moment_ratio(returns: npt.ArrayLike, power: int) -> Floats:
    values = clean(returns)
    if values.shape[0] < 2:
        return _missing(values)
    centred = values - values.mean(axis=0)
    spread = np.where(deviation(values) > 0.0, np.sqrt(np.mean(centred**2, axis=0)), np.nan)
    return _result(np.mean((centred / spread) ** power, axis=0))


def skewness(returns: npt.ArrayLike) -> Floats:
    """Third standardised moment, population form g₁; NaN for constant returns."""
    return _moment_ratio(returns, 3)


def kurtosis(returns: npt.ArrayLike) -> Floats:
    """Fourth standardised moment, population form, Pearson's: 3 for the normal; NaN for constant returns."""
    return _moment_ratio(returns, 4)


def worst(returns: npt.ArrayLike) -> Floats:
    """Smallest return."""
    values = clean(returns)
    return _missing(values) if values.shape[0] == 0 else _result(values.min(axis=0))


def excess_return(returns: npt.ArrayLike, benchmark: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Mean difference to ``benchmark`` (n,), × periods (arithmetic, so that it adds up over decisions)."""
    difference = active(returns, benchmark)
    return _missing(difference) if difference.shape[0] == 0 else _result(difference.mean(axis=0) * periods)


def tracking_error(returns: npt.ArrayLike, benchmark: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Annualised standard deviation of the difference to ``benchmark`` (n,)."""
    return volatility(active(returns, benchmark), periods)


def information_ratio(returns: npt.ArrayLike, benchmark: npt.ArrayLike, periods: float = 12.0) -> Floats:
    """Sharpe ratio of the difference to ``benchmark`` (n,); NaN if they are the same."""
    return sharpe_ratio(active(returns, benchmark), periods)


def active(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> Floats:
    """``returns`` (n,) or (n, S) minus ``benchmark`` (n,), periods in which either is NaN left out."""
    mine, theirs = _paired(returns, benchmark)
    return clean(mine - (theirs if mine.ndim == 1 else theirs[:, None]))


def alpha_beta(returns: npt.ArrayLike, benchmark: npt.ArrayLike, periods: float = 12.0) -> tuple[Floats, Floats]:
    """Ordinary least squares of ``returns`` on ``benchmark`` (n,): alpha compounded to a year, and beta.

    Periods in which either is NaN are left out. NaN below two periods or for a constant benchmark.
    """
    mine, theirs = _paired(returns, benchmark)
    mine, theirs = clean(mine), clean(theirs)
    if theirs.size < 2 or not bool(deviation(theirs) > 0.0):
        return _missing(mine), _missing(mine)
    centred = theirs - theirs.mean()
    weights = centred if mine.ndim == 1 else centred[:, None]
    beta = np.sum(weights * (mine - mine.mean(axis=0)), axis=0) / np.sum(centred * centred)
    alpha = mine.mean(axis=0) - beta * theirs.mean()
    return _result((1.0 + alpha) ** periods - 1.0), _result(beta)


def _paired(returns: npt.ArrayLike, benchmark: npt.ArrayLike) -> tuple[Floats, Floats]:
    mine, theirs = np.asarray(returns, dtype=np.float64), np.asarray(benchmark, dtype=np.float64)
    if theirs.ndim != 1 or mine.ndim not in (1, 2) or mine.shape[0] != theirs.shape[0]:
        raise ValueError(f"returns {mine.shape} and benchmark {theirs.shape} must cover the same periods")
    known = ~np.isnan(theirs) if mine.ndim == 2 else ~(np.isnan(theirs) | np.isnan(mine))
    return mine[known], theirs[known]
