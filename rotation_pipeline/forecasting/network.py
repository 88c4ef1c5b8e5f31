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

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotation_pipeline.forecasting import attention, cells, recurrent
from rotation_pipeline.forecasting.options import NetworkOptions

Encoder = Literal["lstm", "transformer"]
ENCODERS: tuple[Encoder, ...] = ("lstm", "transformer")
FloatArray = NDArray[np.float64]
LANES = 8
"""Windows are padded to a multiple of this, one vector of float32; padded windows carry no loss."""
MIN_TRAINING_WINDOWS = 6
"""Fewer windows than half a year cannot be split into anything meaningful."""


class TooLittleHistoryError(ValueError):
    """A network was asked to train on fewer months than a split into training and validation needs."""


class StackedEncoder(Protocol):
    """What training needs of an encoder."""

    def forward(self, masks: NDArray[np.float32] | None, training: bool = True) -> Tensor: ...
    def backward(self, dh_last: Tensor) -> None: ...


@dataclass(frozen=True)
class Sample:
    """Scaled inputs and targets of one training history; see :func:`prepare`."""

    months: NDArray[np.float32]
    """inputs × T, scaled and clamped."""
    targets: NDArray[np.float32]
    """K × (T − L): the return of the month after each window, in ``scale``; 0 where unknown."""
    known: NDArray[np.float32]
    """K × (T − L): 1 where the target is known, else 0."""
    train: int
    """Windows 0 … train − 1 train."""
    validation: int
    """The last ``validation`` windows stop the training."""
    scale: FloatArray
    """σ_i of each style (K), fraction per month; NaN for a style with too few returns."""
    center: FloatArray
    spread: FloatArray


@contextmanager
def one_thread() -> Generator[None]:
    """Run torch on one thread, the count all numbers are defined for, and restore the old count afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _inputs(styles: FloatArray, market: FloatArray) -> FloatArray:
    raw = np.concatenate([styles, market], axis=1)
    return np.concatenate([raw, np.isnan(raw).mean(axis=1, keepdims=True)], axis=1)


def scale_inputs(
    styles: FloatArray, market: FloatArray, center: FloatArray, spread: FloatArray, limit: float
) -> NDArray[np.float32]:
    """(T × K, T × M) → inputs × T: scaled, clamped to ± ``limit``; a missing value becomes 0, the training mean, and the
    last input, the share of values missing that month, says so."""
    scaled = (_inputs(styles, market) - center) / spread
    return np.ascontiguousarray(np.nan_to_num(np.clip(scaled, -limit, limit), nan=0.0).T.astype(np.float32))


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
    seen = _inputs(styles, market)[: train + lookback]
    counts = (~np.isnan(seen)).sum(axis=0)
    filled = np.where(np.isnan(seen), 0.0, seen)
    center = filled.sum(axis=0) / np.maximum(counts, 1)
    deviations = np.where(np.isnan(seen), 0.0, seen - center)
    spread = np.sqrt((deviations**2).sum(axis=0) / np.maximum(counts - 1, 1))
    spread[spread < 1e-12] = 1.0  # a constant input carries nothing and scales to 0
    style_count = styles.shape[1]
    scale = spread[:style_count].copy() if options.scale_targets else np.ones(style_count)
    scale[counts[:style_count] < MIN_TRAINING_WINDOWS] = np.nan
    future = styles[lookback:] / scale
    known = ~np.isnan(future)
    return Sample(
        scale_inputs(styles, market, center, spread, options.input_limit),
        np.ascontiguousarray(np.where(known, future, 0.0).T.astype(np.float32)),
        np.ascontiguousarray(known.T.astype(np.float32)),
        train,
        validation,
        scale,
        center,
        spread,
    )


class Layout:
    """Where each parameter of one network lies in its flat row; rows are padded to whole blocks of the norm."""

    def __init__(self, encoder: Encoder, inputs: int, styles: int, lookback: int, options: NetworkOptions) -> None:
        hidden, inner = options.hidden, options.head_hidden
        if encoder == "lstm":
            shapes = recurrent.parameter_shapes(inputs, hidden, options.layers)
        else:
            if hidden % options.attention_heads:
                raise ValueError(
                    f"network option attention_heads={options.attention_heads} does not divide hidden={hidden}"
                )
            shapes = attention.parameter_shapes(inputs, hidden, options.layers, options.feed_forward, lookback)
        self.encoder_names = tuple(shapes)
        self.shapes = shapes | {
            "head_w": (styles * inner, hidden),
            "head_b": (styles * inner,),
            "last_w": (styles, inner),
            "last_b": (styles,),
        }
        self.sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        self.count = sum(self.sizes.values())
        self.width = -(-self.count // cells.NORM_BLOCK) * cells.NORM_BLOCK

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named views (seeds × shape) of seeds × width."""
        out: dict[str, Tensor] = {}
        start = 0
        for name, shape in self.shapes.items():
            out[name] = flat[:, start : start + self.sizes[name]].view(len(flat), *shape)
            start += self.sizes[name]
        return out

    def initial(self, generators: list[np.random.Generator]) -> Tensor:
        """seeds × width: uniform on ± 1/√fan-in as torch does, norms at 1, positions small, the last layer at 0."""
        flat = torch.zeros(len(generators), self.width)
        for name, view in self.views(flat).items():
            if name.startswith("last_"):
                continue
            if name.startswith("norm"):
                view.fill_(1.0 if "_g" in name else 0.0)
                continue
            shape = self.shapes[name]
            recurrent_part = "embed_w" not in self.shapes and name in self.encoder_names
            hidden = self.shapes["head_w"][-1]
            fan_in = hidden if recurrent_part or len(shape) == 1 else shape[-1]
            bound = 0.02 if name == "position" else 1.0 / math.sqrt(fan_in)
            for s, generator in enumerate(generators):
                view[s] = torch.from_numpy(generator.uniform(-bound, bound, shape).astype(np.float32))
        return flat


