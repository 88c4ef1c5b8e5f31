"""Compiled bookkeeping of bought-and-held groups: value paths, sizes, turnover. All series of a month at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.statistics import Floats

Ints = NDArray[np.int64]
Groups = NDArray[np.int8]


@njit(cache=True)
def group_values(
    group: Groups, row: Ints, weight: Floats, growth: Floats, n_groups: int, weighted: bool
) -> tuple[Floats, Floats, Floats, Ints]:
    """Value of each bought-and-held group of each series at the end, and of the outer groups at each close.

    Args:
        group: 1 … n_groups, 0 for none, shape (series, n).
        row: row of ``growth`` of each name, −1 for a value that stays 1, shape (n,).
        weight: weight at purchase; NaN or ≤ 0 leaves the name out of weighted values only, shape (n,).
        growth: value at each close of one unit at the start, shape (assets, days).
        weighted: whether the values at each close are the weighted ones.

    Returns:
        Values at the end with equal weights and with the given ones, shape (series, n_groups); values at each close of the
        first and the last group, shape (series, 2, days); all NaN for a group without weight; counts, shape
        (series, n_groups).
    """
    series, days = group.shape[0], growth.shape[1]
    # a name without a group counts in group 0, which is dropped: no branch inside
    even, valued = np.zeros((series, n_groups + 1)), np.zeros((series, n_groups + 1))
    count, mass = np.zeros((series, n_groups + 1), np.int64), np.zeros((series, n_groups + 1))
    paths, path, still = np.zeros((series, 2, days)), np.empty(days), np.ones(days)
    for i in range(group.shape[1]):
        grown = growth[row[i]] if row[i] >= 0 else still
        share = weight[i] if weight[i] > 0.0 else 0.0
        held = share if weighted else 1.0
        for d in range(days):
            path[d] = held * grown[d]
        end = grown[days - 1]
        for s in range(series):
            g = group[s, i]
            count[s, g] += 1
            even[s, g] += end
            mass[s, g] += share
            valued[s, g] += share * end
            if g == 1 or g == n_groups:
                for d in range(days):
                    paths[s, 1 if g > 1 else 0, d] += path[d]
    for s in range(series):
        for g in range(1, n_groups + 1):
            even[s, g] = even[s, g] / count[s, g] if count[s, g] > 0 else np.nan
            valued[s, g] = valued[s, g] / mass[s, g] if mass[s, g] > 0.0 else np.nan
        for e in range(2):
            g = n_groups if e else 1
            total = mass[s, g] if weighted else float(count[s, g])
            for d in range(days):
                paths[s, e, d] = paths[s, e, d] / total if total > 0.0 else np.nan
    return even[:, 1:].copy(), valued[:, 1:].copy(), paths, count[:, 1:].copy()


@njit(cache=True)
def group_turnover(group: Groups, before: Groups, match: Ints, n_groups: int) -> Floats:
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
def book_weights(group: Groups, n_groups: int) -> Floats:
    """Equal-weighted long-short books, shape (series, n): +1/n in the top group, −1/n in the bottom one.

    A series in which either group is empty has no book: weights of 0.
    """
    out = np.empty(group.shape)
    of_group = np.zeros(n_groups + 1)
    for s in range(group.shape[0]):
        top, bottom = 0, 0
        for i in range(group.shape[1]):
            top += group[s, i] == n_groups
            bottom += group[s, i] == 1
        of_group[n_groups] = 1.0 / top if top > 0 and bottom > 0 else 0.0
        of_group[1] = -1.0 / bottom if top > 0 and bottom > 0 else 0.0
        for i in range(group.shape[1]):
            out[s, i] = of_group[group[s, i]]
    return out


@njit(cache=True)
def drifted_weights(weights: Floats, returns: Floats) -> Floats:
    """Book weights after a month without trading, each leg measured in its own value (legs sum to ±1 again).

    Args:
        weights: shape (series, n). returns: return of each name over the month, shape (n,).

    Returns:
        shape (series, n); a leg that lost everything has no weight left.
    """
    out = np.empty(weights.shape)
    for s in range(weights.shape[0]):
        longs, shorts = 0.0, 0.0
        for i in range(weights.shape[1]):
            value = weights[s, i] * (1.0 + returns[i])
            out[s, i] = value
            longs += max(value, 0.0)
            shorts += max(-value, 0.0)
        # without any value in a leg there is none to divide
        longs, shorts = longs if longs > 0.0 else 1.0, shorts if shorts > 0.0 else 1.0
        for i in range(weights.shape[1]):
            out[s, i] /= longs if out[s, i] > 0.0 else shorts
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
