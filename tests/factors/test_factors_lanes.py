"""Sums in fixed lanes: right, and the same bits for the same window wherever it lies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from rotation_pipeline.factors import lanes


@njit(cache=True)
def all_sums(
    a: np.ndarray, i: int, b: np.ndarray, j: int, n: int, centre: float
) -> tuple[float, float, float, float, float, float, float]:
    p, q = lanes.address(a, i), lanes.address(b, j)
    squares, product = lanes.products(p, q, n, centre)
    up, moved = lanes.rises(p, q, n)
    return lanes.total(p, n), lanes.dot(p, q, n), lanes.squares(p, n, centre), squares, product, up, moved


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 80), st.integers(1, 9), st.integers(0, 9), st.integers(0, 999))
def test_sums_are_right_and_do_not_depend_on_where_a_window_lies(n: int, i: int, j: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n + 1), rng.normal(size=n)
    wide_a, wide_b = rng.normal(size=100), rng.normal(size=100)
    wide_a[i - 1 : i + n], wide_b[j : j + n] = a, b
    got = all_sums(wide_a, i, wide_b, j, n, 0.25)
    x, change = a[1:], np.diff(a)
    expected = (
        math.fsum(x), math.fsum(x * b), math.fsum((x - 0.25) ** 2), math.fsum((x - 0.25) ** 2), math.fsum((x - 0.25) * b),
        math.fsum(b * np.maximum(change, 0.0)), math.fsum(b * np.abs(change)),
    )  # fmt: skip
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-13)
    assert got == all_sums(a, 1, b, 0, n, 0.25)


def test_additions_are_grouped_as_the_module_says() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=43) * 10.0 ** rng.integers(-8, 8, 43)
    lane = np.zeros(16)
    for k in range(32):
        lane[k % 16] += x[k]
    for k in range(32, 40):
        lane[k % 4] += x[k]
    four = (lane[0:4] + lane[4:8]) + (lane[8:12] + lane[12:16])
    rest = (x[40] + x[41]) + x[42]
    assert all_sums(x, 0, x, 0, 43, 0.0)[0] == ((four[0] + four[1]) + (four[2] + four[3])) + rest


def test_an_unknown_number_makes_the_sum_unknown() -> None:
    for place in (0, 15, 17, 20):
        x = np.ones(21)
        x[place] = np.nan
        assert np.isnan(all_sums(x, 0, np.ones(21), 0, 21, 0.0)[:3]).all()


def test_only_contiguous_float64_has_an_address() -> None:
    @njit
    def address(x: np.ndarray) -> int:
        return lanes.address(x, 0)

    for wrong in (np.ones(4, np.float32), np.ones((2, 2)), np.ones(8)[::2]):
        with pytest.raises(Exception, match="contiguous float64"):
            address(wrong)
