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
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import cast

import pandas as pd
import polars as pl

from rotation_pipeline.backtest.sensitivity import (
    HEADLINE,
    Row,
    judge,
    one_session_later,
    sensitivity_rows,
    stored_rows,
)
from rotation_pipeline.backtest.tables import AXES
from rotation_pipeline.backtest.trials import canonical_json, trial_id
from rotation_pipeline.market.calendar import add_months, months_between
from rotation_pipeline.orchestration.chain import run_chain
from rotation_pipeline.orchestration.freshness import run_of_results
from rotation_pipeline.orchestration.graph import inputs_of, stage_named, stages
from rotation_pipeline.orchestration.replay import compare
from rotation_pipeline.orchestration.reports import last_month, require_report
from rotation_pipeline.orchestration.runner import computed_by, make_source, run_graph
from rotation_pipeline.orchestration.sensitivity_grid import Cell, changed, grid, stored_indices, unvaried
from rotation_pipeline.orchestration.stages import Work, run_stage, timestamp, to_pandas
from rotation_pipeline.reporting.sensitivity import unvaried_axes
from rotation_pipeline.reporting.words import Words
from rotation_pipeline.settings import Settings, SettingsError, stored_settings
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
JUDGING = ("resamples", "mean_block", "seed", "confidence", "periods_per_year", "minimum_months")
"""Settings of the backtest that shape a cell's numbers and no book."""


@dataclass(frozen=True)
class Result:
    """A cell's row, and its rows of marts.trials."""

    row: Row
    trials: pl.DataFrame


Listen = Callable[[Result, int, int], None]


def fingerprint(warehouse: Warehouse, settings: Settings, month: date) -> str:
    """Hash of what the cells are compared with: the settings behind the books and the intervals, the raw data and every net return."""
    raw = warehouse.read("raw.ingestions", last=month, columns=("month", "table_name", "sha256"))
    net = warehouse.read("marts.backtest", last=month, columns=("month", "strategy", "net_return"))
    judging = {name: getattr(settings.backtest, name) for name in JUDGING}
    digest = hashlib.sha256(canonical_json({**settings.shaping_books(), "judging": judging}).encode())
    digest.update(f"{month:%Y-%m}".encode())
    for frame in (raw, net):
        digest.update(json.dumps(frame.rows(), default=str).encode())
    return digest.hexdigest()[:16]


