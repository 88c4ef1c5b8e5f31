"""Walk-forward detection: each month a refit on data up to its close, started from the month before.

A month's rows depend on the features up to its close, the options and the stored rows of the month before, so a month
computed alone equals the same month of a backfill bit for bit. The chain begins at the first month with enough
history (or at ``start``, if later); anywhere else the month before must exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from rotation_pipeline.regimes.detectors import Detector, archetypes
from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.frames import (
    Month,
    as_month,
    as_months,
    floats,
    months_of,
    sorted_by_key,
    texts,
    year_and_month,
)
from rotation_pipeline.regimes.models import (
    FittedModel,
    labels,
    make_detectors,
    model_seed,
    regime_probabilities,
    state_moments,
)
from rotation_pipeline.regimes.names import REGIMES, name_states
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.rows import NAMING, FeatureRows, TrainingRows, moments_of
from rotation_pipeline.regimes.tables import MODELS, REGIMES_TABLE

_LEAST_WEIGHT = 1e-6
"""Pseudo-observations behind a state's return and volatility, so that an empty state has defined ones."""
_LEAST_SESSIONS = 63
"""Sessions a detector's own features must reach back, a quarter, where it sees others than those of the options."""


@dataclass(frozen=True)
class Detection:
    """Rows of ``MODELS`` and ``REGIMES_TABLE``."""

    models: pd.DataFrame
    regimes: pd.DataFrame


@dataclass(frozen=True)
class _Link:
    """What a month hands to the next: its model, label and the length of the spell."""

    model: FittedModel
    regime: str
    months_in_regime: int


def stored_models(models: pd.DataFrame, options: RegimeOptions) -> dict[tuple[Month, str], FittedModel]:
    """The models of ``MODELS`` rows by (month, detector); those of detectors that no longer run are left out."""
    table = MODELS.full_name
    keys = zip(months_of(models, table), texts(models, "detector", table), strict=True)
    stored = texts(models, "parameters", table)
    detectors = {detector.name: detector for detector in make_detectors(options)}
    return {
        (month, name): FittedModel.from_json(text, f"{table} {month} {name}", detectors[name])
        for (month, name), text in zip(keys, stored, strict=True)
        if name in detectors
    }


def _stored_links(
    models: pd.DataFrame | None, regimes: pd.DataFrame | None, month: Month, options: RegimeOptions
) -> dict[str, _Link]:
    """Links of ``month`` out of stored rows; only that month's models are read."""
    if models is None or regimes is None or models.empty or regimes.empty:
        return {}
    rows: Any = models
    fitted = stored_models(rows[months_of(models, MODELS.full_name) == month], options)
    table = REGIMES_TABLE.full_name
    links: dict[str, _Link] = {}
    columns = (
        months_of(regimes, table),
        texts(regimes, "detector", table),
        texts(regimes, "regime", table),
        floats(regimes, "months_in_regime", table),
    )
    for stamp, detector, regime, length in zip(*columns, strict=True):
        if stamp == month and (month, detector) in fitted:
            links[detector] = _Link(fitted[month, detector], regime, int(length))
    return links


def fit_month(
    detector: Detector, rows: TrainingRows, previous: FittedModel | None, month: Month, options: RegimeOptions
) -> FittedModel:
    """The detector fitted on ``rows``, scaled by their own moments, its states matched to ``previous`` and named."""
    most = max(detector.state_counts)
    if rows.x.shape[0] <= most:
        raise RegimeInputError(f"{month}: {rows.x.shape[0]} training rows for {most} states; raise min_history")
    size = len(detector.features)
    centre, scale = rows.scaling(detector.features) if detector.is_scaled else (np.zeros(size), np.ones(size))
    x = np.ascontiguousarray((rows.x - centre) / scale)
    warm = None if previous is None else previous.in_scale(centre, scale)
    seed = model_seed(options, year_and_month(month))
    states = detector.fit(x, warm, archetypes(detector.features, detector.state_counts[0]), seed)
    weights = detector.smooth(x, states)
    centres = archetypes(NAMING, len(states.roles))[list(states.roles)]
    prior_weight = _LEAST_WEIGHT + detector.prior_rows
    moments: list[tuple[float, ...]] = []
    for position, values in enumerate((rows.returns, rows.volatilities)):
        mean, deviation = moments_of(values[:, np.newaxis])
        prior = mean[0] + centres[:, position] * deviation[0]
        moments.append(state_moments(weights, values, prior_weight, prior))
    names = detector.fixed_names or name_states(moments[0], moments[1])
    return FittedModel(detector.features, centre, scale, states, moments[0], moments[1], names)


class History:
    """The sessions as each detector sees them."""

    def __init__(self, features: pd.DataFrame, options: RegimeOptions) -> None:
        """Takes ``FEATURES`` rows in any order."""
        self.options = options
        self.detectors = make_detectors(options)
        wanted = {tuple(options.features), *(detector.features for detector in self.detectors)}
        self._data = {names: FeatureRows(features, names) for names in sorted(wanted)}

    def rows(self, detector: Detector, month: Month) -> TrainingRows:
        """The rows of ``month``'s fit (see :meth:`FeatureRows.known`)."""
        return self._data[detector.features].known(month, self.options)

    def has_begun(self, month: Month, start: date | pd.Timestamp | None = None) -> bool:
        """Whether the tables are kept for ``month``: ``min_history`` sessions with the features of the options, and
        ``_LEAST_SESSIONS`` with those of every detector, at its close."""
        if start is not None and bool(month < as_month(start)):
            return False
        enough = self._data[tuple(self.options.features)].history(month) >= self.options.min_history
        return enough and all(data.history(month) >= _LEAST_SESSIONS for data in self._data.values())

    @property
    def last(self) -> Month:
        """The last month with sessions."""
        return next(iter(self._data.values())).months[-1]


