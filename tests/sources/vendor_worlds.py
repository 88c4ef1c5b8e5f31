"""Every vendor's stand-in over one small market long enough for ``rotation ingest``, and that command killed and resumed.

Run as a script it does for all vendors what the suite does with fewer kills::

    python tests/sources/vendor_worlds.py FOLDER [VENDOR ...]
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
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

from rotation_pipeline.market.calendar import calendar_end, sessions
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.sources.vendors.caller import awaited

HERE = Path(__file__).parent
STAND_IN = HERE / "tinysoft_stand_in"
START = date(2019, 9, 2)
"""First session: two months of looking back before the 28 asked for."""
CODES = ("600001.SH", "600002.SH", "600100.SH", "600101.SH", "600102.SH")
SPAN = ("--from", "2022-02", "--to", "2022-02", "--set", "sample.history_months=27", "--set", "sample.style_history_months=2")  # fmt: skip
VENDORS = ("tushare", "baostock", "akshare", "tinysoft")
DATABASE = "x.duckdb"
DEADLINE = 120.0
"""Seconds a command may take: several times what the slowest needs. Those in which this process was stopped do not count."""
LOOK = 1.0
"""Seconds between two looks at a command, at most; what is longer was spent stopped."""
TRIES = 5
"""How often a kill is tried that comes too late."""
DELAY = 0.01
"""Seconds after what is waited for within which the kill comes: kills fall between events, too."""


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
        options = {"pause": 0, "first_wait": 0, "attempts": 3, "members_from": f"{START:%Y-%m}", **self.options}
        pairs = [f"source.vendor.{name}={json.dumps(value)}" for name, value in options.items()]
        beside = () if self.path is None else ("--path", str(self.path))
        sets = [part for pair in pairs for part in ("--set", pair)]
        database = ("--database", str(place / DATABASE))
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


@dataclass(frozen=True)
class Moment:
    """When a command is killed: ``delay`` seconds after what it does is seen, so that a fast machine is killed in the same
    places as a slow one."""

    phase: str
    """``fetching``: it has told that it begins and the cache holds ``units``; ``storing``: the database has grown by
    ``written``."""
    units: int = 0
    written: int = 1
    """Bytes; see :class:`Growth`."""
    delay: float = 0.0

    def reached(self, place: Path, told: str, written: int) -> bool:
        """Whether it is seen now."""
        if self.phase == "storing":
            return written >= self.written
        return "fetched 0 of " in told and _units(place) >= self.units


class Growth:
    """Bytes by which the database and its log have grown since this was made. A log that is taken over into the database and
    removed still counts."""

    def __init__(self, place: Path) -> None:
        self._paths = place / DATABASE, place / f"{DATABASE}.wal"
        self._sizes = self._now()
        self.total = 0

    def _now(self) -> list[int]:
        sizes = [0, 0]
        for number, path in enumerate(self._paths):
            with contextlib.suppress(FileNotFoundError):
                sizes[number] = path.stat().st_size
        return sizes

    def look(self) -> int:
        """The bytes up to now."""
        sizes = self._now()
        self.total += sum(max(0, new - old) for new, old in zip(sizes, self._sizes, strict=True))
        self._sizes = sizes
        return self.total


@dataclass
class Ended:
    """One command: its exit code, what it printed, and by how many bytes its database grew (see :class:`Growth`)."""

    code: int
    stdout: str
    stderr: str
    written: int


class Starter:
    """A process that has loaded the command and forks one that runs it, in a process group of its own, at every request:
    what is killed is the command from its first line on, without seconds of imports before it."""

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROTATION_")}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "vendor_worlds.py"), "--starter"], env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(DEADLINE if error is None else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")  # it ended

    def _number(self, seconds: float) -> int:
        """The next number it says. Raises queue.Empty if it says none in time, AssertionError if it ended."""
        line = awaited(self._lines, seconds)
        if not line:
            self._lines.put("")
            raise AssertionError("the process that starts the commands has ended")
        return int(line)

    def ingest(self, world: World, place: Path, kill: Moment | None = None, deadline: float = DEADLINE) -> Ended:
        """``rotation ingest`` into ``place``; at ``kill`` the whole group gets SIGKILL.

        Raises TimeoutError with what it printed if it takes longer than ``deadline`` seconds; it is killed then.
        """
        place.mkdir(parents=True, exist_ok=True)
        out, err = place / "stdout", place / "stderr"
        for path in (out, err):
            path.write_text("", encoding="utf-8")
        request = {"arguments": world.command(place), "environment": world.environment, "place": str(place)}
        assert self._process.stdin is not None
        growth = Growth(place)
        self._process.stdin.write(json.dumps(request) + "\n")
        group, now, spent = self._number(DEADLINE), time.monotonic(), 0.0
        code, at, pause = None, None, 0.05 if kill is None else 0.005
        try:
            while code is None:
                before, now, written = now, time.monotonic(), growth.look()
                spent += min(now - before, LOOK)
                if spent >= deadline:
                    told = err.read_text(encoding="utf-8", errors="replace")
                    raise TimeoutError(
                        f"{world.vendor}: the command did not end within {deadline:g} s; it said:\n{told}"
                    )
                if kill and at is None and kill.reached(place, err.read_text("utf-8", "replace"), written):
                    at = now + kill.delay
                if at is not None and now >= at:
                    _kill(group)
                    kill, at = None, None
                with contextlib.suppress(queue.Empty):
                    code = self._number(pause)
        except BaseException:
            _kill(group)
            with contextlib.suppress(queue.Empty, AssertionError):
                self._number(10.0)  # its exit code, so that the next command's is not mistaken for it
            raise
        printed, told = (path.read_text(encoding="utf-8") for path in (out, err))
        return Ended(code, printed, told, growth.look())


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _units(place: Path) -> int:
    manifest = next((place / "vendors").glob("*/manifest.json"), None)
    return 0 if manifest is None else len(json.loads(manifest.read_text(encoding="utf-8"))["units"])


def _start() -> None:
    """The starter's own process: a request a line in, the child's process group and exit code out."""
    importlib.import_module("great_expectations")  # loaded once for all children, as the calendar is
    assert calendar_end() > market.LAST

    from rotation_pipeline.cli import main
    from rotation_pipeline.orchestration import graph, runner

    assert graph.stages()
    assert runner.stages_named(None)
    gc.freeze()  # what all children share is not looked through, and so not copied, in each
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
    with duckdb.connect(str(place / DATABASE), read_only=True) as database:
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


@dataclass(frozen=True)
class Killed:
    """A command that was killed, as it left its folder."""

    phase: str
    """``fetching`` if it had begun to and units lack; ``storing`` if none lack and the database is there; or ``neither``."""
    moment: Moment
    units: int
    """Complete in the cache."""
    database: bool
    """Whether the database file is there."""
    written: int
    """Bytes by which this command made the database grow (see :class:`Growth`)."""

    def __str__(self) -> str:
        database = f"the database there and grown by {self.written} bytes" if self.database else "no database"
        return f"{self.phase} with {self.units} units and {database}"


@dataclass
class Shown:
    """An undisturbed command beside one that was killed and resumed."""

    whole: Ended
    last: Ended
    killed: list[Killed]
    units: int
    """Of a whole download."""
    tables: int
    rows: int
    files: int


def _killed(starter: Starter, world: World, place: Path, units: int, draw: Callable[[], Moment]) -> Killed:
    """Kill a command into ``place`` at a moment that ``draw`` gives; ``units``: of a whole download.

    A kill that comes too late (the command ended by itself or left the phase) is undone, folder and all, and tried again at
    another moment; raises AssertionError when none of ``TRIES`` comes in time.
    """
    before, said = place.with_name("before"), list[str]()
    for tries in range(1, TRIES + 1):
        shutil.rmtree(before, ignore_errors=True)
        if place.exists():
            shutil.copytree(place, before)
        drawn = draw()
        moment = replace(drawn, delay=drawn.delay / tries)
        ended = starter.ingest(world, place, moment)
        assert ended.code in (0, -signal.SIGKILL), (moment, ended.stderr)
        held, database, phase = _units(place), (place / DATABASE).is_file(), "neither"
        if "fetched 0 of " in ended.stderr and ": done\n" not in ended.stderr and held < units:
            phase = "fetching"
        elif held == units and database:
            phase = "storing"
        found = Killed(phase, moment, held, database, ended.written)
        if ended.code and phase == moment.phase:
            return found
        said.append(f"{moment}: exit code {ended.code}, {found}")
        shutil.rmtree(place)
        if before.exists():
            before.rename(place)
    raise AssertionError(f"{world.vendor}: no kill of {TRIES} came in time:\n" + "\n".join(said))


def killed_and_resumed(starter: Starter, world: World, folder: Path, kills: tuple[int, int], seed: int) -> Shown:
    """``kills``: how many while the vendor delivers, and how many while the rows are judged and stored.

    Of the former every other comes at a random number of units, the first one among them, and the rest right after the
    beginning; of the latter every other at a random byte of what the database writes of the rows, first to its log and then
    to its file, and the rest as soon as there is a database. Raises AssertionError where a table or a file differs from the
    undisturbed run's.
    """
    moments, place, done = random.Random(seed), folder / "killed", list[Killed]()
    whole = starter.ingest(world, folder / "whole")
    assert whole.code == 0, whole.stderr
    units = _units(folder / "whole")

    def fetching(number: int) -> Moment:
        held = _units(place)
        farthest = max(1, (units - 1 - held) // (kills[0] - number + 1))  # all together do not reach the end
        wanted = held + moments.randint(1, farthest) if number % 2 == 0 else 0
        return Moment("fetching", units=wanted, delay=moments.uniform(0.0, DELAY))

    def storing(number: int) -> Moment:
        # a fiftieth is written before the rows are judged, a tenth when they stand in the log: evenly on a log scale
        share = 0.04 * (0.9 / 0.04) ** moments.random()
        wanted = int(share * whole.written) if number % 2 == 0 else 1
        return Moment("storing", written=wanted, delay=moments.uniform(0.0, DELAY))

    for draw, count in ((fetching, kills[0]), (storing, kills[1])):
        for number in range(count):
            done.append(_killed(starter, world, place, units, partial(draw, number)))
    last = starter.ingest(world, place)
    assert last.code == 0, last.stderr
    expected, found = stored(folder / "whole"), stored(place)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert rows.equals(found[name]), name
    files, again = cached(folder / "whole"), cached(place)
    assert again.keys() == files.keys()
    assert [name for name, content in files.items() if again[name] != content] == []
    return Shown(whole, last, done, units, len(expected), sum(rows.height for rows in expected.values()), len(files))


def _show(folder: Path, vendors: Sequence[str]) -> None:
    for vendor in vendors:
        with Starter() as starter, world(vendor, folder / vendor) as running:
            shown = killed_and_resumed(starter, running, folder / vendor, (7, 3), seed=5)
        told = "; ".join(map(str, shown.killed))
        sys.stdout.write(
            f"{vendor}: killed {len(shown.killed)} times: {told}. Resumed: {shown.tables} raw tables ({shown.rows} rows) and "
            f"{shown.files} cache files equal, byte for byte\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--starter":
        _start()
    else:
        _show(Path(sys.argv[1]), sys.argv[2:] or VENDORS)
