"""The two-state experiment: its paths, its filter against the recursion in words and hmmlearn, its scores, its page."""

from __future__ import annotations

import numpy as np
import pytest

from rotation_pipeline.orchestration.study_regimes import LENGTHS, markdown, run_published, run_study
from rotation_pipeline.regimes.experiment import (
    DEVIATIONS,
    MEANS,
    METHODS,
    ONLINE,
    SWITCHING,
    balanced_accuracy,
    detection_delays,
    estimate_hmm,
    jump_features,
    label_path,
    simulate_path,
    true_parameters,
)
from rotation_pipeline.regimes.hmm import forward_filter, log_emissions
from rotation_pipeline.regimes.published import (
    PUBLISHED,
    ROWS,
    best_named,
    pooled_accuracy,
    published,
    rerun,
    window_features,
)


def test_paths_have_both_states_and_the_stated_moments():
    assert {tuple(np.unique(simulate_path(30, (seed,)).states)) for seed in range(50)} == {(0, 1)}
    path = simulate_path(200_000, (1,))
    for state in (0, 1):
        here = path.returns[path.states == state]
        assert here.mean() == pytest.approx(MEANS[state], abs=4 * DEVIATIONS[state] / np.sqrt(here.size))
        assert here.std() == pytest.approx(DEVIATIONS[state], rel=0.02)
        leaving = (path.states[1:] != state)[path.states[:-1] == state].mean()
        assert leaving == pytest.approx(SWITCHING[state], rel=0.15)
    again = simulate_path(200_000, (1,))
    assert (again.returns == path.returns).all()


def test_the_filter_is_the_forward_recursion_and_hmmlearn_on_every_prefix():
    from hmmlearn.hmm import GaussianHMM

    truth = true_parameters()
    path = simulate_path(250, (3,))
    x = path.returns[:, np.newaxis]
    found = forward_filter(log_emissions(np.ascontiguousarray(x), truth), truth.start, truth.transition)[0]
    belief = truth.start
    for t, value in enumerate(path.returns):
        ahead = belief if t == 0 else belief @ truth.transition
        density = np.exp(-((value - np.array(MEANS)) ** 2) / (2 * np.array(DEVIATIONS) ** 2)) / np.array(DEVIATIONS)
        belief = ahead * density / (ahead * density).sum()
        assert found[t] == pytest.approx(belief, abs=1e-10)
    peer = GaussianHMM(2, covariance_type="full")
    peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = (
        truth.start, truth.transition, truth.means, truth.covariances,
    )  # fmt: skip
    for t in range(1, 250, 7):
        assert found[t - 1] == pytest.approx(peer.predict_proba(x[:t])[-1], abs=1e-10)


def test_scores_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1])
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 1, 1, 1])
    assert balanced_accuracy(truth, labels) == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert detection_delays(truth, labels) == [(2, True), (2, False), (0, True)]


def test_estimates_are_near_the_truth_and_online_labels_use_the_past():
    path = simulate_path(4000, (5,))
    found = estimate_hmm(path.returns, (1,))
    assert np.sqrt(found.covariances[:, 0, 0]) == pytest.approx(DEVIATIONS, rel=0.15)
    assert np.diag(found.transition) == pytest.approx(1 - np.array(SWITCHING), abs=0.02)
    labels = label_path(path, 16.0, (2,))
    assert set(labels) == set(METHODS)
    for name in METHODS:
        assert balanced_accuracy(path.states, labels[name]) > 0.8, name
    cut = jump_features(path.returns)
    assert cut.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)
    truth = true_parameters()
    x = np.ascontiguousarray(path.returns[:500, np.newaxis])
    early = forward_filter(log_emissions(x, truth), truth.start, truth.transition)[0][:, 1] > 0.5
    assert (early == (labels["true_filter"][:500] == 1)).all()


def test_the_study_and_its_page():
    scores = run_study(6, 1, (250, 500), tuning=4)
    assert len(scores) == 2 * len(METHODS)
    assert scores == run_study(6, 1, (250, 500), tuning=4)
    assert all(0.4 < score.balanced_accuracy <= 1.0 for score in scores)
    reruns = run_published(4, 1, (250, 500))
    page = markdown(scores, reruns, "rotation study regimes --paths 6")
    assert page.count("| the past |") == 2 * len(ONLINE)
    assert f"{scores[0].balanced_accuracy:.3f} ± {scores[0].standard_error:.3f}" in page
    assert "rotation study regimes --paths 6" in page
    assert f"{reruns[0].balanced_accuracy:.3f} ± {reruns[0].standard_error:.3f}" in page
    assert "| published | 1024 | 0.925 | 0.929 |" in page
    assert page.count("| published | – | – | – |") == 2  # nothing was found for estimated models at these lengths


def test_the_published_protocol_gives_the_published_figures():
    """Outputs of the notebooks of Aydınhan, Kolm, Mulvey and Shu (2024): each within Monte Carlo error of both runs."""
    assert {(figure.row, figure.days) for figure in PUBLISHED} <= {(row, days) for row in ROWS for days in LENGTHS}
    checked = 0
    for days in (250, 500, 1000):
        for item in rerun(days, 24, 7, true_paths=512):
            figure = published(item.row, days)
            if figure is not None:
                error = item.standard_error * np.sqrt(1.0 + item.paths / figure.paths)
                assert item.balanced_accuracy == pytest.approx(figure.balanced_accuracy, abs=3.0 * error), item
                checked += 1
    assert checked == len(PUBLISHED)


def test_window_features_by_hand_and_of_the_past_only():
    returns = np.random.default_rng(0).normal(size=60)
    x = window_features(returns)
    assert x.shape == (60, 15)
    t = 40
    expected = [returns[t], abs(returns[t] - returns[t - 1]), abs(returns[t - 1] - returns[t - 2])]
    for window in (6, 14):
        days = returns[t - window + 1 : t + 1]
        older, newer = days[: window // 2], days[window // 2 :]
        expected += [value for part in (days, older, newer) for value in (part.mean(), part.std(ddof=1))]
    assert x[t] == pytest.approx(expected, abs=1e-12)
    assert np.isfinite(x[13:]).all()
    assert np.isnan(x[12]).any()
    changed = returns.copy()
    changed[t + 1 :] = 9.0
    assert (window_features(changed)[13 : t + 1] == x[13 : t + 1]).all()


def test_pooled_accuracy_counts_a_state_only_where_it_occurs():
    shares = np.array([[0.9, np.nan], [0.8, 0.5], [1.0, 0.7], [0.7, np.nan]])
    value, error = pooled_accuracy(shares)
    assert value == pytest.approx((np.mean([0.9, 0.8, 1.0, 0.7]) + 0.6) / 2)
    rng = np.random.default_rng(1)
    drawn = [shares[rng.integers(0, 4, 4)] for _ in range(4000)]
    values = [pooled_accuracy(each)[0] for each in drawn if not np.isnan(each[:, 1]).all()]
    assert error == pytest.approx(np.std(values) * np.sqrt(4 / 3), rel=0.25)
    labels, truth = np.array([1, 1, 0, 1]), np.array([0, 0, 1, 1])
    assert best_named(truth, labels).tolist() == [0, 0, 1, 0]
    assert best_named(truth, truth) is truth