def stored_cells(warehouse: Warehouse, settings: Settings, month: date) -> pd.DataFrame:
    """Cells of a study of these results as of ``month``; no rows where there was none."""
    rows = warehouse.read(TABLE, first=month, last=month, fingerprint=fingerprint(warehouse, settings, month))
    order = pl.col("axis").replace_strict(list(AXES), list(range(len(AXES))), return_dtype=pl.Int32)
    return to_pandas(rows.sort(order, "position"))


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
            computed_by(), judged,
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
def _scratch(settings: Settings) -> Generator[Warehouse]:
    """An empty database that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="rotation-sensitivity-") as folder,
        open_warehouse(Path(folder) / "scratch.duckdb", threads=settings.threads) as scratch,
    ):
        yield scratch


def _copy_inputs(stored: Warehouse, scratch: Warehouse, month: date) -> None:
    """Copies of what the recomputed stages read."""
    for name in _inputs():
        _put(scratch, name, stored.read(name, last=month))


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
                    f"with `rotation run --again --database {stored.path}` and the settings, then the study"
                )


# ---------------------------------------------------------------------- the study


def run_study(
    settings: Settings,
    *,
    axes: Collection[str] = AXES,
    again: bool = False,
    listen: Listen = lambda _result, _done, _total: None,
) -> pd.DataFrame:
    """Compute the cells of ``axes`` over the database of ``settings``, storing each when it is done; all stored cells of these results.

    Cells that are stored already, by this code and these versions of packages, are not computed again unless ``again``: a
    study that was interrupted goes on where it was. At the end, and where it is interrupted, everything that counts trials is
    computed anew as of the last month, with those of the study, the report among it. Raises :class:`StaleResults` where the
    stored results do not belong together, are of other code or were changed meanwhile, and :class:`SettingsError` where no
    axis asked for changes anything.
    """
    source = make_source(settings)
    with _scratch(settings) as scratch:
        with open_warehouse(settings.database_path, read_only=True, threads=settings.threads) as stored:
            month = last_month(stored)
            run = run_of_results(stored, month)
            used = stored_settings(run["settings"], database=settings.database_path, output=settings.output)
            require_report(stored, used, month)
            study = _Study(used, source, month, run["run_id"], fingerprint(stored, used, month))
            indices = stored_indices(stored, used, month)
            cells = grid(used, indices, axes)
            if not cells:
                told = unvaried_axes((one for one in unvaried(used, indices) if one.axis in axes), Words("en"))
                raise SettingsError(f"{stored.path}: no cell to compute. {told} Ask for other axes with --axis")
            done = {_key_of(row): row for row in stored_rows(stored_cells(stored, used, month))}
            _copy_inputs(stored, scratch, month)
            default = _recompute(study, scratch, Cell("score", 0, ""))
            _refuse_other_code(stored, scratch, month)
        code = computed_by()
        waiting = [cell for cell in cells if again or _key(cell) not in done or done[_key(cell)].code_version != code]
        # the settings in use come first: without them the others could not be ranked, wherever the study is interrupted
        own = [_default_result(cell, default) for cell in waiting if cell.is_default]
        try:
            _store(study, cells, done, own)
            for count, result in enumerate(own, 1):
                listen(result, count, len(waiting))
            others = [cell for cell in waiting if not cell.is_default]
            for count, cell in enumerate(others, len(own) + 1):
                result = _rebuild(study, cell) if cell.axis in REBUILT else _recompute(study, scratch, cell)
                _store(study, cells, done, [result])
                listen(result, count, len(waiting))
        except StaleResults:
            raise  # results that were computed again meanwhile were judged with the trials stored before
        except BaseException:
            _count_again(study)  # the trials of the cells that are stored count, whatever came of the others
            raise
    return _count_again(study)


def _count_again(study: _Study) -> pd.DataFrame:
    """Compute everything anew that counts trials, as of the last month; all stored cells of these results."""
    with open_warehouse(study.settings.database_path, threads=study.settings.threads) as stored:
        counting = [stage.name for stage in stages() if "marts.trials" in inputs_of(stage)]
        run_graph(stored, study.settings, [study.month], only=counting, source=study.source)
        return stored_cells(stored, study.settings, study.month)


Key = tuple[str, str, str]
"""Axis, value, and what differs from the settings in use as JSON."""


def _key(cell: Cell) -> Key:
    return cell.axis, cell.value, canonical_json(cell.told)


def _key_of(row: Row) -> Key:
    return row.axis, row.value, row.changes


def _default_result(cell: Cell, default: Result) -> Result:
    """The settings in use as a cell of an axis; they are computed once."""
    return Result(replace(default.row, axis=cell.axis, position=cell.position, value=cell.value), default.trials)


def _store(study: _Study, cells: Sequence[Cell], done: dict[Key, Row], results: Sequence[Result]) -> None:
    """Put results and their trials beside what is stored, in one transaction; ``done`` holds the cells stored so far, then these too."""
    if not results:
        return
    done |= {_key_of(found.row): found.row for found in results}
    axes = {found.row.axis for found in results}
    placed = [
        replace(done[_key(cell)], position=cell.position) for cell in cells if cell.axis in axes and _key(cell) in done
    ]
    trials = pl.concat([found.trials for found in results]).unique("trial_id", maintain_order=True)
    rows = sensitivity_rows(placed, timestamp(study.month), study.mark)
    with open_warehouse(study.settings.database_path, threads=study.settings.threads) as warehouse:
        if fingerprint(warehouse, study.settings, study.month) != study.mark:
            raise StaleResults(
                f"{warehouse.path}: the results were computed again while the study ran, so that its cells are of others. The "
                "cells stored before stay; run the study again"
            )
        warehouse.write({TABLE: pl.from_pandas(rows), "marts.trials": trials}, [study.month], study.run_id)
