"""The whole graph on a sample of six months, in seconds: what tests of what is stored start from."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import small_settings

from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse


def tiny(folder: Path, **changes: dict[str, object]) -> Settings:
    """Six months, no network."""
    base: dict[str, dict[str, object]] = {
        "sample": {"start": "2014-01", "end": "2014-06", "history_months": 31, "style_history_months": 6},
        "simulation": {"start_month": "2011-05"},
        "forecasts": {"experts": ["zero", "historical_mean", "factor_momentum"], "min_train_months": 12},
    }
    for name, values in changes.items():
        base[name] = {**base.get(name, {}), **values}
    return small_settings(folder, **base)


def stored(folder: Path) -> Settings:
    """All months of the small sample, stored."""
    settings = tiny(folder)
    with open_warehouse(settings.database_path, threads=2) as warehouse:
        run_graph(warehouse, settings, settings.all_months())
    return settings


def changed(made: Settings, copy: Warehouse, **changes: dict[str, object]) -> Settings:
    """The settings of the copy with other values."""
    values = made.model_dump(mode="json")
    for group, members in changes.items():
        values[group] |= members
    return stored_settings(json.dumps(values), database=copy.path, output=copy.path.parent / "output")
