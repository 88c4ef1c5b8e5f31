"""Large CSV files kept as Parquet: the rows of the text, parsed once, of the years asked for; never a half or an old one."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sources_market import FIRST, LAST, tables, write

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.tables import DATED_BY, SOURCE_TABLES
from rotation_pipeline.orchestration import runner
from rotation_pipeline.orchestration.reconcile import side
from rotation_pipeline.orchestration.restatement import asked_again
from rotation_pipeline.settings import load_settings
from rotation_pipeline.sources.base import Downloads, SourceError
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.ingest import ingest_months
from rotation_pipeline.sources.large_csv import Stage, Stages
from rotation_pipeline.sources.locking import locked

NOW = datetime(2024, 2, 1)
MONTHS = months_between(FIRST, LAST)
FEB = (date(2022, 2, 1), date(2022, 2, 28))


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    """Some rows of December and February are there twice, which no rule lets in."""
    found = tables()
    bars = found["daily_bars"]
    twice = bars.filter(pl.col("day").is_in([date(2021, 12, 30), date(2022, 2, 15)]) & pl.col("asset_id").str.starts_with("600003"))  # fmt: skip
    return {**found, "daily_bars": pl.concat([bars, twice.with_columns(pl.col("volume") * 2)])}


@pytest.fixture
def folder(frames: dict[str, pl.DataFrame], tmp_path: Path) -> Path:
    return write(frames, tmp_path / "mine", ".csv")


def kept(folder: Path, cache: Path, *, large: int = 10_000) -> FilesSource:
    """The source after a range that is long enough was asked for."""
    source = FilesSource(folder, cache=cache, large=large, long=len(MONTHS))
    source.prepare(FIRST, LAST)
    return source


def staged(place: Path) -> list[str]:
    """Tables of the stages in a cache."""
    return sorted(path.name.rpartition("-")[0] for path in place.glob("large-csv/*-*"))


@pytest.mark.parametrize(("order", "suffix"), [("asset_id", ".csv.gz"), ("day", ".csv"), ("shuffled", ".csv")])
def test_the_same_rows_by_every_way(frames: dict[str, pl.DataFrame], tmp_path: Path, suffix: str, order: str) -> None:
    bars = frames["daily_bars"]
    if order == "shuffled":
        bars = bars.sample(fraction=1.0, shuffle=True, seed=1)
    else:
        bars = bars.sort(order, maintain_order=True)
    mine = {**frames, "daily_bars": bars}
    csv, parquet = write(mine, tmp_path / "csv", ".csv"), write(mine, tmp_path / "parquet")
    if suffix == ".csv.gz":
        for path in list(csv.iterdir()):
            path.with_suffix(suffix).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
    ways = {
        "parquet": FilesSource(parquet),
        "looked through": FilesSource(csv),
        "kept": kept(csv, tmp_path / "cache", large=0),
    }
    assert staged(tmp_path / "cache") == sorted(name for name in DATED_BY if name in frames)
    for first, last in (FEB, (date(2021, 12, 20), date(2022, 1, 10)), (FIRST, LAST), (date.min, date.max)):
        for table in SOURCE_TABLES:
            found = [source.fetch(table.name, first, last) for source in ways.values()]
            assert found[2].schema == found[0].schema, table.name
            for other in found[1:]:
                assert other.sort(other.columns).equals(found[0].sort(found[0].columns)), table.name
            dated = DATED_BY.get(table.name)
            if dated is not None:  # within a year, as they stand in the file
                by_year = pl.col(dated).dt.year()
                assert found[2].equals(found[1].sort(by_year, maintain_order=True)), table.name
    made = [ingest_months(source, MONTHS, fetched_at=NOW) for source in ways.values()]
    alone = [ingest_months(ways["kept"], [month], fetched_at=NOW) for month in MONTHS[1:3]]
    assert made[0].quarantine["month"].to_list() == [date(2021, 12, 1), date(2022, 2, 1)]
    for other in made[1:]:
        assert other.quarantine.drop("ingestion", "source").equals(made[0].quarantine.drop("ingestion", "source"))
        assert other.ingestions["sha256"].equals(made[0].ingestions["sha256"])
        assert all(other.tables[table.name].equals(made[0].tables[table.name]) for table in SOURCE_TABLES)
    some = made[0].tables["daily_bars"].filter(pl.col("month").is_in(MONTHS[1:3]))
    assert pl.concat([one.tables["daily_bars"] for one in alone]).equals(some)
    assert ways["kept"].version == ways["looked through"].version


def test_parsed_once_and_read_by_the_year(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, written, read = tmp_path / "cache", list[object](), list[list[Path]]()
    sink, scan = pl.LazyFrame.sink_parquet, pl.scan_parquet

    def sunk(frame: pl.LazyFrame, *given: Any, **named: Any) -> Any:
        written.append(given)
        return sink(frame, *given, **named)

    def scanned(files: list[Path], **named: Any) -> pl.LazyFrame:
        read.append(files)
        return scan(files, **named)

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", sunk)
    monkeypatch.setattr(pl, "scan_parquet", scanned)
    for _ in range(2):  # a later run finds what an earlier one kept
        source = kept(folder, cache)
        for first, last in ((date(2021, 11, 1), date(2021, 12, 31)), FEB, (date(2021, 12, 20), FEB[1])):
            assert source.fetch("daily_bars", first, last).height > 0
        assert source.fetch("daily_bars", date(2019, 1, 1), date(2019, 12, 31)).is_empty()
    assert len(written) == len(staged(cache)) == 2  # of valuation the other
    years = [sorted(path.parent.name for path in files) for files in read]
    assert years == [["year=2021"], ["year=2022"], ["year=2021", "year=2022"]] * 2


def test_small_files_intervals_and_parquet_are_left_as_they_are(
    frames: dict[str, pl.DataFrame], folder: Path, tmp_path: Path
) -> None:
    size = (folder / "daily_bars.csv").stat().st_size
    assert size > (folder / "daily_valuation.csv").stat().st_size
    for large, there in ((size + 1, []), (size, ["daily_bars"]), (0, sorted(DATED_BY))):
        cache = tmp_path / f"cache-{large}"
        kept(folder, cache, large=large)
        assert staged(cache) == there
        assert cache.exists() == bool(there)
    assert kept(write(frames, tmp_path / "parquet"), tmp_path / "none", large=0).fetch("daily_bars", *FEB).height > 0
    assert not (tmp_path / "none").exists()


def test_a_short_range_is_looked_for_in_the_text(folder: Path, tmp_path: Path) -> None:
    """And read from what is kept, where a long one was asked for before."""
    cache = tmp_path / "cache"
    source = FilesSource(folder, cache=cache, large=0, long=len(MONTHS))
    assert source.prepare(date(2021, 12, 1), LAST) == 0
    rows = source.fetch("daily_bars", *FEB)
    assert not cache.exists()
    assert source.prepare(FIRST, LAST) == len(DATED_BY)
    with (folder / "daily_bars.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(SourceError, match=r"daily_bars\.csv was changed while it was read"):
        source.fetch("daily_bars", *FEB)
    write({"daily_bars": tables()["daily_bars"]}, folder, ".csv")
    assert FilesSource(folder, cache=cache, large=0).fetch("daily_bars", *FEB).height < rows.height


def test_preparing_tells_and_is_done_once(folder: Path, tmp_path: Path) -> None:
    """As `rotation ingest` does before it opens the database, in the folder beside that."""
    settings = load_settings(database=tmp_path / "a" / "x.duckdb", source={"name": "files", "path": folder})
    told: list[tuple[int, int, str]] = []
    size = (folder / "daily_bars.csv").stat().st_size
    source = FilesSource(folder, cache=settings.cache_path, large=size, long=len(MONTHS))
    assert isinstance(source, Downloads)
    with pytest.raises(
        SourceError, match=r"serves 2021-11 to 2022-04 completely; asked for 2022-05, 2022-06 \(2 months outside\)"
    ):
        runner.prepare(settings, source, [*MONTHS, date(2022, 5, 1), date(2022, 6, 1)], lambda *said: told.append(said))
    assert (told, staged(tmp_path / "a" / "vendors" / "files")) == ([], [])
    runner.prepare(settings, source, MONTHS, lambda *said: told.append(said))
    assert told == [(0, 1, "daily_bars: 0.0 GB of CSV, parsed once and kept as Parquet"), (1, 1, "done")]
    assert staged(tmp_path / "a" / "vendors" / "files") == ["daily_bars"]
    assert source.prepare(FIRST, LAST) == 0
    assert FilesSource(folder, large=0, long=1).prepare(FIRST, LAST) == 0


def test_commands_keep_large_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = FilesSource.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "large", 10_000)
    monkeypatch.setitem(defaults, "long", len(MONTHS))
    asking = (runner.download, runner.prepare, lambda *given: asked_again(*given, now=NOW))
    for number, ask in enumerate(asking):
        database = tmp_path / str(number) / "x.duckdb"
        settings = load_settings(database=database, source={"name": "files", "path": folder})
        ask(settings, runner.make_source(settings), MONTHS)
        assert "daily_bars" in staged(tmp_path / str(number) / "vendors" / "files")
    settings = load_settings(database=tmp_path / "reconciled" / "x.duckdb")
    with side(str(folder), settings) as one:
        one.prepare(MONTHS[0], MONTHS[-1], lambda _done, _total, _next: None)
        assert one.frames(FEB[0], FEB[0])["daily_bars"].height > 0
    assert "daily_bars" in staged(tmp_path / "reconciled" / "vendors" / "files")


def test_a_changed_file_is_another_one_whatever_its_clock_says(folder: Path, tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", folder / "daily_bars.csv"
    source = kept(folder, cache)
    before = source.fetch("daily_bars", *FEB)
    old, state, text = staged_names(cache), path.stat(), path.read_text(encoding="utf-8")
    path.write_text(text.replace(",main\n", ",star\n"), encoding="utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # size and clock as before
    after = kept(folder, cache).fetch("daily_bars", *FEB)
    assert after.drop("board").equals(before.drop("board"))
    assert set(after["board"]) == {"star"}
    assert len(staged_names(cache)) == 1
    assert staged_names(cache) != old
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"daily_bars\.csv was changed while it was read; run again"):
        source.fetch("daily_bars", *FEB)


def staged_names(place: Path) -> set[str]:
    return {path.name for path in place.glob("large-csv/daily_bars-*")}


def test_what_is_kept_does_not_grow(frames: dict[str, pl.DataFrame], folder: Path, tmp_path: Path) -> None:
    """One stage a table and file: not of files that are gone, of earlier content, or read by another mapping."""
    cache = tmp_path / "cache"
    users = cache / "large-csv" / "daily_bars-of-mine"
    users.mkdir(parents=True)
    (users / "note.csv").write_text("mine")
    gone = write(frames, tmp_path / "gone", ".csv")
    (gone / "daily_bars.csv").write_text(
        (gone / "daily_bars.csv").read_text() + "600051.SH,2022-02-15,1,1,1,1,1,1,1,1,1,1,main\n"
    )
    for place in (gone, folder):
        assert kept(place, cache).fetch("daily_bars", *FEB).height > 0
    assert len(staged_names(cache)) == 3  # of two folders, and the user's own
    (gone / "daily_bars.csv").unlink()
    (folder / "mapping.toml").write_text("[daily_bars.columns]\nvolume = { factor = 100 }\n")
    lots = kept(folder, cache).fetch("daily_bars", *FEB)
    (folder / "mapping.toml").unlink()
    shares = FilesSource(folder).fetch("daily_bars", *FEB)
    assert lots["volume"].equals(shares["volume"] * 100)
    assert len(staged_names(cache)) == 2
    assert (users / "note.csv").read_text() == "mine"


def test_nothing_half_written_is_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    whole = FilesSource(folder).fetch("daily_bars", FIRST, LAST)
    sink = pl.LazyFrame.sink_parquet

    def killed(frame: pl.LazyFrame, *given: Any, **named: Any) -> None:
        sink(frame.head(100), *given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pl.LazyFrame, "sink_parquet", killed)
        patched.setattr("rotation_pipeline.sources.large_csv.shutil.rmtree", lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(KeyboardInterrupt):
            kept(folder, cache)
    assert list(cache.glob("large-csv/.making/**/*.parquet"))
    assert FilesSource(folder, cache=cache, large=10_000).fetch("daily_bars", FIRST, LAST).height == whole.height
    source = kept(folder, cache)
    assert source.fetch("daily_bars", FIRST, LAST).sort("asset_id", "day", "volume").equals(whole.sort("asset_id", "day", "volume"))  # fmt: skip
    assert not (cache / "large-csv" / ".making").exists()
    (place,) = cache.glob("large-csv/daily_bars-*")
    for harm in ("truncated", "lost", "no manifest", "broken manifest", "nothing in it", "emptied"):
        file = next(place.glob("year=2021/*.parquet"))
        if harm == "truncated":
            file.write_bytes(file.read_bytes()[:-100])
        elif harm == "lost":
            file.unlink()
        elif harm == "no manifest":
            (place / "manifest.json").unlink()
        elif harm == "emptied":
            for year in place.glob("year=*"):
                shutil.rmtree(year)
            (place / "manifest.json").write_text("{")
        elif harm == "nothing in it":
            shutil.rmtree(place)
            place.mkdir()
        else:
            (place / "manifest.json").write_text(json.dumps({"files": 3}))
        again = kept(folder, cache).fetch("daily_bars", FIRST, LAST)
        assert again.height == whole.height, harm
        assert [path.name for path in cache.glob("large-csv/daily_bars-*")] == [place.name], harm


@pytest.mark.parametrize("years", ["year=2021", "year=*"])
def test_a_stage_that_goes_while_it_is_read_is_no_shorter_table(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: str
) -> None:
    """Readers hold no lock: another process may delete what this one has just found."""
    source, find = kept(folder, tmp_path / "cache"), Stages.find

    def found(stages: Stages, *given: Any) -> Stage | None:
        stage = find(stages, *given)
        assert stage is not None
        for year in list(stage.place.glob(years)):
            shutil.rmtree(year)
        return stage

    monkeypatch.setattr(Stages, "find", found)
    with pytest.raises(
        SourceError, match=r"large-csv/daily_bars-\w+, where .* is kept as Parquet, can't be read"
    ) as said:
        source.fetch("daily_bars", FIRST, LAST)
    assert str(folder) not in str(said.value)


def test_a_stage_is_never_there_in_part(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, whole = tmp_path / "cache", FilesSource(folder).fetch("daily_bars", FIRST, LAST)
    kept(folder, cache)
    (old,) = staged_names(cache)
    next(cache.glob(f"large-csv/{old}/year=2021/*.parquet")).unlink()
    removed: list[str] = []
    remove = shutil.rmtree

    def removing(path: Path, *given: Any, **named: Any) -> None:
        if list(path.glob("manifest.json")):
            removed.append(path.name)
        remove(path, *given, **named)

    monkeypatch.setattr("rotation_pipeline.sources.large_csv.shutil.rmtree", removing)
    assert kept(folder, cache).fetch("daily_bars", FIRST, LAST).height == whole.height
    (folder / "daily_bars.csv").write_text("\n".join((folder / "daily_bars.csv").read_text().splitlines()[:-1]))
    assert kept(folder, cache).fetch("daily_bars", FIRST, LAST).height == whole.height - 1
    assert staged_names(cache) != {old}
    assert removed == [".making"] * 2  # for another of its name, and for one of another content


def test_another_process_that_writes_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    (cache / "large-csv").mkdir(parents=True)
    with locked(cache / "large-csv" / ".lock"), pytest.raises(SourceError, match=rf"process {os.getpid()} writes into .*large-csv"):  # fmt: skip
        kept(folder, cache)
    rows = kept(folder, cache).fetch("daily_bars", *FEB)
    with monkeypatch.context() as patched:  # another one makes it after this one looked for it
        patched.setattr(Stages, "find", lambda *_: None)
        patched.setattr(pl.LazyFrame, "sink_parquet", None)
        kept(folder, cache)
    with locked(cache / "large-csv" / ".lock"):  # what is there is read all the same
        assert kept(folder, cache).fetch("daily_bars", *FEB).equals(rows)


FULL = """
import resource, sys
from datetime import date
from pathlib import Path
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.files import FilesSource

