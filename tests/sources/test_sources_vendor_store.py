"""What vendors share: the store, downloads killed at random moments, parsing, waits, and conversions."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import vendor_market as market
from vendor_direct import OPTIONS, source_of
from vendor_tushare_server import Stand, serving

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.sources.base import AsksAgain, SourceError
from rotation_pipeline.sources.vendors import VENDORS, vendor_source
from rotation_pipeline.sources.vendors.answers import Answer, Field, frame, number
from rotation_pipeline.sources.vendors.conversions import (
    intervals,
    legal_deadline,
    profitability,
    quarters_before,
    trailing,
    versions,
)
from rotation_pipeline.sources.vendors.errors import BadAnswer, VendorError
from rotation_pipeline.sources.vendors.store import MANIFEST, SELECTION, VendorStore
from rotation_pipeline.sources.vendors.tushare import TushareAdapter

FIRST, LAST = date(2021, 11, 1), date(2022, 2, 1)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stand() -> Generator[Stand]:
    with serving() as running:
        yield running


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_at_ten_random_moments_and_resumed(stand: Stand, tmp_path: Path) -> None:
    source_of(stand, tmp_path / "whole").prepare(FIRST, LAST)
    whole = contents(tmp_path / "whole")
    needed = len(stand.asked)
    moments = random.Random(5)
    folder = tmp_path / "killed"
    command = [sys.executable, str(HERE / "vendor_direct.py"), stand.address]
    sizes: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdin.write(f"0 {tmp_path / 'counted'}\n")
        events = int(starter.stdout.readline())
        assert starter.stdout.readline() == "0\n"
        for _ in range(10):
            starter.stdin.write(
                f"{moments.randint(1, events // 11)} {folder}\n"
            )  # all ten together do not reach the end
            assert int(starter.stdout.readline()) == -signal.SIGKILL
            sizes.append(len(VendorStore(folder).entries()))
            found = contents(folder)
            assert all(whole[name] == content for name, content in found.items() if name.endswith(".parquet"))
        starter.stdin.close()
    assert sizes == sorted(sizes)
    assert 0 < sizes[-1] < len(whole) - 1
    asked = len(stand.asked)
    source_of(stand, folder).prepare(FIRST, LAST)
    assert contents(folder) == whole
    assert len(stand.asked) - asked < needed  # what was there was not asked for again


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_last_month_is_looked_at_before_whole_tables(vendor: str, tmp_path: Path) -> None:
    """Asked for while a month goes on, they would lack its end for good."""
    source = vendor_source(vendor, tmp_path, (market.INDEX,), replace(OPTIONS, assets=("600001.SH",)))
    unit = source._missing(FIRST, LAST)[0]  # pyright: ignore[reportPrivateUsage]
    assert (unit.table, unit.month, unit.whole) == ("index_bars", LAST, False)


def test_the_month_must_be_over(stand: Stand, tmp_path: Path) -> None:
    """Nothing is kept as known in a month that goes on."""
    source = source_of(stand, tmp_path)
    with pytest.raises(SourceError, match=r"23 sessions of 2022-03 are lacking, as 2022-03-01;.*is not over"):
        source.prepare(date(2022, 2, 1), date(2022, 3, 1))
    assert source.store.entries() == {}


def holder_named(pid: int) -> str:
    """How a refusal names the process that holds the lock; Windows does not let others read a locked file."""
    return rf"(process {pid}|another process)" if sys.platform == "win32" else f"process {pid}"


def test_one_download_at_a_time(tmp_path: Path) -> None:
    store = VendorStore(tmp_path)
    said = rf"{holder_named(os.getpid())} downloads into .*wait until it ends"
    with store.alone(), pytest.raises(VendorError, match=said), VendorStore(tmp_path).alone():
        pass
    with store.alone():
        pass


def test_a_second_command_names_the_process_that_downloads(
    stand: Stand, rotation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the folder: the command ends at once, asks nothing and leaves no database."""
    monkeypatch.setenv("TUSHARE_TOKEN", market.CANARY)
    place, asked = tmp_path / "vendors" / "tushare", len(stand.asked)
    hold = (
        "import sys; from pathlib import Path; from rotation_pipeline.sources.vendors.store import VendorStore\n"
        "with VendorStore(Path(sys.argv[1])).alone(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        answer = rotation(
            "ingest", "--source", "tushare", "--from", "2022-02", "--to", "2022-02", "--database", tmp_path / "x.duckdb",
            "--set", f"source.vendor.address={stand.address}", "--json",
        )  # fmt: skip
        assert other.stdin is not None
        other.stdin.close()
    assert answer.code == 1
    said = rf"{holder_named(other.pid)} downloads into {re.escape(str(place))}"
    assert re.search(said, " ".join(answer.stderr.split()))
    assert answer.stdout == ""
    assert len(stand.asked) == asked
    assert not (tmp_path / "x.duckdb").exists()


