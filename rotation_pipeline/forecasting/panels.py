"""Extra training panels: the same styles elsewhere, or other long factor histories, from which the encoder learns too.

At about a hundred monthly samples more data is the surest gain, if styles share dynamics. The encoder is trained on the
windows of all panels and of the target together, with heads that are thrown away; then, with the encoder held, heads are
trained on the target alone. Every panel is scaled by its own statistics, so that only the shape of its moves is shared.

Point in time: for a fit at month t a panel's rows after t do not exist. The encoder's training also leaves out rows after
the target's last training month, because the same months of another universe would tell what the validation tail asks.
Early stopping is by the target's validation tail in both steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotation_pipeline.forecasting.history import History
from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.forecasting.samples import Sample, moments, prepare, raw_inputs, scaled_inputs, scaled_targets

FloatArray = NDArray[np.float64]


class PanelError(ValueError):
    """A training panel that cannot be used; the text names it."""


@dataclass(frozen=True)
class TrainingPanel:
    """Monthly rows of another universe: ``months`` (T) as year × 12 + month − 1, consecutive; ``styles`` T × K (fraction
    per month) and ``market`` T × M as the target has them, NaN where the panel has no such series."""

    name: str
    months: NDArray[np.int64]
    styles: FloatArray
    market: FloatArray

    def __post_init__(self) -> None:
        shapes = (len(self.months), len(self.styles), len(self.market))
        if len(set(shapes)) != 1 or not len(self.months):
            raise PanelError(f"panel {self.name}: months, styles and market have {shapes} rows; give one each a month")
        if (np.diff(self.months) != 1).any():
            raise PanelError(f"panel {self.name}: months must be consecutive")

    def until(self, month: int) -> TrainingPanel | None:
        """The rows of months up to ``month``, copied so that nothing later can be reached; None without any."""
        rows = int(np.searchsorted(self.months, month, side="right"))
        if not rows:
            return None
        return TrainingPanel(self.name, self.months[:rows].copy(), self.styles[:rows].copy(), self.market[:rows].copy())


def known_panels(panels: Sequence[TrainingPanel], month: int) -> tuple[TrainingPanel, ...]:
    """Every panel up to ``month``; those that begin later are not there yet."""
    return tuple(known for panel in panels if (known := panel.until(month)) is not None)


def joined_sample(panels: Sequence[TrainingPanel], history: History, lookback: int, options: NetworkOptions) -> Sample:
    """One sample of all panels, one behind the other, and the target's history at the end.

    Windows that would reach over a seam carry no loss. The validation windows are the target's; the rows of a panel end
    where the target's training targets do. A panel with too few rows for a single window adds nothing. Raises
    PanelError where a panel has not the target's styles and features.
    """
    own = prepare(history.styles, history.market, lookback, options)
    held_back = own.validation + options.purge
    months, targets, known = [own.months], [own.targets], [own.known]
    for panel in known_panels(panels, history.ordinal - held_back):
        if panel.styles.shape[1:] != history.styles.shape[1:] or panel.market.shape[1:] != history.market.shape[1:]:
            raise PanelError(
                f"panel {panel.name} has {panel.styles.shape[1]} styles and {panel.market.shape[1]} features, the target "
                f"{history.styles.shape[1]} and {history.market.shape[1]}"
            )
        if len(panel.months) <= lookback:
            continue
        raw = raw_inputs(panel.styles, panel.market)
        center, spread, _ = moments(raw)
        scale = spread[: panel.styles.shape[1]] if options.scale_targets else np.ones(panel.styles.shape[1])
        reached, there = scaled_targets(panel.styles[lookback:], scale)
        seam = np.zeros((len(reached), lookback), np.float32)  # windows that end in the next part
        months.insert(-1, scaled_inputs(raw, center, spread, options.input_limit))
        targets.insert(-1, np.concatenate([reached, seam], axis=1))
        known.insert(-1, np.concatenate([there, seam], axis=1))
    before = sum(part.shape[1] for part in targets[:-1])
    return Sample(
        np.ascontiguousarray(np.concatenate(months, axis=1)),
        np.ascontiguousarray(np.concatenate(targets, axis=1)),
        np.ascontiguousarray(np.concatenate(known, axis=1)),
        before + own.train,
        own.validation,
        own.scale,
        own.center,
        own.spread,
    )
