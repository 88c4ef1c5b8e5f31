"""The batched event log against Dagster's own: the same rows, whatever is batched."""

# No postponed annotations here: Dagster reads the types of an asset's parameters.

import hashlib
import inspect
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.methods.event_methods import EventMethods
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation_pipeline.orchestration import event_log
from rotation_pipeline.orchestration.event_log import (
    BATCH_SIZE,
    BATCH_VARIABLE,
    BATCHED,
    BatchedSqliteEventLogStorage,
    RotationInstance,
)

ROOT = Path(__file__).resolve().parents[2]
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2020-01-01", fmt="%Y-%m-%d")
NAMES = ["b", "a", "c"]

SOURCES = {
    SqliteEventLogStorage.store_event: "f89aed40602438b9",
    SqliteEventLogStorage._connect: "b8435f2665689760",
    SqlEventLogStorage.prepare_insert_event: "3c1ee1bd6618c1c8",
    SqlEventLogStorage._store_asset_event: "fdb9340b9eef1c9b",
    SqlEventLogStorage._get_asset_entry_values: "bb3b9df2c6c371fe",
    SqlEventLogStorage._store_asset_event_tags: "85d6f17ef04b926f",
    SqlEventLogStorage.store_asset_check_event: "6d148295fa69bb45",
    SqlEventLogStorage._store_asset_check_evaluation_planned: "bbecef7ab5ce9d01",
    EventMethods.handle_new_event: "db900859da5b7e70",
}
"""Dagster's methods that the batched log says again or relies on, with the hash of the source it was written against."""


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batches unless a test asks for them; whatever a log sets is taken back."""
    monkeypatch.setenv(BATCH_VARIABLE, "0")
    monkeypatch.delenv(BATCH_VARIABLE)


@dg.multi_asset(
    specs=[dg.AssetSpec(name) for name in NAMES],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("good", asset=name, blocking=name == "a") for name in NAMES],
)
def tables(context: dg.AssetExecutionContext) -> Iterator[Any]:
    context.log.info("computing")
    for name in NAMES:
        context.add_asset_metadata({"latest": 1}, name, context.partition_keys[-1])
        yield dg.MaterializeResult(name, metadata={"rows": 3}, data_version=dg.DataVersion(f"v-{name}"))
        context.log_event(
            dg.AssetObservation(name, partition=context.partition_keys[0], tags={"dagster/data_version": "o"})
        )
    for name in NAMES:
        yield dg.AssetCheckResult(passed=not context.run.tags.get("bad"), asset_key=name, check_name="good")
    if context.run.tags.get("bad"):
        raise dg.Failure("as asked")


@dg.asset(deps=["a", "b"])
def whole() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"note": "without partitions"})


DEFINITIONS = dg.Definitions([tables, whole])


def run_range(instance: dg.DagsterInstance, first: str, last: str, **tags: str) -> dg.ExecuteInProcessResult:
    job = DEFINITIONS.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in NAMES],
        raise_on_error=False,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last, **tags},
    )


@pytest.fixture(scope="module")
def events() -> list[dg.EventLogEntry]:
    """What Dagster stored, in order, of three runs: a range, a shorter one whose checks fail, an asset without months."""
    with dg.DagsterInstance.local_temp() as instance:
        runs = [
            run_range(instance, "2020-01-01", "2020-05-01"),
            run_range(instance, "2020-04-01", "2020-06-01", bad="yes"),
            DEFINITIONS.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey("whole")]
            ),
        ]
        assert [run.success for run in runs] == [True, False, True]
        found = [event for run in runs for event in instance.all_logs(run.run_id)]
    kinds = {event.dagster_event_type for event in found}
    assert kinds >= BATCHED
    assert len(found) > 100
    return found


def dump(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of every file, clock readings of the database itself left out."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for path in sorted(folder.glob("*.db")):
        with sqlite3.connect(path) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in sorted(names):
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
                kept = [
                    f'"{column}"' for column in columns if column not in {"create_timestamp", "migration_completed"}
                ]
                rows = connection.execute(f"SELECT {', '.join(kept)} FROM {name} ORDER BY 1").fetchall()
                found[f"{path.stem}.{name}"] = rows
        connection.close()
    return found


def store(log: SqliteEventLogStorage, batches: Sequence[Sequence[dg.EventLogEntry]]) -> None:
    for batch in batches:
        if len(batch) == 1:
            log.store_event(batch[0])
        else:
            log.store_event_batch(batch)


@pytest.fixture(scope="module")
def empty(events: list[dg.EventLogEntry], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a log without events; to make them takes longer than to fill them."""
    folder = tmp_path_factory.mktemp("empty")
    log = SqliteEventLogStorage(str(folder))
    for run_id in {event.run_id for event in events}:
        assert not log.get_logs_for_run(run_id)
    return folder