def detect(
    features: pd.DataFrame,
    months: Sequence[date | pd.Timestamp],
    options: RegimeOptions,
    previous_models: pd.DataFrame | None = None,
    previous_regimes: pd.DataFrame | None = None,
    *,
    start: date | pd.Timestamp | None = None,
) -> Detection:
    """Models and filtered regimes of ``months``, every detector.

    Args:
        features: ``FEATURES`` rows of all sessions available; later sessions than a month's close are not used for it.
        months: calendar months to compute, any day of each, any order.
        options: the stage's tunables.
        previous_models: ``MODELS`` rows that hold the month before the first one (more rows do no harm).
        previous_regimes: ``REGIMES_TABLE`` rows that hold it.
        start: first month the tables are kept for; None: the first with ``min_history`` sessions of features.

    Returns:
        One row per month and detector in each table. Months before ``start`` or with less history have none.

    Raises:
        RegimeInputError: a gap in the features, or the month before one of ``months`` is missing: it is named.
        HMMError: no start of a fit could be completed.
    """
    data = History(features, options)
    models: list[dict[str, Any]] = []
    regimes: list[dict[str, Any]] = []
    links: dict[str, _Link] = {}
    done: Month | None = None
    for month in as_months(months):
        if not data.has_begun(month, start):
            continue
        if done is None or done != month - 1:
            links = _stored_links(previous_models, previous_regimes, month - 1, options)
        if not data.has_begun(month - 1, start):
            links = {}
        elif missing := [detector.name for detector in data.detectors if detector.name not in links]:
            what = f"materialise {month - 1} first"
            if links:
                what = (
                    "the settings name detectors that did not run then: materialise regimes again from the first month"
                )
            raise RegimeInputError(
                f"{MODELS.full_name} and {REGIMES_TABLE.full_name} have no rows of {', '.join(missing)} for "
                f"{month - 1}, which {month} continues: {what}"
            )
        for detector in data.detectors:
            rows = data.rows(detector, month)
            links[detector.name] = link = _advance(detector, rows, links.get(detector.name), month, options)
            models.append(_model_row(month, detector.name, link.model, rows))
            regimes.append(_regime_row(month, detector, link, rows))
        done = month
    return Detection(sorted_by_key(MODELS, models), sorted_by_key(REGIMES_TABLE, regimes))


def _advance(
    detector: Detector, rows: TrainingRows, before: _Link | None, month: Month, options: RegimeOptions
) -> _Link:
    model = fit_month(detector, rows, before.model if before else None, month, options)
    regime = labels(regime_probabilities(detector, model, rows, in_sample=False)[1][-1:])[0]
    stays = before is not None and before.regime == regime
    return _Link(model, regime, before.months_in_regime + 1 if before is not None and stays else 1)


def _model_row(month: Month, detector: str, model: FittedModel, rows: TrainingRows) -> dict[str, Any]:
    likelihood = model.states.log_likelihood
    return {
        "month": month,
        "detector": detector,
        "parameters": model.to_json(),
        "log_likelihood": np.nan if likelihood is None else likelihood,
        "observations": rows.x.shape[0],
        "converged": model.states.converged,
    }


def _regime_row(month: Month, detector: Detector, link: _Link, rows: TrainingRows) -> dict[str, Any]:
    probabilities = regime_probabilities(detector, link.model, rows, in_sample=False)[1][-1]
    return {
        "month": month,
        "detector": detector.name,
        "regime": link.regime,
        **{f"p_{name}": float(p) for name, p in zip(REGIMES, probabilities, strict=True)},
        "months_in_regime": link.months_in_regime,
    }


def smoothed_regimes(
    features: pd.DataFrame, models: pd.DataFrame, regimes: pd.DataFrame, options: RegimeOptions
) -> pd.DataFrame:
    """``regimes`` with probabilities smoothed over all of ``features``, later sessions included: **a look-ahead**.

    For studies of what hindsight would add, and for tests that prove a leak is found; never for decisions. Each row
    keeps its own month's model; labels and spells follow the smoothed probabilities.
    """
    data = History(features, options)
    fitted = stored_models(models, options)
    detectors: Mapping[str, Detector] = {detector.name: detector for detector in data.detectors}
    everything = {name: data.rows(detector, data.last) for name, detector in detectors.items()}
    table = REGIMES_TABLE.full_name
    spells: dict[str, tuple[str, int]] = {}
    rows: list[dict[str, Any]] = []
    keys = sorted(zip(months_of(regimes, table), texts(regimes, "detector", table), strict=True))
    for month, name in keys:
        stamps, smoothed = regime_probabilities(detectors[name], fitted[month, name], everything[name], in_sample=True)
        probabilities = smoothed[stamps == month]
        regime = labels(probabilities)[0]
        last, length = spells.get(name, (regime, 0))
        spells[name] = (regime, length + 1 if last == regime else 1)
        values = {f"p_{label}": float(p) for label, p in zip(REGIMES, probabilities[0], strict=True)}
        rows.append({"month": month, "detector": name, "regime": regime, **values, "months_in_regime": spells[name][1]})
    return sorted_by_key(REGIMES_TABLE, rows)
