"""GRU (Cho et al. 2014, in the form of torch) of many seeds at once: batched matrix products over the seed axis,
compiled cells in between and a hand-written backward pass (backpropagation through time).

    r = σ(W_ir x + b_ir + W_hr h + b_hr),  z = σ(W_iz x + b_iz + W_hz h + b_hz)
    q = W_hn h + b_hn,  n = tanh(W_in x + b_in + r q),  h' = n + z (h − n)

As in :mod:`~rotation_pipeline.forecasting.recurrent`, windows overlap, so the first layer's projection of an input is
computed once a month, and the order of the axes is steps, seeds, features, windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotation_pipeline.forecasting import cells, gated_cells
from rotation_pipeline.forecasting.stacked import StackedRecurrence, flat_steps

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(inputs: int, hidden: int, layers: int) -> Shapes:
    """Shapes of one network's encoder: gates in the order r, z, n, with both biases, as in torch."""
    shapes: Shapes = {}
    for layer in range(layers):
        shapes[f"w_ih_{layer}"] = (3 * hidden, hidden if layer else inputs)
        shapes[f"w_hh_{layer}"] = (3 * hidden, hidden)
        shapes[f"b_ih_{layer}"] = (3 * hidden,)
        shapes[f"b_hh_{layer}"] = (3 * hidden,)
    return shapes


@dataclass
class _Layer:
    """Buffers of one layer: states entering each step (steps + 1), gates r, z, q, candidates n, inputs from below."""

    h: Tensor
    gates: Tensor
    candidate: Tensor
    below: Tensor

    def __post_init__(self) -> None:
        self.h_flat, self.gates_flat, self.candidate_flat, self.below_flat = (
            flat_steps(each) for each in (self.h, self.gates, self.candidate, self.below)
        )


class StackedGRU(StackedRecurrence):
    """Forward and backward over ``windows`` consecutive windows of ``months`` for all seeds."""

    def __init__(
        self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], months: Tensor, windows: int, lookback: int
    ) -> None:
        """``parameters`` and ``gradients``: seeds × shape; ``months``: inputs × (windows + lookback − 1)."""
        super().__init__(parameters, gradients, months, windows, lookback)
        s, h, n = self.seeds, self.hidden, windows
        self._buffers = [
            _Layer(
                torch.zeros(lookback + 1, s, h, n),
                torch.empty(lookback, s, self.rows, n),
                torch.empty(lookback, s, h, n),
                torch.empty(lookback if layer else 0, s, h, n),
            )
            for layer in range(self.layers)
        ]
        self._projected = torch.empty(s, self.rows, n)

    def _bias(self, k: int) -> Tensor:
        """What is added to the input part: b_ih, and b_hh where it stands outside the product with r."""
        p, rows = self.parameters, 2 * self.hidden
        bias = p[f"b_ih_{k}"].clone()
        bias[:, :rows] += p[f"b_hh_{k}"][:, :rows]
        return bias.unsqueeze(2)

    def forward(self, masks: NDArray[np.float32] | None, training: bool = True) -> Tensor:
        """h_T of the last layer, seeds × hidden × windows. ``masks``: (layers − 1) × seeds × hidden × windows or None."""
        p, h, n, s = self.parameters, self.hidden, self.n, self.seeds
        self._keep_masks(masks)
        months = torch.baddbmm(self._bias(0), p["w_ih_0"], self._batch_months).numpy().reshape(-1)
        for k, layer in enumerate(self._buffers):
            bias = self._bias(k) if k else None
            inner = p[f"b_hh_{k}"][:, 2 * h :].contiguous().numpy().reshape(-1)
            for t in range(self.steps):
                if t == 0:
                    layer.gates[0].zero_()  # h_0 = 0
                else:
                    torch.bmm(p[f"w_hh_{k}"], layer.h[t], out=layer.gates[t])
                added, step, length = months, t, self.months.shape[1]
                if bias is not None:
                    source = self._buffers[k - 1].h_flat[t + 1]
                    cells.masked_copy(source, self._masks[k - 1], layer.below_flat[t], h, s, h, n)
                    torch.baddbmm(bias, p[f"w_ih_{k}"], layer.below[t], out=self._projected)
                    added, step, length = self._projected.numpy().reshape(-1), 0, n
                gates, candidate = layer.gates_flat[t], layer.candidate_flat[t]
                gated_cells.gru_gates(gates, candidate, added, inner, step, length, s, h, n)
                gated_cells.gru_state(gates, candidate, layer.h_flat[t], layer.h_flat[t + 1], s, h, n)
        return self._buffers[-1].h[self.steps]

    def backward(self, dh_last: Tensor) -> None:
        """Write the gradients given dLoss/dh_T (seeds × hidden × windows); uses the gates up, so once per forward."""
        s, h, n = self.seeds, self.hidden, self.n
        # gradient of each step's state from the layer above
        received = self._own.zeros(f"received {self.layers % 2}", self.steps, s, h, n)
        received[-1] = dh_last
        for k in range(self.layers - 1, -1, -1):
            received = self._layer_backward(k, received)

    def _layer_backward(self, k: int, received: Tensor) -> Tensor:
        """Gradients of layer ``k``; returns those of the states of the layer below, if there is one."""
        s, h, n = self.seeds, self.hidden, self.n
        p, layer = self.parameters, self._buffers[k]
        w_ih, w_hh = self._gradient(f"w_ih_{k}"), self._gradient(f"w_hh_{k}")
        own = self._own
        hidden_sum, input_sum = own.zeros("hidden", s, 3 * h, n), own.zeros("input", s, 3 * h, n)
        months = (own.space if k else own.zeros)("months", s, 3 * h, self.months.shape[1])
        inputs, dh = own.space("inputs", s, 3 * h, n), own.zeros("dh", s, h, n)
        below = own.zeros(f"received {k % 2}", self.steps, s, h, n) if k else received
        work, dx = np.empty(h * n, np.float32), own.space("dx", s, h, n)
        for t in range(self.steps - 1, -1, -1):
            gates = layer.gates[t]
            dh += received[t]
            gated_cells.gru_backward(
                layer.gates_flat[t],
                layer.candidate_flat[t],
                layer.h_flat[t],
                dh.numpy().reshape(-1),
                inputs.numpy().reshape(-1),
                work,
                s,
                h,
                n,
            )
            hidden_sum += gates
            if t > 0:
                w_hh.baddbmm_(gates, layer.h[t].transpose(1, 2))
                dh.baddbmm_(p[f"w_hh_{k}"].transpose(1, 2), gates)
            if k == 0:
                flat = months.numpy().reshape(-1)
                cells.add_shifted(flat, inputs.numpy().reshape(-1), t, months.shape[2], s * 3 * h, n)
                continue
            input_sum += inputs
            w_ih.baddbmm_(inputs, layer.below[t].transpose(1, 2))
            torch.bmm(p[f"w_ih_{k}"].transpose(1, 2), inputs, out=dx)
            cells.add_masked(below[t].numpy().reshape(-1), dx.numpy().reshape(-1), self._masks[k - 1], h, s, h, n)
        if k == 0:
            w_ih = torch.bmm(months, self._batch_months.transpose(1, 2))
        g = self.gradients
        g[f"w_ih_{k}"].copy_(w_ih)
        g[f"w_hh_{k}"].copy_(w_hh)
        g[f"b_ih_{k}"].copy_((months if k == 0 else input_sum).sum(2))
        g[f"b_hh_{k}"].copy_(hidden_sum.sum(2))
        return below
