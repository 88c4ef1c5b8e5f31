"""Walk-forward hidden Markov model: the compiled EM against hmmlearn, the same starts, likelihoods equal.

Run: ``python benchmarks/bench_regimes_hmm.py [windows] [rounds]`` (default 6 of the 121 monthly windows, 3 rounds).

Each window is fitted on every session up to a month's close (half-year trend and log volatility, scaled by the
window), three states, full covariances, weak priors (they keep a state alive that starts on an outlier), from the same
``STARTS`` starts for the same number of steps. Peers: hmmlearn as it comes (``implementation="log"``) and its faster
``implementation="scaling"``. All run in one process on one thread (waiting BLAS threads would count as the peers' CPU
seconds), warm (compiled before the first round), in random order within a round; the median of the paired CPU-second
ratios is reported with its range. A ratio counts only if every final log-likelihood agrees.
The index is simulated here: a random walk whose volatility and drift switch every year.
"""

from __future__ import annotations

import logging
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import scoreboard
from threadpoolctl import threadpool_limits

from rotation_pipeline.regimes.features import index_features
from rotation_pipeline.regimes.hmm import HMMParameters, HMMPriors, fit_em
from rotation_pipeline.regimes.kmeans import seeded_centres
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.walk_forward import detect

GOAL = 10.0
TOLERANCE = 1e-6
"""Largest difference of a final log-likelihood, nats."""
STARTS = 10
STEPS = 30
STATES = 3
ALIVE = 1.1
"""Dirichlet parameter of every transition."""
MONTHS = 145


def make_index(seed: int = 0) -> pd.DataFrame:
    """Sessions of ``MONTHS`` months from 2012-01, 20 a month."""
    rng = np.random.default_rng(seed)
    month = np.repeat(np.arange(MONTHS), 20)
    state = (month // 12) % 3
    ret = np.array([0.0006, -0.0012, 0.0])[state] + np.array([0.010, 0.020, 0.0095])[state] * rng.standard_normal(
        month.size
    )
    starts = np.datetime64("2012-01", "M") + month
    day = starts.astype("datetime64[D]") + np.tile(np.arange(20), MONTHS)
    return pd.DataFrame({
        "day": day.astype("datetime64[ns]"), "close": 1000 * np.cumprod(1 + ret),
        "ret": np.where(np.arange(ret.size) == 0, np.nan, ret), "amount": np.full(ret.size, 1e10),
    })  # fmt: skip


def make_windows(features: pd.DataFrame, count: int) -> list[tuple[np.ndarray, list[HMMParameters]]]:
    """Scaled observations of ``count`` month ends spread over the last 121 months, with their starts."""
    known = features.dropna()
    x = np.column_stack([known["half_year_trend"], np.log(known["volatility"])])
    months = known["month"].to_numpy()
    ends = np.unique(months)[-121:][np.linspace(0, 120, count).round().astype(int)]
    rng = np.random.default_rng(1)
    windows: list[tuple[np.ndarray, list[HMMParameters]]] = []
    for end in ends:
        rows = x[months <= end]
        scaled = np.ascontiguousarray((rows - rows.mean(axis=0)) / rows.std(axis=0))
        transition = np.full((STATES, STATES), 0.02) + np.eye(STATES) * (1 - 0.02 * STATES)
        covariances = np.stack([np.cov(scaled.T)] * STATES)
        starts = [
            HMMParameters(np.full(STATES, 1 / STATES), transition, seeded_centres(scaled, STATES, draws), covariances)
            for draws in rng.random((STARTS, STATES))
        ]
        windows.append((scaled, starts))
    return windows


def ours(windows: list[tuple[np.ndarray, list[HMMParameters]]]) -> list[float]:
    """Final log-likelihood of every start."""
    priors = HMMPriors(
        start=np.ones(STATES), transition=np.full((STATES, STATES), ALIVE), means=np.zeros((STATES, 2)),
        means_weight=0.0, covariance=1e-2 * np.eye(2), covariance_weight=1.0,
    )  # fmt: skip
    return [
        fit_em(x, start, priors, diagonal=False, max_iter=STEPS, tolerance=-np.inf).log_likelihood
        for x, starts in windows
        for start in starts
    ]


def peer(implementation: str) -> Callable[[list[tuple[np.ndarray, list[HMMParameters]]]], list[float]]:
    """hmmlearn's GaussianHMM from the same starts."""
    from hmmlearn.hmm import GaussianHMM

    def fit(windows: list[tuple[np.ndarray, list[HMMParameters]]]) -> list[float]:
        found: list[float] = []
        for x, starts in windows:
            for start in starts:
                model = GaussianHMM(
                    STATES, covariance_type="full", n_iter=STEPS, tol=-np.inf, init_params="",
                    transmat_prior=ALIVE, covars_prior=1e-2 * np.eye(2),
                    implementation=implementation,
                )  # fmt: skip
                model.startprob_, model.transmat_ = start.start, start.transition
                model.means_, model.covars_ = start.means, start.covariances
                model.fit(x)
                found.append(model.score(x))
        return found

    return fit


def main() -> int:
    """Prints the ratios and the time of the stage itself; 1 if a likelihood differs or the goal is missed by a fifth."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    warnings.simplefilter("ignore")
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    months = list(pd.date_range("2012-01", periods=MONTHS, freq="MS"))
    features = index_features(make_index(), months)
    windows = make_windows(features, count)
    ways = {"compiled": ours, "hmmlearn log": peer("log"), "hmmlearn scaling": peer("scaling")}
    for way in ways.values():
        way(windows[:1])
    spent: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, list[float]] = {}
    for round_ in range(rounds):
        for name in random.Random(round_).sample(list(ways), len(ways)):
            begun = time.process_time()
            results[name] = ways[name](windows)
            spent[name].append(time.process_time() - begun)
    print(
        f"{count} windows of {windows[0][0].shape[0]} to {windows[-1][0].shape[0]} sessions × {STARTS} starts × {STEPS} steps, CPU seconds, warm"
    )
    failed = False
    for name in ways:
        print(f"{name:17s} {statistics.median(spent[name]):8.2f} s")
    for name in list(ways)[1:]:
        gap = max(abs(a - b) for a, b in zip(results["compiled"], results[name], strict=True))
        ratios = sorted(theirs / own for theirs, own in zip(spent[name], spent["compiled"], strict=True))
        equal = gap <= TOLERANCE
        print(
            f"{name} / compiled: {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}), "
            f"largest difference of a log-likelihood {gap:.1e}{'' if equal else ': NOT EQUAL'}"
        )
        failed |= not equal
        if name == "hmmlearn log":
            failed |= statistics.median(ratios) < 0.8 * GOAL
        goal, kept = (
            (f"≥ {GOAL:g}", scoreboard.verdict(statistics.median(ratios), GOAL))
            if name == "hmmlearn log"
            else ("–", "–")
        )
        figure = f"{statistics.median(ratios):.1f} × {name}" if equal else f"{name}: likelihoods differ"
        scoreboard.add("hidden Markov models, against hmmlearn", figure, goal, kept if equal else "MISSED")
    for form in ("monthly", "daily"):
        options = RegimeOptions(form=form, stride=1)
        begun = time.process_time()
        detect(features, months[24:], options, start=months[24])
        print(f"stage, 121 months, both detectors, {form} rows: {time.process_time() - begun:.2f} s")
    return int(failed)


if __name__ == "__main__":
    with threadpool_limits(1):
        code = main()
    raise SystemExit(code)
