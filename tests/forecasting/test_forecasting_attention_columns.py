"""The compiled Transformer for many windows against the autograd one: states, gradients, dropout, seeds on their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rotation_pipeline.forecasting import attention, attention_cells, network
from rotation_pipeline.forecasting.attention_columns import LEAST_WINDOWS, ColumnTransformer
from rotation_pipeline.forecasting.layout import Layout
from rotation_pipeline.forecasting.options import NetworkOptions

INPUTS, HIDDEN, LOOKBACK, HEADS = 7, 8, 5, 2
Encoder = attention.StackedTransformer | ColumnTransformer


def build(
    kind: type[Encoder], windows: int, layers: int, seeds: slice = slice(0, 3)
) -> tuple[Encoder, dict[str, Tensor]]:
    """An encoder with random parameters (norms about 1) of three seeds, or some of them, and its gradients."""
    draw = torch.Generator().manual_seed(layers)
    parameters: dict[str, Tensor] = {}
    for name, shape in attention.parameter_shapes(INPUTS, HIDDEN, layers, 12, LOOKBACK).items():
        about = 1.0 if name.startswith("norm") and "_g" in name else 0.0
        parameters[name] = ((torch.rand(3, *shape, generator=draw) - 0.5) + about)[seeds].clone()
    months = torch.randn(INPUTS, windows + LOOKBACK - 1, generator=draw)
    gradients = {name: torch.full_like(value, torch.nan) for name, value in parameters.items()}
    return kind(parameters, gradients, months, windows, LOOKBACK, HEADS), gradients


def slopes(windows: int) -> Tensor:
    return torch.randn(3, HIDDEN, windows, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(("windows", "layers"), [(13, 1), (136, 2), (40, 3)])
def test_states_and_gradients_equal_autograd(windows: int, layers: int, dropout: bool) -> None:
    keep = np.random.default_rng(0).random((layers - 1, 3, HIDDEN, windows)) > 0.3
    masks = (keep / np.float32(0.7)).astype(np.float32) if dropout else None
    reference, expected = build(attention.StackedTransformer, windows, layers)
    ours, found = build(ColumnTransformer, windows, layers)
    for _ in range(2):  # the second pass writes into the buffers of the first
        assert ours.forward(masks).numpy() == pytest.approx(reference.forward(masks).numpy(), abs=1e-5)
        reference.backward(slopes(windows))
        ours.backward(slopes(windows))
        for name, gradient in expected.items():
            scale = float(gradient.abs().max()) + 1e-3
            assert found[name].numpy() == pytest.approx(gradient.numpy(), abs=1e-5 * scale), name


def test_a_seed_has_the_same_bits_alone() -> None:
    whole, all_gradients = build(ColumnTransformer, LEAST_WINDOWS, 2)
    alone, own_gradients = build(ColumnTransformer, LEAST_WINDOWS, 2, slice(1, 2))
    assert (whole.forward(None)[1] == alone.forward(None)[0]).all()
    whole.backward(slopes(LEAST_WINDOWS))
    alone.backward(slopes(LEAST_WINDOWS)[1:2])
    for name, gradient in own_gradients.items():
        assert (gradient[0] == all_gradients[name][1]).all(), name


def test_exponentials_are_accurate_and_vanish_far_below_zero() -> None:
    x = np.concatenate([-np.geomspace(1e-6, 80.0, 4001), [0.0, -200.0]]).astype(np.float32)
    found = x.copy()
    attention_cells._exponentials(found, np.empty(x.size, np.int32), x.size)  # pyright: ignore[reportPrivateUsage]
    assert found[:-1] == pytest.approx(np.exp(x[:-1].astype(np.float64)), rel=5e-7)
    assert 0.0 <= found[-1] < 1e-37
    assert found[-2] == 1.0


def test_it_refuses_the_wrong_months_and_a_backward_pass_before_a_forward_one() -> None:
    with pytest.raises(ValueError, match="20 windows of 5 need 24"):
        ColumnTransformer({}, {}, torch.zeros(INPUTS, 23), 20, LOOKBACK, HEADS)
    encoder, _ = build(ColumnTransformer, 8, 2)
    with pytest.raises(RuntimeError, match="forward pass before"):
        encoder.backward(slopes(8))


@pytest.mark.parametrize("windows", [LEAST_WINDOWS - network.LANES, LEAST_WINDOWS])
def test_a_network_takes_it_for_many_windows_only(windows: int) -> None:
    layout = Layout("transformer", INPUTS, 5, LOOKBACK, NetworkOptions(seeds=1))
    flat = torch.zeros(1, layout.width)
    months = np.zeros((INPUTS, windows + LOOKBACK - 1), np.float32)
    model = network._Model("transformer", layout, flat, flat.clone(), months, windows, LOOKBACK, 4)  # pyright: ignore[reportPrivateUsage]
    assert isinstance(model.encoder, ColumnTransformer) == (windows == LEAST_WINDOWS)
