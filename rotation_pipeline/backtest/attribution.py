"""Where an excess return came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Brinson:
    """Effects by sector (N,), fraction per period; their sum over sectors and effects is the active return."""

    allocation: Floats
    selection: Floats
    interaction: Floats
    portfolio_return: float
    benchmark_return: float

    @property
    def active_return(self) -> float:
        """Portfolio return minus benchmark return."""
        return self.portfolio_return - self.benchmark_return


def brinson_fachler(
    portfolio_weights: npt.ArrayLike,
    benchmark_weights: npt.ArrayLike,
    portfolio_returns: npt.ArrayLike,
    benchmark_returns: npt.ArrayLike,
) -> Brinson:
    """Allocation (w_p − w_b)(r_b − R_b), selection w_b (r_p − r_b) and interaction (w_p − w_b)(r_p − r_b) by sector.

    (N,) each, one period. A sector one side does not hold has no return there (NaN allowed): its selection and interaction
    are 0 and all of it is allocation, with the other side's return standing in. NaN where the weight is not 0 is an error, and
    so are weights that do not have the same sum. Brinson & Fachler (1985), interaction apart as in Brinson, Hood & Beebower (1986).
    """
    wp, wb, rp, rb = (
        np.array(x, dtype=np.float64)
        for x in (portfolio_weights, benchmark_weights, portfolio_returns, benchmark_returns)
    )
    if not wp.shape == wb.shape == rp.shape == rb.shape or wp.ndim != 1:
        raise ValueError(
            f"weights and returns must be (N,) and equally long, got {wp.shape}, {wb.shape}, {rp.shape}, {rb.shape}"
        )
    if np.isnan(rp[wp != 0.0]).any() or np.isnan(rb[wb != 0.0]).any() or np.isnan(wp).any() or np.isnan(wb).any():
        raise ValueError("a sector that is held needs a return, and every sector needs weights")
    if abs(float(wp.sum() - wb.sum())) > 1e-9:
        raise ValueError(f"portfolio and benchmark weights sum to {wp.sum()} and {wb.sum()}: add cash as a sector")
    neither = (wp == 0.0) & (wb == 0.0)
    rp = np.where(neither, 0.0, np.where(wp == 0.0, rb, rp))  # a sector not held cannot be chosen well or badly
    rb = np.where(neither, 0.0, np.where(wb == 0.0, rp, rb))
    benchmark = float(np.sum(wb * rb))
    return Brinson(
        allocation=(wp - wb) * (rb - benchmark),
        selection=wb * (rp - rb),
        interaction=(wp - wb) * (rp - rb),
        portfolio_return=float(np.sum(wp * rp)),
        benchmark_return=benchmark,
    )


def excess_by_style(
    weights: npt.ArrayLike,
    baseline: npt.ArrayLike,
    returns: npt.ArrayLike,
    cost: npt.ArrayLike,
    baseline_cost: npt.ArrayLike,
) -> tuple[Floats, float]:
    """Additive decomposition of a net excess return over a baseline: what each style's tilt earned, and what costs took.

    ``weights``, ``baseline`` and ``returns`` (T, K): weights of t−1 and long-short returns of t, NaN = no book, earning 0;
    ``cost`` and ``baseline_cost`` (T,). Returns (K,) Σ_t (w − b) LS and the scalar −Σ_t (cost − baseline cost); together
    they sum to Σ_t (net − baseline net).
    """
    tilt = np.asarray(weights, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    earned = np.nan_to_num(np.asarray(returns, dtype=np.float64), nan=0.0)
    drag = np.asarray(cost, dtype=np.float64) - np.asarray(baseline_cost, dtype=np.float64)
    return np.sum(tilt * earned, axis=0), -float(np.sum(drag))
