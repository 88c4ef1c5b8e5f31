"""Training on panels: what enters a fit, replay equality, and whether shared dynamics are found sooner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.network import FittedNetworks
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions, PanelOptions
from rotation_pipeline.forecasting.panels import PanelError, TrainingPanel, joined_sample, known_panels
from rotation_pipeline.forecasting.samples import prepare
from rotation_pipeline.forecasting.tables import MARKET_FEATURES
from rotation_pipeline.forecasting.training_pool import EncoderTask, NetworkTask, run_task, train_encoder
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, expert_forecasts

K, M, LOOKBACK = len(STYLES), len(MARKET_FEATURES), 4
QUICK = NetworkOptions(
    hidden=8, attention_heads=2, feed_forward=8, head_hidden=4, seeds=2, epochs=4, min_validation=4, workers=1
)
LAST = 2010 * 12 + 5
"""June 2010, the last month of the target."""


def moves(months: int, seed: int, persistence: float = 0.0) -> np.ndarray:
    """Returns of K styles; each follows its own last return by ``persistence``."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0.0, 0.03, (months, K))
    for t in range(1, months):
        out[t] += persistence * out[t - 1]
    return out


def panel_of(returns: np.ndarray, last: int = LAST, name: str = "elsewhere") -> TrainingPanel:
    months = np.arange(last + 1 - len(returns), last + 1, dtype=np.int64)
    return TrainingPanel(name, months, returns, np.full((len(returns), M), np.nan))


