"""How well are regimes found whose truth is known? The two-state Gaussian experiment as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rotation_pipeline.regimes.experiment import (
    DEVIATIONS,
    MEANS,
    METHODS,
    ONLINE,
    SWITCHING,
    balanced_accuracy,
    choose_penalty,
    detection_delays,
    label_path,
    simulate_path,
)

LENGTHS = (250, 500, 1000, 2000)
PENALTIES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
TITLES = {
    "true_filter": "filter, true parameters",
    "true_smoother": "smoother, true parameters",
    "hmm_filter": "hidden Markov model, filtered",
    "hmm_smoother": "hidden Markov model, smoothed",
    "jump_online": "jump model, online",
    "jump_path": "jump model, whole path",
}


@dataclass(frozen=True)
class Score:
    """One method at one length."""

    days: int
    method: str
    paths: int
    balanced_accuracy: float
    standard_error: float
    mean_delay: float
    missed: float
    switches: int
    penalty: float | None


def run_study(
    paths: int,
    seed: int,
    lengths: Sequence[int] = LENGTHS,
    *,
    tuning: int = 60,
    listen: Callable[[int], None] = lambda _length: None,
) -> list[Score]:
    """Every method on ``paths`` paths of each length; the jump penalty is chosen on ``tuning`` other paths."""
    found: list[Score] = []
    for length in lengths:
        listen(length)
        penalty = choose_penalty(length, PENALTIES, tuning, seed)
        accuracies: dict[str, list[float]] = {name: [] for name in METHODS}
        delays: dict[str, list[tuple[int, bool]]] = {name: [] for name in METHODS}
        for number in range(paths):
            path = simulate_path(length, (seed, length, number))
            labels = label_path(path, penalty, (seed, length, number, 3))
            for name in METHODS:
                accuracies[name].append(balanced_accuracy(path.states, labels[name]))
                delays[name] += detection_delays(path.states, labels[name])
        for name in METHODS:
            values, days = np.array(accuracies[name]), [day for day, _ in delays[name]]
            found.append(
                Score(
                    days=length, method=name, paths=paths, balanced_accuracy=float(values.mean()),
                    standard_error=float(values.std(ddof=1) / np.sqrt(paths)), mean_delay=float(np.mean(days)),
                    missed=float(np.mean([not seen for _, seen in delays[name]])), switches=len(days),
                    penalty=penalty if name.startswith("jump") else None,
                )
            )  # fmt: skip
    return found


def markdown(scores: Sequence[Score], command: str) -> str:
    """The study as a page."""
    lengths = sorted({score.days for score in scores})
    names = list(dict.fromkeys(score.method for score in scores))
    at = {(score.method, score.days): score for score in scores}
    header = f"| method | labels see | {' | '.join(f'T = {length}' for length in lengths)} |"
    rule = f"|---|---|{'---|' * len(lengths)}"
    lines = [
        "# Regime detection on a market with known regimes",
        "",
        "Two Gaussian states, daily: the experiment of the jump-model papers. Simulated data only; made by",
        "",
        f"```bash\n{command}\n```",
        "",
        f"Means {MEANS[0]} and {MEANS[1]}, deviations {DEVIATIONS[0]} and {DEVIATIONS[1]}, daily probabilities of leaving "
        f"a state {SWITCHING[0]} and {SWITCHING[1]:.4f}; {scores[0].paths} paths of each length in which both states occur. "
        "Balanced accuracy is the mean of the two states' shares of days found (chance 0.5), ± its standard error over "
        "paths. Every estimate sees one path only; estimated states are told apart by their volatility.",
        "",
        "## Balanced accuracy",
        "",
        header,
        rule,
    ]
    for name in names:
        cells = (f"{at[name, days].balanced_accuracy:.3f} ± {at[name, days].standard_error:.3f}" for days in lengths)
        sees = "the past" if name in ONLINE else "the whole path"
        lines.append(f"| {TITLES[name]} | {sees} | {' | '.join(cells)} |")
    penalties = ", ".join(f"{at['jump_path', days].penalty:g} at {days}" for days in lengths)
    lines += [
        "",
        f"Parameters are estimated on the whole path, as in the papers; with them, online labels use no later day. Jump "
        f"penalties ({penalties}) have the best accuracy of the whole-path labels on other paths, which is how the papers "
        "choose theirs and more than a user knows. The jump model sees the logarithms of two exponentially weighted root "
        "mean squares of the returns (half-lives 5 and 20 days). The papers' own figures are not repeated here: features, penalties and labels (Viterbi, smoothed, online) "
        "differ between them, and no copy of their tables was at hand to check one against.",
        "",
        "## Days to detect a switch",
        "",
        "Days from a true switch to the first day labelled with the new state (0: the same day), a spell never labelled "
        "counting in full; in brackets the share of such spells.",
        "",
        header,
        rule,
    ]
    for name in names:
        cells = (f"{at[name, days].mean_delay:.1f} ({at[name, days].missed:.0%})" for days in lengths)
        sees = "the past" if name in ONLINE else "the whole path"
        lines.append(f"| {TITLES[name]} | {sees} | {' | '.join(cells)} |")
    switches = ", ".join(f"{at[names[0], days].switches} at {days}" for days in lengths)
    lines += ["", f"Switches: {switches}.", ""]
    return "\n".join(lines)