source = FilesSource(sys.argv[1], cache=Path(sys.argv[2]), large=int(sys.argv[3]), long=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    source.prepare(date(2022, 2, 1), date(2022, 2, 28))
except SourceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of what a process may write is set")
def test_a_full_disk_says_so(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    size = (folder / "daily_bars.csv").stat().st_size
    command = [sys.executable, "-c", FULL, str(folder), str(cache), str(size)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "no space left in" in said, said
    for part in (str(cache), "table daily_bars", "GB are free", "source.cache"):
        assert part in said
    assert [path.name for path in cache.glob("large-csv/*")] == [".lock"]


def test_a_folder_that_cannot_be_written_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(SourceError, match=r"cache/large-csv, which can't be written .*; set source\.cache to a folder"):
        kept(folder, tmp_path / "cache")


@pytest.mark.parametrize("failing", ["mkdir", "sink", "fsync", "rename"])
def test_an_error_of_writing_does_not_blame_the_csv(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    cache, sink = tmp_path / "cache", pl.LazyFrame.sink_parquet

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    def in_the_way(frame: pl.LazyFrame, *given: Any, **named: Any) -> None:
        (cache / "large-csv" / ".making" / "year=2021").write_text("a file")
        sink(frame, *given, **named)

    (cache / "large-csv").mkdir(parents=True)
    with monkeypatch.context() as patched:
        if failing == "sink":
            patched.setattr(pl.LazyFrame, "sink_parquet", in_the_way)
        elif failing == "fsync":
            patched.setattr("rotation_pipeline.sources.large_csv.os.fsync", refused)
        else:
            made = getattr(Path, failing)
            patched.setattr(Path, failing, lambda path, *given, **named: (refused if path.name == ".making" else made)(path, *given, **named))  # fmt: skip
        with pytest.raises(SourceError, match=r"large-csv, which can't be written .*; set source\.cache") as said:
            kept(folder, cache)
    assert "daily_bars.csv" not in str(said.value)
    assert [path.name for path in cache.glob("large-csv/*")] == [".lock"]
    assert kept(folder, cache).fetch("daily_bars", *FEB).height > 0


def test_an_error_of_reading_while_writing_blames_the_csv(folder: Path, tmp_path: Path) -> None:
    packed = gzip.compress((folder / "daily_bars.csv").read_bytes(), mtime=0)
    (folder / "daily_bars.csv").unlink()
    (folder / "daily_bars.csv.gz").write_bytes(packed[:-2000])
    with pytest.raises(SourceError, match=r"daily_bars\.csv\.gz\) can't be read; it may be truncated"):
        kept(folder, tmp_path / "cache", large=len(packed) - 2000)


def test_a_column_of_another_type_is_read_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a change of a table's definition, by which its text is parsed."""
    cache = tmp_path / "cache"
    assert kept(folder, cache).fetch("daily_bars", *FEB).schema["volume"] == pl.Float64
    other = {
        table.name: replace(table, columns=tuple(replace(c, type="VARCHAR") if c.name == "volume" else c for c in table.columns))
        for table in SOURCE_TABLES
    }  # fmt: skip
    monkeypatch.setattr("rotation_pipeline.sources.files._TABLES", other)
    text = FilesSource(folder).fetch("daily_bars", FIRST, LAST)
    assert text.schema["volume"] == pl.String
    assert text.equals(FilesSource(folder, cache=cache, large=10_000).fetch("daily_bars", FIRST, LAST))
    rows = kept(folder, cache).fetch("daily_bars", FIRST, LAST)
    assert rows.sort(rows.columns).equals(text.sort(text.columns))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_a_file_that_changed_after_its_version_was_taken_are_refused(
    frames: dict[str, pl.DataFrame], tmp_path: Path, suffix: str
) -> None:
    mine = write(frames, tmp_path / "mine", suffix)
    source = FilesSource(mine)
    assert source.version
    rows = source.fetch("daily_bars", *FEB)
    write({"daily_bars": frames["daily_bars"].filter(pl.col("volume") > 0).head(-1)}, mine, suffix)
    with pytest.raises(SourceError, match=rf"daily_bars\{suffix} was changed while it was read; run again"):
        source.fetch("daily_bars", *FEB)
    assert source.fetch("daily_valuation", *FEB).height > 0
    assert FilesSource(mine).fetch("daily_bars", *FEB).height <= rows.height


@pytest.mark.parametrize("large", [0, 10**12])
def test_a_value_that_cannot_be_read_is_named_with_file_and_row(folder: Path, tmp_path: Path, large: int) -> None:
    """Of the months asked for alone; a day that is none belongs to every month."""
    lines = (folder / "daily_bars.csv").read_text(encoding="utf-8").splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("600007.SH,2022-02-15"))
    cells = lines[at].split(",")
    (folder / "bars").mkdir()
    (folder / "mapping.toml").write_text('[daily_bars]\nfile = "bars/*.csv"\n')

    def given(column: int, text: str) -> FilesSource:
        wrong = ",".join(text if n == column else cell for n, cell in enumerate(cells))
        half = at - 100
        (folder / "bars" / "one.csv").write_text("\n".join(lines[:half]) + "\n", encoding="utf-8")
        rest = [lines[0], *lines[half:at], wrong, *lines[at + 1 :]]
        (folder / "bars" / "two.csv").write_text("\n".join(rest) + "\n", encoding="utf-8")
        return kept(folder, tmp_path / "cache", large=large)

    source = given(5, "1'234.5")
    with pytest.raises(
        SourceError, match=r"\"1'234\.5\" in column close can't be read as DOUBLE .*stands in two\.csv, row 102\."
    ):
        source.fetch("daily_bars", *FEB)
    assert source.fetch("daily_bars", date(2022, 3, 1), date(2022, 3, 31)).height > 0
    source = given(1, "15.02.2022")
    with pytest.raises(
        SourceError, match=r"'15\.02\.2022' in column day can't be read as DATE .*stands in two\.csv, row 102\."
    ):
        source.fetch("daily_bars", date(2021, 12, 1), date(2021, 12, 31))
    source = given(1, "")
    with pytest.raises(SourceError, match="has a row without day"):
        source.fetch("daily_bars", date(2021, 12, 1), date(2021, 12, 31))


def test_a_broken_file_is_refused_as_before(folder: Path, tmp_path: Path) -> None:
    path = folder / "daily_bars.csv"
    path.write_bytes(path.read_bytes() + "600007.SH,2022-05-05,1,1,1,1,1,1,1,1,0,0,主板\n".encode("gb18030"))
    with pytest.raises(SourceError, match=r"daily_bars\.csv.* can't be read; .*another encoding than UTF-8"):
        kept(folder, tmp_path / "cache", large=path.stat().st_size)
    assert [path.name for path in (tmp_path / "cache").glob("large-csv/*")] == [".lock"]
    path.write_text(path.read_text(encoding="utf-8", errors="ignore").splitlines()[0] + "\n", encoding="utf-8")
    empty = kept(folder, tmp_path / "cache", large=0).fetch("daily_bars", *FEB)
    assert empty.is_empty()
    assert empty.schema == FilesSource(folder).fetch("daily_bars", *FEB).schema
