"""The two-state experiment as others ran it: their figures, and the same run here.

The figures are outputs kept in the notebooks of the public code of Aydınhan, Kolm, Mulvey and Shu (2024, Annals of
Operations Research), repository Yizhan-Oliver-Shu/continuous-jump-model at commit 0d36543, folder
notebooks/simulation/dev. They were made before the paper's tables and with fewer settings.

What their protocol does otherwise than :mod:`~rotation_pipeline.regimes.experiment`: paths are taken as they come, also
with one state only; the balanced accuracy is half the sum, over the two states, of the mean share of that state's days
found on the paths in which it occurs; estimated states are named so that the most days are right; and the jump penalty
is the best one on the paths scored, which flatters it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.experiment import (
    Labels,
    Path,
    estimate_hmm,
    estimate_jump,
    simulate_path,
    true_parameters,
)
from rotation_pipeline.regimes.hmm import HMMParameters, log_emissions, viterbi

Array = NDArray[np.float64]
ROWS = ("true", "hmm", "jump")
"""Viterbi path with the true parameters, Viterbi path of an estimated model, path of the jump model."""
LEAD = 20
"""Days simulated before a path so that its first window features are full; they are not scored."""
WINDOWS = (6, 14)
"""Days of the window features, as in the papers."""
PENALTIES = (0.5, 1.58, 5.0, 15.8, 50.0, 158.0, 500.0)
"""Half of 10^0, 10^½, …, 10^3, because the loss here is half the squared distance; the published best is 10^2."""
LEAST_PATHS = 24
"""Estimates take at least so many paths: of fewer short ones none may have both states."""
TRUE_PATHS = 1024
"""Paths of the published runs with true parameters; cheap, so as many are run here at least."""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A balanced accuracy printed by others, its row, length of the paths, their number and the notebook."""

    row: str
    days: int
    balanced_accuracy: float
    paths: int
    notebook: str


PUBLISHED = (
    PublishedFigure("true", 250, 0.9247409753546655, 1024, "old-0-generate-data-estimate-true-model.ipynb"),
    PublishedFigure("true", 500, 0.9285405045155555, 1024, "old-0-generate-data-estimate-true-model.ipynb"),
    PublishedFigure("true", 1000, 0.953140004988454, 1024, "old-0-generate-data-estimate-true-model.ipynb"),
    PublishedFigure("hmm", 1000, 0.952070423057263, 1024, "old-0.5-hmm-estimate-score.ipynb"),
    PublishedFigure("jump", 1000, 0.92182283, 1000, "7-plotting.ipynb"),
)


@dataclass(frozen=True, slots=True)
class Rerun:
    """The same row run here: balanced accuracy with its standard error over ``paths`` paths, and the penalty it took."""

    row: str
    days: int
    balanced_accuracy: float
    standard_error: float
    paths: int
    penalty: float | None


def window_features(returns: Array) -> Array:
    """The 15 features of the papers (Zheng, Li and Xu 2019), of past days only, shape (T, 15).

    The return; the absolute change from the day before, and of the day before; and for windows of 6 and 14 days mean and
    standard deviation (ddof 1) of the window, of its older half and of its newer half. NaN before day 14.
    """
    columns = [
        returns,
        np.abs(_lagged(returns, 0) - _lagged(returns, 1)),
        np.abs(_lagged(returns, 1) - _lagged(returns, 2)),
    ]
    for window in WINDOWS:
        half = window // 2
        for days, lag in ((window, 0), (half, half), (half, 0)):
            views = np.lib.stride_tricks.sliding_window_view(returns, days)
            both = (views.mean(axis=1), views.std(axis=1, ddof=1))
            columns += [_lagged(np.concatenate([np.full(days - 1, np.nan), values]), lag) for values in both]
    return np.stack(columns, axis=1)


def _lagged(values: Array, days: int) -> Array:
    return np.concatenate([np.full(days, np.nan), values[: values.size - days]])


def best_named(truth: Labels, labels: Labels) -> Labels:
    """``labels`` (T,) of two states, or their opposite where that gets more days right."""
    return labels if 2 * int((labels == truth).sum()) >= truth.size else 1 - labels


def pooled_accuracy(shares: Array) -> tuple[float, float]:
    """(balanced accuracy, standard error) of ``shares`` (paths × states: share of a state's days found, NaN where the
    path lacks it): mean over states of the mean over paths; the error is that of the paths."""
    known = ~np.isnan(shares)
    means = np.nanmean(shares, axis=0)
    pull = np.where(known, shares - means, 0.0) * (len(shares) / known.sum(axis=0))
    return float(means.mean()), float(pull.mean(axis=1).std(ddof=1) / np.sqrt(len(shares)))


def _shares(truth: Labels, labels: Labels) -> Array:
    with np.errstate(invalid="ignore"):
        return np.array([np.sum((labels == state) & (truth == state)) / np.sum(truth == state) for state in (0, 1)])


def _viterbi(returns: Array, parameters: HMMParameters) -> Labels:
    emissions = log_emissions(np.ascontiguousarray(returns[:, np.newaxis]), parameters)
    return viterbi(emissions, parameters.start, parameters.transition)[0]


def _scored(path: Path) -> Path:
    return Path(np.ascontiguousarray(path.returns[LEAD:]), path.states[LEAD:])


def rerun(days: int, paths: int, seed: int, *, true_paths: int = TRUE_PATHS) -> list[Rerun]:
    """The three rows at one length: estimates on ``paths`` paths (24 at least), the true parameters on ``true_paths`` if
    that is more."""
    paths = max(paths, LEAST_PATHS)
    shares: dict[str, list[Array]] = {"true": [], "hmm": []}
    jumps: list[list[Array]] = [[] for _ in PENALTIES]
    for number in range(max(paths, true_paths)):
        whole = simulate_path(days + LEAD, (seed, days, number, 4), both=False)
        path = _scored(whole)
        shares["true"].append(_shares(path.states, _viterbi(path.returns, true_parameters())))
        if number >= paths:
            continue
        estimated = _viterbi(path.returns, estimate_hmm(path.returns, (seed, days, number, 5)))
        shares["hmm"].append(_shares(path.states, best_named(path.states, estimated)))
        x = window_features(whole.returns)[LEAD:]
        x = np.ascontiguousarray((x - x.mean(axis=0)) / x.std(axis=0))
        for place, penalty in enumerate(PENALTIES):
            found = estimate_jump(x, penalty, (seed, days, number, 6)).path
            jumps[place].append(_shares(path.states, best_named(path.states, found)))
    scores = [pooled_accuracy(np.array(each)) for each in jumps]
    best = int(np.argmax([score for score, _ in scores]))
    out = [Rerun(row, days, *pooled_accuracy(np.array(each)), len(each), None) for row, each in shares.items()]
    return [*out, Rerun("jump", days, *scores[best], paths, PENALTIES[best])]


def published(row: str, days: int) -> PublishedFigure | None:
    """The figure of a row at a length; None where none was found."""
    return next((figure for figure in PUBLISHED if (figure.row, figure.days) == (row, days)), None)
