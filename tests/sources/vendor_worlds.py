"""Every vendor's stand-in over one small market long enough for ``rotation ingest``, and that command killed and resumed.

Run as a script it does for all vendors what the suite does with fewer kills::

    python tests/sources/vendor_worlds.py FOLDER [VENDOR ...]
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import polars as pl
import pytest
import vendor_akshare_server as akshare_server
import vendor_baostock_server as baostock_server
import vendor_market as market
import vendor_tushare_server as tushare_server

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.market.tables import SOURCE_TABLES

HERE = Path(__file__).parent
STAND_IN = HERE / "tinysoft_stand_in"
START = date(2019, 9, 2)
"""First session: two months of looking back before the 28 asked for."""
CODES = ("600001.SH", "600002.SH", "600100.SH", "600101.SH", "600102.SH")
SPAN = ("--from", "2022-02", "--to", "2022-02", "--set", "sample.history_months=27", "--set", "sample.style_history_months=2")  # fmt: skip
VENDORS = ("tushare", "baostock", "akshare", "tinysoft")


@dataclass
class World:
    """One vendor's stand-in: what the command needs to reach it."""

    vendor: str
    options: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    path: Path | None = None
    """Folder with what the vendor can't serve."""

    def command(self, place: Path) -> list[str]:
        """The arguments of ``rotation`` for an ingestion into ``place``."""
        options = {"pause": 0, "first_wait": 0, "attempts": 1, "members_from": f"{START:%Y-%m}", **self.options}
        pairs = [f"source.vendor.{name}={json.dumps(value)}" for name, value in options.items()]
        beside = () if self.path is None else ("--path", str(self.path))
        sets = [part for pair in pairs for part in ("--set", pair)]
        database = ("--database", str(place / "x.duckdb"))
        return ["ingest", "--source", self.vendor, *beside, *database, *SPAN, *sets]


def client_missing(vendor: str) -> str | None:
    """Why the vendor can't be shown here; None where it can. TinySoft's client is itself a stand-in."""
    absent = vendor != "tinysoft" and importlib.util.find_spec(vendor) is None
    return f"the package {vendor} (extra {vendor}) is not installed" if absent else None


def _beside(folder: Path) -> Path:
    """Membership and industries, for vendors without them."""
    place = akshare_server.members(folder, CODES, START)
    rows = pl.read_parquet(place / "index_members.parquet").select("asset_id", "valid_from", "valid_to")
    named = pl.lit("S").alias("scheme"), pl.lit("i").alias("industry")
    rows.with_columns(*named).write_parquet(place / "industries.parquet")
    return place