def generators(encoder: Encoder, year: int, month: int, options: NetworkOptions) -> list[np.random.Generator]:
    """One generator per seed, a function of the root seed, the calendar month, the encoder and the seed's number only."""
    return [
        np.random.default_rng([options.seed, year, month, ENCODERS.index(encoder), s]) for s in range(options.seeds)
    ]


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
        padded = torch.zeros(len(months), self.windows + lookback - 1)
        padded[:, : months.shape[1]] = torch.from_numpy(months)
        names = layout.encoder_names
        parts = ({n: self.p[n] for n in names}, {n: self.g[n] for n in names}, padded, self.windows, lookback)
        self.encoder: StackedEncoder = (
            recurrent.StackedLSTM(*parts)
            if encoder == "lstm"
            else attention.StackedTransformer(*parts, attention_heads=heads)
        )

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

    def backward(self, dout: Tensor) -> None:
        """Write every gradient given dLoss/dforecast (seeds × K × windows)."""
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
    """Training loss of the seeds in training, one array an epoch."""


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
        alive: Tensor,
        flat: Tensor,
        moments: tuple[Tensor, Tensor],
    ) -> None:
        """``alive``: numbers of the seeds; ``flat`` and ``moments``: seeds × width."""
        self._build = (encoder, layout, sample, lookback, options)
        self.alive, self.flat, self.moments = alive, flat, moments
        self.gradient = torch.zeros_like(flat)
        self._first = first = sample.targets.shape[1] - sample.validation
        self.fit, self.stop = (
            _Model(
                encoder,
                layout,
                flat,
                self.gradient,
                sample.months[:, start : start + n + lookback - 1],
                n,
                lookback,
                options.attention_heads,
            )
            for start, n in ((0, sample.train), (first, sample.validation))
        )
        self._target, self._known = (
            _padded(v[:, : sample.train], self.fit.windows) for v in (sample.targets, sample.known)
        )
        self._stop_target, self._stop_known = (
            _padded(v[:, first:], self.stop.windows) for v in (sample.targets, sample.known)
        )

    def step(self, epoch: int, randoms: list[np.random.Generator]) -> NDArray[np.float32]:
        """One update of every seed; returns the training losses (seeds) before it."""
        _, _, sample, _, options = self._build
        mine = [randoms[s] for s in self.alive.tolist()]
        masks = _masks(mine, options.layers, options.hidden, self.fit.windows, options.dropout)
        loss, slope = huber(self.fit.forward(masks, True), self._target, self._known, sample.train, options.huber_delta)
        self.fit.backward(slope)
        scales = cells.clip_scales(self.gradient.numpy(), np.float32(options.clip))
        first, second = (moment.numpy() for moment in self.moments)
        cells.adamw(
            self.flat.numpy(),
            self.gradient.numpy(),
            first,
            second,
            scales,
            epoch,
            options.learning_rate,
            options.weight_decay,
        )
        return loss.numpy().copy()

    def validate(self) -> tuple[Tensor, Tensor]:
        """(loss of each seed, forecasts seeds × K × validation windows) on the validation tail."""
        _, _, sample, _, options = self._build
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
) -> Trained:
    """Train all seeds from ``initial`` (seeds × width); each stops after ``patience`` epochs without a better validation
    loss and leaves the batch, which changes no other seed's numbers because every product is a seed's own."""
    best, best_loss = initial.clone(), torch.full((len(initial),), torch.inf)
    best_forecast = np.zeros((len(initial), len(sample.targets), sample.validation), np.float32)
    best_epoch = np.zeros(len(initial), np.int64)
    moments = (torch.zeros_like(initial), torch.zeros_like(initial))
    batch = _Batch(encoder, layout, sample, lookback, options, torch.arange(len(initial)), initial.clone(), moments)
    losses: list[NDArray[np.float32]] = []
    for epoch in range(options.epochs + 1):
        if epoch:
            losses.append(batch.step(epoch, randoms))
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


class FittedNetworks:
    """All seeds of one encoder fitted on a history; :meth:`predict` forecasts from any later month's inputs."""

    def __init__(
        self,
        encoder: Encoder,
        styles: FloatArray,
        market: FloatArray,
        year: int,
        month: int,
        lookback: int,
        options: NetworkOptions,
    ) -> None:
        """``styles`` T × K and ``market`` T × M up to the fit month, whose calendar date seeds the random numbers."""
        self.encoder: Encoder = encoder
        self.lookback, self.options = lookback, options
        self.sample = prepare(styles, market, lookback, options)
        self.layout = Layout(encoder, len(self.sample.months), styles.shape[1], lookback, options)
        randoms = generators(encoder, year, month, options)
        with one_thread():
            self.trained = train(
                encoder, self.sample, lookback, options, self.layout, self.layout.initial(randoms), randoms
            )

    def predict(self, styles: FloatArray, market: FloatArray) -> NetworkForecast:
        """Forecast from the last ``lookback`` rows of ``styles`` and ``market``.

        The mean is the average over seeds. The squared standard error is the validation tail's mean squared error of
        the averaged forecast, pooled over styles in units of σ_i and scaled back, plus the variance between seeds.
        """
        sample, options = self.sample, self.options
        rows = slice(len(styles) - self.lookback, len(styles))
        months = scale_inputs(styles[rows], market[rows], sample.center, sample.spread, options.input_limit)
        flat = self.trained.parameters
        with one_thread(), torch.no_grad():
            model = _Model(
                self.encoder,
                self.layout,
                flat,
                torch.zeros_like(flat),
                months,
                1,
                self.lookback,
                options.attention_heads,
            )
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
