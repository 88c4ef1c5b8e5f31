"""What is stored already as a run would store it, and need not be computed again.

Rows of a month follow from the code, the packages, the settings that shape them, and the rows they are made of, and from
nothing that comes later (see ``replay.py``). All of these are known from the log that is written along with the rows. So
a stage is due from its first month that is not stored, was stored by other code, packages or settings, was made of rows
that have been written again since, or is marked stale; all months before it stand as they are, bit for bit.

Rows somebody changed in the file by hand are in no log: ``rotation run --again`` computes everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration.consistency import flattened
from rotation_pipeline.orchestration.graph import inputs_of, producers, shaped_by
from rotation_pipeline.orchestration.stages import Stage
from rotation_pipeline.settings import Settings, shaping
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.replaced import other_rows_now, stale_marks
from rotation_pipeline.warehouse.store import Warehouse

UNIVERSE = "intermediate.universe"
NEVER = -1
"""Place in the log before every write."""


@dataclass
class _Log:
    """What the database says of its rows, and which runs are like the one to come."""

    settings: Settings
    facts: Mapping[str, str]
    runs: Mapping[str, Mapping[str, Any]]
    writes: Mapping[str, Mapping[date, tuple[int, str]]]
    stale: Mapping[str, Mapping[date, str]]
    replaced: Mapping[str, date]
    """By run the first month of raw rows that are others now than those it read."""
    alike: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])

    def __post_init__(self) -> None:
        self.asked = flattened(shaping(json.loads(self.facts["settings"])))

    def like(self, run_id: str, name: str, stage: Stage) -> bool:
        """Whether that run computed rows of a table as this one would."""
        key = run_id, name
        if key not in self.alike:
            self.alike[key] = self._like(self.runs.get(run_id), name, stage)
        return self.alike[key]

    def _like(self, run: Mapping[str, Any] | None, name: str, stage: Stage) -> bool:
        same = ["code_version", "packages", "source", "source_kind", *(["source_version"] if stage.fetches else [])]
        if run is None or any(run[fact] != self.facts[fact] for fact in same):
            return False
        everything = json.loads(run["settings"])
        if stage.asks and (everything["llm"]["base_url"], self.settings.llm.base_url) != (None, None):
            return False  # whom it asked may answer otherwise, or at last
        groups = shaped_by(name)
        stored, asked = (
            {key: value for key, value in values.items() if key.partition(".")[0] in groups}
            for values in (flattened(shaping(everything)), self.asked)
        )
        return stored == asked

    def stands(self, name: str, stage: Stage, month: date, newest: int) -> bool:
        """Whether the rows of a month are those this run would store, made of rows written up to place ``newest``."""
        place, run_id = self.last_write(name, month)
        return (
            place > newest
            and month not in self.stale.get(name, {})
            and self.like(run_id, name, stage)
            and (stage.fetches or self.replaced.get(run_id, date.max) > month)
        )

    def last_write(self, name: str, month: date) -> tuple[int, str]:
        """Place and run of the last write of a month; :data:`NEVER` and no run where none was logged."""
        return self.writes.get(name, {}).get(month, (NEVER, ""))

    def newest(self, name: str, back: int | None, month: date) -> int:
        """Place of the last write of a month and those up to ``back`` before it, None: all before it."""
        begin = date.min if back is None else add_months(month, -back)
        return max(
            (place for when, (place, _) in self.writes.get(name, {}).items() if begin <= when <= month), default=NEVER
        )


def due(
    warehouse: Warehouse, settings: Settings, facts: Mapping[str, str], chosen: Sequence[Stage], months: Sequence[date]
) -> list[tuple[Stage, list[date]]]:
    """Each of the stages, in their order, with those of the months it has to compute: the last ones, or none.

    A stage that stores nothing (views, the report) is always due, one that counts trials for the last month: studies add
    to them. ``facts``: what identifies the run. To be asked again when raw rows were fetched.
    """
    runs = {run["run_id"]: run for run in warehouse.runs()}
    replaced: dict[str, date] = {}
    for run_id, _, month in other_rows_now(warehouse, list(runs), months[-1]):
        replaced[run_id] = min(month, replaced.get(run_id, month))
    log = _Log(settings, facts, runs, warehouse.writes(), stale_marks(warehouse), replaced)
    begins: dict[str, date] = {}
    """By table the first month that will be written again."""
    found: list[tuple[Stage, list[date]]] = []
    for stage in chosen:
        own = stage.months(settings, months)
        tables = [name for name in stage.tables if not table_named(name).view]
        if not tables or not own:
            found.append((stage, own))
            continue
        limits = [begins.get(name, date.max) for name in inputs_of(stage) if not producers()[name].fetches]
        if any(table_named(name).scope for name in inputs_of(stage)):
            limits.append(own[-1])
        if UNIVERSE in tables:
            limits.append(_refused(warehouse, settings))
        first = _first_due(log, stage, tables, own, min(limits, default=date.max))
        begins |= dict.fromkeys(tables, first)
        found.append((stage, [month for month in own if month >= first]))
    return found


def _refused(warehouse: Warehouse, settings: Settings) -> date:
    """First stored month with more members without a bar than ``universe.maximum_absent`` lets pass: it shapes no row, so
    that no run is another by it, but the month has to be refused."""
    found = warehouse.query(
        f"SELECT min(month) AS month FROM (SELECT month FROM {UNIVERSE} GROUP BY month "
        "HAVING count(*) FILTER (NOT in_estimation) > $share * count(*))",
        {"share": settings.universe.maximum_absent},
    )
    first: date | None = found["month"][0]
    return first or date.max


def _first_due(log: _Log, stage: Stage, tables: Sequence[str], own: Sequence[date], limit: date) -> date:
    """First month of ``own`` that does not stand, ``limit`` at the latest: from there on what it reads is written again.

    Rows of raw tables are held by their content, and not by when they were written: a source that grows is fetched anew.
    """
    reach = {name: stage.looks_back(name, log.settings) for name in inputs_of(stage) if not producers()[name].fetches}
    before = NEVER
    for month in own:
        newest = max([before, *(log.newest(name, back, month) for name, back in reach.items())])
        if month >= limit or not all(log.stands(name, stage, month, newest) for name in tables):
            return month
        if stage.own != 0:  # made of its own months before; those of one execution have one place in the log
            before = max(before, min(log.last_write(name, month)[0] for name in tables) - 1)
    return date.max
