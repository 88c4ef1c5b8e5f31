"""What a run may build on: every month a stage reads is stored, and was computed with the settings of the run.

Both are known from the log that is written in one transaction with the rows, so a month without rows counts as written.
Settings are compared only where they shape the rows in question: another cost of trading is no reason to refuse
exposures. Other code, packages or places of the data may or may not have changed rows, which nobody can tell from
outside: they are told, not refused. A real source may have another version each month, for it grows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast

from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.orchestration.graph import inputs_of, producers, shaped_by
from rotation_pipeline.orchestration.stages import Stage, first_month
from rotation_pipeline.settings import Settings, shaping
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import MissingPartition, MixedSettings, StaleResults
from rotation_pipeline.warehouse.replaced import Marks, stale_marks
from rotation_pipeline.warehouse.store import Warehouse

TOLD = ("source.path", "source.mapping")
"""Settings whose change is told, not refused: where the data lies; what lies there has a version of its own."""
SHOWN = 3
"""Differences named in one message; the rest is counted."""


def span(months: Collection[date]) -> str:
    """Months as people read them: ``2014-01 … 2014-06, 2014-09 (7 months)``."""
    runs: list[list[date]] = []
    for month in sorted(months):
        if runs and month == add_months(runs[-1][-1], 1):
            runs[-1].append(month)
        else:
            runs.append([month])
    texts = [f"{run[0]:%Y-%m}" + (f" … {run[-1]:%Y-%m}" if len(run) > 1 else "") for run in runs]
    shown = texts if len(texts) <= 2 * SHOWN else [*texts[:SHOWN], "…", texts[-1]]
    return ", ".join(shown) + (f" ({len(months)} months)" if len(months) > 1 else "")


def needs(stage: Stage, settings: Settings, months: Sequence[date]) -> Iterator[tuple[str, list[date]]]:
    """Each table a stage reads to compute ``months`` (all of them its own), with the months it reads."""
    reach = stage.reach(settings)
    for name in inputs_of(stage):
        yield name, _window(producers()[name], settings, months, reach, months[-1])
    for name in stage.tables if stage.own != 0 else ():
        yield name, _window(stage, settings, months, stage.own, add_months(months[0], -1))


def _window(producer: Stage, settings: Settings, months: Sequence[date], back: int | None, last: date) -> list[date]:
    begin = first_month(settings, producer.begins)
    first = begin if back is None else max(begin, add_months(months[0], -back))
    return months_between(first, last) if first <= last else []


@dataclass
class _Inspection:
    """One look at a database on behalf of a run."""

    warehouse: Warehouse
    settings: Settings
    run_id: str
    facts: Mapping[str, str]
    ledger: dict[str, dict[date, str]]
    runs: Mapping[str, Mapping[str, Any]]
    stale: Marks
    told: dict[str, set[date]] = field(default_factory=dict[str, set[date]])

    def __post_init__(self) -> None:
        everything = json.loads(self.facts["settings"])
        self.asked, self.asked_shaping = flattened(everything), flattened(shaping(everything))

    def stage(self, stage: Stage, months: Sequence[date]) -> None:
        """Hold what a stage reads and what stands beside its rows against the run; then take its months as written."""
        for name, needed in needs(stage, self.settings, months):
            have = self.ledger.get(name, {})
            lacking = [month for month in needed if month not in have]
            if lacking:
                raise MissingPartition(self._lacking(stage, name, lacking))
            old = [month for month in needed if month in self.stale.get(name, {})]
            if old:
                raise StaleResults(self._made_of_old_rows(stage, name, old))
            self._compare(stage, name, {month: have[month] for month in needed})
        for name in stage.tables:
            if table_named(name).view:
                continue
            have = self.ledger.setdefault(name, {})
            self._compare(stage, name, {month: run for month, run in have.items() if month not in months})
            have.update(dict.fromkeys(months, self.run_id))
            for month in months:
                self.stale.get(name, {}).pop(month, None)

    def _compare(self, stage: Stage, name: str, written: Mapping[date, str]) -> None:
        if table_named(name).scope:  # it collects configurations on purpose
            return
        groups = shaped_by(name)
        for run_id in dict.fromkeys(written.values()):
            run = self.runs.get(run_id)
            if run is None or run_id == self.run_id:
                continue
            months = [month for month, writer in written.items() if writer == run_id]
            stored = json.loads(run["settings"])
            different = self._different(flattened(shaping(stored)), groups)
            if different:
                raise MixedSettings(self._mixed(stage, name, months, different))
            change = self._change(flattened(stored), run, groups)
            if change:
                self.told.setdefault(change, set()).update(months)

    def _different(self, stored: Mapping[str, object], groups: Collection[str]) -> list[str]:
        return [
            f"{key} = {_text(stored[key])} (now {_text(value)})"
            for key, value in self.asked_shaping.items()
            # a setting the other run did not have yet is a change of code
            if _group(key) in groups and key in stored and stored[key] != value
        ]

    def _change(self, stored: Mapping[str, object], run: Mapping[str, Any], groups: Collection[str]) -> str:
        before, now = json.loads(run["packages"]), json.loads(self.facts["packages"])
        found = [f"{name} {before[name]} (now {now[name]})" for name in now if before.get(name, now[name]) != now[name]]
        if run["code_version"] != self.facts["code_version"]:
            found.insert(0, f"code {run['code_version']} (now {self.facts['code_version']})")
        found += [
            f"{key} = {_text(stored[key])} (now {_text(self.asked[key])})"
            for key in TOLD
            if _group(key) in groups and key in stored and stored[key] != self.asked[key]
        ]
        return ", ".join(found)

    def _lacking(self, stage: Stage, name: str, lacking: Sequence[date]) -> str:
        return (
            f"{stage.name} needs {name} of {span(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not stored in "
            f"{self.warehouse.path} (stage {producers()[name].name} writes {'it' if len(lacking) == 1 else 'them'}). "
            f"Nothing was stored. With the same settings, `rotation run --database {self.warehouse.path} --to "
            f"{max(lacking[-1], self.settings.sample.first):%Y-%m}` computes every month up to then; in Dagster, "
            "materialize the months named"
        )

    def _made_of_old_rows(self, stage: Stage, name: str, old: Sequence[date]) -> str:
        return (
            f"{stage.name} reads {name} of {span(old)}, computed before the source restated the raw rows it is made of. "
            f"Nothing was stored. `rotation run --stale --database {self.warehouse.path}` computes again what is stale, "
            "no more; in Dagster, materialize the months named"
        )

    def _mixed(self, stage: Stage, name: str, months: Sequence[date], different: Sequence[str]) -> str:
        more = f" and {len(different) - SHOWN} more settings" if len(different) > SHOWN else ""
        last = max(max(have) for have in self.ledger.values() if have)
        return (
            f"{stage.name}: {name} of {span(months)} in {self.warehouse.path} was computed with "
            f"{', '.join(different[:SHOWN])}{more}, and months of different settings are never mixed. Nothing was "
            f"stored. Compute all months with the new settings (`rotation run --database {self.warehouse.path} --to "
            f"{max(last, self.settings.sample.first):%Y-%m}` and the settings), or give them a file of their own "
            "(--database FILE), or go back to the settings named"
        )

    def notices(self) -> list[str]:
        """What is no reason to refuse but worth knowing."""
        texts = [
            f"{span(months)} of what this run builds on or stands beside was computed with {change}. They are kept; "
            "should rows depend on it, compute all months again"
            for change, months in self.told.items()
        ]
        rest = len(texts) - SHOWN
        more = [f"and {rest} more such differences, see `rotation status --json`"] if rest > 0 else []
        return [*texts[:SHOWN], *more]


def inspect(
    warehouse: Warehouse,
    settings: Settings,
    run_id: str,
    facts: Mapping[str, str],
    chosen: Sequence[Stage],
    months: Sequence[date],
) -> list[str]:
    """Hold everything the stages will read, in their order, against what is stored; nothing is written.

    Returns notices (rows of other code, packages or places). Raises :class:`MissingPartition` for months that are
    neither stored nor computed by a stage before, :class:`MixedSettings` for rows computed with settings that differ in
    what shapes them: among those a stage reads, and among the months of its own tables it leaves standing.
    """
    return inspect_all(
        warehouse, settings, run_id, facts, [(stage, stage.months(settings, months)) for stage in chosen]
    )


def inspect_all(
    warehouse: Warehouse,
    settings: Settings,
    run_id: str,
    facts: Mapping[str, str],
    work: Sequence[tuple[Stage, Sequence[date]]],
) -> list[str]:
    """The same for stages with months of their own, in order (a stage may come again with later months)."""
    runs = {run["run_id"]: run for run in warehouse.runs()}
    look = _Inspection(warehouse, settings, run_id, facts, warehouse.written(), runs, stale_marks(warehouse))
    for stage, months in work:
        if months:
            look.stage(stage, months)
    return look.notices()


def other_judgement(warehouse: Warehouse, settings: Settings, months: Collection[date]) -> list[str]:
    """Settings by which raw rows of the months were fetched and judged, where they differ from ``settings``."""
    writers = warehouse.written().get("raw.ingestions", {})
    used = {writers[month] for month in months if month in writers}
    asked, groups = flattened(settings.shaping()), shaped_by("raw.ingestions")
    found: dict[str, None] = {}
    for run in warehouse.runs():
        stored = flattened(shaping(json.loads(run["settings"]))) if run["run_id"] in used else {}
        for key, value in asked.items():
            if _group(key) in groups and key in stored and stored[key] != value:
                found[f"{key} = {_text(stored[key])} (now {_text(value)})"] = None
    return list(found)


def flattened(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= flattened(cast("dict[str, object]", value), f"{name}.")
        else:
            found[name] = value
    return found


def _group(key: str) -> str:
    return key.partition(".")[0]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