def test_a_damaged_unit_is_named(tmp_path: Path) -> None:
    store = VendorStore(tmp_path)
    rows = pl.DataFrame({"a": [1.0, None], "b": ["x", "y"]})
    store.write("daily_bars", "2014-01", rows)
    before = store.fingerprint()
    assert store.read("daily_bars", "2014-01").equals(rows)
    path = tmp_path / "daily_bars" / "2014-01.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(VendorError, match=r"2014-01\.parquet is not as it was written"):
        store.read("daily_bars", "2014-01")
    store.write("daily_bars", "2014-01", rows)
    assert path.read_bytes() == content
    assert store.fingerprint() == before
    (tmp_path / MANIFEST).write_text('{"units": {', encoding="utf-8")
    with pytest.raises(VendorError, match=r"manifest\.json can't be read"):
        VendorStore(tmp_path).entries()


def test_version_follows_content_and_shaping_options_alone(stand: Stand, tmp_path: Path) -> None:
    one = source_of(stand, tmp_path, replace(OPTIONS, leave_out=("fundamentals",)))
    same = source_of(stand, tmp_path, replace(OPTIONS, leave_out=("fundamentals",), pause=0.001, address="http://h"))
    other = source_of(stand, tmp_path, OPTIONS)
    assert one.version == same.version
    assert one.version != other.version
    before = one.version
    one.store.write("trading_days", "2022-01", pl.DataFrame({"day": [date(2022, 1, 4)], "is_month_end": [False]}))
    assert one.version != before


def test_a_folder_is_kept_for_one_selection(stand: Stand, tmp_path: Path) -> None:
    """Stored months hold no others, so another selection would find them complete and lack its own."""
    one = replace(OPTIONS, assets=("600001.SH", "600100.SH"))
    source_of(stand, tmp_path, one).prepare(date(2022, 1, 1), date(2022, 1, 1))
    asked = len(stand.asked)
    same = replace(one, assets=("600100.SH", "600001.SH"), pause=0.001)
    assert source_of(stand, tmp_path, same).prepare(date(2022, 1, 1), date(2022, 1, 1)) == 0
    other = source_of(stand, tmp_path, replace(one, assets=("600001.SH", "600101.SH")))
    with pytest.raises(
        VendorError, match=r"another selection .*600100\.SH.* now asked: .*600101\.SH.*Set source\.cache"
    ):
        other.fetch("daily_bars", date(2022, 1, 1), date(2022, 1, 31))
    assert len(stand.asked) == asked


@pytest.mark.parametrize("marked", [True, False])
def test_a_folder_is_kept_for_one_model(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, marked: bool
) -> None:
    """Units hold what the model made of the answers: those of another one are served no more, under no version."""
    month, folder = (date(2022, 1, 1), date(2022, 1, 31)), tmp_path / "kept"
    first = source_of(stand, folder)
    first.prepare(month[0], month[0])
    if not marked:  # as folders were before models were written down
        chosen = folder / SELECTION
        kept = {
            name: value for name, value in json.loads(chosen.read_text(encoding="utf-8")).items() if name != "model"
        }
        chosen.write_text(json.dumps(kept, sort_keys=True, indent=1) + "\n", encoding="utf-8")
        with pytest.raises(VendorError, match=r"kept holds what .*model not said, now tushare-2"):
            source_of(stand, folder).prepare(month[0], LAST)
        chosen.unlink()  # as before selections were written down
    asked = len(stand.asked)
    monkeypatch.setattr(TushareAdapter, "model", "tushare-3")
    raised = source_of(stand, folder)
    for ask in (lambda: raised.fetch("daily_bars", *month), lambda: raised.prepare(FIRST, LAST), raised.again):
        with pytest.raises(
            VendorError, match=r"kept holds what .*now tushare-3.*Set source\.cache .*or delete this one"
        ):
            ask()
    assert len(stand.asked) == asked
    other = source_of(stand, tmp_path / "other")
    assert other.prepare(month[0], month[0]) > 0
    assert other.prepare(month[0], month[0]) == 0


