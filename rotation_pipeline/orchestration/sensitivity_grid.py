"""Which choices the sensitivity study varies, and which would change nothing in the book in use and are left out.

An axis varies a parameter of the headline book. Where that book has no such parameter, a book that has it stands in: the
anchored one for κ, softmax for τ and α. What the book in use never reads is not varied: every cell would repeat the settings
in use, and agreement that could not have failed is no evidence.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from rotation_pipeline.allocation.options import BookKind
from rotation_pipeline.allocation.strategies import SEARCHED
from rotation_pipeline.backtest.sensitivity import IN_USE, Unvaried
from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.warehouse.store import Warehouse

PLANNERS: tuple[BookKind, ...] = ("mean_variance", "decision_focused")
"""Books that weigh the cost of trading against its gain, as every book under nested selection does."""
TILTS = (0.02, 0.04, 0.06, 0.09, 0.12)
PENALTIES = (0.5, 1.0, 2.0)
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)
INERTIAS = (0.0, 0.25, 0.5, 0.75, 0.9)
COSTS = (0.0, 10.0, 20.0, 30.0, 50.0)
GROUPS = (3, 5, 10)
START_STEP, FEWEST_MONTHS = 24, 60
"""Months between two starts, and the fewest a sample must have."""

Place = tuple[str, dict[str, Any]]
"""Value on an axis, and the settings it sets by dotted name."""


@dataclass(frozen=True)
class Cell:
    """One place on an axis: settings by dotted name that are changed, or forecasts or trades that come late."""

    axis: str
    position: int
    value: str
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lag_months: int = 0
    lag_sessions: int = 0

    @property
    def is_default(self) -> bool:
        """Nothing differs from the settings in use."""
        return not (self.changes or self.lag_months or self.lag_sessions)

    @property
    def told(self) -> dict[str, Any]:
        """What differs, lags included."""
        lags = {"lag_months": self.lag_months, "lag_sessions": self.lag_sessions}
        return {**self.changes, **{name: value for name, value in lags.items() if value}}


def grid(settings: Settings, indices: Mapping[str, int], axes: Collection[str]) -> list[Cell]:
    """Cells of the axes, in their order, the settings in use once on each; none on an axis that changes nothing.

    ``indices``: members by index the stored data know, the one in use among them.
    """
    places = {
        "score": _scores(settings),
        **_parameters(settings),
        "cost": [(f"{v:g}", _cost(settings, v)) for v in _with(COSTS, settings.backtest.cost_bp)],
        "groups": [(f"{v}", {"factors.n_groups": v}) for v in _with(GROUPS, settings.factors.n_groups)],
        "universe": [
            (f"{index} ({count})", {"universe.index_id": index, "universe.members": count})
            for index, count in sorted(indices.items())
        ],
        "start": [(f"{start:%Y-%m}", {"sample.start": f"{start:%Y-%m}"}) for start in _starts(settings)],
    }
    unread = {one.axis: one.partly for one in unvaried(settings, indices)}
    cells = [
        Cell(axis, position, value, _differing(settings, changes))
        for axis, found in places.items()
        if axis in axes and unread.get(axis, True)
        for position, (value, changes) in enumerate(found)
    ]
    if "lag" in axes:
        cells += [Cell("lag", 0, "0"), Cell("lag", 1, "1 d", lag_sessions=1)]
        cells += [] if "lag" in unread else [Cell("lag", 2, "1 m", lag_months=1)]
    return sorted(cells, key=lambda cell: (AXES.index(cell.axis), cell.position))


def unvaried(settings: Settings, indices: Mapping[str, int]) -> tuple[Unvaried, ...]:
    """Axes that are not varied under these settings, or not wholly, in their order, and why."""
    flat = settings.allocation
    found: list[Unvaried] = []
    if flat.book not in SEARCHED:
        found.append(Unvaried("score", "no_score"))
    if _plans(settings) and flat.cost_bp != settings.backtest.cost_bp:
        found.append(Unvaried("cost", "planned_cost", {"planned": f"{flat.cost_bp:g}"}, partly=True))
    if flat.book == "inverse_volatility":
        found.append(Unvaried("lag", "no_forecast", partly=True))
    if len(indices) < 2:
        found.append(Unvaried("universe", "one_index"))
    if len(_starts(settings)) < 2:
        found.append(Unvaried("start", "short_sample", {"months": FEWEST_MONTHS}))
    return tuple(found)


def _scores(settings: Settings) -> list[Place]:
    flat = settings.allocation
    return [
        *_nested(settings, SEARCHED),
        ("r̂/σ", {"allocation.score_form": "ratio", **_HELD}),
        ("r̂", {"allocation.score_form": "raw", **_HELD}),
        *(
            (f"r̂ − {v:g}σ", {"allocation.score_form": "penalty", "allocation.risk_penalty": v, **_HELD})
            for v in _with(PENALTIES, flat.risk_penalty)
        ),
    ]


_HELD: dict[str, Any] = {"allocation.selection": "fixed"}
"""What nested selection chooses is varied by holding it: under selection every value would be overruled alike."""


def _parameters(settings: Settings) -> dict[str, list[Place]]:
    """Axes of one parameter of one kind of book."""
    flat = settings.allocation
    own: tuple[BookKind, ...] = ("softmax", "softmax_network")
    softmax = {"allocation.book": flat.book if flat.book in own else "softmax", **_HELD}
    anchored = {"allocation.book": "anchored", **_HELD}
    return {
        axis: [
            *(_nested(settings, books) if flat.book in books else [(IN_USE, {})]),
            *((f"{v:g}", {**stands, f"allocation.{name}": v}) for v in _with(values, getattr(flat, name))),
        ]
        for axis, name, values, stands, books in (
            ("tilt", "tilt_scale", TILTS, anchored, ("anchored",)),
            ("temperature", "temperature", TEMPERATURES, softmax, own),
            ("inertia", "inertia", INERTIAS, softmax, own),
        )
    }


def _nested(settings: Settings, books: Collection[str]) -> list[Place]:
    flat = settings.allocation
    return [("nested", {})] if flat.selection == "nested" and flat.book in books else []


def _plans(settings: Settings) -> bool:
    """Does the headline book read ``allocation.cost_bp``?"""
    flat = settings.allocation
    return flat.book in PLANNERS or (flat.selection == "nested" and flat.book in SEARCHED)


def _cost(settings: Settings, cost: float) -> dict[str, Any]:
    """A book that plans with the cost it is charged goes on doing so."""
    same = _plans(settings) and settings.allocation.cost_bp == settings.backtest.cost_bp
    return {"backtest.cost_bp": cost, **({"allocation.cost_bp": cost} if same else {})}


def _with(values: Sequence[float], own: float) -> list[float]:
    """The values and the one in use, ascending."""
    return sorted({*values, own})


def _starts(settings: Settings) -> list[date]:
    latest = add_months(settings.sample.last, 1 - FEWEST_MONTHS)
    months = months_between(settings.sample.first, latest) if latest > settings.sample.first else []
    return [settings.sample.first, *months[START_STEP::START_STEP]]


def _differing(settings: Settings, changes: Mapping[str, Any]) -> dict[str, Any]:
    values = settings.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, value in changes.items():
        group, _, member = name.partition(".")
        if values[group][member] != value:
            found[name] = value
    return found


def changed(settings: Settings, changes: Mapping[str, Any], **places: Path) -> Settings:
    """The settings with other values by dotted name, nothing taken from the environment or a file."""
    values = settings.model_dump(mode="json")
    for name, value in changes.items():
        group, _, member = name.partition(".")
        values[group] = {**values[group], member: value}
    return stored_settings(json.dumps(values), **{"database": settings.database, "output": settings.output, **places})


def stored_unvaried(warehouse: Warehouse, settings: Settings, month: date) -> tuple[Unvaried, ...]:
    """Axes a study of the stored results as of ``month`` would not vary, and why."""
    return unvaried(settings, stored_indices(warehouse, settings, month))


def stored_indices(warehouse: Warehouse, settings: Settings, month: date) -> dict[str, int]:
    """Members at the end of ``month`` of every index whose membership and levels are stored; that in use as it is set."""
    members = warehouse.read("raw.index_members", first=month, last=month)
    levels = set(warehouse.read("raw.index_bars", first=month, last=month, columns=("index_id",))["index_id"])
    last = warehouse.read("raw.trading_days", first=month, last=month)["day"].max()
    open_end = pl.col("valid_to").is_null() | (pl.col("valid_to") > last)
    inside = members.filter((pl.col("valid_from") <= last) & open_end)
    counted = inside.group_by("index_id").agg(pl.col("asset_key").n_unique().alias("members"))
    fewest = settings.factors.min_names
    found = {name: count for name, count in counted.iter_rows() if count >= fewest and name in levels}
    return {**found, settings.universe.index_id: settings.universe.members}
