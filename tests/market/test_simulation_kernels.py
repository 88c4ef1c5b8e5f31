"""The compiled day loop against decimals and plain loops."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.market.simulation import kernels as k
from rotation_pipeline.market.simulation.regimes import TRAITS

CENT = Decimal("0.01")


def run(
    last: float, changes: list[float], limit: int, *, suspended: list[bool] | None = None, plan: int = -1,
    cash: float = 0.0, bonus: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """One stock through a few days; returns (12, nd) and the state."""
    nd = len(changes)
    state = np.zeros((12, 1))
    state[[k.LAST, k.FACTOR, k.TOTAL, k.TRADABLE], 0] = last, 1.0, 1e9, 5e8
    state[[k.EX_NEW, k.EX_OLD], 0] = -1e9
    state[[k.DUE_CASH, k.DUE_BONUS], 0] = cash, bonus
    out = np.full((12, nd, 1), np.nan)
    draws = np.concatenate([np.zeros((nd, 1, 1)), np.full((nd, 1, 3), 0.5)], axis=2)
    still = np.array(suspended or [False] * nd)[:, None]
    k.trade_month(
        np.arange(nd), np.ones((nd, 1), dtype=bool), still, np.array(changes)[:, None], np.full((nd, 1), 0.02),
        np.full((nd, 1), limit), np.full((nd, 1), limit), np.full((nd, 1), 0.01), draws, np.array([plan]), state, out,
        np.full((nd, 1), np.nan), np.full((nd, 1), np.nan),
    )  # fmt: skip
    return out[:, :, 0], state[:, 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(50, 50_000), st.floats(-0.5, 0.5), st.sampled_from([500, 1000, 2000, 3000]))
def test_close_is_the_return_in_cents_inside_the_limits(cents: int, change: float, limit: int) -> None:
    out, _ = run(cents / 100, [change], limit)
    prev = Decimal(cents) / 100
    up = (prev * (10_000 + limit) / 10_000).quantize(CENT, ROUND_HALF_UP)
    down = max((prev * (10_000 - limit) / 10_000).quantize(CENT, ROUND_HALF_UP), CENT)
    close = Decimal(str(out[k.CLOSE, 0]))
    assert down <= Decimal(str(out[k.LOW, 0])) <= close <= Decimal(str(out[k.HIGH, 0])) <= up
    free = cents / 100 * (1 + change)
    assert abs(float(min(max(Decimal(str(round(free, 8))), down), up)) - float(close)) <= 0.005 + 1e-6
    assert out[k.RETURN, 0] == np.float64(round(float(close) * 100)) / cents - 1.0
    mean = out[k.AMOUNT, 0] / out[k.VOLUME, 0]
    assert out[k.LOW, 0] - 1e-3 <= mean <= out[k.HIGH, 0] + 1e-3


def test_half_a_cent_rounds_up() -> None:
    """10 % above 5.55 is 6.105, limit 6.11; in floats 5.55 × 1.1 is 6.1050000000000004 and 6.35 × 1.1 = 6.985 → 6.99."""
    for last, wanted in ((5.55, 6.11), (6.35, 6.99), (10.05, 11.06)):
        out, _ = run(last, [0.12], 1000)
        assert out[k.CLOSE, 0] == wanted


def test_far_beyond_the_limit_the_day_has_one_price() -> None:
    out, _ = run(10.0, [-0.18], 1000)
    assert set(out[[k.OPEN, k.HIGH, k.LOW, k.CLOSE], 0]) == {9.0}
    assert out[k.VOLUME, 0] == 500_000


def test_no_limit() -> None:
    out, _ = run(10.0, [0.9], -1)
    assert out[k.CLOSE, 0] == 19.0


def test_suspension_is_made_up_for_on_resumption() -> None:
    out, _ = run(10.0, [0.02, 0.03, 0.01], 1000, suspended=[True, True, False])
    assert out[k.CLOSE].tolist() == [10.0, 10.0, 10.61]  # 1.02 × 1.03 × 1.01 = 1.061106
    assert out[k.VOLUME, :2].tolist() == [0.0, 0.0]
    assert np.isnan(out[k.RETURN, :2]).all()


def test_distribution_waits_for_the_end_of_a_suspension() -> None:
    out, state = run(10.0, [0.0, 0.0, 0.0], 1000, suspended=[False, True, False], plan=1, cash=0.5, bonus=0.5)
    assert out[k.PREV].tolist() == [10.0, 10.0, 6.33]  # (10 − 0.5) / 1.5 = 6.3333
    assert out[k.ADJ].tolist() == [1.0, 1.0, 10.0 / 6.33]
    assert out[k.SHARES].tolist() == [1e9, 1e9, 1.5e9]
    assert out[k.FLOATING, 2] == 7.5e8
    assert out[k.CASH_TTM, 2] == 0.5 / 1.5
    assert state[k.PAID] == 5e8
    assert state[k.DUE_CASH] == 0.0


def test_volatility_path_is_the_recursion() -> None:
    rng = np.random.default_rng(0)
    shocks, state = rng.normal(size=(30, 4)), np.array([0.5, 1.0, 1.5, 3.0])
    expected, g = [], state.copy()
    for shock in shocks:
        expected.append(np.sqrt(g))
        g = (1 - 0.1 - 0.87) + 0.1 * g * shock**2 + 0.87 * g
    assert np.allclose(k.volatility_path(shocks, state, 0.1, 0.87), expected, rtol=1e-13)
    assert np.allclose(state, g, rtol=1e-13)


def test_neither_rounding_nor_limits_drift() -> None:
    """A return of mean zero stays one on a cheap share, where a cent is a percent."""
    rng = np.random.default_rng(3)
    change = 0.025 * rng.standard_t(4, size=(200, 400)) / np.sqrt(2)
    total = []
    for column in change.T:
        out, _ = run(1.5, column.tolist(), 1000)
        total.append(np.nanmean(out[k.RETURN]))
    mean, error = np.mean(total), np.std(total) / np.sqrt(len(total))
    assert abs(mean) < 4 * error
    assert set(TRAITS) == {"slow_bull", "bear", "range"}
