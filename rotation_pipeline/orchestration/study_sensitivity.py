"""How much does the verdict depend on choices that could have been others?

Over a finished database one setting or convention is changed at a time. Cells that begin at the forecasts are computed by the
graph's own stages in a scratch database that holds copies of what they read; cells that change the styles, the universe or
the sample run the whole chain in a database of their own. The stored results are only read: the first cell, the settings in
use, must repeat them bit for bit. What is written beside them are the cells (marts.sensitivity) and their trials.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

import pandas as pd
import polars as pl

from rotation_pipeline.backtest.sensitivity import HEADLINE, Row, judge, one_session_later, sensitivity_rows
from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.backtest.trials import canonical_json, trial_id
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.orchestration.chain import run_chain
from rotation_pipeline.orchestration.freshness import run_of_results
from rotation_pipeline.orchestration.graph import inputs_of, stage_named, stages
from rotation_pipeline.orchestration.replay import compare
from rotation_pipeline.orchestration.reports import last_month, require_report
from rotation_pipeline.orchestration.runner import code_version, make_source, run_graph
from rotation_pipeline.orchestration.stages import Work, run_stage, timestamp, to_pandas
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import StaleResults
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

TABLE = "marts.sensitivity"
REBUILT: tuple[str, ...] = ("groups", "universe", "start")
"""Axes whose cells run the whole chain."""
FIRST, LAST = "weights", "factor_backtest"
"""Stages the other cells compute anew, with all between them."""
FORECASTS: tuple[str, ...] = ("marts.forecasts", "marts.expert_forecasts")
DAILY = "marts.factor_longshort_daily"
TILTS = (0.02, 0.04, 0.06, 0.09, 0.12)
PENALTIES = (0.5, 1.0, 2.0)
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)
INERTIAS = (0.0, 0.25, 0.5, 0.75, 0.9)
COSTS = (0.0, 10.0, 20.0, 30.0, 50.0)
GROUPS = (3, 5, 10)
START_STEP, FEWEST_MONTHS = 24, 60
"""Months between two starts, and the fewest a sample must have."""


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


@dataclass(frozen=True)
class Result:
    """A cell's row, and its rows of marts.trials."""

    row: Row
    trials: pl.DataFrame


Listen = Callable[[Result, int, int], None]


def fingerprint(warehouse: Warehouse, settings: Settings, month: date) -> str:
    """Hash of what the cells are compared with: the settings behind the books, the raw data and every net return."""
    raw = warehouse.read("raw.ingestions", last=month, columns=("month", "table_name", "sha256"))
    net = warehouse.read("marts.backtest", last=month, columns=("month", "strategy", "net_return"))
    digest = hashlib.sha256(canonical_json(settings.shaping_books()).encode())
    digest.update(f"{month:%Y-%m}".encode())
    for frame in (raw, net):
        digest.update(json.dumps(frame.rows(), default=str).encode())
    return digest.hexdigest()[:16]


def stored_cells(warehouse: Warehouse, settings: Settings, month: date) -> pd.DataFrame:
    """Cells of a study of these results as of ``month``; no rows where there was none."""
    rows = warehouse.read(TABLE, first=month, last=month, fingerprint=fingerprint(warehouse, settings, month))
    order = pl.col("axis").replace_strict(list(AXES), list(range(len(AXES))), return_dtype=pl.Int32)
    return to_pandas(rows.sort(order, "position"))


# ---------------------------------------------------------------------- the grid


