"""The stacked networks against plain torch modules, and what makes their numbers repeatable."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from rotation_pipeline.forecasting import cells, network
from rotation_pipeline.forecasting.options import NetworkOptions

SMALL = NetworkOptions(
    hidden=8, attention_heads=2, feed_forward=12, head_hidden=4, seeds=3, epochs=6, patience=20, dropout=0.0
)
BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_forecasting_network.py"


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_forecasting_network", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def history(months: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 0.035, (months, 5)), rng.normal(size=(months, 7))


def learnable(months: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns that follow one market feature of the month before."""
    rng = np.random.default_rng(1)
    market = rng.normal(size=(months, 7))
    styles = rng.normal(0.0, 0.01, (months, 5))
    styles[1:] += 0.02 * market[:-1, 3:4] * np.array([1.0, -1.0, 0.5, -0.5, 1.0])
    return styles, market


@pytest.mark.parametrize("encoder", network.ENCODERS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_losses_follow_those_of_plain_torch_modules(peer: ModuleType, encoder: network.Encoder, layers: int) -> None:
    options = NetworkOptions(**{**SMALL.__dict__, "layers": layers})
    start = peer.starting_point(encoder, 48, options)
    ours = peer.train_stacked(encoder, *start, options)
    threads = torch.get_num_threads()
    theirs = peer.train_plain(encoder, *start, options)
    torch.set_num_threads(threads)
    assert ours.shape == theirs.shape == (6, 3)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert ours[-1].mean() < ours[0].mean()


def test_tanh_is_accurate() -> None:
    x = np.linspace(-12.0, 12.0, 100_001, dtype=np.float32)
    row = x.copy()
    cells._activate(row, True)
    assert np.abs(row - np.tanh(x.astype(np.float64))).max() < 1e-6
    row = x.copy()
    cells._activate(row, False)
    assert np.abs(row - 1.0 / (1.0 + np.exp(-x.astype(np.float64)))).max() < 1e-6


def test_clipping_and_adamw_equal_torch() -> None:
    rng = np.random.default_rng(3)
    parameters = rng.normal(size=(2, 128)).astype(np.float32)
    expected = [torch.nn.Parameter(torch.from_numpy(row.copy())) for row in parameters]
    optimizers = [torch.optim.AdamW([p], lr=0.01, weight_decay=0.1) for p in expected]
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    for epoch in range(1, 8):
        gradient = rng.normal(scale=0.02 if epoch == 3 else 1.0, size=(2, 128)).astype(np.float32)
        scales = cells.clip_scales(gradient, np.float32(1.0))
        assert (scales[0] == 1.0) == (epoch == 3)
        cells.adamw(parameters, gradient, first, second, scales, epoch, 0.01, 0.1)
        for p, optimizer, row in zip(expected, optimizers, gradient, strict=True):
            p.grad = torch.from_numpy(row.copy())
            torch.nn.utils.clip_grad_norm_([p], 1.0)
            optimizer.step()
    np.testing.assert_allclose(parameters, torch.stack([p.detach() for p in expected]).numpy(), atol=2e-6)


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_same_seed_same_bits_and_other_month_other_numbers(encoder: network.Encoder) -> None:
    options = NetworkOptions(**{**SMALL.__dict__, "dropout": 0.3})
    styles, market = history()
    a, b, c = (
        network.FittedNetworks(encoder, styles, market, 2020, m, 12, options).predict(styles, market) for m in (3, 3, 4)
    )
    assert a.mean.tobytes() == b.mean.tobytes()
    assert a.standard_error.tobytes() == b.standard_error.tobytes()
    assert a.latent.tobytes() == b.latent.tobytes()
    assert a.latent.tobytes() != c.latent.tobytes()
    assert a.latent.shape == (8,)


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_a_seed_that_stops_or_is_absent_changes_no_other(encoder: network.Encoder) -> None:
    styles, market = learnable(60)
    many = NetworkOptions(
        **{**SMALL.__dict__, "dropout": 0.2, "seeds": 6, "patience": 1, "epochs": 30, "learning_rate": 0.02}
    )
    few = NetworkOptions(**{**many.__dict__, "seeds": 2})
    trained = [network.FittedNetworks(encoder, styles, market, 2020, 3, 12, o).trained for o in (many, few)]
    left = [len(loss) for loss in trained[0].losses]
    assert left[0] == 6
    assert 0 < left[-1] < 6, "the case is meant to let seeds stop at different epochs"
    np.testing.assert_array_equal(trained[0].best_epoch[:2], trained[1].best_epoch)
    np.testing.assert_allclose(trained[0].parameters[:2].numpy(), trained[1].parameters.numpy(), atol=1e-6)


def test_best_parameters_are_those_of_the_best_epoch() -> None:
    styles, market = learnable(60)
    options = NetworkOptions(**{**SMALL.__dict__, "learning_rate": 0.05, "epochs": 15})
    long = network.FittedNetworks("transformer", styles, market, 2020, 3, 12, options)
    seed = int(np.argmin(np.abs(long.trained.best_epoch - 8)))
    best = int(long.trained.best_epoch[seed])
    assert 0 < best < 15
    short = network.FittedNetworks(
        "transformer", styles, market, 2020, 3, 12, NetworkOptions(**{**options.__dict__, "epochs": best})
    )
    np.testing.assert_array_equal(long.trained.parameters[seed].numpy(), short.trained.parameters[seed].numpy())


def test_without_a_useful_epoch_the_forecast_is_zero() -> None:
    rng = np.random.default_rng(5)
    styles, market = history()
    styles[:36] = 0.05 + rng.normal(0.0, 0.001, (36, 5))
    styles[36:] = -0.05  # whatever is learnt from the past is wrong in the validation tail
    fitted = network.FittedNetworks("lstm", styles, market, 2020, 3, 12, SMALL)
    assert fitted.trained.best_epoch.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(fitted.predict(styles, market).mean, 0.0)


def test_scaling_knows_the_training_windows_only_and_missing_values_are_marked() -> None:
    styles, market = history(60)
    market[10, 2] = np.nan
    base = network.prepare(styles, market, 12, SMALL)
    assert base.train == 60 - 12 - 10 - 1
    changed_styles, changed_market = styles.copy(), market.copy()
    changed_styles[base.train + 12 :] *= 3.0
    changed_market[base.train + 12 :] += 5.0
    other = network.prepare(changed_styles, changed_market, 12, SMALL)
    np.testing.assert_array_equal(base.center, other.center)
    np.testing.assert_array_equal(base.spread, other.spread)
    assert base.months.shape == (13, 60)
    assert base.months[5 + 2, 10] == 0.0
    assert base.months[-1, 10] > base.months[-1, 11]
    assert np.abs(base.months).max() <= SMALL.input_limit
    np.testing.assert_allclose(base.targets[:, 0] * base.scale, styles[12], rtol=1e-6)


def test_a_market_feature_that_is_missing_throughout_and_a_late_style() -> None:
    styles, market = history()
    market[:, 4:] = np.nan
    styles[:20, 1] = np.nan
    forecast = network.FittedNetworks("transformer", styles, market, 2020, 3, 12, SMALL).predict(styles, market)
    assert np.isfinite(forecast.mean).all()
    assert (forecast.standard_error > 0.0).all()


def test_too_little_history_says_how_much_is_needed() -> None:
    styles, market = history(20)
    with pytest.raises(network.TooLittleHistoryError, match="raise min_train_months to 25"):
        network.prepare(styles, market, 12, SMALL)
    network.prepare(*history(25), 12, SMALL)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="attention_heads=3 does not divide hidden=8"):
        network.Layout("transformer", 13, 5, 12, NetworkOptions(hidden=8, attention_heads=3))


