"""Jump model against jumpmodels, mixture against scikit-learn, rules by hand, and the number of states by criterion."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regimes_market import months_from, simulate_index

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.detectors import archetypes
from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.evidence import rotation_evidence
from rotation_pipeline.regimes.features import index_features
from rotation_pipeline.regimes.hmm import HMMParameters
from rotation_pipeline.regimes.hmm_detector import HMMDetector, bic
from rotation_pipeline.regimes.jump import fit_jump, jump_loss, jump_path, online_path
from rotation_pipeline.regimes.jump_detector import JumpDetector, best_jump_fit
from rotation_pipeline.regimes.kmeans import lloyd, seeded_centres
from rotation_pipeline.regimes.mixture import MixtureDetector, fit_mixture
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.rules import RulesDetector
from rotation_pipeline.regimes.walk_forward import detect

OPTIONS = RegimeOptions()
FLAT = replace(OPTIONS, mean_prior_months=0.0, covariance_prior_months=0.0, transition_prior_months=0.0)
CENTRES = archetypes(("half_year_trend", "volatility"), 3)


def switching(seed: int, n: int = 240, spread: float = 1.5) -> np.ndarray:
    """Rows of three persistent clusters, scaled."""
    rng = np.random.default_rng(seed)
    state = np.repeat(rng.integers(0, 3, n // 12), 12)
    x = rng.normal(0.0, spread, (3, 2))[state] + rng.standard_normal((state.size, 2))
    return np.ascontiguousarray((x - x.mean(axis=0)) / x.std(axis=0))


def starts_of(x: np.ndarray, states: int, seed: int, count: int = 20) -> list[np.ndarray]:
    return [seeded_centres(x, states, row) for row in np.random.default_rng(seed).random((count, states))]


@pytest.mark.parametrize(
    ("seed", "penalty"), [(seed, penalty) for seed in range(4) for penalty in (0.0, 1.0, 5.0, 20.0)]
)
def test_jump_objective_equals_jumpmodels(seed: int, penalty: float):
    """jumpmodels 0.1.1: the same descent from the same centres, the best of all starts, and online states."""
    peer = pytest.importorskip("jumpmodels.jump", reason="jumpmodels is a development dependency")
    x = switching(seed)
    together = peer.JumpModel(n_components=3, jump_penalty=penalty, n_init=20, random_state=seed)
    starts = [np.array(start) for start in together.init_centers(x)]
    equal = 0
    for start in starts:
        model = peer.JumpModel(n_components=3, jump_penalty=penalty, n_init=1)
        model.init_centers = lambda _x, start=start: [start]
        model.fit(x, sort_by=None)
        value = fit_jump(x, start, penalty).value
        if np.isfinite(model.centers_).all():
            assert value == pytest.approx(model.val_, abs=1e-6)
            online = online_path(jump_loss(x, model.centers_), penalty)
            assert online.tolist() == list(model.predict_online(x))
            equal += 1
        else:
            # a state that empties keeps its centre here and may come back; there it is lost
            assert value <= model.val_ + 1e-6
    assert equal >= (3 if penalty < 20.0 else 0)
    together.fit(x, sort_by=None)
    best = best_jump_fit(x, starts, penalty).value
    assert best <= together.val_ + 1e-6
    if np.isfinite(together.centers_).all() and equal == len(starts):
        assert best == pytest.approx(together.val_, abs=1e-6)


def test_jump_objective_recorded_from_jumpmodels():
    """JumpModel(3, jump_penalty=2.0, n_init=40, random_state=0).fit(switching(1)).val_ of jumpmodels 0.1.1."""
    x = switching(1)
    assert best_jump_fit(x, starts_of(x, 3, 1, 40), 2.0).value == pytest.approx(194.75585595095708, abs=1e-6)


def test_jump_fit_is_the_optimum_of_all_paths():
    x = np.array([[0.0], [0.2], [1.9], [0.1], [2.1], [2.0], [1.8]])
    for penalty in (0.0, 0.3, 1.0, 4.0):
        least = np.inf
        for path in product((0, 1), repeat=x.shape[0]):
            chosen = np.array(path)
            within = sum(((x[chosen == k] - x[chosen == k].mean(axis=0)) ** 2).sum() for k in set(path))
            least = min(least, within / 2 + penalty * np.count_nonzero(np.diff(chosen)))
        starts = starts_of(x, 2, 0, 60)
        assert best_jump_fit(x, starts, penalty).value == pytest.approx(least, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), penalty=st.floats(0.0, 30.0), cut=st.integers(1, 119))
def test_jump_properties(seed: int, penalty: float, cut: int):
    x = switching(seed, n=120)
    start = seeded_centres(x, 3, np.random.default_rng(seed).random(3))
    fit = fit_jump(x, start, penalty)
    loss = jump_loss(x, fit.centres)
    jumps = int(np.count_nonzero(np.diff(fit.path)))
    assert fit.value == pytest.approx(loss[np.arange(120), fit.path].sum() + penalty * jumps, rel=1e-12)
    assert fit.value <= jump_path(jump_loss(x, start), penalty)[0] + 1e-9
    online = online_path(loss, penalty)
    assert online_path(loss[:cut], penalty).tolist() == online[:cut].tolist()
    assert online[cut - 1] == jump_path(loss[:cut], penalty)[1][-1]
    if penalty == 0.0:
        assert fit.value == pytest.approx(lloyd(x, start)[1] / 2)


def test_jump_penalty_follows_the_spells_of_the_past():
    x = switching(3)
    spells = []
    for wanted in (1.0, 6.0, 60.0):
        states = JumpDetector(replace(OPTIONS, jump_spell=wanted)).fit(x, None, CENTRES, (1, 2020, 1))
        path = JumpDetector(OPTIONS).smooth(x, states).argmax(axis=1)
        spells.append(x.shape[0] / (1 + np.count_nonzero(np.diff(path))))
        assert states.constants[0] in OPTIONS.jump_penalties
        assert spells[-1] >= wanted or states.constants[0] == OPTIONS.jump_penalties[-1]
    assert spells == sorted(spells)
    with pytest.raises(RegimeInputError, match="finite"):
        fit_jump(np.array([[np.nan]]), np.zeros((1, 1)), 1.0)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_mixture_equals_scikit_learn(covariance: str):
    from sklearn.mixture import GaussianMixture

    x = switching(2, spread=6.0)
    means = lloyd(x, starts_of(x, 3, 2)[0])[0]
    first = np.stack([np.eye(2)] * 3)
    even = np.full(3, 1 / 3)
    initial = HMMParameters(even, np.tile(even, (3, 1)), means, first)
    priors = replace(MixtureDetector(FLAT).priors(CENTRES), covariance=np.zeros((2, 2)), covariance_weight=0.0)
    ours = fit_mixture(x, initial, priors, diagonal=covariance == "diag", max_iter=5000, tolerance=1e-10)
    peer = GaussianMixture(
        3, covariance_type=covariance, tol=1e-11, reg_covar=0.0, max_iter=5000, weights_init=even, means_init=means,
        precisions_init=first if covariance == "full" else np.ones((3, 2)),
    ).fit(x)  # fmt: skip
    assert ours.log_likelihood == pytest.approx(peer.score(x) * x.shape[0], abs=1e-5)
    assert (np.diff(ours.history) > -1e-8).all()
    states = MixtureDetector(FLAT).fit(x, None, CENTRES, (1, 2020, 1))
    found = MixtureDetector(FLAT).filter(x, states)
    peer.means_, peer.weights_ = states.parameters.means, states.parameters.start
    chol = np.linalg.cholesky(np.linalg.inv(states.parameters.covariances))
    peer.covariance_type, peer.precisions_cholesky_ = "full", chol
    assert found == pytest.approx(peer.predict_proba(x), abs=1e-9)


def test_rules_by_hand():
    rules = RulesDetector(OPTIONS)
    x = np.array(
        [
            [0.05, -2.0, -0.01],  # rising and calm
            [0.05, -1.0, -0.01],  # rising, volatile
            [-0.05, -1.0, -0.05],  # falling, volatile
            [-0.05, -2.0, -0.05],  # falling, calm
            [-0.05, -2.0, -0.25],  # falling, calm, a fifth below the high
            [0.0, -1.0, -0.25],  # flat
        ]
    )
    states = rules.fit(x, None, CENTRES, (1,))
    assert states.constants == (np.quantile(x[:, 1], 2 / 3),)
    calm = replace(states, constants=(-1.5,))
    assert [REGIMES[k] for k in rules.filter(x, calm).argmax(axis=1)] == [
        "slow_bull", "range", "bear", "range", "bear", "range",
    ]  # fmt: skip


def test_the_criterion_finds_the_number_of_states():
    from hmmlearn.hmm import GaussianHMM

    options = replace(OPTIONS, choose_states="bic", mean_prior_months=0.0, restarts=5)
    detector = HMMDetector(options)
    for count in (2, 3, 4):
        rng = np.random.default_rng(count)
        centres = np.array([[-6.0, 0.0], [6.0, 0.0], [0.0, 6.0], [0.0, -6.0]])[:count]
        state = np.repeat(np.arange(40) % count, 10)
        x = np.ascontiguousarray(centres[state] + rng.standard_normal((400, 2)))
        states = detector.fit(x, None, CENTRES, (1, 2020, 1))
        assert len(states.roles) == count
        model = GaussianHMM(count, covariance_type="full")
        model.n_features = 2
        model.startprob_, model.transmat_ = states.parameters.start, states.parameters.transition
        model.means_, model.covars_ = states.parameters.means, states.parameters.covariances
        assert bic(x, states, diagonal=False) == pytest.approx(model.bic(x), rel=1e-9)


def test_choices_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="active = hmm is not among detectors"):
        RegimeOptions(detectors=("jump",))
    with pytest.raises(ValueError, match="twice"):
        RegimeOptions(detectors=("hmm", "hmm"))
    with pytest.raises(ValueError, match="must ascend"):
        RegimeOptions(jump_penalties=(2.0, 1.0))


def test_another_detector_may_be_active_and_newcomers_are_told_to_begin_again():
    _, index = simulate_index(5, months=50)
    months = months_from("2012-01", 50)
    features = index_features(index, months)
    only = replace(OPTIONS, detectors=("jump", "kmeans"), active="jump", bootstrap_resamples=100, permutations=99)
    found = detect(features, months, only)
    assert set(found.regimes["detector"]) == {"jump", "kmeans"}
    returns = pd.DataFrame(
        np.random.default_rng(0).normal(0, 0.03, (50, len(STYLES))), index=months, columns=list(STYLES)
    )
    evidence = rotation_evidence(returns, found.regimes, found.models, features, [months[-1]], only)
    labels = found.regimes.query("detector == 'jump'").set_index("month")["regime"].shift(1).dropna()
    months_in = evidence.evidence.query("labelling == 'filtered' and style == @STYLES[0]").set_index("regime")["months"]
    assert months_in.sum() == len(labels)
    assert months_in.to_dict() == {name: int((labels == name).sum()) for name in REGIMES}
    with pytest.raises(RegimeInputError, match="materialise regimes again from the first month"):
        detect(features, [months[-1]], OPTIONS, found.models, found.regimes)