def grid(settings: Settings, indices: Mapping[str, int], axes: Collection[str]) -> list[Cell]:
    """Cells of the axes, in their order. ``indices``: members by index the stored data know, the one in use among them."""
    flat = settings.allocation
    # what nested selection chooses is varied by holding it: under selection every value would be overruled alike
    fixed: dict[str, Any] = {"allocation.selection": "fixed"}
    anchored, softmax = {"allocation.book": "anchored", **fixed}, {"allocation.book": "softmax", **fixed}
    nested: list[tuple[str, dict[str, Any]]] = [("nested", {})] if flat.selection == "nested" else []
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "score": [
            *nested,
            ("r̂/σ", {"allocation.score_form": "ratio", **fixed}),
            ("r̂", {"allocation.score_form": "raw", **fixed}),
            *(
                (f"r̂ − {value:g}σ", {"allocation.score_form": "penalty", "allocation.risk_penalty": value, **fixed})
                for value in _with(PENALTIES, flat.risk_penalty)
            ),
        ],
        "tilt": [
            *(nested if flat.book == "anchored" else []),
            *((f"{v:g}", {**anchored, "allocation.tilt_scale": v}) for v in _with(TILTS, flat.tilt_scale)),
        ],
        "temperature": [
            *(nested if flat.book == "softmax" else []),
            *((f"{v:g}", {**softmax, "allocation.temperature": v}) for v in _with(TEMPERATURES, flat.temperature)),
        ],
        "inertia": [
            *(nested if flat.book == "softmax" else []),
            *((f"{v:g}", {**softmax, "allocation.inertia": v}) for v in _with(INERTIAS, flat.inertia)),
        ],
        "cost": [(f"{v:g}", {"backtest.cost_bp": v}) for v in _with(COSTS, settings.backtest.cost_bp)],
        "groups": [(f"{v}", {"factors.n_groups": v}) for v in _with(GROUPS, settings.factors.n_groups)],
        "universe": [
            (f"{index} ({count})", {"universe.index_id": index, "universe.members": count})
            for index, count in sorted(indices.items())
        ],
        "start": [(f"{start:%Y-%m}", {"sample.start": f"{start:%Y-%m}"}) for start in _starts(settings)],
    }  # fmt: skip
    cells = [
        Cell(axis, position, value, _differing(settings, changes))
        for axis, places in found.items()
        if axis in axes
        for position, (value, changes) in enumerate(places)
    ]
    if "lag" in axes:
        cells += [
            Cell("lag", 0, "0"),
            Cell("lag", 1, "1 d", lag_sessions=1),
            Cell("lag", 2, "1 m", lag_months=1),
        ]
    return sorted(cells, key=lambda cell: (AXES.index(cell.axis), cell.position))


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


# ---------------------------------------------------------------------- computing cells


@dataclass
class _Study:
    """A study in progress: where the results are, and what every cell shares."""

    settings: Settings
    source: Source
    month: date
    run_id: str
    mark: str

    def months(self) -> list[date]:
        return self.settings.all_months()

    def result(self, warehouse: Warehouse, settings: Settings, cell: Cell) -> Result:
        """Judge the books a database holds, as of the study's month."""
        work = Work(warehouse, settings, self.source, self.run_id, [self.month])
        found = pl.from_pandas(to_frame(stage_named("trials").compute(work)["marts.trials"]))
        own = found.filter(strategy=HEADLINE, kind="book").row(0, named=True)
        if cell.lag_months or cell.lag_sessions:
            described = json.loads(own["configuration"])
            described["configuration"]["study"] = {
                "lag_months": cell.lag_months,
                "lag_sessions": cell.lag_sessions,
            }
            own |= {"configuration": canonical_json(described), "trial_id": trial_id(described)}
        judged = judge(
            to_pandas(warehouse.read("marts.backtest", last=self.month)),
            to_pandas(warehouse.read("marts.books", last=self.month)),
            found.to_pandas(),
            self.month,
            settings.backtest,
        )
        row = Row(
            cell.axis, cell.position, cell.value, canonical_json(cell.told), cell.is_default, own["trial_id"],
            code_version(), judged,
        )  # fmt: skip
        return Result(row, pl.DataFrame([own], schema=found.schema))


def to_frame(rows: pd.DataFrame | pl.DataFrame) -> pd.DataFrame:
    """Rows of a stage as pandas has them."""
    return rows if isinstance(rows, pd.DataFrame) else to_pandas(rows)


def _computed() -> list[str]:
    names = [stage.name for stage in stages()]
    return names[names.index(FIRST) : names.index(LAST) + 1]


