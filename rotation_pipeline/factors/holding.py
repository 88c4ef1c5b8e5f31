"""Compiled bookkeeping of bought-and-held groups: value paths, sizes, turnover. All series of a month at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.statistics import Floats

Ints = NDArray[np.int64]


@njit(cache=True)
def group_paths(group: Ints, row: Ints, weight: Floats, growth: Floats, n_groups: int) -> tuple[Floats, Ints]:
    """Value path of each bought-and-held group of each series, and the number of its names.

    Args:
        group: 1 … n_groups, 0 for none, shape (series, n).
        row: row of ``growth`` of each name, −1 for a value that stays 1, shape (n,).
        weight: weight at purchase; NaN or ≤ 0 leaves the name out of the path (not of the count), shape (n,).
        growth: value at each close of one unit at the start, shape (assets, days).

    Returns:
        Paths, shape (series, n_groups, days), NaN for a group without weight; counts, shape (series, n_groups).
    """
    series, days = group.shape[0], growth.shape[1]
    paths, count = np.zeros((series, n_groups, days)), np.zeros((series, n_groups), np.int64)
    mass = np.zeros((series, n_groups))
    for s in range(series):
        for i in range(group.shape[1]):
            g = group[s, i] - 1
            if g < 0:
                continue
            count[s, g] += 1
            if weight[i] > 0.0:
                mass[s, g] += weight[i]
                for d in range(days):
                    paths[s, g, d] += weight[i] * (growth[row[i], d] if row[i] >= 0 else 1.0)
        for g in range(n_groups):
            for d in range(days):
                paths[s, g, d] = paths[s, g, d] / mass[s, g] if mass[s, g] > 0.0 else np.nan
    return paths, count


@njit(cache=True)
def group_turnover(group: Ints, before: Ints, match: Ints, n_groups: int) -> Floats:
    """Share of each group's names that were not in the same group before, shape (series, n_groups); NaN if empty.

    Args:
        group, before: groups now and before, shapes (series, n) and (series, m).
        match: place of each name among the m names before, −1 if it was not there, shape (n,).
    """
    series = group.shape[0]
    count, fresh = np.zeros((series, n_groups)), np.zeros((series, n_groups))
    for s in range(series):
        for i in range(group.shape[1]):
            g = group[s, i] - 1
            if g < 0:
                continue
            count[s, g] += 1.0
            if match[i] < 0 or before[s, match[i]] != group[s, i]:
                fresh[s, g] += 1.0
    out = np.full((series, n_groups), np.nan)
    for s in range(series):
        for g in range(n_groups):
            if count[s, g] > 0.0:
                out[s, g] = fresh[s, g] / count[s, g]
    return out


@njit(cache=True)
def book_weights(group: Ints, n_groups: int) -> Floats:
    """Equal-weighted long-short books, shape (series, n): +1/n in the top group, −1/n in the bottom one.

    A series in which either group is empty has no book: weights of 0.
    """
    out = np.zeros(group.shape)
    for s in range(group.shape[0]):
        top, bottom = 0, 0
        for i in range(group.shape[1]):
            top += group[s, i] == n_groups
            bottom += group[s, i] == 1
        if top == 0 or bottom == 0:
            continue
        for i in range(group.shape[1]):
            if group[s, i] == n_groups:
                out[s, i] = 1.0 / top
            elif group[s, i] == 1:
                out[s, i] = -1.0 / bottom
    return out


@njit(cache=True)
def drifted_weights(weights: Floats, returns: Floats) -> Floats:
    """Book weights after a month without trading, each leg measured in its own value (legs sum to ±1 again).

    Args:
        weights: shape (series, n). returns: return of each name over the month, shape (n,).

    Returns:
        shape (series, n); a leg that lost everything has no weight left.
    """
    out = np.zeros(weights.shape)
    for s in range(weights.shape[0]):
        longs, shorts = 0.0, 0.0
        for i in range(weights.shape[1]):
            value = weights[s, i] * (1.0 + returns[i])
            longs += max(value, 0.0)
            shorts += max(-value, 0.0)
        for i in range(weights.shape[1]):
            value = weights[s, i] * (1.0 + returns[i])
            if value > 0.0:
                out[s, i] = value / longs
            elif value < 0.0:
                out[s, i] = value / shorts
    return out


@njit(cache=True)
def book_turnover(weights: Floats, before: Floats, match: Ints) -> Floats:
    """½ Σ|w − w before| over the names of both books, shape (series,); 1 opens a book, 2 changes every name.

    Args:
        weights, before: shapes (series, n) and (series, m).
        match: place of each of the n names among the m before, −1 if it was not there, shape (n,).
    """
    series = weights.shape[0]
    out = np.zeros(series)
    for s in range(series):
        stayed = np.zeros(before.shape[1], np.bool_)
        total = 0.0
        for i in range(weights.shape[1]):
            if match[i] >= 0:
                stayed[match[i]] = True
                total += abs(weights[s, i] - before[s, match[i]])
            else:
                total += abs(weights[s, i])
        for j in range(before.shape[1]):
            if not stayed[j]:
                total += abs(before[s, j])
        out[s] = 0.5 * total
    return out
