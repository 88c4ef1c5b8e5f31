"""Transformer encoder (Vaswani et al. 2017; pre-norm, Xiong et al. 2020) of many seeds at once on stacked parameters.

Only the last month of a window is read, so the last layer asks its question for that month alone; the numbers equal
those of a full ``nn.TransformerEncoder`` read at its last token. Gradients by autograd.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rotation_pipeline.forecasting.stacked import check_months

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(inputs: int, hidden: int, layers: int, feed_forward: int, lookback: int) -> Shapes:
    """Shapes of one network's encoder."""
    shapes: Shapes = {"embed_w": (hidden, inputs), "embed_b": (hidden,), "position": (lookback, hidden)}
    for k in range(layers):
        shapes |= {
            f"norm1_g_{k}": (hidden,),
            f"norm1_b_{k}": (hidden,),
            f"qkv_w_{k}": (3 * hidden, hidden),
            f"qkv_b_{k}": (3 * hidden,),
            f"out_w_{k}": (hidden, hidden),
            f"out_b_{k}": (hidden,),
            f"norm2_g_{k}": (hidden,),
            f"norm2_b_{k}": (hidden,),
            f"up_w_{k}": (feed_forward, hidden),
            f"up_b_{k}": (feed_forward,),
            f"down_w_{k}": (hidden, feed_forward),
            f"down_b_{k}": (hidden,),
        }
    return shapes | {"norm_g": (hidden,), "norm_b": (hidden,)}


class TransformerEncoder:
    """A Transformer over ``windows`` consecutive windows of ``months`` for all seeds: its parameters and sizes."""

    def __init__(
        self,
        parameters: dict[str, Tensor],
        gradients: dict[str, Tensor],
        months: Tensor,
        windows: int,
        lookback: int,
        attention_heads: int,
    ) -> None:
        """``parameters`` and ``gradients``: seeds × shape; ``months``: inputs × (windows + lookback − 1)."""
        check_months(months, windows, lookback)
        self.parameters, self.gradients, self.months = parameters, gradients, months
        self.seeds, self.hidden = parameters["embed_b"].shape
        self.layers = sum(name.startswith("up_w_") for name in parameters)
        self.n, self.steps, self.heads = windows, lookback, attention_heads
        self._start()

    def _start(self) -> None:
        """What a form of the encoder keeps beside these."""


class StackedTransformer(TransformerEncoder):
    """Forward and backward by autograd."""

    _output: Tensor | None

    def _start(self) -> None:
        self.leaves = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
        self._rows = self.months.t().expand(self.seeds, self.months.shape[1], self.months.shape[0])
        self._output = None

    def _linear(self, x: Tensor, name: str, first: int = 0, last: int | None = None) -> Tensor:
        weight, bias = self.leaves[name], self.leaves[name.replace("_w", "_b")]
        flat = x.reshape(self.seeds, -1, x.shape[-1])
        out = torch.baddbmm(bias[:, None, first:last], flat, weight[:, first:last].transpose(1, 2))
        return out.view(*x.shape[:-1], out.shape[-1])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        gain, shift = (self.leaves[name.replace("?", part)] for part in ("g", "b"))
        shape = (self.seeds, *[1] * (x.dim() - 2), self.hidden)
        return torch.addcmul(shift.view(shape), functional.layer_norm(x, (self.hidden,)), gain.view(shape))

    def _split(self, x: Tensor) -> Tensor:
        s, n, steps, _ = x.shape
        return x.view(s * n, steps, self.heads, -1).transpose(1, 2)

    def _layer(self, x: Tensor, k: int) -> Tensor:
        d = self.hidden
        normed = self._norm(x, f"norm1_?_{k}")
        if k == self.layers - 1:  # only the last month is read
            x = x[:, :, -1:]
            query = self._linear(normed[:, :, -1:], f"qkv_w_{k}", 0, d)
            key, value = self._linear(normed, f"qkv_w_{k}", d).split(d, -1)
        else:
            query, key, value = self._linear(normed, f"qkv_w_{k}").split(d, -1)
        mixed = functional.scaled_dot_product_attention(self._split(query), self._split(key), self._split(value))
        x = x + self._linear(mixed.transpose(1, 2).reshape(x.shape), f"out_w_{k}")
        up = torch.relu(self._linear(self._norm(x, f"norm2_?_{k}"), f"up_w_{k}"))
        return x + self._linear(up, f"down_w_{k}")

    def forward(self, masks: NDArray[np.float32] | None, training: bool = True) -> Tensor:
        """h_T, seeds × hidden × windows. ``masks``: (layers − 1) × seeds × hidden × windows or None."""
        with torch.set_grad_enabled(training):
            months = self._linear(self._rows, "embed_w")
            x = months.unfold(1, self.steps, 1).transpose(2, 3) + self.leaves["position"][:, None]
            for k in range(self.layers):
                x = self._layer(x, k)
                if masks is not None and k + 1 < self.layers:
                    x = x * torch.from_numpy(masks[k]).transpose(1, 2)[:, :, None]
            h = self._norm(x[:, :, 0], "norm_?").transpose(1, 2)
        self._output = h if training else None
        return h.detach()

    def backward(self, dh_last: Tensor) -> None:
        """Write the gradients given dLoss/dh_T (seeds × hidden × windows)."""
        if self._output is None:
            raise RuntimeError("backward needs a forward pass with training=True before it")
        found = torch.autograd.grad(self._output, list(self.leaves.values()), dh_last)
        for name, gradient in zip(self.leaves, found, strict=True):
            self.gradients[name].copy_(gradient)
        self._output = None
