"""Daily form of the multi-task networks: sessions instead of months, so hundreds of windows where months give dozens.

An input step is a block of ``daily_step`` sessions: the sum of each style's daily returns in it and the index features
at its last session. Blocks are counted back from the last session known, so a forecast always ends with it. The target
of a window is the sum of the ``daily_horizon`` daily returns after its last session, about one month.

Windows that end one session apart share all but one day of inputs and target, so training on all of them at once pays
many times for nearly the same gradient. Instead each update sees windows a whole block apart, and the next update the
windows that end ``daily_stride`` sessions earlier: with a stride of 1 and a step of 5 an epoch is five updates that
together see every session as the end of a window, at the price of one pass. (Windows a block apart alone would cost a
fifth; on planted dynamics they overfit: the least validation loss is 2.6 for the LSTM and 2.2 for the GRU where turns reach
1.9 and 1.7 from 2.2 at the start.) Validation windows are those that end with whole blocks. Between the last
training window and the first of validation lie ⌈horizon / step⌉ blocks more, so no training target reaches into the tail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.history import DailyHistory
from rotation_pipeline.forecasting.layout import Encoder, generators
from rotation_pipeline.forecasting.network import NetworkForecast, Start, TrainedNetworks
from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.forecasting.samples import (
    MIN_TRAINING_WINDOWS,
    Block,
    Sample,
    TooLittleHistoryError,
    moments,
    raw_inputs,
    scaled_inputs,
    scaled_targets,
)

FloatArray = NDArray[np.float64]
DAILY_STREAM = 1
"""Random numbers of the daily form; those of the monthly one have stream 0."""


def block_ends(sessions: int, step: int, offset: int) -> NDArray[np.int64]:
    """Last session of each whole block of ``step`` sessions, counted back from the session ``offset`` before the last."""
    last = sessions - 1 - offset
    count = max(0, (last + 1) // step)
    return last - step * np.arange(count - 1, -1, -1, dtype=np.int64)


def block_inputs(daily: DailyHistory, ends: NDArray[np.int64], step: int) -> FloatArray:
    """Steps × (K + F + 1): sums of the blocks' style returns (NaN where a day is unknown), features at their last session
    and the share of values missing."""
    rows = ends[:, None] + np.arange(1 - step, 1)
    return raw_inputs(daily.styles[rows].sum(axis=1), daily.market[ends])


def forward_sums(returns: FloatArray, horizon: int) -> FloatArray:
    """Row d: Σ of rows d + 1 … d + horizon, D × K; NaN where one of them is unknown or not there yet."""
    out = np.full(returns.shape, np.nan)
    if len(returns) > horizon:
        windows = np.lib.stride_tricks.sliding_window_view(returns[1:], horizon, axis=0)
        out[: len(windows)] = windows.sum(axis=2)
    return out


def prepare_daily(daily: DailyHistory, options: NetworkOptions) -> Sample:
    """The sample of a history of sessions: windows that end with whole blocks, and as ``others`` those in between.

    Statistics of inputs and targets are taken from the training windows of the first block alone. Raises
    TooLittleHistoryError with fewer than six training windows.
    """
    step, lookback, horizon = options.daily_step, options.daily_lookback, options.daily_horizon
    sessions = len(daily.styles)
    ends = block_ends(sessions, step, 0)
    last = ends[lookback - 1 :]
    pairs = int((last + horizon < sessions).sum())
    validation = max(options.min_validation, round(options.validation_share * pairs))
    purge = -(-horizon // step)
    train = pairs - validation - purge
    if train < MIN_TRAINING_WINDOWS:
        raise TooLittleHistoryError(
            f"{sessions} sessions leave {train} training windows (daily_lookback {lookback} × daily_step {step}, "
            f"daily_horizon {horizon}, validation {validation}, purge {purge}); raise min_train_months"
        )
    raw = block_inputs(daily, ends, step)[: pairs + lookback - 1]
    future = forward_sums(daily.styles, horizon)
    center, spread, _ = moments(raw[: train + lookback - 1])
    _, scale, counts = moments(future[last[:train]])
    scale = scale if options.scale_targets else np.ones_like(scale)
    scale[counts < MIN_TRAINING_WINDOWS] = np.nan
    targets, known = scaled_targets(future[last[:pairs]], scale)
    others: list[Block] = []
    for offset in range(options.daily_stride, step, options.daily_stride):
        shifted = block_ends(sessions, step, offset)
        # none ends later than the first block's last training window: what separates that from validation separates these
        shifted = shifted[shifted <= last[train - 1]]
        inside = shifted[lookback - 1 :]
        if len(inside):
            months = scaled_inputs(block_inputs(daily, shifted, step), center, spread, options.input_limit)
            others.append(Block(months, *scaled_targets(future[inside], scale)))
    months = scaled_inputs(raw, center, spread, options.input_limit)
    return Sample(months, targets, known, train, validation, scale, center, spread, tuple(others))


class FittedDailyNetworks(TrainedNetworks):
    """All seeds of one encoder fitted on sessions up to a month's last; :meth:`predict` forecasts from any later one."""

    def __init__(
        self,
        encoder: Encoder,
        daily: DailyHistory,
        year: int,
        month: int,
        options: NetworkOptions,
        start: Start | None = None,
    ) -> None:
        """``daily``: sessions up to the last of the fit month, whose calendar date seeds the random numbers."""
        randoms = generators(encoder, year, month, options, DAILY_STREAM)
        super().__init__(encoder, prepare_daily(daily, options), options.daily_lookback, options, randoms, start)

    def predict(self, daily: DailyHistory) -> NetworkForecast:
        """Forecast of the next ``daily_horizon`` sessions' return from the last ``daily_lookback`` blocks of ``daily``."""
        sample, options = self.sample, self.options
        ends = block_ends(len(daily.styles), options.daily_step, 0)[-self.lookback :]
        if len(ends) < self.lookback:
            raise TooLittleHistoryError(
                f"{len(daily.styles)} sessions make {len(ends)} input steps of {options.daily_step}, the network reads "
                f"{self.lookback}; lower the network option daily_lookback"
            )
        raw = block_inputs(daily, ends, options.daily_step)
        return self.forecast(scaled_inputs(raw, sample.center, sample.spread, options.input_limit))
