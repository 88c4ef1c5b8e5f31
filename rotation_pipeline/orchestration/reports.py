"""What the report is made of, read from the warehouse, and where it is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl

from rotation_pipeline.orchestration.stages import timestamp, to_pandas
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.errors import MissingPartition
from rotation_pipeline.warehouse.store import Warehouse

if TYPE_CHECKING:
    from rotation_pipeline.reporting.data import ReportData

_FRAMES: dict[str, str] = {
    "weights": "marts.weights",
    "books": "marts.books",
    "backtest": "marts.backtest",
    "measures": "marts.backtest_measures",
    "significance": "marts.significance",
    "regimes": "marts.regimes",
    "regime_evidence": "marts.regime_evidence",
    "regime_tests": "marts.regime_tests",
    "regime_transitions": "marts.regime_transitions",
    "longshort": "marts.factor_longshort",
    "groups": "marts.factor_groups",
    "factor_summary": "marts.factor_summary",
    "index": "intermediate.index_monthly",
    "expert_weights": "marts.expert_weights",
    "forecast_scores": "marts.forecast_scores",
    "confidence_set": "marts.forecast_confidence_set",
    "forecasts": "marts.forecasts",
    "narratives": "marts.narratives",
    "facts": "marts.narrative_facts",
    "quarantine": "raw.quarantine",
    "ingestions": "raw.ingestions",
    "trials": "marts.trials",
    "stock_measures": "marts.stock_measures",
    "stock_significance": "marts.stock_significance",
    "attribution": "marts.attribution",
    "decay": "marts.factor_decay",
}
REPORT_READS: tuple[str, ...] = tuple(_FRAMES.values())
_AS_OF_LAST = {
    "measures",
    "significance",
    "regime_evidence",
    "regime_tests",
    "regime_transitions",
    "factor_summary",
    "forecast_scores",
    "confidence_set",
    "stock_measures",
    "stock_significance",
}
"""Tables whose every month sums up all months before: the last one is all a report needs."""

_WHOLE = frozenset(table for name, table in _FRAMES.items() if name not in _AS_OF_LAST | {"trials"})
_OF_MONTHS = {"narratives", "facts"}
"""Tables that hold quarters beside months; these frames are of months."""
_OF_ONE_DETECTOR = {"regimes", "regime_transitions"}
"""Tables the report shows of the active detector only."""


def last_month(warehouse: Warehouse) -> date:
    """The last month a verdict can be of. Raises :class:`MissingPartition` without a backtest."""
    stored = warehouse.months("marts.backtest_measures")
    if not stored:
        raise MissingPartition("marts.backtest_measures is empty; `rotation run` fills it")
    return stored[-1]


def require_report(warehouse: Warehouse, settings: Settings, month: date) -> None:
    """Raise as :func:`load_report_data` where no report of ``month`` can be made; it reads only what was logged."""
    from rotation_pipeline.orchestration.freshness import require_fresh

    stored = warehouse.months("marts.backtest_measures")
    warehouse.require(
        "marts.backtest_measures",
        [month],
        f"stored are {stored[0]:%Y-%m} to {stored[-1]:%Y-%m}" if stored else "`rotation run` fills it",
    )
    require_fresh(warehouse, settings, month, REPORT_READS, _WHOLE)


def load_report_data(warehouse: Warehouse, settings: Settings, month: date | None = None) -> ReportData:
    """Everything the report shows as of ``month`` (the last one stored by default), the verdict included.

    Raises :class:`StaleResults` where the stored rows are of different settings, data or code, naming the stages and the
    command that recomputes them; :class:`MissingPartition` where a stage was not run for the month.
    """
    from rotation_pipeline.backtest.verdict import verdict
    from rotation_pipeline.orchestration.freshness import run_of_results
    from rotation_pipeline.orchestration.sensitivity_grid import stored_unvaried
    from rotation_pipeline.orchestration.study_sensitivity import stored_cells
    from rotation_pipeline.reporting.data import ReportData

    last = month if month is not None else last_month(warehouse)
    require_report(warehouse, settings, last)
    frames: dict[str, pd.DataFrame] = {}
    for name, table in _FRAMES.items():
        first = last if name in _AS_OF_LAST else None
        rows = warehouse.read(table, first=first, last=last)
        if name == "narratives":
            frames["quarters"] = to_pandas(rows.filter(pl.col("period") == "quarter"))
        if name in _OF_MONTHS:
            rows = rows.filter(pl.col("period") == "month").drop("period")
        if name in _OF_ONE_DETECTOR:
            rows = rows.filter(pl.col("detector") == settings.regimes.active)
        frames[name] = to_pandas(rows)
    latest = run_of_results(warehouse, last)
    stamp = timestamp(last)
    shown = settings.model_dump(mode="json", exclude={"database", "output"})
    cells = stored_cells(warehouse, settings, last)
    shown["sample"]["end"] = f"{last:%Y-%m}"  # the report's sample ends with its month, however far the settings ask
    return ReportData(
        source_kind=latest["source_kind"],
        source_name=latest["source"],
        month=stamp,
        run_id=latest["run_id"],
        cost_bp=settings.backtest.cost_bp,
        index_id=settings.universe.index_id,
        verdict=verdict(
            frames["measures"],
            frames["significance"],
            frames["books"],
            frames["forecast_scores"],
            month=stamp,
            options=settings.backtest,
        ),
        settings=shown,
        versions={**latest["packages"], "rotation-pipeline": latest["code_version"]},
        sensitivity=cells,
        unvaried=() if cells.empty else stored_unvaried(warehouse, settings, last),
        **frames,
    )


def write_reports(
    warehouse: Warehouse, settings: Settings, *, month: date | None = None, languages: Sequence[str] = ("en", "zh")
) -> list[Path]:
    """Write the report in every language and ``factor_longshort.csv``; their paths.

    The export holds every stored month, whichever month the report is of. A file is replaced whole or not at all.
    """
    from rotation_pipeline.factors.returns import longshort_wide
    from rotation_pipeline.reporting.report import render_report

    data = load_report_data(warehouse, settings, month)
    folder = settings.output / settings.database_path.stem
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for language in languages:
        written.append(folder / f"report_{data.month:%Y-%m}_{language}.html")
        replace_text(written[-1], render_report(data, language))
    export = folder / "factor_longshort.csv"
    replace_text(export, longshort_wide(to_pandas(warehouse.read("marts.factor_longshort"))).to_csv())
    return [*written, export]


def replace_text(path: Path, text: str) -> None:
    """Put a file in the place of ``path`` once it is written: a reader sees the old one or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
