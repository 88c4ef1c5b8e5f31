"""Where the parameters of a network lie, how they start, and which random numbers belong to them."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rotation_pipeline.forecasting import attention, cells, gated, recurrent
from rotation_pipeline.forecasting.options import NetworkOptions

Encoder = Literal["lstm", "transformer", "gru"]
ENCODERS: tuple[Encoder, ...] = ("lstm", "transformer", "gru")
"""A position seeds random numbers: new encoders go to the end."""


class Layout:
    """Where each parameter of one network lies in its flat row; rows are padded to whole blocks of the norm."""

    def __init__(self, encoder: Encoder, inputs: int, styles: int, lookback: int, options: NetworkOptions) -> None:
        hidden, inner = options.hidden, options.head_hidden
        if encoder == "lstm":
            shapes = recurrent.parameter_shapes(inputs, hidden, options.layers)
        elif encoder == "gru":
            shapes = gated.parameter_shapes(inputs, hidden, options.layers)
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
        self.encoder_count = sum(self.sizes[name] for name in self.encoder_names)
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


def generators(
    encoder: Encoder, year: int, month: int, options: NetworkOptions, stream: int = 0
) -> list[np.random.Generator]:
    """One generator per seed, a function of the root seed, the calendar month, the encoder, the seed's number and the
    ``stream`` (0: the monthly form; another use of the same encoder takes another number) only."""
    root = [options.seed, year, month, ENCODERS.index(encoder)]
    extra = [stream] if stream else []
    return [np.random.default_rng([*root, s, *extra]) for s in range(options.seeds)]
