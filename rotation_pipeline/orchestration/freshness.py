"""Do the stored results of a month belong together? A report and a verdict are made of one set of settings, data and code.

What a run builds on is held against its settings before it begins (see ``consistency.py``); what it leaves behind is
looked at here: new weights beside a backtest of the old ones, data replaced under results that were made of the old
data, other settings at the command line than those the results were made with.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.orchestration.consistency import TOLD, flattened, span
from rotation_pipeline.orchestration.graph import inputs_of, producers, shaped_by, stages
from rotation_pipeline.orchestration.stages import first_month
from rotation_pipeline.settings import Settings, shaping
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import MissingPartition, StaleResults, WarehouseError
from rotation_pipeline.warehouse.replaced import other_rows_now, restated_months, stale_marks
from rotation_pipeline.warehouse.store import Warehouse

Value = TypeVar("Value")
SHOWN = 3
"""Reasons and values named in one message; the rest is counted."""


@dataclass(frozen=True)
class Stale:
    """A stage whose stored rows do not belong to the results asked for, why, and what to set to recompute them."""

    stage: str
    why: str
    values: Mapping[str, object]
    restated: bool = False
    """Marked when a restatement was taken over: ``rotation run --stale`` computes it again."""


def _results() -> list[str]:
    """Stored tables of every stage but the ingestion, in the order of the graph."""
    return [
        name
        for stage in stages()
        for name in stage.tables
        if not table_named(name).view and table_named(name).schema != "raw"
    ]


def run_of_results(warehouse: Warehouse, month: date) -> dict[str, Any]:
    """The run, as :meth:`Warehouse.runs` gives it, that wrote results of ``month`` last; an ingestion alone does not count.

    Raises WarehouseError if no run did.
    """
    logged = warehouse.writes()
    writes = [logged[name][month] for name in _results() if month in logged.get(name, {})]
    if not writes:
        raise WarehouseError(f"{warehouse.path} holds no results of {month:%Y-%m}; `rotation run` makes them")
    _, run_id = max(writes)
    run = next(run for run in warehouse.runs() if run["run_id"] == run_id)
    settings = json.loads(run["settings"])
    settings["sample"]["end"] = max(f"{month:%Y-%m}", settings["sample"]["start"])
    return {**run, "settings": json.dumps(settings, sort_keys=True), "packages": json.loads(run["packages"])}


def stale(warehouse: Warehouse, settings: Settings, month: date, whole: Collection[str]) -> list[Stale]:
    """Stages whose rows of ``month`` a report under ``settings`` must not show, each once, in the order of the graph.

    ``whole``: tables of which the report shows all months up to ``month``; of the others that month counts. What they
    were made of is looked at for every month they were made of. A stage is stale if rows of those months were computed
    with settings that shape them and differ from ``settings``; if what it builds on was computed later by other code or
    packages; if it was cut off between parts under other code; or if raw data it was made of have been replaced since.
    """
    runs = {run["run_id"]: run for run in warehouse.runs()}
    log = _logged(warehouse, month)
    asked = flattened(settings.shaping())
    names = [name for name in _results() if month in log.get(name, {})]
    rests = _rests_on(settings, names, whole, month)
    replaced = _replaced(warehouse, {log[name][month][1] for name in names}, month)
    other = OtherCode(settings, log, {run_id: _code(run) for run_id, run in runs.items()}, restated_months(warehouse))
    marks = stale_marks(warehouse)
    found: dict[str, Stale] = {}
    for name in names:
        stage = producers()[name].name
        months = [when for when in sorted(log[name]) if when >= rests[name]]
        marked = [when for when in months if when in marks.get(name, {})]
        if marked:
            why = f"before raw rows of its months were restated ({span(marked)})"
            found.setdefault(stage, Stale(stage, why, {}, restated=True))
        for writer in dict.fromkeys(log[name][when][1] for when in months):
            values = _different(flattened(shaping(json.loads(runs[writer]["settings"]))), asked, shaped_by(name))
            if values:
                why = ", ".join(f"{key} = {old} (now {new})" for key, (old, new) in _few(values).items())
                new_values = {key: new for key, (_, new) in values.items()}
                found.setdefault(stage, Stale(stage, f"with {why}{_rest(values)}", new_values))
        changed = other.later(name, months)
        if changed:
            found.setdefault(stage, Stale(stage, f"before {', '.join(_few(dict.fromkeys(changed)))} by other code", {}))
        cut = other.cut_off(name, months)
        if cut:
            why = (
                f"in part by other code: {span(cut)} again, later months not (it was cut off, or asked for those alone)"
            )
            found.setdefault(stage, Stale(stage, why, {}))
        if log[name][month][1] in replaced:
            found.setdefault(stage, Stale(stage, f"before {replaced[log[name][month][1]]} changed", {}))
    order = [stage.name for stage in stages()]
    return sorted(found.values(), key=lambda one: order.index(one.stage))


Log = dict[str, dict[date, tuple[int, str]]]
"""By table and month the place in the log and the run of the last write."""


def _logged(warehouse: Warehouse, month: date) -> Log:
    """The log of months up to ``month``."""
    return {
        name: {when: write for when, write in written.items() if when <= month}
        for name, written in warehouse.writes().items()
    }


def _rests_on(settings: Settings, names: Sequence[str], whole: Collection[str], month: date) -> dict[str, date]:
    """By table the first of its months (all from there to ``month``) that a report of ``month`` is made of."""
    first = {name: date.min if name in whole else month for name in names}
    for stage in reversed(stages()):
        mine = [first[name] for name in stage.tables if name in first]
        if not mine or any(table_named(name).scope for name in stage.tables):  # it collects configurations on purpose
            continue
        if stage.own != 0:  # each month is made of the one before
            first |= {name: date.min for name in stage.tables if name in first}
        begin = min(first[name] for name in stage.tables if name in first)
        for source in inputs_of(stage):
            back = stage.looks_back(source, settings)
            reach = date.min if back is None or begin == date.min else add_months(begin, -back)
            if source in first:
                first[source] = min(first[source], reach)
    return first


@dataclass(frozen=True)
class OtherCode:
    """Which rows were made of others that have since been computed again by other code or packages."""

    settings: Settings
    log: Log
    codes: Mapping[str, str]
    """Code and packages of each run."""
    restated: Mapping[str, Collection[date]]
    """Months of each table written last for a restatement: whatever read them was computed again, too."""
    stale: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def later(self, name: str, months: Sequence[date]) -> list[str]:
        """Stages that make rows of ``months`` of table ``name`` stale; tables must come in the order of the graph."""
        if self._one:
            return []
        stage, found = producers()[name], dict[str, None]()
        for source in inputs_of(stage):
            found.update(dict.fromkeys(self.stale.get(source, ())))
            back = stage.looks_back(source, self.settings)
            if table_named(source).schema != "raw" and self._rewritten(name, months, source, back, 0):
                found[producers()[source].name] = None
        if stage.own != 0 and not stage.wide and self._rewritten(name, months, name, stage.own, 1):
            found[stage.name] = None
        self.stale[name] = list(found)
        return self.stale[name]

    def cut_off(self, name: str, months: Sequence[date]) -> list[date]:
        """Months of a table computed in parts which were computed again by other code while later ones were not.

        To be asked after :meth:`later`: whatever was made of such a table is stale as well.
        """
        stage = producers()[name]
        if self._one or not stage.wide:
            return []
        again = self._rewritten(name, months, name, None, 1)
        found = [when for when in again if when not in self.restated.get(name, ())]
        if found:
            self.stale[name].append(stage.name)
        return found

    @cached_property
    def _one(self) -> bool:
        return len({self.codes[run] for written in self.log.values() for _, run in written.values()}) < 2

    def _rewritten(self, name: str, months: Sequence[date], source: str, back: int | None, least: int) -> list[date]:
        """Months of ``source`` from ``back`` to ``least`` before any of ``months`` that were written after that one by other code."""
        found: set[date] = set()
        last = max((place for place, _ in self.log.get(source, {}).values()), default=-1)
        for when in months:
            place, run = self.log[name][when]
            if place > last:
                continue
            low, high = date.min if back is None else add_months(when, -back), add_months(when, -least)
            found |= {
                other
                for other, (where, writer) in self.log[source].items()
                if where > place and low <= other <= high and self.codes[writer] != self.codes[run]
            }
        return sorted(found)


def require_fresh(
    warehouse: Warehouse, settings: Settings, month: date, reads: Collection[str], whole: Collection[str]
) -> None:
    """Raise :class:`StaleResults` naming every stale stage, why, and the command that recomputes them.

    ``reads``: tables the report shows, ``whole``: those of them of which it shows every month. Raises
    :class:`MissingPartition` if a stage that writes one of them was not run for ``month``.
    """
    log = _logged(warehouse, month)
    lacking = [
        stage.name
        for stage in stages()
        if month >= first_month(settings, stage.begins)
        and any(
            name in reads and not table_named(name).view and month not in log.get(name, {}) for name in stage.tables
        )
    ]
    if lacking:
        raise MissingPartition(
            f"There is no report of {month:%Y-%m}: {', '.join(lacking)} {'was' if len(lacking) == 1 else 'were'} not run "
            f"for it. `{command(warehouse, settings, month, lacking)}` runs "
            f"{'it' if len(lacking) == 1 else 'them'}"
        )
    found = stale(warehouse, settings, month, whole)
    if found:
        raise StaleResults(told(warehouse, settings, month, found))


def told(warehouse: Warehouse, settings: Settings, month: date, found: Sequence[Stale]) -> str:
    """What is stale and why, and the command that recomputes it."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        reasons.setdefault(one.why, []).append(one.stage)
    parts = [f"{', '.join(stages_of)}, computed {why}" for why, stages_of in _few(reasons).items()]
    values = {key: value for one in found for key, value in one.values.items()}
    names = [one.stage for one in found]
    everything = any(stage.group == "market_data" and stage.name in names for stage in stages())
    last = max([month, *warehouse.months("marts.backtest")])
    line = command(warehouse, settings, last, [] if everything else names, values)
    if all(one.restated for one in found):
        line, everything = f"rotation run --stale --database {warehouse.path}", False
    return (
        f"The stored results up to {month:%Y-%m} do not belong together, so no verdict and no report are made of them. "
        f"Stale: {'; '.join(parts)}{_rest(reasons)}. Nothing was changed. `{line}`, with the settings otherwise as "
        f"they are, recomputes {'everything' if everything else 'them'}; then `rotation report --database {warehouse.path}`"
    )