def test_refusals_before_anything_is_asked(stand: Stand, tmp_path: Path) -> None:
    asked = len(stand.asked)
    source = source_of(stand, tmp_path)
    with pytest.raises(SourceError, match="can be asked for 1991-01"):
        source.prepare(date(1990, 12, 1), LAST)
    with pytest.raises(SourceError, match="members_from = 2021-11 is later than 2021-10"):
        source.prepare(date(2021, 10, 1), LAST)
    with pytest.raises(SourceError, match="leave_out names dayly_bars"):
        source_of(stand, tmp_path, replace(OPTIONS, leave_out=("dayly_bars",)))
    with pytest.raises(SourceError, match="is no vendor"):
        vendor_source("wind", tmp_path, (market.INDEX,), OPTIONS)
    assert len(stand.asked) == asked


@pytest.mark.parametrize(
    ("written", "value"),
    [("1,234.5", 1234.5), ("-12,345,678", -12345678.0), (" 3.5 ", 3.5), (7, 7.0), ("1e3", 1000.0)],
)
def test_numbers(written: object, value: float) -> None:
    assert number(written) == value


@pytest.mark.parametrize("written", ["1,23", "1,2345", ",1", "one", "inf", True, "１,000x"])
def test_no_numbers(written: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        number(written)


def test_empty_values_are_null_unless_required() -> None:
    answer = Answer("call", ["a", "b"], [["", "20220104"], [None, "20220105"], [float("nan"), ""]])
    fields = {"value": Field("a", "number"), "day": Field("b", "day")}
    assert frame(answer, fields, str)["value"].null_count() == 3
    with pytest.raises(BadAnswer, match="column b is empty"):
        frame(answer, {"day": Field("b", "day", required=True)}, str)
    with pytest.raises(BadAnswer, match="a row has 1 values for 2 columns"):
        frame(Answer("call", ["a", "b"], [["x"]]), fields, str)
    with pytest.raises(BadAnswer, match="can't be read as day"):
        frame(Answer("call", ["a", "b"], [["1", "2022-01-04"]]), fields, str)


def test_intervals_close_and_open_again() -> None:
    days = [date(2022, n, 1) for n in range(1, 5)]
    seen = [("A", 0), ("A", 1), ("A", 3), ("B", 0), ("B", 1), ("B", 2), ("B", 3)]
    rows = pl.DataFrame([{"index_id": "I", "asset_id": asset, "day": days[at]} for asset, at in seen])
    found = {(row["asset_id"], row["valid_from"], row["valid_to"]) for row in intervals(rows).iter_rows(named=True)}
    assert found == {("A", days[0], days[2]), ("A", days[3], None), ("B", days[0], None)}


def test_legal_deadlines_and_quarters() -> None:
    ends = [date(2021, 3, 31), date(2021, 6, 30), date(2021, 9, 30), date(2021, 12, 31)]
    deadlines = [date(2021, 4, 30), date(2021, 8, 31), date(2021, 10, 31), date(2022, 4, 30)]
    assert [legal_deadline(day) for day in ends] == deadlines
    with pytest.raises(BadAnswer, match="no end of a quarter"):
        legal_deadline(date(2021, 6, 29))
    assert quarters_before(date(2022, 1, 1), 4) == ends
    assert quarters_before(date(2021, 12, 31), 1) == [date(2021, 9, 30)]


def test_trailing_uses_what_was_known_on_the_day() -> None:
    """The half-year's sum is made with last year's figures as they stood then, not as revised later."""

    def row(period: date, announced: date, value: float, flag: str = "0") -> dict[str, object]:
        return {"asset_id": "A", "report_period": period, "announced_on": announced, "flag": flag, "value": value}

    half, year = date(2020, 6, 30), date(2020, 12, 31)
    reports = pl.DataFrame([
        row(half, date(2020, 8, 20), 40.0), row(year, date(2021, 4, 1), 100.0), row(year, date(2021, 12, 1), 90.0, "1"),
        row(year, date(2021, 4, 1), 95.0, "1"), row(date(2021, 6, 30), date(2021, 8, 20), 50.0),
        row(date(2021, 6, 30), date(2022, 1, 5), 55.0, "1"),
    ])  # fmt: skip
    found = {
        (item["report_period"], item["announced_on"]): (item["value"], item["is_revision"])
        for item in trailing(versions(reports)).iter_rows(named=True)
    }
    assert found == {
        (year, date(2021, 4, 1)): (100.0, False),
        (year, date(2021, 12, 1)): (90.0, True),
        (date(2021, 6, 30), date(2021, 8, 20)): (110.0, False),  # 50 + 100 − 40
        (date(2021, 6, 30), date(2022, 1, 5)): (105.0, True),  # 55 + 90 − 40
    }


def test_a_return_on_negative_equity_is_none() -> None:
    """A loss over a negative book value would be a fine return; the book value itself stays what it is."""
    year, told = date(2021, 12, 31), date(2022, 3, 1)

    def reports(*values: float) -> pl.DataFrame:
        rows = [{"asset_id": f"{n}", "report_period": year, "announced_on": told, "flag": "0", "value": value} for n, value in enumerate(values)]  # fmt: skip
        return versions(pl.DataFrame(rows))

    found = profitability(reports(10.0, -10.0, -10.0, 10.0), reports(100.0, 100.0, -100.0, 0.0))
    assert found["roe_ttm"].select("asset_id", "value").rows() == [("0", 0.1), ("1", -0.1)]
    assert found["book_equity"]["value"].to_list() == [100.0, 100.0, -100.0, 0.0]
    assert found["net_profit_ttm"]["value"].to_list() == [10.0, -10.0, -10.0, 10.0]


@pytest.mark.parametrize("address", ["http://user:word@host/x", "http://host/x?token=1", "http://host/#x"])
def test_an_address_holds_no_key(address: str) -> None:
    from rotation_pipeline.settings import SettingsError, load_settings

    with pytest.raises(SettingsError, match=r"source\.vendor\.address must hold no user") as caught:
        load_settings(source={"name": "tushare", "vendor": {"address": address}})
    assert address not in str(caught.value)
    chosen = load_settings(source={"name": "tushare", "vendor": {"assets": ["600519.SH"]}})
    assert chosen.cache_path == Path("data/vendors/tushare")
    assert "vendor" not in chosen.shaping()["source"]  # what it delivers is in the source's version


def test_what_the_vendor_says_today_is_kept_beside_and_adopted(stand: Stand, tmp_path: Path) -> None:
    """As `rotation ingest --restated` does: months are asked for once more, the kept units stay until they are adopted."""
    source = source_of(stand, tmp_path / "kept")
    source.prepare(FIRST, LAST)
    kept, version = contents(source.store.folder), source.version
    fresh = source.again()
    assert isinstance(source, AsksAgain)
    assert fresh.store.folder == tmp_path / "kept-again"
    assert fresh.prepare(date(2022, 1, 1), LAST) > 0
    assert contents(source.store.folder) == kept
    unit = "daily_bars/2022-01"
    table, _, name = unit.partition("/")
    corrected = fresh.store.read(table, name).with_columns(pl.col("amount") + 1.0)
    fresh.store.write(table, name, corrected)
    assert source.adopt(fresh, months_between(date(2022, 1, 1), LAST)) == []
    assert source.store.read(table, name).equals(corrected)
    assert source.version != version
    assert not fresh.store.folder.exists()
    changed = {path for path, content in contents(source.store.folder).items() if kept.get(path) != content}
    assert {path for path in changed if not path.endswith(MANIFEST)} >= {f"{unit}.parquet"}
    assert source.prepare(FIRST, LAST) == 0


def test_a_later_answer_adopted_takes_the_place_of_whole_tables_known_earlier(stand: Stand, tmp_path: Path) -> None:
    """Months read the earliest whole table that knows them: an old one kept would contradict what was taken over."""
    source, middle = source_of(stand, tmp_path / "kept"), date(2021, 12, 1)
    source.prepare(FIRST, middle)
    source.prepare(FIRST, LAST)
    assert source.store.units("listings") == ["upto-2021-12", "upto-2022-02"]
    fresh = source.again()
    fresh.prepare(middle, LAST)
    corrected = fresh.store.read("listings", "upto-2022-02").with_columns(pl.lit("star").alias("board"))
    fresh.store.write("listings", "upto-2022-02", corrected)
    asked = date(2021, 12, 1), date(2021, 12, 31)
    before, said = source.fetch("listings", *asked), fresh.fetch("listings", *asked)
    assert not before.equals(said)
    source.adopt(fresh, months_between(middle, LAST))
    assert source.fetch("listings", *asked).equals(said)
    assert source.store.units("listings") == ["upto-2021-11", "upto-2022-02"], "months before keep what they had"
    assert not (source.store.folder / "listings" / "upto-2021-12.parquet").exists()
    assert source.prepare(FIRST, LAST) == 0


def test_months_before_those_asked_for_again_stay_as_they_are(stand: Stand, tmp_path: Path) -> None:
    """Judging the first month needs the months before it: they are asked for, too, and not taken over."""
    source, february = source_of(stand, tmp_path / "kept"), months_between(LAST, LAST)
    source.prepare(FIRST, LAST)
    kept = contents(source.store.folder)
    fresh = source.again()
    fresh.prepare(date(2022, 1, 1), LAST)
    for unit in ("2022-01", "2022-02"):
        fresh.store.write("daily_bars", unit, fresh.store.read("daily_bars", unit).with_columns(pl.col("amount") + 1.0))
    board = fresh.store.read("listings", "upto-2022-02").with_columns(pl.lit("star").alias("board"))
    fresh.store.write("listings", "upto-2022-02", board)
    january = date(2022, 1, 1), date(2022, 1, 31)
    before = {name: source.fetch(name, *january) for name in ("daily_bars", "listings", "industries")}
    said = fresh.fetch("listings", LAST, LAST)
    assert source.adopt(fresh, february) == ["daily_bars/2022-01"]
    assert {name: source.fetch(name, *january) for name in before}.keys() == before.keys()
    for name, rows in before.items():
        assert source.fetch(name, *january).equals(rows), name
    assert source.fetch("listings", LAST, LAST).equals(said)
    assert set(source.store.units("listings")) == {"upto-2022-01", "upto-2022-02"}
    changed = {path for path, content in contents(source.store.folder).items() if kept.get(path) != content}
    assert changed == {
        "daily_bars/2022-02.parquet", "listings/upto-2022-01.parquet", "listings/upto-2022-02.parquet", MANIFEST,
    }  # fmt: skip
    assert source.prepare(FIRST, LAST) == 0


def test_the_day_of_an_answer_is_that_of_its_beginning(tmp_path: Path) -> None:
    store, monday, friday = VendorStore(tmp_path / "again"), datetime(2024, 1, 8, 9), datetime(2024, 1, 12)
    assert store.asked_at() is None
    assert store.ask(monday) == monday
    assert VendorStore(tmp_path / "again").ask(friday) == monday
    assert store.entries() == {}
    old = VendorStore(tmp_path / "old")
    old.write("listings", "upto-2022-02", pl.DataFrame({"a": [1]}))  # begun before days were written down
    began = old.asked_at()
    assert began is not None
    assert abs(datetime.now(UTC).replace(tzinfo=None) - began) < timedelta(minutes=5)
    assert old.ask(datetime(2000, 1, 1)) == began


# ---------------------------------------------------------------------- other operating systems

UNIX_ONLY = {"fcntl", "termios", "resource", "pwd", "grp", "syslog", "posix"}


def test_nothing_that_one_operating_system_alone_has_is_imported_with_the_package() -> None:
    package = Path(vendor_source.__code__.co_filename).parents[2]
    found: list[str] = []
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.partition(".")[0] in UNIX_ONLY]
    assert (package / "sources" / "locking.py").is_file()
    assert found == []


WITHOUT_FCNTL = """
import errno, sys, types
sys.platform = "win32"
sys.modules["fcntl"] = None
held = set()
def locking(descriptor, mode, count):
    import os
    name = os.readlink(f"/proc/self/fd/{descriptor}")
    if (mode, count) != (2, 1) or name in held:
        raise OSError(errno.EACCES, "Permission denied")
    held.add(name)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
from pathlib import Path
from rotation_pipeline.sources.locking import locked
with locked(Path(sys.argv[1])):
    try:
        with locked(Path(sys.argv[1])):
            print("twice")
    except BlockingIOError as error:
        print("refused", error)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the stand-in finds the file by its descriptor in /proc")
def test_the_folder_is_locked_without_fcntl_as_well(tmp_path: Path) -> None:
    """The branch of Windows, with a stand-in for its lock that knows the file by its name."""
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path / ".lock")], capture_output=True, text=True, check=False
    )
    assert answer.stderr == ""
    assert answer.stdout.startswith("refused")
