"""Which computed months were made of rows a source has restated since, as asset checks.

They read the marks of ``meta.stale`` and nothing else, so they may be run at any time, also without materializing.
"""

# No postponed annotations here: Dagster reads the types of a check's parameters.

from collections.abc import Iterator

import dagster as dg

from rotation_pipeline.orchestration.assets import POOL, asset_key
from rotation_pipeline.orchestration.consistency import span
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.resources import RotationResource
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.replaced import stale_marks

CHECK = "not_restated"


def computed_tables() -> list[str]:
    """Stored tables that are computed from raw ones, in the order of the graph."""
    return [
        name
        for stage in stages()
        for name in stage.tables
        if not table_named(name).view and table_named(name).schema != "raw"
    ]


def build_checks() -> dg.AssetChecksDefinition:
    """One check a table: fails, without blocking, while a month of it is stale."""
    specs = [
        dg.AssetCheckSpec(
            CHECK,
            asset=asset_key(name),
            description="No month was computed from raw rows the source restated since. Stale months are named; "
            "`rotation run --stale` computes them again, and so does materializing them.",
        )
        for name in computed_tables()
    ]

    @dg.multi_asset_check(name="restatements", specs=specs, can_subset=True, pool=POOL)
    def restatements(
        context: dg.AssetCheckExecutionContext, rotation: RotationResource
    ) -> Iterator[dg.AssetCheckResult]:
        with rotation.warehouse() as warehouse:
            marks = stale_marks(warehouse)
        asked = {key.asset_key for key in context.selected_asset_check_keys}
        for name in computed_tables():
            if asset_key(name) not in asked:
                continue
            months = marks.get(name, {})
            metadata: dict[str, int | str] = {"stale months": len(months)}
            if months:
                metadata |= {"which": span(months), "restatements": ", ".join(sorted(set(months.values())))}
            yield dg.AssetCheckResult(
                passed=not months,
                asset_key=asset_key(name),
                check_name=CHECK,
                metadata=metadata,
                severity=dg.AssetCheckSeverity.WARN,
            )

    return restatements
