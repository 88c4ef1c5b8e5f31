"""Would one believe a Sharpe ratio, given its length, its shape, and how many were tried?

All ratios are per period. Kurtosis is Pearson's (normal 3). The 2012 and 2014 forms take the estimator's variance at the
estimated ratio; the 2025 form (López de Prado, Lipton & Zoonekynd) takes it under the null and differs.
"""

from __future__ import annotations

import math
from statistics import NormalDist

PROBABILISTIC_YEAR = 2012
DEFLATED_YEAR = 2014
"""Year of the formula, printed beside every number."""
_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def _variance(sharpe: float, skew: float, kurtosis: float) -> float:
    return 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe


def probabilistic_sharpe(sharpe: float, count: int, skew: float, kurtosis: float, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds ``benchmark`` (Bailey & López de Prado 2012, eq. 11).

    Φ((SR − SR*) √(n − 1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²)). NaN below two returns, for NaN inputs, or where the variance
    is not positive.
    """
    variance = _variance(sharpe, skew, kurtosis)
    if count < 2 or not variance > 0.0 or math.isnan(benchmark):
        return math.nan
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(variance))


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """Expected largest of ``trials`` Sharpe ratios that are all 0 in truth (Bailey & López de Prado 2014, eq. 1).

    √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ Euler's constant, V the variance of the trials' ratios; 0 for one trial.
    """
    if trials < 1 or variance < 0.0:
        raise ValueError(f"trials must be at least 1 and their variance not negative, got {trials} and {variance}")
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpe(sharpe: float, count: int, skew: float, kurtosis: float, trials: int, variance: float) -> float:
    """Probabilistic Sharpe ratio against the expected maximum of all trials (Bailey & López de Prado 2014, eq. 2).

    ``variance``: of the trials' per-period Sharpe ratios. With one trial it is the probabilistic ratio against 0.
    """
    return probabilistic_sharpe(sharpe, count, skew, kurtosis, expected_maximum_sharpe(trials, variance))


def minimum_track_record(sharpe: float, skew: float, kurtosis: float, benchmark: float, confidence: float) -> float:
    """Fewest observations with which ``sharpe`` > ``benchmark`` at ``confidence`` (Bailey & López de Prado 2012, eq. 13).

    1 + (1 − γ₃ SR + (γ₄ − 1)/4 SR²) (z/(SR − SR*))². NaN where the ratio is not above the benchmark: no length is enough.
    """
    variance = _variance(sharpe, skew, kurtosis)
    if not sharpe > benchmark or not variance > 0.0:
        return math.nan
    return 1.0 + variance * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2
