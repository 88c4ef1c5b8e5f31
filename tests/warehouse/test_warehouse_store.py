"""The warehouse keeps what is stored: overwrite in one transaction, locks, layouts, full disks, bad frames."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from rotation_pipeline.market.identifiers import asset_id, asset_key
from rotation_pipeline.market.schema import ASSET_ID_FROM_KEY
from rotation_pipeline.market.tables import TRADING_DAYS
from rotation_pipeline.warehouse.catalog import table_named
from rotation_pipeline.warehouse.errors import (
    DatabaseLocked,
    DiskFull,
    LayoutMismatch,
    MissingPartition,
    PartitionInvalid,
    WarehouseError,
)
from rotation_pipeline.warehouse.schemas import polars_schema
from rotation_pipeline.warehouse.store import Execution, Warehouse, as_stored, open_warehouse

JAN, FEB = date(2014, 1, 1), date(2014, 2, 1)


def days(month: date, *numbers: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "month": [month] * len(numbers),
            "day": [month.replace(day=number) for number in numbers],
            "is_month_end": [False] * len(numbers),
        }
    )


def trial(month: date, name: str) -> pl.DataFrame:
    known = {
        "month": month,
        "trial_id": name,
        "kind": "book",
        "strategy": "rotation",
        "configuration": "{}",
        "months": 1,
    }
    schema = polars_schema(table_named("marts.trials"))
    return pl.DataFrame({column: [known.get(column, 0.1)] for column in schema}, schema=schema)


def test_a_partition_is_overwritten_and_others_stay(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2, 3)}, [JAN], "a")
        warehouse.write({"raw.trading_days": days(FEB, 4)}, [FEB], "a")
        warehouse.write({"raw.trading_days": days(JAN, 6)}, [JAN], "b")
        stored = warehouse.read("raw.trading_days")
        assert stored["day"].to_list() == [date(2014, 1, 6), date(2014, 2, 4)]
        assert warehouse.months("raw.trading_days") == [JAN, FEB]
        assert warehouse.read("staging.trading_days", first=FEB).height == 1


def test_writing_twice_gives_the_same_rows(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        for _ in range(2):
            warehouse.write({"raw.trading_days": days(JAN, 2, 3)}, [JAN], "a")
        assert warehouse.count("raw.trading_days") == 2


def test_other_trials_survive_the_overwrite_of_a_month(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"marts.trials": trial(JAN, "first")}, [JAN], "a")
        warehouse.write({"marts.trials": trial(JAN, "second")}, [JAN], "b")
        warehouse.write({"marts.trials": trial(JAN, "second")}, [JAN], "b")
        assert warehouse.read("marts.trials")["trial_id"].to_list() == ["first", "second"]


def test_a_failure_inside_a_write_changes_nothing(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2, 3)}, [JAN], "a")
        broken = days(JAN, 6).with_columns(pl.lit(None, dtype=pl.Boolean).alias("is_month_end"))
        with pytest.raises(duckdb.ConstraintException):
            warehouse.write({"raw.trading_days": broken}, [JAN], "b")
        assert warehouse.read("raw.trading_days").height == 2


def test_a_process_killed_in_the_middle_of_a_write_leaves_the_month_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path) as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2, 3)}, [JAN], "a")
    script = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from rotation_pipeline.warehouse.store import open_warehouse
        with open_warehouse(Path({str(path)!r})) as warehouse, warehouse.transaction():
            warehouse.execute("DELETE FROM raw.trading_days")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    died = subprocess.run([sys.executable, "-c", script], check=False)
    assert died.returncode == -9
    with open_warehouse(path) as warehouse:
        assert warehouse.read("raw.trading_days").height == 2
        warehouse.write({"raw.trading_days": days(JAN, 6)}, [JAN], "b")
        assert warehouse.read("raw.trading_days").height == 1


def test_the_error_of_a_locked_file_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from rotation_pipeline.warehouse.store import open_warehouse
        with open_warehouse(Path({str(path)!r})):
            print("open", flush=True)
            sys.stdin.read()
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "open"
        with pytest.raises(DatabaseLocked, match=rf"PID {holder.pid} \(") as caught, open_warehouse(path):
            pass
        assert "try again" in str(caught.value)
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait()


def test_a_database_of_another_layout_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path) as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2)}, [JAN], "a")
        warehouse.execute("UPDATE meta.layout SET definition = 'older' WHERE table_name = 'raw.daily_bars'")
    for read_only in (False, True):
        with pytest.raises(LayoutMismatch, match=r"raw\.daily_bars"), open_warehouse(path, read_only=read_only):
            pass
    connection = duckdb.connect(str(path), read_only=True)
    assert connection.execute("SELECT count(*) FROM raw.trading_days").fetchone() == (1,)
    connection.close()


def test_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="rotation run"), open_warehouse(tmp_path / "none.duckdb", read_only=True):
        pass


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.duckdb"
    path.write_text("this is no database" * 1000)
    with pytest.raises(WarehouseError, match=r"text\.duckdb"), open_warehouse(path):
        pass


def test_a_full_disk_is_told_and_rolled_back(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2)}, [JAN], "a")

        def runs_out_of_space() -> None:
            with warehouse.transaction():
                warehouse.execute("DELETE FROM raw.trading_days")
                raise duckdb.IOException("Could not write file: No space left on device")

        with pytest.raises(DiskFull, match="Free some space"):
            runs_out_of_space()
        assert warehouse.count("raw.trading_days") == 1


# ---------------------------------------------------------------------- provenance


def run_of(warehouse: Warehouse, run_id: str, **settings: object) -> None:
    names = ("code_version", "settings", "seeds", "packages", "source", "source_kind", "source_version")
    facts = {**dict.fromkeys(names, "{}"), "settings": json.dumps({"sample": {"start": "2014-01"}, **settings})}
    warehouse.record_run(run_id, facts)


def test_a_write_is_logged_in_its_own_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = Execution("calendar", JAN, time.monotonic())
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"raw.trading_days": days(JAN, 2)}, [JAN, FEB], "a", execution)
        assert warehouse.written() == {"raw.trading_days": {JAN: "a", FEB: "a"}}, "also the month without rows"
        honest = Warehouse._log

        def interrupted(self: Warehouse, *rest: object) -> None:
            honest(self, *rest)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(Warehouse, "_log", interrupted)
        with pytest.raises(KeyboardInterrupt):
            warehouse.write({"raw.trading_days": days(FEB, 3)}, [FEB], "b", execution)
        assert warehouse.written() == {"raw.trading_days": {JAN: "a", FEB: "a"}}
        assert warehouse.months("raw.trading_days") == [JAN]
        monkeypatch.undo()
        warehouse.write({"raw.trading_days": days(FEB, 3)}, [FEB], "b", execution)
        assert warehouse.written() == {"raw.trading_days": {JAN: "a", FEB: "b"}}


def test_the_end_of_the_sample_is_the_last_month_written_whichever_run_wrote_it(tmp_path: Path) -> None:
    execution = Execution("calendar", JAN, time.monotonic())
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        run_of(warehouse, "older", sample={"start": "2014-01", "end": "2013-01"})
        run_of(warehouse, "b")
        warehouse.write({"raw.trading_days": days(date(2013, 5, 1), 2)}, [date(2013, 5, 1)], "older", execution)
        (run,) = warehouse.runs()
        assert "end" not in json.loads(run["settings"])["sample"]
        assert json.loads(warehouse.latest_run()["settings"])["sample"]["end"] == "2014-01", "never before the start"
        warehouse.write({"raw.trading_days": days(FEB, 2)}, [FEB], "older", execution)
        warehouse.write({"raw.trading_days": days(JAN, 2)}, [JAN], "b", execution)
        assert warehouse.latest_run()["run_id"] == "b"
        assert json.loads(warehouse.latest_run()["settings"])["sample"]["end"] == "2014-02"
        first, last = ({run["run_id"]: run[name] for run in warehouse.runs()} for name in ("first_month", "last_month"))
        assert (first, last) == ({"older": date(2013, 5, 1), "b": JAN}, {"older": FEB, "b": JAN})


def test_frames_that_do_not_fit_are_refused_by_name() -> None:
    good = days(JAN, 2)
    with pytest.raises(PartitionInvalid, match=r"raw\.trading_days: columns missing \['is_month_end'\]"):
        as_stored(TRADING_DAYS, good.drop("is_month_end"), [JAN])
    with pytest.raises(PartitionInvalid, match=r"unknown \['extra'\]"):
        as_stored(TRADING_DAYS, good.with_columns(pl.lit(1).alias("extra")), [JAN])
    with pytest.raises(PartitionInvalid, match="2014-02"):
        as_stored(TRADING_DAYS, good, [FEB])
    with pytest.raises(PartitionInvalid, match=r"raw\.trading_days"):
        as_stored(TRADING_DAYS, good.with_columns(pl.lit("x").alias("day")), [JAN])


def test_pandas_frames_are_stored_with_nan_as_null(tmp_path: Path) -> None:
    from rotation_pipeline.regimes.tables import FEATURES

    numbers = {name: [0.0] for name in FEATURES.column_names[2:]}
    days_of = {"month": pd.to_datetime(["2014-01-01"]), "day": pd.to_datetime(["2014-01-02"])}
    frame = pd.DataFrame({**days_of, **numbers, "index_return": [float("nan")]})
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        warehouse.write({"intermediate.index_features": as_stored(FEATURES, frame, [JAN])}, [JAN], "a")
        stored = warehouse.query(
            "SELECT count(*) AS n FROM intermediate.index_features WHERE index_return IS NULL AND run_id = 'a'"
        )
        assert stored["n"][0] == 1


def test_a_missing_month_is_named_with_its_remedy(tmp_path: Path) -> None:
    told = r"raw\.trading_days has no rows of 2014-01 and 1 more months; ask again"
    with open_warehouse(tmp_path / "w.duckdb") as warehouse, pytest.raises(MissingPartition, match=told):
        warehouse.require("raw.trading_days", [JAN, FEB], "ask again")


def test_reading_only_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.duckdb"
    with open_warehouse(path):
        pass
    with open_warehouse(path, read_only=True) as warehouse, pytest.raises(WarehouseError, match="reading only"):
        warehouse.write({"raw.trading_days": days(JAN, 2)}, [JAN], "a")


def test_an_unknown_table_or_column_is_refused(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "w.duckdb") as warehouse:
        with pytest.raises(WarehouseError, match=r"did you mean marts\.weights"):
            warehouse.read("marts.weight")
        with pytest.raises(KeyError, match="no column 'pe'"):
            warehouse.read("raw.daily_valuation", pe=1)


def test_the_readable_identifier_in_sql_is_the_one_in_python() -> None:
    connection = duckdb.connect()
    names = ["600519.SH", "000001.SZ", "830799.BJ", "000016.SH", "999999.SZ"]
    for name in names:
        row = connection.execute(f"SELECT {ASSET_ID_FROM_KEY} FROM (SELECT {asset_key(name)} AS asset_key)").fetchone()
        assert row == (name,)
        assert asset_id(asset_key(name)) == name
    assert sorted(names) == [asset_id(key) for key in sorted(asset_key(name) for name in names)]
