"""A month's fitted detector as it is stored: JSON with every digit, so that a chain through storage equals one in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.regimes.detectors import Detector, States
from rotation_pipeline.regimes.errors import RegimeInputError
from rotation_pipeline.regimes.hmm import HMMParameters
from rotation_pipeline.regimes.hmm_detector import HMMDetector
from rotation_pipeline.regimes.jump_detector import JumpDetector
from rotation_pipeline.regimes.kmeans import KMeansDetector
from rotation_pipeline.regimes.mixture import MixtureDetector
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.options import RegimeOptions
from rotation_pipeline.regimes.rows import TrainingRows
from rotation_pipeline.regimes.rules import RulesDetector

Array = NDArray[np.float64]
_FIELDS = ("start", "transition", "means", "covariances")


@dataclass(frozen=True)
class FittedModel:
    """Scaling (F,), states in scaled features, and what the states are called."""

    features: tuple[str, ...]
    centre: Array
    scale: Array
    states: States
    mean_returns: tuple[float, ...]
    """Mean 21-session return of each state on the rows fitted on, fraction."""
    mean_volatilities: tuple[float, ...]
    """Mean volatility of each state on the same rows, fraction per year."""
    names: tuple[str, ...]

    def scaled(self, rows: TrainingRows) -> Array:
        """The rows' features in this model's scale, shape (T, F)."""
        return np.ascontiguousarray((rows.x - self.centre) / self.scale)

    def in_scale(self, centre: Array, scale: Array) -> States:
        """The states in another scale."""
        ratio, old = self.scale / scale, self.states.parameters
        parameters = HMMParameters(
            old.start.copy(),
            old.transition.copy(),
            (old.means * self.scale + self.centre - centre) / scale,
            old.covariances * np.outer(ratio, ratio),
        )
        return replace(self.states, parameters=parameters)

    def by_name(self, probabilities: Array) -> Array:
        """Probabilities of states (T, K) summed by regime, shape (T, 3) in the order of ``REGIMES``, within [0, 1]."""
        out = np.zeros((probabilities.shape[0], len(REGIMES)))
        for state, name in enumerate(self.names):
            out[:, REGIMES.index(name)] += probabilities[:, state]
        return np.clip(out, 0.0, 1.0)

    def to_json(self) -> str:
        """JSON text; floats are written so that reading gives the same bits."""
        parameters = self.states.parameters
        content: dict[str, Any] = {
            "features": list(self.features),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            **{name: getattr(parameters, name).tolist() for name in _FIELDS},
            "roles": list(self.states.roles),
            "constants": list(self.states.constants),
            "mean_returns": list(self.mean_returns),
            "mean_volatilities": list(self.mean_volatilities),
            "names": list(self.names),
        }
        return json.dumps(content, allow_nan=False)

    @staticmethod
    def from_json(text: str, where: str, detector: Detector) -> FittedModel:
        """Reads :meth:`to_json`; RegimeInputError names ``where`` if it does not fit the detector or cannot be read."""
        try:
            content: dict[str, Any] = json.loads(text)
            arrays = {name: np.asarray(content[name], dtype=np.float64) for name in (*_FIELDS, "centre", "scale")}
            features, names = tuple(content["features"]), tuple(content["names"])
            roles = tuple(int(role) for role in content["roles"])
            constants = tuple(float(value) for value in content["constants"])
            moments = [tuple(float(v) for v in content[name]) for name in ("mean_returns", "mean_volatilities")]
        except (KeyError, TypeError, ValueError) as error:
            raise RegimeInputError(
                f"{where}: parameters cannot be read ({error}); materialise that month again"
            ) from None
        if features != detector.features or len(names) not in detector.state_counts:
            counts = " or ".join(str(count) for count in detector.state_counts)
            raise RegimeInputError(
                f"{where} was fitted on {', '.join(features)} with {len(names)} states, the settings say "
                f"{', '.join(detector.features)} with {counts}; materialise regimes again from the first month"
            )
        parameters = HMMParameters(*(arrays[name] for name in _FIELDS))
        states = States(parameters, roles, None, True, constants)
        return FittedModel(features, arrays["centre"], arrays["scale"], states, moments[0], moments[1], names)


def make_detectors(options: RegimeOptions) -> tuple[Detector, ...]:
    """The detectors of the options, in their order."""
    kinds: dict[str, Callable[[RegimeOptions], Detector]] = {
        "hmm": HMMDetector,
        "jump": JumpDetector,
        "kmeans": KMeansDetector,
        "mixture": MixtureDetector,
        "rules": RulesDetector,
    }
    return tuple(kinds[name](options) for name in options.detectors)


def state_moments(weights: Array, values: Array, prior_weight: float, prior: Array) -> tuple[float, ...]:
    """Weighted mean of ``values`` (T,) in each state, ``prior`` (K,) counting for ``prior_weight`` observations."""
    out: list[float] = []
    for state in range(weights.shape[1]):
        total, mass = prior_weight * float(prior[state]), prior_weight
        for weight, value in zip(weights[:, state].tolist(), values.tolist(), strict=True):
            total += weight * value
            mass += weight
        out.append(total / mass)
    return tuple(out)


def regime_probabilities(
    detector: Detector, model: FittedModel, rows: TrainingRows, *, in_sample: bool
) -> tuple[NDArray[np.datetime64], Array]:
    """Months and P(regime) at their ends, (M,) and (M, 3): filtered, or with ``in_sample`` smoothed over all ``rows``."""
    x = model.scaled(rows)
    states = detector.smooth(x, model.states) if in_sample else detector.filter(x, model.states)
    ends = rows.is_month_end
    return rows.months[ends], model.by_name(states[ends])


def labels(probabilities: Array) -> list[str]:
    """The most probable regime of each row (M, 3); ties go to the first of ``REGIMES``."""
    return [REGIMES[int(best)] for best in np.argmax(probabilities, axis=1)]


def model_seed(options: RegimeOptions, year_month: Sequence[int]) -> tuple[int, ...]:
    """Seed of a month's restarts."""
    return (options.seed, *year_month)