def command(
    warehouse: Warehouse,
    settings: Settings,
    last: date,
    names: Sequence[str],
    values: Mapping[str, object] | None = None,
) -> str:
    """The command line that runs the stages (all without names) up to ``last`` under ``settings``."""
    words = ["rotation run", f"--database {warehouse.path}"]
    if settings.source.name != "simulated":
        words.append(f"--source {settings.source.name}")
        words += [f"--path {settings.source.path}"] if settings.source.path is not None else []
    words.append(f"--from {settings.sample.start} --to {last:%Y-%m}")
    words += [f"--stage {name}" for name in names]
    words += [f"--set {shlex.quote(f'{key}={value}')}" for key, value in (values or {}).items()]
    return " ".join(words)


def _different(
    stored: Mapping[str, object], asked: Mapping[str, object], groups: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Settings of the groups that differ: name → (as stored, as asked)."""
    return {
        key: (_text(stored[key]), _text(value))
        for key, value in asked.items()
        # a setting the other run did not have yet is a change of code
        if key.partition(".")[0] in groups and key in stored and stored[key] != value and not key.startswith(TOLD)
    }


def _code(run: Mapping[str, Any]) -> str:
    return f"{run['code_version']} {run['packages']}"


def _replaced(warehouse: Warehouse, run_ids: Collection[str], month: date) -> dict[str, str]:
    """Runs some of whose raw data up to ``month`` have other rows now, with which."""
    by_run: dict[str, dict[str, list[date]]] = {}
    for run_id, table, when in other_rows_now(warehouse, sorted(run_ids), month):
        by_run.setdefault(run_id, {}).setdefault(table, []).append(when)
    return {
        run_id: ", ".join(f"raw.{table} of {span(months)}" for table, months in _few(tables).items()) + _rest(tables)
        for run_id, tables in by_run.items()
    }


def _few(named: Mapping[str, Value]) -> dict[str, Value]:
    return dict(list(named.items())[:SHOWN])


def _rest(named: Collection[str]) -> str:
    return f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
