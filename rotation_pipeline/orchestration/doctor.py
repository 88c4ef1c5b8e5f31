"""The usual causes of trouble, looked for one by one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from rotation_pipeline.forecasting.options import NetworkOptions
from rotation_pipeline.market.simulation.options import SimulationOptions
from rotation_pipeline.narratives.options import LlmOptions
from rotation_pipeline.orchestration.runner import PACKAGES, make_source
from rotation_pipeline.orchestration.writers import api_key
from rotation_pipeline.settings import KEY_VARIABLES, Settings, SettingsError, load_settings
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.store import open_warehouse

FREE_SPACE = 500 * 1024 * 1024
"""A ten-year run of fifty stocks writes about 100 MB, and DuckDB needs room to rewrite."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    level: Literal["ok", "warning", "error"]
    text: str


def examine(overrides: Mapping[str, Any]) -> list[Finding]:
    """Look at the environment, the settings, the source and the database."""
    found = list(_environment())
    try:
        settings = load_settings(**overrides)
    except SettingsError as error:
        return [*found, Finding("settings", "error", str(error))]
    found.append(
        Finding(
            "settings",
            "ok",
            f"source {settings.source.name}, sample {settings.sample.start} … {settings.sample.end}, index {settings.universe.index_id}",
        )
    )
    found += _without_effect(settings)
    found += _model(settings)
    found += _source(settings)
    found += _database(settings)
    return found


def _environment() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    level = "ok" if sys.version_info >= (3, 11) else "error"
    yield Finding("python", level, version if level == "ok" else f"{version}; Python 3.11 or newer is needed")
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "error", "not installed; run `make setup`")


def _without_effect(settings: Settings) -> Iterator[Finding]:
    """Settings that were changed and change nothing."""
    name = settings.source.name
    networks = any(expert.startswith("network") for expert in settings.forecasts.experts)
    idle = {
        "simulation": (name != "simulated" and settings.simulation != SimulationOptions(), f"the source is {name}"),
        # with a vendor the folder holds the tables that vendor can't serve
        "source.path": (name == "simulated" and settings.source.path is not None, f"the source is {name}"),
        "source.mapping": (
            settings.source.mapping is not None and (name == "simulated" or settings.source.path is None),
            f"the source is {name}" if name == "simulated" else "source.path names no folder it could describe",
        ),
        "network": (not networks and settings.network != NetworkOptions(), "forecasts.experts names no network"),
        "llm": (
            settings.llm.base_url is None and settings.llm != LlmOptions(),
            "llm.base_url and llm.model are not set, so the template writes",
        ),
        KEY_VARIABLES[0]: (
            settings.llm.base_url is None and bool(os.environ.get(KEY_VARIABLES[0])),
            "llm.base_url and llm.model are not set, so the template writes",
        ),
    }
    for what, (given, why) in idle.items():
        if given:
            yield Finding("settings", "warning", f"{what} is set and has no effect: {why}")


def _model(settings: Settings) -> Iterator[Finding]:
    """The endpoint that may write narratives, where one is set."""
    from rotation_pipeline.narratives.probe import probe

    if settings.llm.base_url is None:
        yield Finding("language model", "ok", "none is set; the template writes")
        return
    try:
        key = api_key()
    except SettingsError as error:
        yield Finding("language model", "error", str(error))
        return
    yield Finding("language model", *probe(settings.llm, key))


def _source(settings: Settings) -> Iterator[Finding]:
    try:
        source = make_source(settings)
        first, last = source.span()
    except (ValueError, OSError, WarehouseError) as error:
        yield Finding("source", "error", str(error))
        return
    yield Finding("source", "ok", f"{source.name} ({source.kind}) serves {first:%Y-%m} … {last:%Y-%m}")
    if first > settings.history_start:
        yield Finding(
            "coverage",
            "error",
            f"the sample needs market data from {settings.history_start:%Y-%m}; the source begins {first:%Y-%m}. "
            "Set sample.start later (--from)",
        )
    if last < settings.sample.last:
        yield Finding(
            "coverage",
            "error",
            f"the source ends {last:%Y-%m}, before sample.end {settings.sample.end}; set it earlier (--to)",
        )


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    folder = next(parent for parent in (path.parent, *path.parent.resolve().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        "ok" if free > FREE_SPACE else "error",
        f"{free / 1e9:.1f} GB free" + ("" if free > FREE_SPACE else "; free some space before a run"),
    )
    if not path.exists():
        yield Finding("database", "warning", f"{path} does not exist yet; `rotation run` makes it")
        return
    try:
        with open_warehouse(path, read_only=True, threads=settings.threads) as warehouse:
            months = warehouse.months("raw.daily_bars")
            results = warehouse.months("marts.backtest")
    except WarehouseError as error:
        yield Finding("database", "error", str(error))
        return
    span = f"market data {months[0]:%Y-%m} … {months[-1]:%Y-%m}" if months else "no market data"
    span += f", backtest {results[0]:%Y-%m} … {results[-1]:%Y-%m}" if results else ", no backtest"
    yield Finding("database", "ok", f"{path}: {span}; nobody holds it")