@pytest.fixture(scope="module")
def expected(events: list[dg.EventLogEntry], empty: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plain")
    shutil.copytree(empty, folder, dirs_exist_ok=True)
    store(SqliteEventLogStorage(str(folder)), [[event] for event in events])
    return dump(folder)


def as_dagster_does(events: Sequence[dg.EventLogEntry]) -> list[list[dg.EventLogEntry]]:
    """Events of the batched kinds that follow each other in a run; each other event alone."""
    batches: list[list[dg.EventLogEntry]] = []
    for event in events:
        last = batches[-1][-1] if batches else None
        joins = event.dagster_event_type in BATCHED and last is not None and last.dagster_event_type in BATCHED
        if joins and last is not None and last.run_id == event.run_id:
            batches[-1].append(event)
        else:
            batches.append([event])
    return batches


def test_batches_leave_every_table_as_single_events_do(
    events: list[dg.EventLogEntry], expected: dict[str, Any], tmp_path: Path
) -> None:
    batches = as_dagster_does(events)
    assert max(len(batch) for batch in batches) > 10
    store(BatchedSqliteEventLogStorage(str(tmp_path)), batches)
    got = dump(tmp_path)
    assert got.keys() == expected.keys()
    assert {
        "index.event_logs",
        "index.asset_keys",
        "index.asset_event_tags",
        "index.asset_check_executions",
    } <= got.keys()
    for name, rows in expected.items():
        assert got[name] == rows, name
    assert all(
        got[f"index.{name}"] for name in ("event_logs", "asset_keys", "asset_event_tags", "asset_check_executions")
    )


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_however_the_events_are_cut_the_rows_are_the_same(
    data: st.DataObject, events: list[dg.EventLogEntry], empty: Path, expected: dict[str, Any]
) -> None:
    """Cuts anywhere: batches of several kinds, and of several runs, which go event by event."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1), max_size=30)))
    batches = [events[first:last] for first, last in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(empty, folder, dirs_exist_ok=True)
        store(BatchedSqliteEventLogStorage(folder), batches)
        assert dump(Path(folder)) == expected


def test_either_log_goes_on_with_the_files_of_the_other(
    events: list[dg.EventLogEntry], expected: dict[str, Any], tmp_path: Path
) -> None:
    own, plain = BatchedSqliteEventLogStorage(str(tmp_path)), SqliteEventLogStorage(str(tmp_path))
    for position, batch in enumerate(as_dagster_does(events)):
        if position % 3:
            store(own, [batch])
        else:
            store(plain, [[event] for event in batch])
    assert dump(tmp_path) == expected


def planned(events: Sequence[dg.EventLogEntry]) -> list[dg.EventLogEntry]:
    return next(batch for batch in as_dagster_does(events) if len(batch) > 5)


def test_a_batch_that_fails_leaves_nothing(
    events: list[dg.EventLogEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that Dagster, which then stores its events one by one, stores none of them twice."""
    batch = planned(events)
    log = BatchedSqliteEventLogStorage(str(tmp_path))
    log.store_event(events[-1])
    before = dump(tmp_path)

    def fail(*_arguments: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "_store_planned_checks", fail)
        with pytest.raises(OSError, match="disk full"):
            log.store_event_batch(batch)
    after = dump(tmp_path)
    assert {name: rows for name, rows in after.items() if rows and "alembic" not in name} == {
        name: rows for name, rows in before.items() if rows and "alembic" not in name
    }
    log.store_event_batch(batch)
    assert len(dump(tmp_path)["index.event_logs"]) == len(before["index.event_logs"]) + len(batch)


def test_a_process_killed_within_a_batch_leaves_none_of_it(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
import dagster as dg
from {Path(__file__).stem} import run_range
from rotation_pipeline.orchestration.event_log import BatchedSqliteEventLogStorage, RotationInstance
from dagster._core.instance.ref import InstanceRef
store_keys = BatchedSqliteEventLogStorage._store_asset_keys
def kill(self, index, stored):
    store_keys(self, index, stored)
    if stored[0].event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        os.kill(os.getpid(), signal.SIGKILL)
BatchedSqliteEventLogStorage._store_asset_keys = kill
with dg.DagsterInstance.from_ref(InstanceRef.from_dir({str(tmp_path)!r})) as instance:
    run_range(instance, "2020-01-01", "2020-04-01")
"""
    home(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        run = instance.get_runs()[0]
        kinds = [event.dagster_event_type for event in instance.all_logs(run.run_id)]
        assert kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) == 12
        assert dg.DagsterEventType.ASSET_MATERIALIZATION not in kinds
        assert not instance.get_materialized_partitions(dg.AssetKey("b"))
        again = run_range(instance, "2020-01-01", "2020-04-01")
        assert again.success
        assert len(instance.get_materialized_partitions(dg.AssetKey("b"))) == 4
    for path in (tmp_path / "history" / "runs").glob("*.db"):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def home(folder: Path, **more: Any) -> None:
    """A Dagster home with the project's dagster.yaml."""
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    (folder / "dagster.yaml").write_text(yaml.safe_dump({**config, **more}), encoding="utf-8")


def test_the_projects_instance_batches_in_the_usual_place(tmp_path: Path) -> None:
    home(tmp_path)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        log = instance.event_log_storage
        assert isinstance(instance, RotationInstance)
        assert isinstance(log, BatchedSqliteEventLogStorage)
        assert os.environ[BATCH_VARIABLE] == str(BATCH_SIZE)
        usual = InstanceRef.config_defaults(str(tmp_path))["event_log_storage"]
        assert usual is not None
        assert Path(log.path_for_shard("index")) == Path(usual.config_dict["base_dir"]) / "index.db"
        assert Path(instance.root_directory) == tmp_path
        # another process makes it again from what this one hands over
        with dg.DagsterInstance.from_ref(InstanceRef.from_dict(instance.get_ref().to_dict())) as other:
            assert other.event_log_storage.path_for_shard("index") == log.path_for_shard("index")  # type: ignore[attr-defined]


def test_a_temporary_instance_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``dagster asset materialize`` makes one in the project's folder."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path), config_dir=str(ROOT))) as instance:
        assert isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
        assert Path(instance.event_log_storage.path_for_shard("index")).is_relative_to(tmp_path)


def test_a_storage_of_ones_own_is_kept(tmp_path: Path) -> None:
    home(tmp_path, storage={"sqlite": {"base_dir": str(tmp_path / "elsewhere")}})
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
    assert BATCH_VARIABLE not in os.environ


def test_a_batch_size_of_ones_own_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BATCH_VARIABLE, "0")
    BatchedSqliteEventLogStorage(str(tmp_path))
    assert os.environ[BATCH_VARIABLE] == "0"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home(tmp_path)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as found:
        yield found


def test_a_range_through_the_projects_instance(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    batch = BatchedSqliteEventLogStorage.store_event_batch

    def count(self: BatchedSqliteEventLogStorage, events: Sequence[dg.EventLogEntry]) -> None:
        sizes.append(len(events))
        batch(self, events)

    monkeypatch.setattr(BatchedSqliteEventLogStorage, "store_event_batch", count)
    run = run_range(instance, "2020-01-01", "2020-12-01")
    assert run.success
    assert sizes == [3 * 12 + 3, 12, 12, 12]
    months = {f"2020-{month:02d}-01" for month in range(1, 13)}
    for name in NAMES:
        assert instance.get_materialized_partitions(dg.AssetKey(name)) == months
        latest = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert latest is not None
        assert latest.asset_materialization is not None
        assert latest.asset_materialization.partition == "2020-12-01"
        assert set(latest.asset_materialization.metadata) == {"rows", "latest"}
        record = instance.get_asset_records([dg.AssetKey(name)])[0]
        assert record.asset_entry.last_run_id == run.run_id
    keys = [dg.AssetCheckKey(dg.AssetKey(name), "good") for name in NAMES]
    checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {check.status.value for check in checks.values()} == {"SUCCEEDED"}
    stats = instance.get_run_stats(run.run_id)
    assert (stats.materializations, stats.steps_succeeded) == (36, 1)


def test_who_watches_a_run_sees_every_event_in_order(
    instance: dg.DagsterInstance, events: list[dg.EventLogEntry]
) -> None:
    run_id = events[0].run_id
    own = [event for event in events if event.run_id == run_id]
    seen: list[dg.EventLogEntry] = []
    complete = threading.Event()

    def see(event: dg.EventLogEntry, _cursor: str) -> None:
        seen.append(event)
        if len(seen) >= len(own):
            complete.set()

    log = instance.event_log_storage
    log.store_event(own[0])
    instance.watch_event_logs(run_id, None, see)
    try:
        store(log, as_dagster_does(own[1:]))  # type: ignore[arg-type]
        assert complete.wait(30)
    finally:
        instance.end_watch_event_logs(run_id, see)
    assert seen == own


def test_few_engines_are_kept(tmp_path: Path, events: list[dg.EventLogEntry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "ENGINES", 2)
    log = BatchedSqliteEventLogStorage(str(tmp_path))
    for number in range(4):
        log.store_event(events[0]._replace(run_id=f"run-{number}"))
    assert len(log._engines) == 2
    assert len(log.get_logs_for_run("run-0")) == 1


@pytest.mark.parametrize("method", SOURCES, ids=lambda method: method.__qualname__)
def test_dagsters_own_methods_are_those_the_log_was_written_against(method: Any) -> None:
    found = hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16]
    assert found == SOURCES[method], (
        f"Dagster {dg.__version__} has another {method.__qualname__} ({found}). Read it beside "
        f"{event_log.__name__}, follow what changed, then write its hash here"
    )
