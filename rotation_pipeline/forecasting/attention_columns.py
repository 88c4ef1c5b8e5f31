"""The Transformer of :mod:`~rotation_pipeline.forecasting.attention` for many windows: the same mathematics with columns
for tokens, compiled kernels between batched matrix products and a hand-written backward pass.

Used from ``LEAST_WINDOWS`` windows on, which only the daily form and very long monthly histories have; fewer stay with
autograd, whose numbers stored results of the monthly form carry. Both agree to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rotation_pipeline.forecasting import attention_cells as kernels
from rotation_pipeline.forecasting.attention import TransformerEncoder
from rotation_pipeline.forecasting.stacked import Buffers, Floats

LEAST_WINDOWS = 160


def _flat(tensor: Tensor) -> Floats:
    return tensor.numpy().reshape(-1)


@dataclass
class _Norm:
    """A layer norm's memory of its forward pass: centred and scaled input, the scale, the output."""

    unit: Tensor
    scale: Tensor
    out: Tensor


@dataclass
class _Layer:
    """What a layer's backward pass needs of its forward pass; columns: all steps, or the last alone where asked."""

    first: _Norm
    query: Tensor
    pairs: Tensor
    weights: Tensor
    mixed: Tensor
    second: _Norm
    up: Tensor


class ColumnTransformer(TransformerEncoder):
    """Forward and backward by compiled kernels."""

    def _start(self) -> None:
        self._batch = self.months.expand(self.seeds, *self.months.shape)
        self._memory: list[_Layer] = []
        self._own = Buffers()

    def _space(self, name: str, *shape: int) -> Tensor:
        """A kept buffer, seeds × shape."""
        return self._own.space(name, self.seeds, *shape)

    def _linear(self, name: str, x: Tensor, rows: slice = slice(None)) -> Tensor:
        weight, bias = self.parameters[name][:, rows], self.parameters[name.replace("_w", "_b")][:, rows]
        out = self._space(f"{name} {rows.start} out", weight.shape[1], x.shape[2])
        return torch.baddbmm(bias.unsqueeze(2), weight, x, out=out)

    def _linear_backward(self, name: str, dout: Tensor, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """Writes the gradients of weight and bias; returns that of the input."""
        self.gradients[name][:, rows].copy_(torch.bmm(dout, x.transpose(1, 2)))
        self.gradients[name.replace("_w", "_b")][:, rows].copy_(dout.sum(2))
        weight = self.parameters[name][:, rows]
        out = self._space(f"{name} {rows.start} back", weight.shape[2], dout.shape[2])
        return torch.bmm(weight.transpose(1, 2), dout, out=out)

    def _norm(self, name: str, x: Tensor) -> _Norm:
        gain, shift = (self.parameters[name.replace("?", part)].contiguous() for part in ("g", "b"))
        memory = _Norm(
            self._space(f"{name} unit", *x.shape[1:]), self._space(f"{name} scale", x.shape[2]),
            self._space(f"{name} out", *x.shape[1:]),
        )  # fmt: skip
        kernels.norm(
            _flat(x), _flat(gain), _flat(shift), _flat(memory.unit), _flat(memory.scale), _flat(memory.out), self.seeds,
            self.hidden, x.shape[2],
        )  # fmt: skip
        return memory

    def _norm_backward(self, name: str, dout: Tensor, memory: _Norm, dx: Tensor) -> None:
        """Writes the gradients of gain and shift; adds that of the input to ``dx``."""
        product = torch.mul(dout, memory.unit, out=self._space(f"product {dout.shape[2]}", *dout.shape[1:]))
        self.gradients[name.replace("?", "g")].copy_(product.sum(2))
        self.gradients[name.replace("?", "b")].copy_(dout.sum(2))
        gain = self.parameters[name.replace("?", "g")].contiguous()
        kernels.norm_backward(
            _flat(dout), _flat(gain), _flat(memory.unit), _flat(memory.scale), _flat(dx), self.seeds, self.hidden,
            dout.shape[2],
        )  # fmt: skip

    def _layout(self, last: bool) -> tuple[int, int, int, int]:
        """Rows of queries and pairs a seed, first row of keys and of values."""
        d = self.hidden
        return (d, 2 * d, 0, d) if last else (3 * d, 3 * d, d, 2 * d)

    def _layer(self, x: Tensor, k: int) -> Tensor:
        d, n, last = self.hidden, self.n, k == self.layers - 1
        first = self._norm(f"norm1_?_{k}", x)
        if last:  # only the last step is read
            x = x[:, :, (self.steps - 1) * n :].contiguous()
            query = self._linear(f"qkv_w_{k}", first.out[:, :, (self.steps - 1) * n :], slice(0, d))
            pairs = self._linear(f"qkv_w_{k}", first.out, slice(d, 3 * d))
        else:
            query = pairs = self._linear(f"qkv_w_{k}", first.out)
        asking = 1 if last else self.steps
        weights = self._space(f"weights {k}", self.heads, asking, self.steps, n)
        mixed = self._space(f"mixed {k}", d, asking * n)
        kernels.attend(
            _flat(query), _flat(pairs), _flat(weights), _flat(mixed), self._layout(last), self.seeds, d, self.heads,
            asking, self.steps, n,
        )  # fmt: skip
        x = self._linear(f"out_w_{k}", mixed).add_(x)
        second = self._norm(f"norm2_?_{k}", x)
        up = torch.relu_(self._linear(f"up_w_{k}", second.out))
        self._memory.append(_Layer(first, query, pairs, weights, mixed, second, up))
        return self._linear(f"down_w_{k}", up).add_(x)

    def _layer_backward(self, dx: Tensor, k: int) -> Tensor:
        """Gradient of the layer's input given ``dx``, that of its output."""
        d, n, last, memory = self.hidden, self.n, k == self.layers - 1, self._memory[k]
        dup = self._linear_backward(f"down_w_{k}", dx, memory.up)
        kernels.where_positive(_flat(memory.up), _flat(dup))
        self._norm_backward(
            f"norm2_?_{k}", self._linear_backward(f"up_w_{k}", dup, memory.second.out), memory.second, dx
        )
        dmixed = self._linear_backward(f"out_w_{k}", dx, memory.mixed)
        dpairs = self._space(f"dpairs {k}", *memory.pairs.shape[1:]).zero_()
        dquery = self._space("dquery", *memory.query.shape[1:]).zero_() if last else dpairs
        kernels.attend_backward(
            _flat(dmixed), _flat(memory.query), _flat(memory.pairs), _flat(memory.weights), _flat(dquery), _flat(dpairs),
            self._layout(last), self.seeds, d, self.heads, 1 if last else self.steps, self.steps, n,
        )  # fmt: skip
        normed = memory.first.out
        if last:
            tail = slice((self.steps - 1) * n, None)
            dnormed = self._linear_backward(f"qkv_w_{k}", dpairs, normed, slice(d, 3 * d))
            dnormed[:, :, tail] += self._linear_backward(f"qkv_w_{k}", dquery, normed[:, :, tail], slice(0, d))
            below = self._space("below", *normed.shape[1:]).zero_()
            below[:, :, tail] = dx
        else:
            dnormed, below = self._linear_backward(f"qkv_w_{k}", dpairs, normed), dx
        self._norm_backward(f"norm1_?_{k}", dnormed, memory.first, below)
        return below

    def forward(self, masks: Floats | None, training: bool = True) -> Tensor:
        """h_T, seeds × hidden × windows. ``masks``: (layers − 1) × seeds × hidden × windows or None."""
        s, d, n = self.seeds, self.hidden, self.n
        embedded, position = self._linear("embed_w", self._batch), self.parameters["position"].contiguous()
        x = self._space("x", d, self.steps * n)
        kernels.place(_flat(embedded), _flat(position), _flat(x), s, d, embedded.shape[2], self.steps, n)
        self._memory, self._masks = [], masks
        for k in range(self.layers):
            x = self._layer(x, k)
            if masks is not None and k + 1 < self.layers:
                x.view(s, d, self.steps, n).mul_(torch.from_numpy(masks[k]).unsqueeze(2))
        self._last = self._norm("norm_?", x)
        return self._last.out

    def backward(self, dh_last: Tensor) -> None:
        """Write the gradients given dLoss/dh_T (seeds × hidden × windows)."""
        if len(self._memory) != self.layers:
            raise RuntimeError("backward needs a forward pass before it")
        s, d, n = self.seeds, self.hidden, self.n
        dx = self._space("dx", d, n).zero_()
        self._norm_backward("norm_?", dh_last.contiguous(), self._last, dx)
        for k in range(self.layers - 1, -1, -1):
            if self._masks is not None and k + 1 < self.layers:
                dx.view(s, d, self.steps, n).mul_(torch.from_numpy(self._masks[k]).unsqueeze(2))
            dx = self._layer_backward(dx, k)
        self.gradients["position"].copy_(dx.view(s, d, self.steps, n).sum(3).transpose(1, 2))
        dembedded = self._space("dembedded", d, self.months.shape[1]).zero_()
        kernels.gather(_flat(dx), _flat(dembedded), s, d, self.months.shape[1], self.steps, n)
        self._linear_backward("embed_w", dembedded, self._batch)
        self._memory = []
