"""The model confidence set against the arch package, a slow reference and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.confidence_set import SetStatistic, confidence_set_rows, model_confidence_set
from rotation_pipeline.forecasting.mixture import mix
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.tables import CONFIDENCE_SET, MARKET_FEATURES, SET_STATISTICS
from rotation_pipeline.forecasting.walk_forward import ForecastInputError, expert_forecasts
from rotation_pipeline.regimes.statistics import stationary_bootstrap_indices

OPTIONS = ForecastOptions(
    min_train_months=20,
    min_score_months=6,
    experts=("zero", "historical_mean", "factor_momentum"),
    confidence_resamples=200,
)
Losses = NDArray[np.float64]


def losses_of(gaps: list[float], months: int, seed: int) -> Losses:
    """Losses with a common part, so that differences are known better than levels."""
    rng = np.random.default_rng(seed)
    return 1.0 + rng.normal(0, 1, (months, 1)) + rng.normal(0, 1, (months, len(gaps))) + np.array(gaps)


def reference(losses: Losses, indices: NDArray[np.int64], statistic: str) -> list[float]:
    """The procedure word for word: loops over pairs, resamples and steps."""
    left, p, largest = list(range(losses.shape[1])), [1.0] * losses.shape[1], 0.0
    mean = losses.mean(axis=0)
    drawn = np.array([losses[rows].mean(axis=0) for rows in indices])
    while len(left) > 1:
        scores: dict[int, float] = {}
        resampled = np.zeros((len(indices), len(left)))
        for place, i in enumerate(left):
            if statistic == "T_max":
                own = mean[i] - np.mean([mean[j] for j in left])
                star = drawn[:, i] - np.mean([drawn[:, j] for j in left], axis=0) - own
                error = np.sqrt(np.mean(star**2))
                scores[i], resampled[:, place] = own / error, star / error
            else:
                against: list[float] = []
                stars: list[Losses] = []
                for j in left:
                    if j != i:
                        star = drawn[:, i] - drawn[:, j] - (mean[i] - mean[j])
                        error = np.sqrt(np.mean(star**2))
                        against.append((mean[i] - mean[j]) / error)
                        stars.append(star / error)
                scores[i], resampled[:, place] = max(against), np.max(stars, axis=0)
        worst = max(left, key=lambda i: scores[i])
        largest = max(largest, float(np.mean(resampled.max(axis=1) > scores[worst])))
        p[worst] = largest
        left.remove(worst)
    return p


@pytest.mark.parametrize("statistic", SET_STATISTICS)
def test_it_is_the_procedure_word_for_word(statistic: SetStatistic) -> None:
    losses = losses_of([0.0, 0.1, 0.5, 0.3, 0.0], 90, 1)
    indices = stationary_bootstrap_indices(90, 4.0, 150, (1, 2))
    assert model_confidence_set(losses, indices, statistic).tolist() == reference(losses, indices, statistic)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("statistic", SET_STATISTICS)
def test_it_agrees_with_arch_on_its_own_resamples(statistic: SetStatistic, seed: int) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    losses = losses_of([0.0, 0.1, 0.4, 0.2, 0.6, 0.05], 120, seed)
    theirs = bootstrap.MCS(
        losses, size=0.1, reps=300, block_size=6, method="max" if statistic == "T_max" else "R", seed=seed
    )
    theirs.compute()
    blocks = bootstrap.StationaryBootstrap(6, np.arange(120), seed=seed)
    indices = np.array([data[0][0] for data in blocks.bootstrap(300)], dtype=np.int64)
    expected = theirs.pvalues["Pvalue"].sort_index().to_numpy()
    assert model_confidence_set(losses, indices, statistic).tolist() == expected.tolist()


@pytest.mark.parametrize("statistic", SET_STATISTICS)
def test_a_bad_forecaster_leaves_and_equal_ones_stay(statistic: SetStatistic) -> None:
    indices = stationary_bootstrap_indices(200, 5.0, 400, (3,))
    p = model_confidence_set(losses_of([0.0, 0.0, 1.0], 200, 4), indices, statistic)
    assert p[2] < 0.01
    assert p[:2].max() == 1.0  # whether the other stays is chance: see the test of the size
    same = np.repeat(losses_of([0.0], 200, 5), 3, axis=1)
    assert model_confidence_set(same, indices, statistic).tolist() == [1.0, 1.0, 1.0]
    assert model_confidence_set(same[:, :1], indices, statistic).tolist() == [1.0]
    with_twins = np.column_stack([same[:, :2], same[:, 0] + 1.0 + 0.1 * np.sin(np.arange(200))])
    assert model_confidence_set(with_twins, indices, statistic).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("statistic", SET_STATISTICS)
def test_the_set_holds_the_best_as_often_as_it_says(statistic: SetStatistic) -> None:
    """With all forecasters equal the 90 % set holds all of them in about 90 % of samples, never far less."""
    held = 0
    for seed in range(200):
        indices = stationary_bootstrap_indices(100, 2.0, 200, (seed,))
        held += model_confidence_set(losses_of([0.0] * 4, 100, seed), indices, statistic).min() > 0.1
    assert 0.82 <= held / 200 <= 0.97


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10.0), st.floats(-3.0, 3.0), st.permutations(range(4)))
def test_unit_level_and_order_do_not_matter(seed: int, unit: float, level: float, order: list[int]) -> None:
    losses = losses_of([0.0, 0.2, 0.1, 0.4], 60, seed)
    indices = stationary_bootstrap_indices(60, 3.0, 120, (seed,))
    for statistic in SET_STATISTICS:
        p = model_confidence_set(losses, indices, statistic)  # type: ignore[arg-type]  # a tuple of its two values
        again = model_confidence_set(unit * losses[:, order] + level, indices, statistic)  # type: ignore[arg-type]
        assert again == pytest.approx(p[order], abs=0.02)  # a resample may tie but for rounding
        assert p.max() == 1.0


def test_bad_input_is_refused() -> None:
    indices = stationary_bootstrap_indices(10, 2.0, 5, (1,))
    with pytest.raises(ValueError, match="without gaps"):
        model_confidence_set(np.full((10, 2), np.nan), indices, "T_max")
    with pytest.raises(ValueError, match="indices must be"):
        model_confidence_set(np.ones((9, 2)), indices, "T_max")


@pytest.fixture(scope="module")
def made() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(5)
    index = pd.date_range("2015-01-01", periods=45, freq="MS", name="month")
    styles = pd.DataFrame(rng.normal(0.002, 0.03, (45, 5)), index, list(STYLES))
    market = pd.DataFrame(np.nan, index, list(MARKET_FEATURES))
    forecasts = expert_forecasts(styles, market, list(index), OPTIONS, NetworkOptions()).forecasts
    return forecasts, mix(forecasts, styles, list(index), OPTIONS).forecasts, styles


def test_rows_hold_the_losses_one_computes_by_hand(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    rows = confidence_set_rows(forecasts, mixture, styles, [styles.index[40]], OPTIONS)
    assert list(rows.columns) == CONFIDENCE_SET.stored_names
    assert len(rows) == 2 * 2 * 4
    assert rows["months"].eq(21).all()  # forecasts of rows 19 … 39, as in the scores
    y = styles.to_numpy()[20:41]
    wide = forecasts[forecasts["expert"] == "factor_momentum"].pivot(index="month", columns="style", values="mean")
    m = wide[list(STYLES)].to_numpy()[19:40]
    own = rows[rows["expert"] == "factor_momentum"].set_index(["loss", "statistic"])["mean_loss"]
    assert own["squared_error", "T_R"] == pytest.approx(((y - m) ** 2).mean())
    ry, rm = y - y.mean(axis=1, keepdims=True), m - m.mean(axis=1, keepdims=True)
    assert own["relative_squared_error", "T_max"] == pytest.approx(((ry - rm) ** 2).mean())
    best = rows.loc[rows.groupby(["loss", "statistic"])["mean_loss"].idxmin()]
    assert best["p_value"].eq(1.0).all()
    assert ((rows["p_value"] > 0.1) == rows["in_set"]).all()


def test_early_months_are_null_and_replay_is_exact(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    months = list(styles.index)
    whole = confidence_set_rows(forecasts, mixture, styles, months, OPTIONS)
    early = whole[whole["month"] == styles.index[20]]
    assert early["months"].eq(0).all()
    assert early[["p_value", "mean_loss", "in_set"]].isna().all(axis=None)
    month = styles.index[38]
    cut = [f[f["month"] <= month] for f in (forecasts, mixture)]
    changed = styles.copy()
    changed.loc[changed.index > month] = 1.0
    expected = whole[whole["month"] == month].reset_index(drop=True)
    assert expected["p_value"].notna().all()
    for other in (
        confidence_set_rows(*cut, styles.loc[:month], [month], OPTIONS),
        confidence_set_rows(forecasts, mixture, changed, [month], OPTIONS),
    ):
        pd.testing.assert_frame_equal(expected, other, check_exact=True)
    with pytest.raises(ForecastInputError, match="no such month"):
        confidence_set_rows(forecasts, mixture, styles, [pd.Timestamp("2030-01-01")], OPTIONS)


def test_a_forecaster_that_came_late_is_not_compared(made: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> None:
    forecasts, mixture, styles = made
    late = forecasts.copy()
    silent = (late["expert"] == "factor_momentum") & (late["month"] < styles.index[37])
    late.loc[silent, ["mean", "standard_error"]] = np.nan
    rows = confidence_set_rows(late, mixture, styles, [styles.index[40]], OPTIONS).set_index("expert")
    assert rows.loc["factor_momentum", "p_value"].isna().all()
    assert rows.loc[["zero", "historical_mean", "mixture"], "p_value"].notna().all()
    assert rows.loc["zero", "months"].eq(21).all()
