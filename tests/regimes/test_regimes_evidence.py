"""Evidence against a slow reference in pandas; its timing, replay equality, power and honesty."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from regimes_market import months_from, simulate_index

from rotation_pipeline.factors.statistics import newey_west_t
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.evidence import EvidenceResult, rotation_evidence
from rotation_pipeline.regimes.features import index_features
from rotation_pipeline.regimes.hmm_detector import HMMDetector
from rotation_pipeline.regimes.models import FittedModel
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.tables import EVIDENCE, SUMMARY, TESTS, TRANSITIONS
from rotation_pipeline.regimes.walk_forward import Detection, detect

OPTIONS = RegimeOptions(bootstrap_resamples=300, permutations=199)
MONTHS = months_from("2012-01", 80)
TABLES = (EVIDENCE, TESTS, TRANSITIONS, SUMMARY)


@pytest.fixture(scope="module")
def detected() -> tuple[pd.DataFrame, Detection]:
    _, index = simulate_index(4, months=80)
    features = index_features(index, MONTHS)
    return features, detect(features, MONTHS, OPTIONS)


def styles_following(labels: pd.Series, strength: float, seed: int = 0) -> pd.DataFrame:
    """Style returns with a premium by the given label of each month; MOM and VAL have the opposite one."""
    rng = np.random.default_rng(seed)
    returns = pd.DataFrame(rng.normal(0.0, 0.03, (len(MONTHS), 5)), index=MONTHS, columns=list(STYLES))
    premium = labels.map({"slow_bull": 1.0, "bear": -1.0, "range": 0.0}).reindex(MONTHS).astype(float).fillna(0.0)
    returns["MOM"] += strength * premium
    returns["VAL"] -= strength * premium
    return returns


def frames(result: EvidenceResult) -> tuple[pd.DataFrame, ...]:
    return result.evidence, result.tests, result.transitions, result.summary


def run(detected: tuple[pd.DataFrame, Detection], returns: pd.DataFrame, months: list[pd.Timestamp]) -> EvidenceResult:
    features, found = detected
    return rotation_evidence(returns, found.regimes, found.models, features, months, OPTIONS)


def hmm_labels(found: Detection) -> pd.Series:
    rows = found.regimes[found.regimes["detector"] == "hmm"]
    return rows.set_index("month")["regime"]


def test_filtered_evidence_uses_the_label_of_the_month_before(detected):
    labels = hmm_labels(detected[1])
    known = labels.shift(1).reindex(MONTHS)
    returns = styles_following(labels, 0.0)
    month = MONTHS[-1]
    found = run(detected, returns, [month]).evidence
    for style in STYLES:
        for regime in REGIMES:
            values = returns.loc[known == regime, style]
            row = found.query("labelling == 'filtered' and style == @style and regime == @regime").iloc[0]
            assert row["months"] == len(values)
            assert row["mean"] == pytest.approx(values.mean(), nan_ok=True)
            assert row["annualised_mean"] == pytest.approx(12 * values.mean(), nan_ok=True)
            assert row["hit_rate"] == pytest.approx((values > 0).mean(), nan_ok=True)
            assert row["t_newey_west"] == pytest.approx(newey_west_t(values.to_numpy()), nan_ok=True)
            if len(values) > 2:
                assert row["sharpe"] == pytest.approx(values.mean() / values.std() * np.sqrt(12))
                assert row["low"] <= values.mean() <= row["high"]


def test_in_sample_evidence_uses_the_smoothed_label_of_the_month_itself(detected):
    from hmmlearn.hmm import GaussianHMM

    features, found = detected
    month = MONTHS[-1]
    text = found.models.query("month == @month and detector == 'hmm'")["parameters"].iloc[0]
    model = FittedModel.from_json(text, "here", HMMDetector(OPTIONS))
    ends = features.groupby("month").tail(1).dropna(subset=["half_year_trend", "volatility"])
    x = np.column_stack([ends["half_year_trend"], np.log(ends["volatility"])])
    peer = GaussianHMM(3, covariance_type="full")
    parameters = model.states.parameters
    peer.startprob_, peer.transmat_ = parameters.start, parameters.transition
    peer.means_, peer.covars_ = parameters.means, parameters.covariances
    states = peer.predict_proba((x - model.centre) / model.scale).argmax(axis=1)
    labels = pd.Series([model.names[state] for state in states], index=ends["month"])
    returns = styles_following(labels, 0.01)
    rows = run(detected, returns, [month]).evidence.query("labelling == 'in_sample'")
    for style in STYLES:
        expected = returns.loc[labels.index, style].groupby(labels).agg(["size", "mean"])
        for regime, (months, mean) in expected.iterrows():
            row = rows[(rows["style"] == style) & (rows["regime"] == regime)].iloc[0]
            assert row["months"] == months
            assert row["mean"] == pytest.approx(mean)


def test_a_month_alone_on_cut_data_equals_the_backfill(detected):
    features, found = detected
    returns = styles_following(hmm_labels(found), 0.02)
    returns.loc[MONTHS[40], "QLTY"] = np.nan
    whole = run(detected, returns, MONTHS)
    for month in (MONTHS[30], MONTHS[61]):
        cut = [frame[frame["month"] <= month] for frame in (found.regimes, found.models, features)]
        alone = rotation_evidence(returns.loc[:month], *cut, [month], OPTIONS)
        for one, many in zip(frames(alone), frames(whole), strict=True):
            expected = many[many["month"] == month].reset_index(drop=True)
            pd.testing.assert_frame_equal(one, expected, check_exact=True)


def test_tables_have_their_columns_and_ranges(detected):
    result = run(detected, styles_following(hmm_labels(detected[1]), 0.02), MONTHS)
    first = hmm_labels(detected[1]).index[0]
    for table, frame in zip(TABLES, frames(result), strict=True):
        assert list(frame.columns) == table.stored_names
        assert not frame.duplicated(list(table.key)).any()
        assert frame["month"].min() == first
        for column in table.columns:
            values = frame[column.name]
            assert column.nullable or values.notna().all(), column.name
            if column.minimum is not None:
                assert (values.dropna() >= column.minimum).all(), column.name
            if column.maximum is not None:
                assert (values.dropna() <= column.maximum).all(), column.name
            if column.allowed:
                assert set(values) <= set(column.allowed), column.name
    sums = result.transitions.groupby(["month", "detector", "from_regime"])["probability"].sum(min_count=1).dropna()
    assert sums.to_numpy() == pytest.approx(1.0)


def test_transitions_and_summary_by_hand(detected):
    from sklearn.metrics import adjusted_rand_score

    month = MONTHS[60]
    result = run(detected, styles_following(hmm_labels(detected[1]), 0.0), [month])
    rows = detected[1].regimes.query("month <= @month").pivot(index="month", columns="detector", values="regime")
    for name in ("hmm", "kmeans"):
        labels = rows[name].tolist()
        for before in REGIMES:
            for after in REGIMES:
                expected = sum(pair == (before, after) for pair in pairwise(labels))
                found = result.transitions.query("detector == @name and from_regime == @before and to_regime == @after")
                assert found["count"].item() == expected
        summary = result.summary.query("detector == @name").set_index("statistic")["value"]
        switches = sum(a != b for a, b in pairwise(labels))
        assert summary["switches"] == switches
        assert summary["expected_duration"] == pytest.approx((len(labels) - 1) / switches)
        assert 0.0 <= summary["filtered_smoothed_agreement"] <= 1.0
    value = result.summary.query("statistic == 'adjusted_rand_with_active' and detector == 'kmeans'")
    assert value["detector"].tolist() == ["kmeans"]
    assert value["value"].item() == pytest.approx(adjusted_rand_score(rows["hmm"], rows["kmeans"]))


def test_a_planted_dependence_is_found_and_its_absence_too(detected):
    labels = hmm_labels(detected[1]).shift(1)
    found = run(detected, styles_following(labels, 0.03), [MONTHS[-1]]).tests
    filtered = found[found["labelling"] == "filtered"].set_index("style")
    assert (filtered.loc[["MOM", "VAL"], "adjusted_p"] < 0.05).all()
    rejected = 0
    for seed in range(20):
        nothing = run(detected, styles_following(labels, 0.0, seed), [MONTHS[-1]]).tests
        rejected += int((nothing["adjusted_p"] < 0.05).groupby(nothing["labelling"]).any().sum())
    # 40 families at a rate of 5 %: 2 expected, 7 or more once in 300
    assert rejected < 7


def test_intervals_cover_the_true_mean():
    # the interval belongs to the stationary bootstrap: on independent months it covers about 90 % or more
    from rotation_pipeline.regimes.evidence import _by_regime

    rng = np.random.default_rng(2)
    options = replace(OPTIONS, bootstrap_resamples=400)
    inside = total = 0
    for trial in range(40):
        returns = np.ascontiguousarray(rng.normal(0.004, 0.04, (60, 5)))
        codes = np.repeat([0, 1, 2], 20)
        month = np.datetime64("2020-01", "M") + trial
        for row in _by_regime(month, "filtered", returns, codes, options):
            inside += row["low"] <= 0.004 <= row["high"]
            total += 1
    assert 0.85 < inside / total < 0.98


def test_missing_inputs_are_refused_by_name(detected):
    features, found = detected
    returns = styles_following(hmm_labels(found), 0.0)
    month = MONTHS[50]
    without = found.models[found.models["month"] != month]
    with pytest.raises(RegimeInputError, match=r"no row of hmm for 2016-03"):
        rotation_evidence(returns, found.regimes, without, features, [month], OPTIONS)
    with pytest.raises(RegimeInputError, match="SIZE is missing"):
        run(detected, returns.drop(columns="SIZE"), [month])
    assert run(detected, returns, MONTHS[:3]).evidence.empty