def _inputs() -> list[str]:
    made = {name for stage in _computed() for name in stage_named(stage).tables}
    found = {name for stage in _computed() for name in inputs_of(stage_named(stage))} - made
    return sorted({*found, *FORECASTS, DAILY})


@contextmanager
def _scratch(stored: Warehouse, settings: Settings, month: date) -> Generator[Warehouse]:
    """A database with copies of what the recomputed stages read."""
    with (
        tempfile.TemporaryDirectory(prefix="rotation-sensitivity-") as folder,
        open_warehouse(Path(folder) / "scratch.duckdb", threads=settings.threads) as scratch,
    ):
        for name in _inputs():
            _put(scratch, name, stored.read(name, last=month))
        yield scratch


def _put(warehouse: Warehouse, name: str, rows: pl.DataFrame) -> None:
    if rows.height:
        months = rows["month"].unique().sort().to_list()
        warehouse.write({name: rows}, months_between(months[0], months[-1]), "study")


def _recompute(study: _Study, scratch: Warehouse, cell: Cell) -> Result:
    """One cell that begins at the forecasts."""
    settings = changed(study.settings, cell.changes)
    kept = {name: scratch.read(name) for name in FORECASTS} if cell.lag_months else {}
    for name, rows in kept.items():
        _put(scratch, name, later(rows, cell.lag_months, study.month))
    for name in _computed():
        work = Work(scratch, settings, study.source, study.run_id, study.months(), checked=cell.is_default)
        run_stage(stage_named(name), work)
    for name, rows in kept.items():
        _put(scratch, name, rows)
    if cell.lag_sessions:
        _trade_late(scratch)
    return study.result(scratch, settings, cell)


def later(rows: pl.DataFrame, months: int, last: date) -> pl.DataFrame:
    """Forecasts as they are known ``months`` late: stamped so much later, the first months keeping their own, none after ``last``."""
    first = cast(date, rows["month"].min())
    begun = add_months(first, months)
    moved = rows.with_columns(pl.col("month").dt.offset_by(f"{months}mo")).filter(pl.col("month") <= last)
    return pl.concat([rows.filter(pl.col("month") < begun), moved])


def _trade_late(scratch: Warehouse) -> None:
    """Put what the books earn when they trade one session late into the place of their returns."""
    stored = scratch.read("marts.backtest")
    earned = one_session_later(
        to_pandas(stored), to_pandas(scratch.read("marts.weights")), to_pandas(scratch.read(DAILY))
    )
    late = pl.from_pandas(earned).select(pl.col("month").cast(pl.Date), "strategy", "gross_return")
    joined = stored.drop("gross_return").join(late, on=["month", "strategy"], how="left")
    net = pl.col("gross_return") - pl.col("factor_cost") - pl.col("book_cost")
    _put(scratch, "marts.backtest", joined.with_columns(net.alias("net_return")).select(stored.columns))


def _rebuild(study: _Study, cell: Cell) -> Result:
    """One cell that runs the whole chain in a database of its own."""
    with tempfile.TemporaryDirectory(prefix="rotation-sensitivity-") as folder:
        path = Path(folder) / "rebuilt.duckdb"
        settings = changed(study.settings, cell.changes, database=path, output=Path(folder))
        with open_warehouse(path, threads=settings.threads) as warehouse:
            run_chain(warehouse, settings, source=make_source(settings))
            return study.result(warehouse, settings, cell)


def _refuse_other_code(stored: Warehouse, scratch: Warehouse, month: date) -> None:
    """The settings in use must give the stored rows again."""
    for name in _computed():
        for table in stage_named(name).tables:
            if table_named(table).view:
                continue
            different, example = compare(table_named(table), stored.read(table, last=month), scratch.read(table))
            if different:
                raise StaleResults(
                    f"{stored.path}: {table} is not what this version computes from the stored forecasts ({different} rows "
                    f"differ; {example}), so cells can't be compared with it. Nothing was changed. Compute all months again "
                    f"with `rotation run --database {stored.path}` and the settings, then the study"
                )


