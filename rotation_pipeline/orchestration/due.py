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

from rotation_pipeline.orchestration.consistency import flattened
from rotation_pipeline.orchestration.graph import inputs_of, producers, shaped_by
from rotation_pipeline.orchestration.stages import Stage
from rotation_pipeline.settings import Settings, shaping
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.replaced import stale_marks
from rotation_pipeline.warehouse.store import Warehouse

REFUSE = ("universe.maximum_absent",)
"""Settings that shape no row but may refuse a month: stored under another value, it has to pass again."""
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
        everything = json.loads(self.facts["settings"])
        asked = flattened(everything)
        self.asked = flattened(shaping(everything)) | {name: asked[name] for name in REFUSE}

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
        stored = flattened(json.loads(run["settings"]))
        if stage.asks and (stored.get("llm.base_url"), self.settings.llm.base_url) != (None, None):
            return False  # whom it asked may answer otherwise, or at last
        groups, missing = shaped_by(name), object()
        return all(
            stored.get(key, missing) == value
            for key, value in self.asked.items()
            if key.partition(".")[0] in groups or key in REFUSE
        )

    def stands(self, name: str, stage: Stage, month: date, newest: int) -> bool:
        """Whether the rows of a month are those this run would store, made of rows written up to place ``newest``."""
        place, run_id = self.writes.get(name, {}).get(month, (NEVER, ""))
        return (
            place > newest
            and month not in self.stale.get(name, {})
            and self.like(run_id, name, stage)
            and (stage.fetches or self.replaced.get(run_id, date.max) > month)
        )

    def last_write(self, name: str, month: date) -> int:
        """Place of the last write of a month; nothing, where none was logged."""
        return self.writes.get(name, {}).get(month, (NEVER, ""))[0]


def due(
    warehouse: Warehouse, settings: Settings, facts: Mapping[str, str], chosen: Sequence[Stage], months: Sequence[date]
) -> list[tuple[Stage, list[date]]]:
    """Each of the stages, in their order, with those of the months it has to compute: the last ones, or none.

    A stage that stores nothing (views, the report) is always due. ``facts``: what identifies the run.
    """
    runs = {run["run_id"]: run for run in warehouse.runs()}
    replaced: dict[str, date] = {}
    for run_id, _, month in warehouse.restated(list(runs), months[-1]):
        replaced[run_id] = min(month, replaced.get(run_id, month))
    log = _Log(settings, facts, runs, warehouse.writes(), stale_marks(warehouse), replaced)
    begins: dict[str, date] = {}
    """By table the first month that will be written again."""
    found: list[tuple[Stage, list[date]]] = []
    for stage in chosen:
        own = stage.months(settings, months)
        tables = [name for name in stage.tables if not table_named(name).view]
        if not tables:
            found.append((stage, own))
            continue
        sources = [name for name in inputs_of(stage) if not producers()[name].fetches]
        limit = min((begins.get(name, date.max) for name in sources), default=date.max)
        first = _first_due(log, stage, tables, sources, own, limit)
        begins |= dict.fromkeys(tables, first)
        found.append((stage, [month for month in own if month >= first]))
    return found


def _first_due(
    log: _Log, stage: Stage, tables: Sequence[str], sources: Sequence[str], own: Sequence[date], limit: date
) -> date:
    """First month of ``own`` that does not stand, ``limit`` at the latest: from there on what it reads is written again.

    Rows of raw tables are held by their content, and not by when they were written: a source that grows is fetched anew.
    """
    newest = NEVER
    earlier = sorted({month for name in sources for month in log.writes.get(name, {})})
    at = 0
    for month in own:
        while at < len(earlier) and earlier[at] <= month:
            newest = max([newest, *(log.last_write(name, earlier[at]) for name in sources)])
            at += 1
        if month >= limit or not all(log.stands(name, stage, month, newest) for name in tables):
            return month
        if stage.own != 0:  # made of its own months before
            newest = max(newest, min(log.last_write(name, month) for name in tables) - 1)
    return date.max
