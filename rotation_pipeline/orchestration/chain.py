"""The chain a study needs: from prices to the net returns of the books, without evidence, sentences and pages."""

from __future__ import annotations

from rotation_pipeline.orchestration.graph import inputs_of, producers, stage_named, stages
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings
from rotation_pipeline.sources.base import Source
from rotation_pipeline.warehouse.store import Warehouse

LAST_STAGE = "factor_backtest"


def chain(last: str = LAST_STAGE) -> list[str]:
    """Names of the stages that ``last`` builds on, at any distance, and its own, in the order of the graph."""
    found: set[str] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [producers()[table].name for table in inputs_of(stage_named(name))]
    return [stage.name for stage in stages() if stage.name in found]


def run_chain(warehouse: Warehouse, settings: Settings, *, source: Source | None = None, checked: bool = True) -> None:
    """Run the chain for all months of the settings. ``checked``: hold every table against its definition."""
    run_graph(warehouse, settings, settings.all_months(), only=chain(), source=source, checked=checked)
