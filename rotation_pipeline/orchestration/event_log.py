"""Dagster's SQLite event log, with the events of one asset over many partitions stored in one transaction.

A range of *p* months over *n* tables is one planned and one materialized event per table and month: 2 × *n* × *p*
events. Dagster's own store opens a connection and a transaction for each, twice (the run's file and the index), which
costs several times what the stages themselves do. Dagster hands such events over in batches where an event log can take
them (``DAGSTER_EVENT_BATCH_SIZE``); the log below can. Tables, rows, their order and their ids are those of Dagster's
own store: either can go on with the files of the other.

``dagster.yaml`` names :class:`RotationInstance`. An instance that is configured with a ``storage`` of its own keeps it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NamedTuple, Self, cast

import dagster as dg
import sqlalchemy as db
import yaml
from dagster._config import Field
from dagster._core.events import ASSET_EVENTS, DagsterEventType
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, SqliteStorageConfig
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

BATCH_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's own switch: events are handed over in batches of at most so many; 0 or unset, one by one."""
BATCH_SIZE = 1000
"""A table of 83 years of months in one transaction; more would only hold the index's write lock for longer."""
BATCHED = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    }
)
"""Kinds stored together. A batch with any other kind goes the way Dagster's own store takes, event by event."""
CHECKS = frozenset({DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED})
ENGINES = 16
"""Files whose compiled statements are remembered."""


class Stored(NamedTuple):
    """An event with its id in the index and its row there."""

    id: int
    event: dg.EventLogEntry
    row: dict[str, Any]


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log; a batch of events of one run is one transaction in each file."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._held: dict[str, Connection] = {}
        self._engines: dict[str, Engine] = {}
        super().__init__(base_dir, inst_data)
        # both files are held open at once during a batch, by one thread
        self._db_lock = threading.RLock()
        # Dagster reads it at every event, and every process that stores events makes its own log
        os.environ.setdefault(BATCH_VARIABLE, str(BATCH_SIZE))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteEventLogStorage:
        """As Dagster makes it from its configuration."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        """A connection in a transaction; within a batch, the one the batch holds."""
        with self._db_lock:
            held = self._held.get(shard)
            if held is not None:
                yield held
                return
            with self._begin(shard) as connection:
                yield connection

    @contextmanager
    def _begin(self, shard: str) -> Generator[Connection]:
        """As Dagster's own ``_connect``, but the engine stays: it remembers the statements it has compiled."""
        engine = self._engines.get(shard)
        if engine is None:
            # a web server opens a file for every run it shows
            while len(self._engines) >= ENGINES:
                self._engines.pop(next(iter(self._engines)))
            engine = self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        with engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _hold(self, run_id: str) -> Generator[tuple[Connection, Connection]]:
        """The run's file and the index in one transaction each; both are rolled back if anything fails.

        The run's file is committed first: killed between the two, a process leaves what Dagster's own log would.
        """
        with self._db_lock, self._begin(INDEX_SHARD_NAME) as index, self._begin(run_id) as run:
            self._held = {INDEX_SHARD_NAME: index, run_id: run}
            try:
                yield run, index
            finally:
                self._held = {}

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run with the rows, order and ids of ``store_event`` on each; all of them or none."""
        run_ids = {event.run_id for event in events}
        if len(run_ids) != 1 or not all(event.dagster_event_type in BATCHED for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        with self._hold(run_ids.pop()) as (run, index):
            run.execute(SqlEventLogStorageTable.insert(), rows)
            index.execute(SqlEventLogStorageTable.insert(), rows)
            # the write lock is held since the insert: the ids are the last ones, without a gap
            last = cast(int, index.execute(db.select(db.func.max(SqlEventLogStorageTable.c.id))).scalar_one())
            stored = [
                Stored(last - len(events) + position, event, row)
                for position, (event, row) in enumerate(zip(events, rows, strict=True), start=1)
            ]
            of_assets = [item for item in stored if item.event.dagster_event_type in ASSET_EVENTS]
            self._store_asset_event_tags(index, [item.event for item in of_assets], [item.id for item in of_assets])
            self._store_asset_keys(index, of_assets)
            self._store_planned_checks(index, [item for item in stored if item.event.dagster_event_type in CHECKS])

    def _store_asset_keys(self, index: Connection, stored: Sequence[Stored]) -> None:
        """The assets' own rows. An event overwrites what an earlier one of its kind wrote: the last of each is enough."""
        last: dict[str, dict[DagsterEventType | None, Stored]] = {}
        for item in stored:
            last.setdefault(item.row["asset_key"], {})[item.event.dagster_event_type] = item
        for kinds in last.values():
            for item in sorted(kinds.values(), key=attrgetter("id")):
                self._store_asset_event(index, item.event, item.id)

    def _store_planned_checks(self, index: Connection, stored: Sequence[Stored]) -> None:
        """A row for every month of a planned check, all with the one text of its event."""
        rows: list[dict[str, Any]] = []
        for item in stored:
            planned = item.event.get_dagster_event().asset_check_planned_data
            months = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
            rows += [
                {
                    "asset_key": planned.asset_key.to_string(),
                    "check_name": planned.check_name,
                    "partition": month,
                    "run_id": item.event.run_id,
                    "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
                    "evaluation_event": item.row["event"],
                    "evaluation_event_timestamp": item.row["timestamp"],
                    "evaluation_event_storage_id": item.id,
                }
                for month in months
            ]
        if rows:
            index.execute(AssetCheckExecutionsTable.insert(), rows)


class BatchedSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage under ``base_dir``, with the event log above in its usual place."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        usual_place = os.path.dirname(self._event_log_storage.path_for_shard(INDEX_SHARD_NAME))
        self._event_log_storage = BatchedSqliteEventLogStorage(usual_place)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: SqliteStorageConfig) -> Self:
        """As Dagster makes it from its configuration."""
        return cls.from_local(inst_data=inst_data, **config_value)


class RotationInstance(dg.DagsterInstance):
    """A Dagster instance whose storage, where ``dagster.yaml`` names none, is :class:`BatchedSqliteStorage`.

    A class of instance, not a storage in the file, because only the instance knows its folder: ``DAGSTER_HOME`` or a
    temporary one.
    """

    @staticmethod
    def config_schema() -> dict[str, Field]:
        """Nothing beyond what every instance can be configured with."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> dict[str, ConfigurableClassData | None]:
        """Dagster's defaults, but for the storage."""
        config = yaml.safe_dump({"base_dir": base_dir}, default_flow_style=False)
        storage = ConfigurableClassData(BatchedSqliteStorage.__module__, BatchedSqliteStorage.__name__, config)
        return {**InstanceRef.config_defaults(base_dir), "storage": storage}
