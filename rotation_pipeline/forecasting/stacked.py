"""What the encoders of many seeds share: the months they read, the layers they have, flat views for the kernels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]


def check_months(months: Tensor, windows: int, lookback: int) -> None:
    """Raises ValueError unless ``months`` (inputs × columns) holds just ``windows`` consecutive windows of ``lookback``."""
    if months.shape[1] != windows + lookback - 1:
        raise ValueError(
            f"months has {months.shape[1]} columns, {windows} windows of {lookback} need {windows + lookback - 1}"
        )


def flat_steps(steps: Tensor) -> list[Floats]:
    """Each step of steps × … as a flat view for the kernels."""
    return [step.numpy().reshape(-1) for step in steps]


class Buffers:
    """Tensors that an encoder writes anew at every pass: fresh megabytes would cost a page fault every four kilobytes."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def space(self, name: str, *shape: int) -> Tensor:
        """The tensor of that name, holding what was last left in it."""
        if name not in self._kept:
            self._kept[name] = torch.empty(shape)
        return self._kept[name]

    def zeros(self, name: str, *shape: int) -> Tensor:
        """The same, zeroed."""
        return self.space(name, *shape).zero_()


class StackedRecurrence:
    """A recurrent encoder over ``windows`` consecutive windows of ``months`` for all seeds: sizes, inputs, dropout."""

    def __init__(
        self, parameters: dict[str, Tensor], gradients: dict[str, Tensor], months: Tensor, windows: int, lookback: int
    ) -> None:
        """``parameters`` and ``gradients``: seeds × shape; ``months``: inputs × (windows + lookback − 1)."""
        check_months(months, windows, lookback)
        self.parameters, self.gradients, self.months = parameters, gradients, months
        self.seeds, self.rows, self.hidden = parameters["w_hh_0"].shape
        self.layers = sum(name.startswith("b_ih_") for name in parameters)
        self.n, self.steps = windows, lookback
        self._ones = np.ones(self.seeds * self.hidden * windows, np.float32)
        self._batch_months = months.expand(self.seeds, *months.shape)
        self._own = Buffers()

    def _keep_masks(self, masks: Floats | None) -> None:
        """Dropout between layers, kept for the backward pass: (layers − 1) × seeds × hidden × windows, ones for None."""
        self._masks = [self._ones if masks is None else masks[k].reshape(-1) for k in range(self.layers - 1)]

    def _gradient(self, name: str) -> Tensor:
        """Zeros to sum a weight's gradient in: a product into a strided slice falls back to one call a seed."""
        return self._own.zeros(f"gradient {name}", *self.parameters[name].shape)
