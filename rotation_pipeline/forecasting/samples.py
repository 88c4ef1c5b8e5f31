"""Training samples of the networks: scaled inputs, targets and which windows train, which stop the training.

A window is ``lookback`` consecutive steps (months, or blocks of sessions in the daily form); its target is the return
that follows its last step. Every statistic is taken from what the training windows cover, so the validation tail is
untouched. Windows between training and validation whose targets reach into the tail are left out (purged).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.options import NetworkOptions

FloatArray = NDArray[np.float64]
Floats = NDArray[np.float32]
MIN_TRAINING_WINDOWS = 6
"""Fewer windows than half a year cannot be split into anything meaningful."""


class TooLittleHistoryError(ValueError):
    """A network was asked to train on fewer months than a split into training and validation needs."""


@dataclass(frozen=True)
class Block:
    """Consecutive windows that train together in one update: ``months`` inputs × (windows + lookback − 1), ``targets``
    and ``known`` K × windows."""

    months: Floats
    targets: Floats
    known: Floats

    @property
    def windows(self) -> int:
        """Number of windows."""
        return self.targets.shape[1]


@dataclass(frozen=True)
class Sample:
    """Scaled inputs and targets of one training history; see :func:`prepare`."""

    months: Floats
    """inputs × T, scaled and clamped."""
    targets: Floats
    """K × (T − L): the return of the month after each window, in ``scale``; 0 where unknown."""
    known: Floats
    """K × (T − L): 1 where the target is known, else 0."""
    train: int
    """Windows 0 … train − 1 train."""
    validation: int
    """The last ``validation`` windows stop the training."""
    scale: FloatArray
    """σ_i of each style (K), fraction per month; NaN for a style with too few returns."""
    center: FloatArray
    spread: FloatArray
    others: tuple[Block, ...] = ()
    """Further blocks that train in turn with the first ``train`` windows, one block an update; none wider than them."""

    def blocks(self, lookback: int) -> tuple[Block, ...]:
        """The training blocks in the order in which updates take them."""
        last = self.train
        own = Block(self.months[:, : last + lookback - 1], self.targets[:, :last], self.known[:, :last])
        return own, *self.others


def raw_inputs(styles: FloatArray, market: FloatArray) -> FloatArray:
    """T × (K + M + 1): both side by side and the share of values missing in each row."""
    raw = np.concatenate([styles, market], axis=1)
    return np.concatenate([raw, np.isnan(raw).mean(axis=1, keepdims=True)], axis=1)


def moments(values: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Column-wise mean, standard deviation (ddof 1; 1 for a constant column, which carries nothing and scales to 0) and
    count of what is known."""
    counts = (~np.isnan(values)).sum(axis=0)
    filled = np.where(np.isnan(values), 0.0, values)
    center = filled.sum(axis=0) / np.maximum(counts, 1)
    deviations = np.where(np.isnan(values), 0.0, values - center)
    spread = np.sqrt((deviations**2).sum(axis=0) / np.maximum(counts - 1, 1))
    spread[spread < 1e-12] = 1.0
    return center, spread, counts


def scaled_inputs(raw: FloatArray, center: FloatArray, spread: FloatArray, limit: float) -> Floats:
    """T × inputs → inputs × T: scaled and clamped to ± ``limit``; a missing value becomes 0, the training mean."""
    scaled = (raw - center) / spread
    return np.ascontiguousarray(np.nan_to_num(np.clip(scaled, -limit, limit), nan=0.0).T.astype(np.float32))


def scale_inputs(
    styles: FloatArray, market: FloatArray, center: FloatArray, spread: FloatArray, limit: float
) -> Floats:
    """(T × K, T × M) → inputs × T: scaled, clamped to ± ``limit``; a missing value becomes 0, the training mean, and the
    last input, the share of values missing that month, says so."""
    return scaled_inputs(raw_inputs(styles, market), center, spread, limit)


def scaled_targets(future: FloatArray, scale: FloatArray) -> tuple[Floats, Floats]:
    """(returns in units of ``scale`` with 0 where unknown, 1 where known), K × windows, of ``future`` (windows × K)."""
    units = future / scale
    known = ~np.isnan(units)
    return (
        np.ascontiguousarray(np.where(known, units, 0.0).T.astype(np.float32)),
        np.ascontiguousarray(known.T.astype(np.float32)),
    )


def prepare(styles: FloatArray, market: FloatArray, lookback: int, options: NetworkOptions) -> Sample:
    """Split a history (T × K style returns, T × M market features, last row = the fit month) into windows.

    Every statistic is taken from the months the training windows and their targets cover, so the validation tail is
    untouched. NaN style returns are allowed (the style did not exist yet) and leave the loss.
    """
    pairs = len(styles) - lookback
    validation = max(options.min_validation, round(options.validation_share * pairs))
    train = pairs - validation - options.purge
    if train < MIN_TRAINING_WINDOWS:
        raise TooLittleHistoryError(
            f"{len(styles)} months leave {train} training windows (lookback {lookback}, validation {validation}, purge "
            f"{options.purge}); raise min_train_months to {len(styles) + MIN_TRAINING_WINDOWS - train} or more"
        )
    center, spread, counts = moments(raw_inputs(styles, market)[: train + lookback])
    style_count = styles.shape[1]
    scale = spread[:style_count].copy() if options.scale_targets else np.ones(style_count)
    scale[counts[:style_count] < MIN_TRAINING_WINDOWS] = np.nan
    targets, known = scaled_targets(styles[lookback:], scale)
    months = scale_inputs(styles, market, center, spread, options.input_limit)
    return Sample(months, targets, known, train, validation, scale, center, spread)