def test_thread_count_is_restored() -> None:
    before = torch.get_num_threads()
    with network.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_planted_dynamics_are_learnt(encoder: network.Encoder) -> None:
    styles, market = learnable(250)
    options = NetworkOptions(**{**SMALL.__dict__, "epochs": 60, "learning_rate": 0.02, "patience": 15})
    fitted = network.FittedNetworks(encoder, styles[:230], market[:230], 2020, 3, 12, options)
    made = [fitted.predict(styles[: t + 1], market[: t + 1]).mean[0] for t in range(229, 249)]
    assert np.corrcoef(made, styles[230:250, 0])[0, 1] > 0.6


@pytest.mark.parametrize("encoder", network.ENCODERS)
def test_a_frozen_encoder_stays_and_its_heads_learn(encoder: network.Encoder) -> None:
    styles, market = learnable(60)
    options = NetworkOptions(
        **{**SMALL.__dict__, "learning_rate": 0.02, "weight_decay": 0.5, "patience": 1, "epochs": 12}
    )
    elsewhere = network.FittedNetworks(encoder, *learnable(90), 2021, 1, 12, options)
    given = elsewhere.encoder_parameters
    assert given.shape == (3, elsewhere.layout.encoder_count)
    frozen = network.FittedNetworks(encoder, styles, market, 2020, 3, 12, options, network.Start(given, frozen=True))
    assert (frozen.trained.best_epoch > 0).all()
    assert torch.equal(frozen.encoder_parameters, given)
    tuned = network.FittedNetworks(encoder, styles, market, 2020, 3, 12, options, network.Start(given))
    assert not torch.equal(tuned.encoder_parameters, given)
    random = network.FittedNetworks(encoder, styles, market, 2020, 3, 12, options)
    assert tuned.predict(styles, market).mean.tobytes() != random.predict(styles, market).mean.tobytes()
    # the heads of a frozen encoder move as those of any network whose encoder gets no gradient: the first losses agree
    np.testing.assert_array_equal(frozen.trained.losses[0], tuned.trained.losses[0])


def test_a_starting_encoder_of_another_shape_is_refused() -> None:
    styles, market = history()
    with pytest.raises(ValueError, match=r"starting encoder has shape \(3, 7\), the network needs \(3, \d+\)"):
        network.FittedNetworks("gru", styles, market, 2020, 3, 12, SMALL, network.Start(torch.zeros(3, 7)))
