"""Multi-task networks: a shared encoder gives h_t, one small head per style forecasts its return of t + 1.

    h_t = encoder(x_{t−L+1}, …, x_t),   r̂_i = σ_i · (w_i · relu(W_i h_t + a_i) + b_i)
    loss = mean over windows of Σ_i Huber_δ(r_i / σ_i − r̂_i / σ_i)

All seeds of one month train at once on stacked parameters; months are never mixed, so a month trained alone equals the
same month of a backfill bit for bit. Each seed stops by its own validation loss and keeps its best parameters, the
starting ones included: the last layer starts at zero, so a network that learns nothing valid forecasts zero.

References: Hochreiter & Schmidhuber (1997), Vaswani et al. (2017), Huber (1964), Loshchilov & Hutter (2019), Gal &
Ghahramani (2016), Pascanu, Mikolov & Bengio (2013).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotation_pipeline.forecasting import attention, attention_columns, cells, gated, recurrent
from rotation_pipeline.forecasting.layout import ENCODERS, Encoder, Layout, generators
from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.forecasting.samples import Block, Sample, TooLittleHistoryError, prepare, scale_inputs

__all__ = [
    "ENCODERS",
    "Encoder",
    "FittedNetworks",
    "Layout",
    "NetworkForecast",
    "Sample",
    "Start",
    "TooLittleHistoryError",
    "Trained",
    "TrainedNetworks",
    "generators",
    "huber",
    "one_thread",
    "prepare",
    "scale_inputs",
    "train",
]

FloatArray = NDArray[np.float64]
LANES = 8
"""Windows are padded to a multiple of this, one vector of float32; padded windows carry no loss."""


class StackedEncoder(Protocol):
    """What training needs of an encoder."""

    def forward(self, masks: NDArray[np.float32] | None, training: bool = True) -> Tensor: ...
    def backward(self, dh_last: Tensor) -> None: ...


@contextmanager
def one_thread() -> Generator[None]:
    """Run torch on one thread, the count all numbers are defined for, and restore the old count afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Model:
    """Encoder and heads of the seeds still training, over one block of consecutive windows."""

    def __init__(
        self,
        encoder: Encoder,
        layout: Layout,
        flat: Tensor,
        gradient: Tensor,
        months: NDArray[np.float32],
        windows: int,
        lookback: int,
        heads: int,
    ) -> None:
        self.p, self.g = layout.views(flat), layout.views(gradient)
        self.windows = -(-windows // LANES) * LANES
        self._months = torch.zeros(len(months), self.windows + lookback - 1)
        self.show(months)
        names = layout.encoder_names
        parts = ({n: self.p[n] for n in names}, {n: self.g[n] for n in names}, self._months, self.windows, lookback)
        self.encoder: StackedEncoder
        if encoder == "lstm":
            self.encoder = recurrent.StackedLSTM(*parts)
        elif encoder == "gru":
            self.encoder = gated.StackedGRU(*parts)
        elif self.windows < attention_columns.LEAST_WINDOWS:
            self.encoder = attention.StackedTransformer(*parts, attention_heads=heads)
        else:
            self.encoder = attention_columns.ColumnTransformer(*parts, attention_heads=heads)

    def show(self, months: NDArray[np.float32]) -> None:
        """Put other months (inputs × steps, at most as many as at first) in the place the encoder reads."""
        self._months[:, : months.shape[1]] = torch.from_numpy(months)
        self._months[:, months.shape[1] :] = 0.0

    def forward(self, masks: NDArray[np.float32] | None, training: bool) -> Tensor:
        """Scaled forecasts, seeds × K × windows. ``masks``: layers × seeds × hidden × windows, the last one for h_T."""
        h = self.encoder.forward(None if masks is None else masks[:-1], training)
        self.h = h.contiguous()
        self.mask = None if masks is None else torch.from_numpy(masks[-1])
        self.dropped = self.h if self.mask is None else self.h * self.mask
        self.active = torch.relu_(torch.baddbmm(self.p["head_b"].unsqueeze(2), self.p["head_w"], self.dropped))
        seeds, styles, inner = self.p["last_w"].shape
        per_style = self.active.view(seeds * styles, inner, self.windows)
        out = torch.bmm(self.p["last_w"].reshape(seeds * styles, 1, inner), per_style)
        return out.view(seeds, styles, self.windows) + self.p["last_b"].unsqueeze(2)

    def backward(self, dout: Tensor, encoder: bool = True) -> None:
        """Write every gradient given dLoss/dforecast (seeds × K × windows); without ``encoder`` those of the heads only."""
        seeds, styles, inner = self.p["last_w"].shape
        flat = dout.reshape(seeds * styles, 1, self.windows)
        per_style = self.active.view(seeds * styles, inner, self.windows)
        self.g["last_b"].copy_(dout.sum(2))
        self.g["last_w"].copy_(torch.bmm(per_style, flat.transpose(1, 2)).view(seeds, styles, inner))
        dactive = torch.bmm(self.p["last_w"].reshape(seeds * styles, inner, 1), flat).view(
            seeds, styles * inner, self.windows
        )
        dactive.mul_(self.active > 0)
        self.g["head_b"].copy_(dactive.sum(2))
        self.g["head_w"].copy_(torch.bmm(dactive, self.dropped.transpose(1, 2)))
        if not encoder:
            return
        dh = torch.bmm(self.p["head_w"].transpose(1, 2), dactive)
        self.encoder.backward(dh if self.mask is None else dh.mul_(self.mask))


def huber(forecast: Tensor, target: Tensor, known: Tensor, windows: int, delta: float) -> tuple[Tensor, Tensor]:
    """Loss of each seed (mean over ``windows`` of the sum over styles) and its gradient.

    forecast: seeds × K × n, target and known: K × n (padded windows have known = 0).
    """
    error = (forecast - target) * known
    clamped = error.clamp(-delta, delta)
    loss = (clamped * (error - 0.5 * clamped)).sum((1, 2)) / windows
    return loss, clamped / windows


@dataclass(frozen=True)
class Trained:
    """What training leaves: each seed's best parameters and how it went."""

    parameters: Tensor
    """seeds × width."""
    validation_forecasts: NDArray[np.float32]
    """seeds × K × validation windows, scaled, at each seed's best epoch."""
    best_epoch: NDArray[np.int64]
    """0 = the starting parameters."""
    losses: list[NDArray[np.float32]]
    """Training loss of the seeds in training, one array an update."""


def _padded(values: NDArray[np.float32], windows: int) -> Tensor:
    out = torch.zeros(len(values), windows)
    out[:, : values.shape[1]] = torch.from_numpy(values)
    return out


def _masks(
    randoms: list[np.random.Generator], layers: int, hidden: int, windows: int, dropout: float
) -> NDArray[np.float32] | None:
    if dropout == 0.0:
        return None
    keep = np.float32(1.0 / (1.0 - dropout))
    out = np.empty((layers, len(randoms), hidden, windows), np.float32)
    for s, generator in enumerate(randoms):
        out[:, s] = (generator.random((layers, hidden, windows), dtype=np.float32) >= dropout) * keep
    return out


class _Batch:
    """The seeds still in training: parameters, gradient, moments and the two models that share them."""

    def __init__(
        self,
        encoder: Encoder,
        layout: Layout,
        sample: Sample,
        lookback: int,
        options: NetworkOptions,
        frozen: bool,
        alive: Tensor,
        flat: Tensor,
        moments: tuple[Tensor, Tensor],
    ) -> None:
        self._build = (encoder, layout, sample, lookback, options, frozen)
        self.alive, self.flat, self.moments = alive, flat, moments
        self.gradient = torch.zeros_like(flat)
        self._frozen = flat[:, : layout.encoder_count].clone() if frozen else None
        first = sample.targets.shape[1] - sample.validation
        self._blocks = sample.blocks(lookback)
        parts = (encoder, layout, flat, self.gradient)
        sizes = (lookback, options.attention_heads)
        self.fit = _Model(*parts, self._blocks[0].months, sample.train, *sizes)
        self.stop = _Model(
            *parts, sample.months[:, first : first + sample.validation + lookback - 1], sample.validation, *sizes
        )
        self._shown = [tuple(_padded(v, self.fit.windows) for v in (b.targets, b.known)) for b in self._blocks]
        self._stop_target, self._stop_known = (
            _padded(v[:, first:], self.stop.windows) for v in (sample.targets, sample.known)
        )

    def _turn(self, update: int) -> tuple[Block, Tensor, Tensor]:
        """The block of this update with its padded targets and what is known of them."""
        number = (update - 1) % len(self._blocks)
        block = self._blocks[number]
        if len(self._blocks) > 1:
            self.fit.show(block.months)
        target, known = self._shown[number]
        return block, target, known

    def step(self, update: int, randoms: list[np.random.Generator]) -> NDArray[np.float32]:
        """Update number ``update`` (from 1) of every seed; returns the training losses (seeds) before it."""
        *_, options, _ = self._build
        mine = [randoms[s] for s in self.alive.tolist()]
        block, target, known = self._turn(update)
        masks = _masks(mine, options.layers, options.hidden, self.fit.windows, options.dropout)
        loss, slope = huber(self.fit.forward(masks, True), target, known, block.windows, options.huber_delta)
        self.fit.backward(slope, encoder=self._frozen is None)
        scales = cells.clip_scales(self.gradient.numpy(), np.float32(options.clip))
        first, second = (moment.numpy() for moment in self.moments)
        rates = (options.learning_rate, options.weight_decay)
        cells.adamw(self.flat.numpy(), self.gradient.numpy(), first, second, scales, update, *rates)
        if self._frozen is not None:  # the optimiser's decay has no business there
            self.flat[:, : self._frozen.shape[1]] = self._frozen
        return loss.numpy().copy()

    def validate(self) -> tuple[Tensor, Tensor]:
        """(loss of each seed, forecasts seeds × K × validation windows) on the validation tail."""
        _, _, sample, _, options, _ = self._build
        forecast = self.stop.forward(None, False)
        loss, _ = huber(forecast, self._stop_target, self._stop_known, sample.validation, options.huber_delta)
        return loss, forecast[:, :, : sample.validation]

    def keeping(self, keep: Tensor) -> _Batch:
        """The batch without the seeds that have stopped."""
        first, second = self.moments
        return _Batch(*self._build, self.alive[keep], self.flat[keep], (first[keep], second[keep]))


def train(
    encoder: Encoder,
    sample: Sample,
    lookback: int,
    options: NetworkOptions,
    layout: Layout,
    initial: Tensor,
    randoms: list[np.random.Generator],
    *,
    frozen_encoder: bool = False,
) -> Trained:
    """Train all seeds from ``initial`` (seeds × width); each stops after ``patience`` epochs without a better validation
    loss and leaves the batch, which changes no other seed's numbers because every product is a seed's own.

    An epoch is one update on each block of ``sample`` in turn, one on all training windows where there are no ``others``. With
    ``frozen_encoder`` only the heads learn; the first ``layout.encoder_count`` columns stay those of ``initial``.
    """
    best, best_loss = initial.clone(), torch.full((len(initial),), torch.inf)
    best_forecast = np.zeros((len(initial), len(sample.targets), sample.validation), np.float32)
    best_epoch = np.zeros(len(initial), np.int64)
    moments = (torch.zeros_like(initial), torch.zeros_like(initial))
    alive = torch.arange(len(initial))
    batch = _Batch(encoder, layout, sample, lookback, options, frozen_encoder, alive, initial.clone(), moments)
    losses: list[NDArray[np.float32]] = []
    turns = 1 + len(sample.others)
    for epoch in range(options.epochs + 1):
        if epoch:
            losses += [batch.step((epoch - 1) * turns + turn, randoms) for turn in range(1, turns + 1)]
        loss, forecast = batch.validate()
        if not bool(torch.isfinite(loss).all()):
            raise FloatingPointError(
                f"{encoder}: validation loss is not finite at epoch {epoch}; lower the network option learning_rate"
            )
        better = loss < best_loss[batch.alive]
        chosen = batch.alive[better]
        best[chosen], best_loss[chosen] = batch.flat[better], loss[better]
        best_forecast[chosen.numpy()] = forecast[better].numpy()
        best_epoch[chosen.numpy()] = epoch
        keep = torch.from_numpy(epoch - best_epoch[batch.alive.numpy()] < options.patience)
        if not bool(keep.any()):
            break
        if not bool(keep.all()):
            batch = batch.keeping(keep)
    return Trained(best, best_forecast, best_epoch, losses)


@dataclass(frozen=True)
class NetworkForecast:
    """Forecast of one month: mean and standard error (K), fraction per month, NaN for a style with too few returns;
    latent: h_t of the first seed (hidden)."""

    mean: FloatArray
    standard_error: FloatArray
    latent: FloatArray


@dataclass(frozen=True)
class Start:
    """Where training starts instead of at random: ``encoder`` (seeds × ``Layout.encoder_count``) parameters of an encoder
    trained elsewhere, and whether they stay as they are (only the heads learn)."""

    encoder: Tensor
    frozen: bool = False

    def applied(self, initial: Tensor, layout: Layout) -> Tensor:
        """``initial`` (seeds × width) with the encoder's columns replaced."""
        wanted = (len(initial), layout.encoder_count)
        if tuple(self.encoder.shape) != wanted:
            raise ValueError(
                f"starting encoder has shape {tuple(self.encoder.shape)}, the network needs {wanted} "
                "(seeds × encoder parameters): same encoder, inputs, lookback, seeds, hidden and layers"
            )
        out = initial.clone()
        out[:, : layout.encoder_count] = self.encoder
        return out


class TrainedNetworks:
    """All seeds of one encoder trained on a sample; :meth:`forecast` answers for any other inputs."""

    def __init__(
        self,
        encoder: Encoder,
        sample: Sample,
        lookback: int,
        options: NetworkOptions,
        randoms: list[np.random.Generator],
        start: Start | None = None,
    ) -> None:
        self.encoder: Encoder = encoder
        self.sample, self.lookback, self.options = sample, lookback, options
        self.layout = Layout(encoder, len(sample.months), len(sample.targets), lookback, options)
        initial = self.layout.initial(randoms)
        frozen = start is not None and start.frozen
        if start is not None:
            initial = start.applied(initial, self.layout)
        with one_thread():
            self.trained = train(
                encoder, sample, lookback, options, self.layout, initial, randoms, frozen_encoder=frozen
            )

    @property
    def encoder_parameters(self) -> Tensor:
        """Trained encoder, seeds × ``Layout.encoder_count``: what :class:`Start` takes."""
        return self.trained.parameters[:, : self.layout.encoder_count].clone()

    def forecast(self, months: NDArray[np.float32]) -> NetworkForecast:
        """Forecast from one window of scaled inputs (inputs × lookback).

        The mean is the average over seeds. The squared standard error is the validation tail's mean squared error of
        the averaged forecast, pooled over styles in units of σ_i and scaled back, plus the variance between seeds.
        """
        sample, flat = self.sample, self.trained.parameters
        sizes = (1, self.lookback, self.options.attention_heads)
        with one_thread(), torch.no_grad():
            model = _Model(self.encoder, self.layout, flat, torch.zeros_like(flat), months, *sizes)
            scaled = model.forward(None, False)[:, :, 0].numpy().astype(np.float64)
            latent = model.h[0, :, 0].numpy().astype(np.float64)
        known = sample.known[:, -sample.validation :].astype(bool)
        errors = (self.trained.validation_forecasts.mean(axis=0) - sample.targets[:, -sample.validation :])[
            known
        ].astype(np.float64)
        spread = scaled.std(axis=0, ddof=1) if len(scaled) > 1 else np.zeros(scaled.shape[1])
        return NetworkForecast(
            scaled.mean(axis=0) * sample.scale, np.sqrt((errors**2).mean() + spread**2) * sample.scale, latent
        )


class FittedNetworks(TrainedNetworks):
    """The monthly form: fitted on a history of months; :meth:`predict` forecasts from any later month's inputs."""

    def __init__(
        self,
        encoder: Encoder,
        styles: FloatArray,
        market: FloatArray,
        year: int,
        month: int,
        lookback: int,
        options: NetworkOptions,
        start: Start | None = None,
    ) -> None:
        """``styles`` T × K and ``market`` T × M up to the fit month, whose calendar date seeds the random numbers."""
        sample = prepare(styles, market, lookback, options)
        super().__init__(encoder, sample, lookback, options, generators(encoder, year, month, options), start)

    def predict(self, styles: FloatArray, market: FloatArray) -> NetworkForecast:
        """Forecast from the last ``lookback`` rows of ``styles`` and ``market``."""
        sample = self.sample
        rows = slice(len(styles) - self.lookback, len(styles))
        limit = self.options.input_limit
        return self.forecast(scale_inputs(styles[rows], market[rows], sample.center, sample.spread, limit))
