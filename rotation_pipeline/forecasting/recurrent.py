"""Two-layer LSTM (Hochreiter & Schmidhuber 1997) of many seeds at once: batched matrix products over the seed axis,
compiled cells in between and a hand-written backward pass (backpropagation through time).

Windows overlap: window j at step t sees month j + t. The projection of an input therefore is computed once a month, not
once a window and step. Steps, seeds, features, windows is the order of the axes; windows are padded to whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotation_pipeline.forecasting import cells
from rotation_pipeline.forecasting.stacked import StackedRecurrence, flat_steps

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(inputs: int, hidden: int, layers: int) -> Shapes:
    """Shapes of one network's encoder: gates in the order i, f, g, o; layers after the first hold W_ih and W_hh side by
    side. Two biases, as in torch, because Adam moves their sum twice as fast as one."""
    shapes: Shapes = {"w_ih_0": (4 * hidden, inputs), "w_hh_0": (4 * hidden, hidden)}
    for layer in range(layers):
        if layer:
            shapes[f"w_{layer}"] = (4 * hidden, 2 * hidden)
        shapes[f"b_ih_{layer}"] = (4 * hidden,)
        shapes[f"b_hh_{layer}"] = (4 * hidden,)
    return shapes


@dataclass
class _Layer:
    """Buffers of one layer: states entering each step (steps + 1), gates, cells and their tanh."""

    z: Tensor
    gates: Tensor
    c: Tensor
    tanh_c: Tensor

    def __post_init__(self) -> None:
        self.z_flat, self.gates_flat, self.c_flat, self.tanh_flat = (
            flat_steps(each) for each in (self.z, self.gates, self.c, self.tanh_c)
        )


class StackedLSTM(StackedRecurrence):
    """Forward and backward over ``windows`` consecutive windows of ``months`` for all seeds."""

    def __init__(
        self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], months: Tensor, windows: int, lookback: int
    ) -> None:
        """``parameters`` and ``gradients``: seeds × shape; ``months``: inputs × (windows + lookback − 1)."""
        super().__init__(parameters, gradients, months, windows, lookback)
        s, h, n = self.seeds, self.hidden, windows
        self._buffers = [
            _Layer(
                torch.zeros(lookback + 1, s, h if layer == 0 else 2 * h, n),
                torch.empty(lookback, s, self.rows, n),
                torch.zeros(lookback + 1, s, h, n),
                torch.empty(lookback, s, h, n),
            )
            for layer in range(self.layers)
        ]

    def forward(self, masks: NDArray[np.float32] | None, training: bool = True) -> Tensor:
        """h_T of the last layer, seeds × hidden × windows. ``masks``: (layers − 1) × seeds × hidden × windows or None."""
        p, h, n, s = self.parameters, self.hidden, self.n, self.seeds
        self._keep_masks(masks)
        bias = (p["b_ih_0"] + p["b_hh_0"]).unsqueeze(2)
        added = [torch.baddbmm(bias, p["w_ih_0"], self._batch_months).numpy().reshape(-1)]
        added += [(p[f"b_ih_{k}"] + p[f"b_hh_{k}"]).numpy().reshape(-1) for k in range(1, self.layers)]
        for t in range(self.steps):
            for k, layer in enumerate(self._buffers):
                if k == 0 and t == 0:
                    layer.gates[0].zero_()  # h_0 = 0
                else:
                    torch.bmm(p["w_hh_0"] if k == 0 else p[f"w_{k}"], layer.z[t], out=layer.gates[t])
                length = self.months.shape[1] if k == 0 else 1
                cells.lstm_gates(layer.gates_flat[t], added[k], t, length, s, h, n)
                rows, first = (h, 0) if k == 0 else (2 * h, h)
                cells.lstm_state(
                    layer.gates_flat[t],
                    layer.c_flat[t],
                    layer.c_flat[t + 1],
                    layer.tanh_flat[t],
                    layer.z_flat[t + 1],
                    rows,
                    first,
                    s,
                    h,
                    n,
                )
                if k + 1 < self.layers:
                    above = self._buffers[k + 1]
                    # a layer's own state sits behind what it receives from below
                    source = layer.z[t + 1] if k == 0 else layer.z[t + 1][:, h:].contiguous()
                    cells.masked_copy(source.numpy().reshape(-1), self._masks[k], above.z_flat[t], 2 * h, s, h, n)
        top = self._buffers[-1].z[self.steps]
        return top if self.layers == 1 else top[:, h:]

    def backward(self, dh_last: Tensor) -> None:
        """Write the gradients given dLoss/dh_T (seeds × hidden × windows); uses the gates up, so once per forward."""
        h, n, s, last = self.hidden, self.n, self.seeds, self.layers - 1
        totals = [self._gradient("w_hh_0" if k == 0 else f"w_{k}") for k in range(self.layers)]
        own = self._own
        dh = [own.zeros(f"dh {k}", s, h, n) for k in range(self.layers)]
        dh[last].copy_(dh_last)
        dc = [own.zeros(f"dc {k}", s, h, n) for k in range(self.layers)]
        sums = [own.zeros(f"sums {k}", s, 4 * h, n) for k in range(1, self.layers)]
        months = own.zeros("months", s, 4 * h, self.months.shape[1])
        months_flat, work = months.numpy().reshape(-1), np.empty(h * n, np.float32)
        dz = own.space("dz", s, 2 * h, n)
        for t in range(self.steps - 1, -1, -1):
            for k in range(last, -1, -1):
                layer, gates = self._buffers[k], self._buffers[k].gates[t]
                cells.lstm_state_backward(
                    layer.gates_flat[t],
                    layer.c_flat[t],
                    layer.tanh_flat[t],
                    dh[k].numpy().reshape(-1),
                    dc[k].numpy().reshape(-1),
                    work,
                    s,
                    h,
                    n,
                )
                if k == 0:
                    cells.add_shifted(months_flat, layer.gates_flat[t], t, months.shape[2], s * 4 * h, n)
                    if t > 0:
                        totals[0].baddbmm_(gates, layer.z[t].transpose(1, 2))
                        torch.bmm(self.parameters["w_hh_0"].transpose(1, 2), gates, out=dh[0])
                    continue
                sums[k - 1] += gates
                totals[k].baddbmm_(gates, layer.z[t].transpose(1, 2))
                torch.bmm(self.parameters[f"w_{k}"].transpose(1, 2), gates, out=dz)
                dh[k].copy_(dz[:, h:])
                cells.add_masked(
                    dh[k - 1].numpy().reshape(-1), dz.numpy().reshape(-1), self._masks[k - 1], 2 * h, s, h, n
                )
        self.gradients["w_ih_0"].copy_(torch.bmm(months, self._batch_months.transpose(1, 2)))
        for k in range(self.layers):
            self.gradients["w_hh_0" if k == 0 else f"w_{k}"].copy_(totals[k])
            bias = (months if k == 0 else sums[k - 1]).sum(2)
            self.gradients[f"b_ih_{k}"].copy_(bias)
            self.gradients[f"b_hh_{k}"].copy_(bias)