@contextmanager
def world(vendor: str, folder: Path) -> Generator[World]:
    """The vendor's stand-in, running; ``folder`` takes what it needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market, "FIRST", START)
        patch.setattr(market, "CODES", CODES)
        if vendor == "tinysoft":
            names = [code for code in market.CODES if code.startswith("6001")]
            keys = {"TINYSOFT_USER": "user0123456789abcdefuser", "TINYSOFT_PASSWORD": market.CANARY}
            found = os.pathsep.join([str(STAND_IN), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
            places = {"PYTHONPATH": found, "TINYSOFT_FIRST": f"{START}"}
            yield World(vendor, {"assets": names}, {**keys, **places})
        elif vendor == "tushare":
            with tushare_server.serving() as stand:
                yield World(vendor, {"address": stand.address}, {"TUSHARE_TOKEN": market.CANARY})
        elif vendor == "baostock":
            with baostock_server.serving() as bao:
                options = {"address": bao.address, "assets": CODES}
                yield World(vendor, options, path=_beside(folder / "beside"))
        else:
            patch.setattr(akshare_server, "BEGINNINGS", dict.fromkeys(CODES, START))
            with akshare_server.serving() as sites:
                index = sites.klines["1.000016"][0][1][1:]
                days = sessions(START, market.LAST)
                sites.klines["1.000016"] = [(day, [f"{day}", *index]) for day in days]
                yield World(vendor, {"address": sites.address}, path=_beside(folder / "beside"))


@dataclass
class Ended:
    """One command: its exit code, what it printed, the seconds its two phases took (None: not reached), and those until
    its first unit was complete."""

    code: int
    stdout: str
    stderr: str
    fetching: float | None
    storing: float | None
    first: float | None


class Starter:
    """A process that has loaded the command and forks one that runs it, in a process group of its own, at every request:
    what is killed is the command from its first line on, without seconds of imports before it."""

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROTATION_")}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "vendor_worlds.py"), "--starter"], env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ingest(self, world: World, place: Path, kill: tuple[str, float] | None = None) -> Ended:
        """``rotation ingest`` into ``place``. ``kill``: a phase (``fetching``; ``units``: from the first one this command
        completes; ``storing``: from the start, where there is nothing to fetch) and the seconds after its beginning at which
        the whole group gets SIGKILL."""
        place.mkdir(parents=True, exist_ok=True)
        out, err = place / "stdout", place / "stderr"
        for path in (out, err):
            path.write_text("", encoding="utf-8")
        request = {"arguments": world.command(place), "environment": world.environment, "place": str(place)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        group, started = int(self._line()), time.monotonic()
        codes: list[int] = []
        waiting = threading.Thread(target=lambda: codes.append(int(self._line())))
        waiting.start()
        began, held = dict[str, float](), _units(place)
        while waiting.is_alive():
            told = err.read_text(encoding="utf-8", errors="replace")
            if "fetched 0 of " in told:
                began.setdefault("fetching", time.monotonic())
            if ": done\n" in told:
                began.setdefault("storing", time.monotonic())
            if "fetching" in began and "units" not in began and _units(place) > held:
                began["units"] = time.monotonic()
            at = began.get(kill[0], started if kill[0] == "storing" and _complete(place) else None) if kill else None
            if kill and at is not None and time.monotonic() >= at + kill[1]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
                kill = None
            waiting.join(0.01)
        ended = time.monotonic()
        turn = began.get("storing", ended)
        fetching = turn - began["fetching"] if "fetching" in began else None
        storing = ended - turn if "storing" in began else None
        first = began["units"] - began["fetching"] if "units" in began else None
        printed, told = (path.read_text(encoding="utf-8") for path in (out, err))
        return Ended(codes[0], printed, told, fetching, storing, first)


def _complete(place: Path) -> bool:
    """Whether everything was fetched already: the undisturbed run lies beside."""
    return _units(place) == _units(place.with_name("whole"))


def _units(place: Path) -> int:
    manifest = next((place / "vendors").rglob("manifest.json"), None)
    return 0 if manifest is None else len(json.loads(manifest.read_text(encoding="utf-8"))["units"])


def _start() -> None:
    """The starter's own process: a request a line in, the child's process group and exit code out."""
    importlib.import_module("great_expectations")  # loaded once for all children

    from rotation_pipeline.cli import main
    from rotation_pipeline.orchestration import graph, runner

    assert graph.stages()
    assert runner.stages_named(None)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.chdir(request["place"])
            os.environ.update(request["environment"])
            for number, name in ((1, "stdout"), (2, "stderr")):
                opened = os.open(name, os.O_WRONLY | os.O_APPEND)
                os.dup2(opened, number)
            sys.argv = ["rotation", *request["arguments"]]
            main()  # ends the process
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)  # whoever of the two comes first
        os.write(1, f"{child}\n".encode())
        os.write(1, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())


def stored(place: Path) -> dict[str, pl.DataFrame]:
    """Every ``raw`` table of the database, rows in one order, without the hour at which they were fetched."""
    clock, found = "fetched_at", dict[str, pl.DataFrame]()
    with duckdb.connect(str(place / "x.duckdb"), read_only=True) as database:
        listed = database.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'raw'")
        for (name,) in listed.fetchall():
            cursor = database.execute(f'SELECT * FROM raw."{name}"')
            columns = [str(column[0]) for column in cursor.description or ()]
            rows = pl.DataFrame(cursor.fetchall(), schema=columns, orient="row", infer_schema_length=None)
            assert name != "ingestions" or clock in columns
            found[name] = rows.drop(clock, strict=False).sort(pl.all())
    assert {table.name for table in SOURCE_TABLES} < found.keys()
    return found


def cached(place: Path) -> dict[str, bytes]:
    """Every file of what the vendor delivered, by name, without the lock."""
    folder = place / "vendors"
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@dataclass
class Shown:
    """An undisturbed command beside one that was killed and resumed."""

    whole: Ended
    last: Ended
    killed: list[tuple[str, float, int]]
    """Phase, seconds into it, and units complete in the cache after the kill."""
    tables: int
    rows: int
    files: int


def killed_and_resumed(starter: Starter, world: World, folder: Path, kills: tuple[int, int], seed: int) -> Shown:
    """``kills``: how many while the vendor delivers, and how many while the rows are judged and stored.

    Moments are random in time. A command that ends before its moment comes was not killed: another is drawn. Raises
    AssertionError where a table or a file differs from the undisturbed run's.
    """
    moments, place, done = random.Random(seed), folder / "killed", list[tuple[str, float, int]]()
    whole = starter.ingest(world, folder / "whole")
    assert whole.code == 0, whole.stderr
    assert whole.fetching is not None
    assert whole.storing is not None
    assert whole.first is not None
    rest = (whole.fetching - whole.first) / max(kills[0], 1)
    spans = {"fetching": whole.first + rest, "units": rest, "storing": whole.storing / 2}
    fetching = ["units" if number % 2 == 0 else "fetching" for number in range(kills[0])]
    for wanted in [*fetching, *["storing"] * kills[1]]:
        ended, phase, moment, tries = None, wanted, 0.0, 0
        while ended is None or ended.code == 0:
            tries += 1
            phase = "storing" if _complete(place) else wanted
            moment = moments.uniform(0.0, spans[phase] / tries)
            ended = starter.ingest(world, place, (phase, moment))
        assert ended.code == -signal.SIGKILL, (phase, moment, ended.stderr)
        done.append((phase, moment, _units(place)))
    last = starter.ingest(world, place)
    assert last.code == 0, last.stderr
    expected, found = stored(folder / "whole"), stored(place)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert rows.equals(found[name]), name
    files, again = cached(folder / "whole"), cached(place)
    assert again.keys() == files.keys()
    assert [name for name, content in files.items() if again[name] != content] == []
    return Shown(whole, last, done, len(expected), sum(rows.height for rows in expected.values()), len(files))


def _show(folder: Path, vendors: Sequence[str]) -> None:
    for vendor in vendors:
        with Starter() as starter, world(vendor, folder / vendor) as running:
            shown = killed_and_resumed(starter, running, folder / vendor, (7, 3), seed=5)
        told = ", ".join(f"{phase} {moment:.2f} s ({units} units)" for phase, moment, units in shown.killed)
        sys.stdout.write(
            f"{vendor}: killed {len(shown.killed)} times at {told}; resumed: {shown.tables} raw tables ({shown.rows} rows) and "
            f"{shown.files} cache files equal, byte for byte\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--starter":
        _start()
    else:
        _show(Path(sys.argv[1]), sys.argv[2:] or VENDORS)