def history_of(returns: np.ndarray) -> History:
    return History(returns, np.full((len(returns), M), np.nan), LAST // 12, LAST % 12 + 1)


def test_the_sample_joins_panels_and_target_without_a_window_over_a_seam() -> None:
    target, other, third = history_of(moves(50, 1)), panel_of(moves(30, 2)), panel_of(moves(25, 3), LAST + 6)
    own = prepare(target.styles, target.market, LOOKBACK, QUICK)
    joined = joined_sample((other, third), target, LOOKBACK, QUICK)
    held = own.validation + QUICK.purge
    lengths = [30 - held, 25 - 6 - held]
    total = sum(lengths) + 50
    assert joined.months.shape == (len(own.months), total)
    assert joined.targets.shape == joined.known.shape == (K, total - LOOKBACK)
    # the end is the target as it is alone, validation tail and scale included
    assert (joined.months[:, sum(lengths) :] == own.months).all()
    assert (joined.targets[:, sum(lengths) :] == own.targets).all()
    assert joined.train == sum(lengths) + own.train
    assert joined.validation == own.validation
    assert (joined.scale == own.scale).all()
    start = 0
    for length in lengths:
        known = joined.known[:, start : start + length]
        assert (known[:, : length - LOOKBACK] == 1.0).all()
        assert (known[:, length - LOOKBACK :] == 0.0).all()
        start += length
    # a panel's target is its own return after the window, in units of its own deviation
    returns = other.styles[: lengths[0]]
    expected = returns[LOOKBACK:] / returns.std(axis=0, ddof=1)
    np.testing.assert_allclose(joined.targets[:, : lengths[0] - LOOKBACK].T, expected, rtol=1e-5)


def test_rows_after_the_targets_training_months_do_not_enter() -> None:
    target, other = history_of(moves(50, 1)), panel_of(moves(80, 2))
    own = prepare(target.styles, target.market, LOOKBACK, QUICK)
    held = own.validation + QUICK.purge
    changed = other.styles.copy()
    changed[-held:] = 9.0
    whole = joined_sample((other,), target, LOOKBACK, QUICK)
    again = joined_sample((panel_of(changed),), target, LOOKBACK, QUICK)
    assert (whole.months == again.months).all()
    changed[-held - 1] = 9.0  # the month of the last training target does
    assert (whole.months != joined_sample((panel_of(changed),), target, LOOKBACK, QUICK).months).any()


def test_a_style_the_panel_lacks_carries_no_loss_and_a_short_panel_nothing() -> None:
    target = history_of(moves(50, 1))
    partial = moves(40, 2)
    partial[:, 2:] = np.nan
    joined = joined_sample((panel_of(partial),), target, LOOKBACK, QUICK)
    part = joined.known.shape[1] - (50 - LOOKBACK)
    assert joined.known[:2, :part].any()
    assert not joined.known[2:, :part].any()
    assert np.isfinite(joined.months).all()
    assert np.isfinite(joined.targets).all()
    alone = joined_sample((panel_of(moves(13, 4)),), target, LOOKBACK, QUICK)
    assert alone.months.shape[1] == 50


def test_panels_are_checked_and_cut_to_what_is_known() -> None:
    late = panel_of(moves(10, 1), LAST + 20, "late")
    assert known_panels([late], LAST) == ()
    (cut,) = known_panels([late], LAST + 14)
    assert len(cut.months) == 4
    cut.styles[:] = 0.0
    assert late.styles[:4].any()
    with pytest.raises(PanelError, match="panel x: months must be consecutive"):
        TrainingPanel("x", np.array([1, 3]), np.zeros((2, K)), np.zeros((2, M)))
    with pytest.raises(PanelError, match="rows; give one each a month"):
        TrainingPanel("x", np.array([1, 2]), np.zeros((3, K)), np.zeros((2, M)))
    narrow = TrainingPanel("narrow", late.months - 60, np.zeros((10, 2)), np.zeros((10, M)))
    with pytest.raises(PanelError, match="panel narrow has 2 styles"):
        joined_sample((narrow,), history_of(moves(50, 1)), LOOKBACK, QUICK)


def test_only_the_heads_are_fitted_on_the_target() -> None:
    target, other = history_of(moves(50, 1, 0.5)), panel_of(moves(90, 2, 0.5))
    encoder = train_encoder(EncoderTask("lstm", target, (other,), LOOKBACK, QUICK))
    import torch

    from rotation_pipeline.forecasting.network import Start

    start = Start(torch.from_numpy(encoder), frozen=True)
    fitted = FittedNetworks("lstm", target.styles, target.market, 2010, 6, LOOKBACK, QUICK, start)
    assert (fitted.encoder_parameters.numpy() == encoder).all()
    assert not (fitted.trained.parameters[:, fitted.layout.encoder_count :] == 0.0).all()
    plain = FittedNetworks("lstm", target.styles, target.market, 2010, 6, LOOKBACK, QUICK)
    assert (plain.encoder_parameters.numpy() != encoder).any()


def table_inputs(months: int = 44) -> tuple[pd.DataFrame, pd.DataFrame]:
    calendar = pd.date_range("2010-01-01", periods=months, freq="MS", name="month")
    rng = np.random.default_rng(6)
    return (
        pd.DataFrame(rng.normal(0.0, 0.03, (months, K)), calendar, list(STYLES)),
        pd.DataFrame(rng.normal(0.0, 1.0, (months, M)), calendar, list(MARKET_FEATURES)),
    )


OPTIONS = ForecastOptions(
    experts=("zero", "network_lstm", "network_transformer"), lookback=LOOKBACK, min_train_months=30, panel_refit_every=6
)


def test_replay_is_exact_and_later_panel_rows_never_enter() -> None:
    styles, market = table_inputs()
    months = list(styles.index[28:])
    other = panel_of(moves(120, 8), 2013 * 12 + 7, "elsewhere")  # to August 2013, the target's last month
    whole = expert_forecasts(styles, market, months, OPTIONS, QUICK, panels=[other]).forecasts
    plain = expert_forecasts(styles, market, months, OPTIONS, QUICK).forecasts
    spoken = whole["expert"].ne("zero") & whole["mean"].notna()
    assert (whole.loc[spoken, "mean"] != plain.loc[spoken, "mean"]).any()
    assert whole["mean"].isna().equals(plain["mean"].isna())
    for place in (30, 38, 43):
        month = styles.index[place]
        changed = other.styles.copy()
        changed[other.months > month.year * 12 + month.month - 1] = 5.0
        alone = expert_forecasts(
            styles.loc[:month],
            market.loc[:month],
            [month],
            OPTIONS,
            QUICK,
            panels=[panel_of(changed, int(other.months[-1]))],
        ).forecasts
        expected = whole[whole["month"] == month].reset_index(drop=True)
        pd.testing.assert_frame_equal(expected, alone, check_exact=True)


def test_a_panel_that_has_not_begun_changes_nothing() -> None:
    styles, market = table_inputs()
    month = styles.index[32]
    late = panel_of(moves(60, 8), 2020 * 12)
    with_it = expert_forecasts(styles, market, [month], OPTIONS, QUICK, panels=[late])
    without = expert_forecasts(styles, market, [month], OPTIONS, QUICK)
    pd.testing.assert_frame_equal(with_it.forecasts, without.forecasts, check_exact=True)


def test_panels_that_are_named_but_not_given_are_missed() -> None:
    styles, market = table_inputs()
    named = replace(OPTIONS, panels=(PanelOptions("us.csv"),))
    with pytest.raises(ForecastInputError, match="names 1 training panels, 0 are given"):
        expert_forecasts(styles, market, [styles.index[32]], named, QUICK)


def out_of_sample(seed: int, panels: tuple[TrainingPanel, ...], persistence: float) -> float:
    """Mean squared error over that of zero on 200 months that followed a target of five years."""
    options = replace(
        QUICK, hidden=16, seeds=3, epochs=120, patience=30, learning_rate=1e-2, dropout=0.0, min_validation=8
    )
    returns = moves(260, seed, persistence)
    target = history_of(returns[:60])
    encoder = train_encoder(EncoderTask("lstm", target, panels, LOOKBACK, options)) if panels else None
    inputs = tuple(history_of(returns[: t + 1]) for t in range(60, 259))
    answers = run_task(NetworkTask("lstm", target, inputs, LOOKBACK, options, encoder_start=encoder))
    forecasts = np.array([answer.mean for answer in answers])
    return float(((returns[61:260] - forecasts) ** 2).sum() / (returns[61:260] ** 2).sum())


def test_shared_dynamics_are_found_sooner_with_a_panel_and_noise_does_little_harm() -> None:
    shared = (panel_of(moves(500, 100, 0.7)),)
    noise = (panel_of(moves(500, 101)),)
    seeds = (11, 12, 13)
    alone = [out_of_sample(seed, (), 0.7) for seed in seeds]
    helped = [out_of_sample(seed, shared, 0.7) for seed in seeds]
    misled = [out_of_sample(seed, noise, 0.7) for seed in seeds]
    # five years alone show nothing of a persistence that forecasts half of the variance
    assert np.mean(helped) < np.mean(alone) - 0.05, (helped, alone)
    assert max(helped) < 0.96, helped
    assert np.mean(misled) < np.mean(alone) + 0.03, (misled, alone)
    assert max(misled) < 1.05, misled
