"""What assets receive from outside: the settings, the data source and the warehouse over dagster-duckdb's connection."""

# No postponed annotations here: Dagster reads the types of a resource's fields.

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from rotation_pipeline.orchestration.runner import (
    download,
    make_source,
    record,
    refuse_another_sample,
    refuse_mixed_sources,
)
from rotation_pipeline.orchestration.stages import Work
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.warehouse.store import Warehouse, connect


class RotationResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic over what it yields: itself
    """Settings (as JSON, so that a run shows them) and the DuckDB connection."""

    duckdb: dg.ResourceDependency[DuckDBResource]
    settings_json: str

    def settings(self) -> Settings:
        """The typed settings."""
        return stored_settings(self.settings_json, database=self.duckdb.database)

    @contextmanager
    def warehouse(self) -> Generator[Warehouse]:
        """The warehouse, writable. Raises DatabaseLocked at once, naming the holder, instead of retrying in silence."""
        path = Path(self.duckdb.database)
        connect(path, threads=self.settings().threads).close()
        generator = self.duckdb.get_connection()
        with generator as connection:
            try:
                yield Warehouse(connection, path)
            finally:
                # the resource closes only after a success
                connection.close()

    @contextmanager
    def work(self, months: list, *, fetches: bool) -> Generator[Work]:  # type: ignore[type-arg]  # list of dates
        """Everything a stage needs for ``months``; ``fetches``: what a vendor has of them, too, downloaded before the
        database is opened."""
        settings = self.settings()
        source = make_source(settings)
        if fetches:
            download(settings, source, months)
        with self.warehouse() as warehouse:
            refuse_mixed_sources(warehouse, source)
            refuse_another_sample(warehouse, settings)
            run_id = record(warehouse, settings, source)
            yield Work(warehouse, settings, source, run_id, months)
