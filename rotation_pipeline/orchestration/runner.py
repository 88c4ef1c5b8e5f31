"""Run the graph without a server: stages in order over a range of months, each month's inputs checked first."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.orchestration.consistency import inspect, inspect_all
from rotation_pipeline.orchestration.due import due
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.stages import Outcome, Stage, Work, run_stage
from rotation_pipeline.settings import PLACES, Settings
from rotation_pipeline.sources.base import AsksAgain, Downloads, Source
from rotation_pipeline.warehouse.errors import WarehouseError
from rotation_pipeline.warehouse.models import models_folder
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

PACKAGES = (
    "clarabel", "cvxpy", "cvxpylayers", "dagster", "duckdb", "hmmlearn", "lightgbm", "numba", "numpy", "pandas", "polars",
    "scikit-learn", "scipy", "torch",
)  # fmt: skip


def make_source(settings: Settings) -> Source:
    """The data source the settings name."""
    if settings.source.name == "files":
        from rotation_pipeline.sources.files import FilesSource

        if settings.source.path is None:
            raise WarehouseError("source.path is missing: the files source needs the folder it reads")
        return FilesSource(settings.source.path, settings.source.mapping, cache=settings.cache_path)
    if settings.source.name != "simulated":
        from rotation_pipeline.sources.vendors import vendor_source

        indices = (settings.universe.index_id,)
        return vendor_source(
            settings.source.name, settings.cache_path, indices, settings.source.vendor,
            beside=settings.source.path, mapping=settings.source.mapping,
        )  # fmt: skip
    from rotation_pipeline.sources.simulated import SimulatedSource

    return SimulatedSource(settings.simulation)


@cache
def code_version() -> str:
    """Package version and a hash of its Python, SQL and prompts."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for folder, pattern in (
        (package, "*.py"),
        (package, "*.sql"),
        (package, "prompts/*.toml"),
        (models_folder(), "*.sql"),
    ):
        for path in sorted(folder.rglob(pattern)):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return f"{metadata.version('rotation-pipeline')}+{digest.hexdigest()[:12]}"


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages whose arithmetic is in the results."""
    return {name: metadata.version(name) for name in PACKAGES}


def computed_by() -> str:
    """Code and package versions as one text: what computed a row that is kept while both stay the same."""
    return f"{code_version()} {json.dumps(package_versions(), sort_keys=True)}"


def seeds_of(settings: Settings) -> dict[str, int]:
    """Every seed in the settings that shapes a result, by its dotted name."""
    found: dict[str, int] = {}
    for group, values in settings.shaping().items():
        if isinstance(values, dict):
            found |= {f"{group}.{name}": value for name, value in values.items() if name.endswith("seed")}
    return found


def identify(settings: Settings, source: Source) -> tuple[str, dict[str, str]]:
    """The run id, a hash of everything that shapes the results, and the facts it stands for.

    It is no clock and no counter, so that equal inputs give equal bytes in every table. How far the sample goes shapes
    no row: a month alone is the same run as the range it belongs to.
    """
    remembered = settings.model_dump(mode="json", exclude={**dict.fromkeys(PLACES, True), "sample": {"end"}})
    facts = {
        "code_version": code_version(),
        "settings": json.dumps(remembered, sort_keys=True),
        "seeds": json.dumps(seeds_of(settings), sort_keys=True),
        "packages": json.dumps(package_versions(), sort_keys=True),
        "source": source.name,
        "source_kind": source.kind,
        "source_version": source.version,
    }
    identity = {**facts, "settings": settings.shaping()}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16], facts


def record(warehouse: Warehouse, settings: Settings, source: Source) -> str:
    """The run id, remembered in the database with what it stands for."""
    run_id, facts = identify(settings, source)
    warehouse.record_run(run_id, facts)
    return run_id


def refuse_mixed_sources(warehouse: Warehouse, source: Source) -> None:
    """Simulated and real data, two sources, or two simulated markets never share a file.

    The version of a real source may change: it grows month by month.
    """
    held = warehouse.query("SELECT DISTINCT source, source_kind, source_version FROM raw.ingestions")
    for name, kind, version in held.iter_rows():
        other_market = kind == "simulated" and version != source.version
        if (name, kind) != (source.name, source.kind) or other_market:
            raise WarehouseError(
                f"{warehouse.path} holds {kind} data of source {name} (version {version[:12]}), the settings ask for "
                f"{source.kind} data of {source.name} (version {source.version[:12]}). Nothing was changed. Set "
                "`database` to another file (--database FILE), or move this one away"
            )


def refuse_another_sample(warehouse: Warehouse, settings: Settings) -> None:
    """One file holds one sample: results sum up all months since its start, so another start would mix two backtests."""
    runs = warehouse.runs()
    if not runs:
        return
    stored = json.loads(runs[0]["settings"])
    asked = settings.model_dump(mode="json")
    same = (
        ("sample", "start"),
        ("sample", "history_months"),
        ("sample", "style_history_months"),
        ("universe", "index_id"),
    )
    for group, name in same:
        if stored[group][name] != asked[group][name]:
            raise WarehouseError(
                f"{warehouse.path} holds a run with {group}.{name} = {stored[group][name]}, the settings say "
                f"{asked[group][name]}. Nothing was changed. Set `database` to another file (--database FILE)"
            )


@dataclass(frozen=True)
class Event:
    """How a run goes on: a stage began, is at ``done`` of ``total`` months, or ended with its outcome."""

    stage: Stage
    position: int
    stages: int
    done: int = 0
    total: int = 0
    outcome: Outcome | None = None


def require_inputs(stage: Stage, work: Work) -> list[str]:
    """What one stage may build on (see :func:`~rotation_pipeline.orchestration.consistency.inspect`); its notices."""
    _, facts = identify(work.settings, work.source)
    return inspect(work.warehouse, work.settings, work.run_id, facts, [stage], work.months)


def stages_named(only: Sequence[str] | None) -> list[Stage]:
    """The stages called so, all without names, in the order of the graph. Raises WarehouseError for an unknown name."""
    unknown = set(only or ()) - {stage.name for stage in stages()}
    if unknown:
        raise WarehouseError(f"there is no stage {sorted(unknown)}; stages are {', '.join(s.name for s in stages())}")
    return [stage for stage in stages() if only is None or stage.name in only]


def _log_warning(text: str) -> None:
    logging.getLogger(__name__).warning(text)


def prepare(
    settings: Settings,
    source: Source,
    months: Sequence[date],
    listen: Callable[[int, int, str], None] = lambda _done, _total, _next: None,
) -> None:
    """Let a source that downloads fetch what ``months`` and their sanity rules need; its version is known after that.

    Raises WarehouseError, with nothing asked, for one that lacks a table no month may be without, and SourceError for months
    outside the span of one that has files.
    """
    from rotation_pipeline.sources.ingest import check_request

    if isinstance(source, Downloads):
        refused = source.refused()
        lacking = [table.name for table in SOURCE_TABLES if table.minimum_rows and table.name in refused]
        if lacking:
            raise WarehouseError(
                f"source {source.name} does not serve {', '.join(lacking)}, and no month can be stored without. Give a folder "
                "that holds them, in the layout of the files source (--path FOLDER). Nothing was asked of the vendor"
            )
        if not isinstance(source, AsksAgain):  # one that holds its files knows their span before it reads them all
            check_request(source, months)
        source.prepare(months[0] - timedelta(days=settings.sanity.lookback_days), months[-1], listen)


def download(
    settings: Settings,
    source: Source,
    months: Sequence[date],
    listen: Callable[[int, int, str], None] = lambda _done, _total, _next: None,
) -> None:
    """The same before the database is opened, so that hours of a vendor's download lock nobody out.

    A file that is there is looked at first, for a moment: nothing is downloaded for one that would refuse it.
    """
    if not isinstance(source, Downloads):
        return
    if settings.database_path.exists():
        with open_warehouse(settings.database_path, threads=settings.threads) as warehouse:
            refuse_mixed_sources(warehouse, source)
            refuse_another_sample(warehouse, settings)
    prepare(settings, source, months, listen)


def run_graph(
    warehouse: Warehouse,
    settings: Settings,
    months: Sequence[date],
    *,
    only: Sequence[str] | None = None,
    source: Source | None = None,
    listen: Callable[[Event], None] = lambda _event: None,
    warn: Callable[[str], None] = _log_warning,
    fetching: Callable[[int, int, str], None] = lambda _done, _total, _next: None,
    checked: bool = True,
    again: bool = True,
) -> list[Outcome]:
    """Run the stages (all, or those named in ``only``) for ``months``; each stage is stored before the next begins.

    Before the first one begins, everything they will read is held against what is stored: a refusal changes nothing.
    ``warn`` hears of rows of other code, packages or places the run builds on; ``fetching`` how a vendor's download goes on.
    ``checked``: hold every table against its definition, as is right but where many like markets are computed.
    ``again``: also compute what is stored as this run would store it (see :func:`~rotation_pipeline.orchestration.due.due`).
    """
    chosen = stages_named(only)
    if list(months) != months_between(months[0], months[-1]):
        raise WarehouseError("months must be consecutive: a write replaces all from the first to the last")
    used = source if source is not None else make_source(settings)
    refuse_mixed_sources(warehouse, used)
    refuse_another_sample(warehouse, settings)
    if any(stage.fetches for stage in chosen):
        prepare(settings, used, months, fetching)
    run_id, facts = identify(settings, used)
    asked, told = {stage.name: stage.months(settings, months) for stage in chosen}, set[str]()

    def to_do(rest: Sequence[Stage]) -> dict[str, list[date]]:
        found = (
            [(stage, asked[stage.name]) for stage in rest] if again else due(warehouse, settings, facts, rest, months)
        )
        for notice in inspect_all(warehouse, settings, run_id, facts, found):
            if notice not in told:
                warn(notice)
                told.add(notice)
        return {stage.name: wanted for stage, wanted in found}

    work_to_do = to_do(chosen)
    warehouse.record_run(run_id, facts)
    outcomes: list[Outcome] = []
    for position, stage in enumerate(chosen):
        listen(Event(stage, position, len(chosen)))

        def progress(done: int, total: int, stage: Stage = stage, position: int = position) -> None:
            listen(Event(stage, position, len(chosen), done, total))

        months_due = work_to_do[stage.name]
        work = Work(warehouse, settings, used, run_id, list(months_due), progress, checked=checked)
        outcomes.append(replace(run_stage(stage, work), kept=len(asked[stage.name]) - len(months_due)))
        if stage.fetches and months_due and not again:
            work_to_do |= to_do(chosen[position + 1 :])  # what was fetched may be other rows than those read before
        for notice in work.notices:
            warn(notice)
        listen(Event(stage, position, len(chosen), outcome=outcomes[-1]))
    return outcomes
