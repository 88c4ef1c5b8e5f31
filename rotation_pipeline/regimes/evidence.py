"""Do style returns depend on the market's regime? Evidence as of every month, from data up to that month only.

Two labellings of the months, which answer different questions:

- ``in_sample``: the return of month s is put under the regime of month s itself, by probabilities smoothed over all
  months up to t with month t's own model. It describes: the label of a month has seen the month and what followed.
- ``filtered``: the return of month s is put under the regime that stood at the close of month s − 1, the stored
  filtered label. It is what one could have traded on.

Both use the active detector, by default the hidden Markov model. A month whose label does not exist, or whose return is null, is left out; months of
one regime are strung together in time order for the Newey-West t and the bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.statistics import describe
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.frames import Month, as_months, floats, months_of, sorted_by_key, texts, year_and_month
from rotation_pipeline.regimes.models import FittedModel, labels, regime_probabilities
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.statistics import (
    adjusted_rand,
    benjamini_hochberg,
    kruskal_wallis,
    spell_permutation_p,
    stationary_bootstrap_indices,
)
from rotation_pipeline.regimes.tables import EVIDENCE, MODELS, REGIMES_TABLE, SUMMARY, TESTS, TRANSITIONS
from rotation_pipeline.regimes.walk_forward import History, stored_models

Array = NDArray[np.float64]
Row = dict[str, Any]
LABELLINGS = ("filtered", "in_sample")
LEAST_MONTHS = 3
"""Months a regime needs for an interval, and to take part in the tests."""
_TAIL = 0.025


@dataclass(frozen=True)
class EvidenceResult:
    """Rows of ``EVIDENCE``, ``TESTS``, ``TRANSITIONS`` and ``SUMMARY``."""

    evidence: pd.DataFrame
    tests: pd.DataFrame
    transitions: pd.DataFrame
    summary: pd.DataFrame


@njit(cache=True)
def _resampled_means(values: Array, indices: NDArray[np.int64], out: Array) -> None:
    """Mean of ``values`` at each row of ``indices`` (R, n), each summed first to last."""
    for r in range(indices.shape[0]):
        total = 0.0
        for i in range(indices.shape[1]):
            total += values[indices[r, i]]
        out[r] = total / indices.shape[1]


def _number(month: Month) -> int:
    """Months since 1970-01: a key that compares and hashes faster than a date."""
    return int(month.astype(np.int64))


class _AsOf:
    """What is known at the close of one month: labels, stored and in-sample, of all months up to it by number."""

    def __init__(
        self,
        month: Month,
        history: Mapping[str, Mapping[int, str]],
        data: History,
        fitted: Mapping[tuple[Month, str], FittedModel],
        options: RegimeOptions,
    ) -> None:
        """Raises RegimeInputError when a detector has no model of the month."""
        now = _number(month)
        self.month = month
        self.active = options.active
        self.stored = {name: {at: label for at, label in past.items() if at <= now} for name, past in history.items()}
        self.in_sample: dict[str, dict[int, str]] = {}
        for detector in data.detectors:
            if (month, detector.name) not in fitted:
                raise RegimeInputError(
                    f"{MODELS.full_name} has no row of {detector.name} for {month}; materialise regimes of that month"
                )
            rows = data.rows(detector, month)
            stamps, smoothed = regime_probabilities(detector, fitted[month, detector.name], rows, in_sample=True)
            self.in_sample[detector.name] = dict(zip(_numbers(stamps), labels(smoothed), strict=True))

    def codes(self, labelling: str, months: Sequence[int]) -> NDArray[np.int64]:
        """Places in ``REGIMES`` the returns of ``months`` are put under, −1 where there is no label."""
        if labelling == "in_sample":
            names = [self.in_sample[self.active].get(at) for at in months]
        else:
            names = [self.stored[self.active].get(at - 1) for at in months]
        return np.array([-1 if name is None else REGIMES.index(name) for name in names], dtype=np.int64)


def _numbers(months: NDArray[np.datetime64]) -> list[int]:
    return [int(number) for number in months.astype("datetime64[M]").astype(np.int64)]


def rotation_evidence(
    style_returns: pd.DataFrame,
    regimes: pd.DataFrame,
    models: pd.DataFrame,
    features: pd.DataFrame,
    months: Sequence[date | pd.Timestamp],
    options: RegimeOptions,
) -> EvidenceResult:
    """Evidence, tests, transitions and summary as of each of ``months``.

    Args:
        style_returns: index month (any order), one column per style of ``STYLES``, long-short return of the month
            (fraction, nullable); rows after an as-of month are not used for it.
        regimes: ``REGIMES_TABLE`` rows of all months up to the last one.
        models: ``MODELS`` rows, at least those of ``months``.
        features: ``FEATURES`` rows of all sessions.
        months: as-of months. Months before the first row of ``regimes`` have no rows.
        options: the stage's tunables.

    Returns:
        Per month: 2 labellings × 5 styles × 3 regimes in ``evidence``, 2 × 5 ``tests``, 9 ``transitions`` a detector,
        3 or 4 ``summary`` statistics a detector. What cannot be computed is null; the tables' columns say when.

    Raises:
        RegimeInputError: a style or a month's model is missing.
    """
    data = History(features, options)
    table = REGIMES_TABLE.full_name
    history: dict[str, dict[int, str]] = {name: {} for name in options.detectors}
    columns = (_numbers(months_of(regimes, table)), texts(regimes, "detector", table), texts(regimes, "regime", table))
    for at, detector, regime in sorted(zip(*columns, strict=True)):
        if detector in history:
            history[detector][at] = regime
    active = history[options.active]
    wanted = [month for month in as_months(months) if active and _number(month) >= min(active)]
    rows: Any = models
    kept = np.isin(months_of(models, MODELS.full_name), np.asarray(wanted, dtype="datetime64[M]"))
    fitted = stored_models(rows[kept], options)
    stamps, returns = _style_columns(style_returns)
    evidence: list[Row] = []
    tests: list[Row] = []
    transitions: list[Row] = []
    summary: list[Row] = []
    for month in wanted:
        known = _AsOf(month, history, data, fitted, options)
        past = stamps <= month
        for labelling in LABELLINGS:
            codes = known.codes(labelling, _numbers(stamps[past]))
            evidence += _by_regime(month, labelling, returns[past], codes, options)
            tests += _tests(month, labelling, returns[past], codes, options)
        for name in options.detectors:
            transitions += _transitions(month, name, known)
            summary += _summary(month, name, known)
    return EvidenceResult(
        sorted_by_key(EVIDENCE, evidence),
        sorted_by_key(TESTS, tests),
        sorted_by_key(TRANSITIONS, transitions),
        sorted_by_key(SUMMARY, summary),
    )


def _style_columns(style_returns: pd.DataFrame) -> tuple[NDArray[np.datetime64], Array]:
    """Months ascending (M,) and returns (M, 5) in the order of ``STYLES``."""
    index: Any = style_returns.index
    stamps = np.asarray(index.to_numpy(dtype="datetime64[ns]").astype("datetime64[M]"))
    order = np.argsort(stamps, kind="stable")
    returns = np.stack([floats(style_returns, style, "style returns") for style in STYLES], axis=1)
    if np.unique(stamps).size != stamps.size:
        raise RegimeInputError("style returns: a month occurs twice; pass one row a month")
    return stamps[order], np.ascontiguousarray(returns[order])


def _interval(means: Array) -> tuple[float, float]:
    """Central 95 % of the resampled means, interpolated linearly between order statistics (Hyndman and Fan 1996, 7)."""
    ordered = np.sort(means)
    ends: list[float] = []
    for share in (_TAIL, 1.0 - _TAIL):
        place = share * (means.size - 1)
        below = int(place)
        above = min(below + 1, means.size - 1)
        ends.append(float(ordered[below] + (place - below) * (ordered[above] - ordered[below])))
    return ends[0], ends[1]


def _by_regime(
    month: Month, labelling: str, returns: Array, codes: NDArray[np.int64], options: RegimeOptions
) -> list[Row]:
    """Rows of ``EVIDENCE`` of one labelling; styles with the same months share their resamples."""
    rows: list[Row] = []
    for place, regime in enumerate(REGIMES):
        drawn: dict[int, NDArray[np.int64]] = {}
        for column, style in enumerate(STYLES):
            values = returns[codes == place, column]
            values = np.ascontiguousarray(values[~np.isnan(values)])
            said = describe(values)
            low, high = np.nan, np.nan
            if values.size >= LEAST_MONTHS:
                if values.size not in drawn:
                    seed = (options.seed, *year_and_month(month), LABELLINGS.index(labelling), place)
                    drawn[values.size] = stationary_bootstrap_indices(
                        values.size, options.bootstrap_block, options.bootstrap_resamples, seed
                    )
                means = np.empty((options.bootstrap_resamples,))
                _resampled_means(values, drawn[values.size], means)
                low, high = _interval(means)
            rows.append(
                {
                    "month": month,
                    "labelling": labelling,
                    "style": style,
                    "regime": regime,
                    "months": said.n,
                    "mean": said.mean,
                    "annualised_mean": 12.0 * said.mean,
                    "t_newey_west": said.newey_west_t,
                    "sharpe": said.ratio * np.sqrt(12.0),
                    "low": low,
                    "high": high,
                    "hit_rate": said.share_above_zero,
                }
            )
    return rows


def _tests(month: Month, labelling: str, returns: Array, codes: NDArray[np.int64], options: RegimeOptions) -> list[Row]:
    """Rows of ``TESTS`` of one labelling. Regimes with fewer than ``LEAST_MONTHS`` months take no part."""
    found = {name: np.full((len(STYLES),), np.nan) for name in ("kruskal_h", "kruskal_p", "permutation_p")}
    seed = (options.seed, *year_and_month(month), LABELLINGS.index(labelling), len(REGIMES))
    alike: dict[bytes, list[int]] = {}
    for column in range(len(STYLES)):
        there = (codes >= 0) & ~np.isnan(returns[:, column])
        counts = np.bincount(codes[there], minlength=len(REGIMES))
        there &= np.isin(codes, np.flatnonzero(counts >= LEAST_MONTHS))
        if np.count_nonzero(counts >= LEAST_MONTHS) > 1:
            alike.setdefault(there.tobytes(), []).append(column)
    for mask, columns in alike.items():
        there = np.frombuffer(mask, dtype=np.bool_)
        values = np.ascontiguousarray(returns[there][:, columns].T)
        found["permutation_p"][columns] = spell_permutation_p(values, codes[there], options.permutations, seed)
        for column, series in zip(columns, values, strict=True):
            found["kruskal_h"][column], found["kruskal_p"][column] = kruskal_wallis(series, codes[there])
    found["adjusted_p"] = benjamini_hochberg(found["permutation_p"])
    return [
        {
            "month": month,
            "labelling": labelling,
            "style": style,
            **{name: float(values[column]) for name, values in found.items()},
        }
        for column, style in enumerate(STYLES)
    ]


def _pairs(stored: Mapping[int, str]) -> list[tuple[str, str]]:
    """Labels of neighbouring months, both stored, in time order."""
    return [(stored[at - 1], stored[at]) for at in sorted(stored) if at - 1 in stored]


def _transitions(month: Month, detector: str, known: _AsOf) -> list[Row]:
    pairs = _pairs(known.stored[detector])
    rows: list[Row] = []
    for before in REGIMES:
        leaving = sum(pair[0] == before for pair in pairs)
        for after in REGIMES:
            count = pairs.count((before, after))
            rows.append(
                {
                    "month": month,
                    "detector": detector,
                    "from_regime": before,
                    "to_regime": after,
                    "count": count,
                    "probability": count / leaving if leaving else np.nan,
                }
            )
    return rows


def _summary(month: Month, detector: str, known: _AsOf) -> list[Row]:
    """Switches; expected duration = 1 / share of month pairs with a switch; agreements over the months in both."""
    stored, in_sample = known.stored[detector], known.in_sample[detector]
    pairs = _pairs(stored)
    switches = sum(before != after for before, after in pairs)
    both = sorted(stored.keys() & in_sample.keys())
    values = {
        "switches": float(switches),
        "expected_duration": len(pairs) / switches if switches else np.nan,
        "filtered_smoothed_agreement": (
            sum(stored[at] == in_sample[at] for at in both) / len(both) if both else np.nan
        ),
    }
    if detector != known.active:
        reference = known.stored[known.active]
        shared = sorted(stored.keys() & reference.keys())
        values["adjusted_rand_with_active"] = (
            adjusted_rand([stored[at] for at in shared], [reference[at] for at in shared])
            if len(shared) > 1
            else np.nan
        )
    return [{"month": month, "detector": detector, "statistic": name, "value": value} for name, value in values.items()]
