"""What the report is made of, read from the warehouse, and where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

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
    "forecasts": "marts.forecasts",
    "narratives": "marts.narratives",
    "facts": "marts.narrative_facts",
    "quarantine": "raw.quarantine",
    "ingestions": "raw.ingestions",
    "trials": "marts.trials",
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
}
"""Tables whose every month sums up all months before: the last one is all a report needs."""


def load_report_data(warehouse: Warehouse, settings: Settings, month: date | None = None) -> ReportData:
    """Everything the report shows as of ``month`` (the last one stored by default)."""
    from rotation_pipeline.backtest.verdict import verdict
    from rotation_pipeline.reporting.data import ReportData

    stored = warehouse.months("marts.backtest_measures")
    if not stored:
        raise MissingPartition("marts.backtest_measures is empty; `rotation run` fills it")
    last = month if month is not None else stored[-1]
    warehouse.require("marts.backtest_measures", [last], f"stored are {stored[0]:%Y-%m} to {stored[-1]:%Y-%m}")
    frames: dict[str, pd.DataFrame] = {}
    for name, table in _FRAMES.items():
        first = last if name in _AS_OF_LAST else None
        frames[name] = to_pandas(warehouse.read(table, first=first, last=last))
    latest = warehouse.latest_run()
    stamp = timestamp(last)
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
        settings=settings.model_dump(mode="json", exclude={"database", "output"}),
        versions={**latest["packages"], "rotation-pipeline": latest["code_version"]},
        **frames,
    )


def write_reports(
    warehouse: Warehouse, settings: Settings, *, month: date | None = None, languages: Sequence[str] = ("en", "zh")
) -> list[Path]:
    """Write the report in every language and ``factor_longshort.csv``; their paths."""
    from rotation_pipeline.factors.returns import longshort_wide
    from rotation_pipeline.reporting.report import render_report

    data = load_report_data(warehouse, settings, month)
    folder = settings.output / settings.database_path.stem
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for language in languages:
        path = folder / f"report_{data.month:%Y-%m}_{language}.html"
        path.write_text(render_report(data, language), encoding="utf-8")
        written.append(path)
    export = folder / "factor_longshort.csv"
    longshort_wide(data.longshort).to_csv(export)
    return [*written, export]
