"""Which of the configurations ever evaluated count as trials, and which of them say how far worthless trials lie apart.

TRIALS keeps every evaluation. A trial is a result that somebody could have chosen for being better than equal weight:

- a book that has been equal weight in every month so far, because what it trades has not spoken yet or never does, could not
  have been, and is not counted while it is so;
- configurations whose results agree to the last bit are one trial: they differ in settings that their book does not read.

The number counts trials over any months, and all of them say how far worthless trials lie apart: a configuration that was tried
and left does not stop counting when a month is added. Where those of exactly the months judged lie further apart, that counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rotation_pipeline.allocation.frames import MissingMonthError, as_month

Counts = Literal["counted", "equal_weight", "repeated"]
"""Whether a configuration counts, or why not."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One row of TRIALS; ratios per month, NaN = null."""

    month: pd.Timestamp
    trial_id: str
    kind: str
    strategy: str
    months: int
    sharpe: float
    information_ratio: float


def read_trials(trials: pd.DataFrame) -> list[Tried]:
    """Rows of TRIALS, oldest first. Without a column ``kind``, as before there were kinds, all are books."""
    kinds = trials["kind"] if "kind" in trials else ["book"] * len(trials)
    columns = (trials[name] for name in ("strategy", "months", "sharpe", "information_ratio"))
    rows = [
        Tried(as_month(month), str(name), str(kind), str(strategy), int(months), float(sharpe), float(ratio))
        for month, name, kind, strategy, months, sharpe, ratio in zip(
            trials["month"], trials["trial_id"], kinds, *columns, strict=True
        )
    ]
    return sorted(rows, key=lambda row: (row.month, row.trial_id))


def latest_until(tried: Sequence[Tried], month: pd.Timestamp) -> list[Tried]:
    """Of each configuration its last row not after ``month``, by name. MissingMonthError where there is none."""
    latest = {row.trial_id: row for row in tried if row.month <= month}
    if not latest:
        raise MissingMonthError(
            f"marts.trials has no rows up to {month:%Y-%m}: materialise the trials of that month first"
        )
    return [latest[name] for name in sorted(latest)]


def counts(latest: Sequence[Tried]) -> dict[str, Counts]:
    """Whether each configuration counts, by its name. Of those that agree to the last bit the first counts."""
    found: dict[str, Counts] = {}
    seen: set[tuple[int, float, float]] = set()
    for row in sorted(latest, key=lambda row: row.trial_id):
        result = (row.months, row.sharpe, row.information_ratio)
        if not math.isnan(row.sharpe) and math.isnan(row.information_ratio):
            found[row.trial_id] = "equal_weight"
        elif result in seen:
            found[row.trial_id] = "repeated"
        else:
            found[row.trial_id] = "counted"
            if not math.isnan(row.sharpe):
                seen.add(result)
    return found


def counted(latest: Sequence[Tried]) -> list[Tried]:
    """The configurations that count, in their order."""
    standing = counts(latest)
    return [row for row in latest if standing[row.trial_id] == "counted"]


def spread(trials: Sequence[Tried], months: int, ratio: Literal["sharpe", "information_ratio"]) -> float:
    """Variance of a ratio of the trials, per month; ``trials``: those that count, ``months``: how many are judged.

    The largest of four sample variances: over all trials and over those of exactly ``months`` months, each over every trial and
    over the best of each strategy. Near copies of one strategy must not make the others look alike, nor trials of another length
    hide how far these lie apart, and so a deflated ratio higher. NaN where there are several trials but fewer than two ratios:
    nothing then says how far worthless trials lie apart, and a ratio deflated by 0 is not deflated. 0 for one trial.
    """
    values = [(row, row.sharpe if ratio == "sharpe" else row.information_ratio) for row in trials]
    known = [(row, value) for row, value in values if not math.isnan(value)]
    if len(known) < 2:
        return 0.0 if len(trials) < 2 else math.nan
    variances: list[float] = []
    for chosen in (known, [(row, value) for row, value in known if row.months == months]):
        best: dict[str, float] = {}
        for row, value in chosen:
            best[row.strategy] = max(value, best.get(row.strategy, value))
        variances += [_variance([value for _, value in chosen]), _variance([best[name] for name in sorted(best)])]
    return max(variances)


def _variance(values: Sequence[float]) -> float:
    return float(np.array(values).var(ddof=1)) if len(values) > 1 else 0.0
