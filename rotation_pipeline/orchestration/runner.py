"""Run the graph without a server: stages in order over a range of months, each month's inputs checked first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path

from rotation_pipeline.orchestration.graph import missing_inputs, stages
from rotation_pipeline.orchestration.stages import Outcome, Progress, Stage, Work, run_stage
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.warehouse.errors import MissingPartition, WarehouseError
from rotation_pipeline.warehouse.models import models_folder
from rotation_pipeline.warehouse.store import Warehouse

PACKAGES = ("dagster", "duckdb", "hmmlearn", "numba", "numpy", "pandas", "polars", "scikit-learn", "scipy", "torch")
NO_PART_IN_RESULTS = frozenset({"database", "output"})
"""Settings that say where, not what: two runs that differ in them alone are the same run."""


def make_source(settings: Settings) -> Source:
    """The data source the settings name."""
    if settings.source.name == "files":
        from rotation_pipeline.sources.files import FilesSource

        if settings.source.path is None:
            raise WarehouseError("source.path is missing: the files source needs the folder it reads")
        return FilesSource(settings.source.path, settings.source.mapping)
    from rotation_pipeline.sources.simulated import SimulatedSource

    return SimulatedSource(settings.simulation)


@cache
def code_version() -> str:
    """Package version and a hash of its Python and SQL."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for folder, pattern in ((package, "*.py"), (package, "*.sql"), (models_folder(), "*.sql")):
        for path in sorted(folder.rglob(pattern)):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return f"{metadata.version('rotation-pipeline')}+{digest.hexdigest()[:12]}"


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages whose arithmetic is in the results."""
    return {name: metadata.version(name) for name in PACKAGES}


def seeds_of(settings: Settings) -> dict[str, int]:
    """Every seed in the settings, by its dotted name."""
    found: dict[str, int] = {}
    for group, values in settings.model_dump(mode="json").items():
        if isinstance(values, dict):
            found |= {f"{group}.{name}": value for name, value in values.items() if name == "seed"}
    return found


def record(warehouse: Warehouse, settings: Settings, source: Source) -> str:
    """The run id: a hash of everything that shapes the results, remembered with what it stands for.

    It is no clock and no counter, so that equal inputs give equal bytes in every table.
    """
    shaping = {key: value for key, value in settings.model_dump(mode="json").items() if key not in NO_PART_IN_RESULTS}
    facts = {
        "code_version": code_version(),
        "settings": json.dumps(shaping, sort_keys=True),
        "seeds": json.dumps(seeds_of(settings), sort_keys=True),
        "packages": json.dumps(package_versions(), sort_keys=True),
        "source": source.name,
        "source_kind": source.kind,
        "source_version": source.version,
    }
    # how far the sample goes shapes no row: a month alone is the same run as the range it belongs to
    identity = {
        **facts,
        "settings": json.dumps({**shaping, "sample": {**shaping["sample"], "end": None}}, sort_keys=True),
    }
    run_id = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
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


def require_inputs(stage: Stage, work: Work) -> None:
    """Raise :class:`MissingPartition` naming the first input month that is not stored, and the remedy."""
    for name, months in missing_inputs(stage, work):
        raise MissingPartition(
            f"{stage.name} needs {name} of {months[0]:%Y-%m}"
            + (f" and {len(months) - 1} more months" if len(months) > 1 else "")
            + f", which {'is' if len(months) == 1 else 'are'} not stored; run the stage that writes it for "
            f"{months[0]:%Y-%m}..{months[-1]:%Y-%m} first"
        )


def run_graph(
    warehouse: Warehouse,
    settings: Settings,
    months: Sequence[date],
    *,
    only: Sequence[str] | None = None,
    source: Source | None = None,
    listen: Callable[[Event], None] = lambda _event: None,
) -> list[Outcome]:
    """Run the stages (all, or those named in ``only``) for ``months``; each stage is stored before the next begins."""
    chosen = [stage for stage in stages() if only is None or stage.name in only]
    unknown = set(only or ()) - {stage.name for stage in stages()}
    if unknown:
        raise WarehouseError(f"there is no stage {sorted(unknown)}; stages are {', '.join(s.name for s in stages())}")
    used = source if source is not None else make_source(settings)
    refuse_mixed_sources(warehouse, used)
    refuse_another_sample(warehouse, settings)
    run_id = record(warehouse, settings, used)
    outcomes: list[Outcome] = []
    for position, stage in enumerate(chosen):
        listen(Event(stage, position, len(chosen)))

        def progress(done: int, total: int, stage: Stage = stage, position: int = position) -> None:
            listen(Event(stage, position, len(chosen), done, total))

        outcomes.append(_run(stage, warehouse, settings, used, run_id, months, progress))
        listen(Event(stage, position, len(chosen), outcome=outcomes[-1]))
    warehouse.record_inputs(run_id, list(months))
    return outcomes


def _run(
    stage: Stage,
    warehouse: Warehouse,
    settings: Settings,
    source: Source,
    run_id: str,
    months: Sequence[date],
    progress: Progress,
) -> Outcome:
    work = Work(warehouse, settings, source, run_id, list(months), progress)
    require_inputs(stage, work)
    return run_stage(stage, work)