# ---------------------------------------------------------------------- the study


def run_study(
    settings: Settings,
    *,
    axes: Collection[str] = AXES,
    again: bool = False,
    listen: Listen = lambda _result, _done, _total: None,
) -> pd.DataFrame:
    """Compute the cells of ``axes`` over the database of ``settings`` and store them; all stored cells of these results.

    Axes that run the whole chain and are stored already, by this code, are not computed again unless ``again``. At the end
    everything that counts trials is computed anew as of the last month, with those of the study, the report among it.
    Raises :class:`StaleResults` where the stored results do not belong together or are of other code.
    """
    source = make_source(settings)
    with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as stored:
        month = last_month(stored)
        run = run_of_results(stored, month)
        used = stored_settings(run["settings"], database=settings.database_path, output=settings.output)
        require_report(stored, used, month)
        study = _Study(used, source, month, run["run_id"], fingerprint(stored, used, month))
        cells = grid(used, stored_indices(stored, used, month), axes)
        if not again:
            cells = _unfinished(cells, stored_cells(stored, used, month))
        quick = [cell for cell in cells if cell.axis not in REBUILT]
        done: dict[str, Result] = {}
        with _scratch(stored, used, month) as scratch:
            default = _recompute(study, scratch, Cell("score", 0, ""))
            _refuse_other_code(stored, scratch, month)
            results = [_cell(study, cell, default, done, scratch) for cell in _told(quick, cells, listen, done)]
    _store(study, results)
    for axis in REBUILT:
        here = [cell for cell in cells if cell.axis == axis]
        results = [_cell(study, cell, default, done, None) for cell in _told(here, cells, listen, done)]
        _store(study, results)
    with open_warehouse(settings.database_path, threads=settings.threads) as stored:
        counting = [stage.name for stage in stages() if "marts.trials" in inputs_of(stage)]
        run_graph(stored, used, [month], only=counting, source=source)
        return stored_cells(stored, used, month)


def _told(
    cells: Sequence[Cell], everything: Sequence[Cell], listen: Listen, done: Mapping[str, Result]
) -> Iterator[Cell]:
    """The cells one by one; each is told when the next is asked for."""
    for cell in cells:
        yield cell
        listen(done[_key(cell)], len(done), len(everything))


def _key(cell: Cell) -> str:
    return f"{cell.axis}/{cell.position}"


def _cell(study: _Study, cell: Cell, default: Result, done: dict[str, Result], scratch: Warehouse | None) -> Result:
    """A cell's result; the settings in use are computed once."""
    if cell.is_default:
        own = default.row
        row = Row(cell.axis, cell.position, cell.value, own.changes, True, own.trial_id, own.code_version, own.judged)
        found = Result(row, default.trials)
    else:
        found = _rebuild(study, cell) if scratch is None else _recompute(study, scratch, cell)
    done[_key(cell)] = found
    return found


def _unfinished(cells: Sequence[Cell], stored: pd.DataFrame) -> list[Cell]:
    """Cells but those of axes that run the chain and stand there whole, computed by this code."""
    code = code_version()
    have = {
        (str(axis), str(value))
        for axis, value, by in zip(stored["axis"], stored["value"], stored["code_version"], strict=True)
        if by == code
    }
    whole = {axis for axis in REBUILT if all((cell.axis, cell.value) in have for cell in cells if cell.axis == axis)}
    return [cell for cell in cells if cell.axis not in whole]


def _store(study: _Study, results: Sequence[Result]) -> None:
    """Cells and their trials in one transaction, beside what is stored."""
    if not results:
        return
    trials = pl.concat([found.trials for found in results]).unique("trial_id", maintain_order=True)
    rows = sensitivity_rows([found.row for found in results], timestamp(study.month), study.mark)
    with open_warehouse(study.settings.database_path, threads=study.settings.threads) as warehouse:
        warehouse.write({TABLE: pl.from_pandas(rows), "marts.trials": trials}, [study.month], study.run_id)
