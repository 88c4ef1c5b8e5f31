"""A disk that fails while a large CSV is read and its copy written: what could not be written is named, not the CSV."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources.disk import is_full, of_writing

WRITER = """
import resource, sys
from datetime import date
from pathlib import Path
from rotation_pipeline.sources import disk
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.price_folder import write_price_folder

folder, way, sign = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if sign == "unknown":
    disk._FULL = ()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    if way == "files":
        FilesSource(folder, cache=folder / "cache", large=0, long=1).prepare(date(2022, 2, 1), date(2022, 2, 28))
    else:
        write_price_folder(folder / "daily_bars.csv", folder / "mine", None, "999999.SH", adjusted=False, lots=False, thousands=False)
except SourceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of what a process may write is set")
@pytest.mark.parametrize("sign", ["full", "unknown"])
@pytest.mark.parametrize("way", ["files", "prices"])
def test_what_cannot_be_written_is_named(tmp_path: Path, way: str, sign: str) -> None:
    """The writer's own error, which names no file, with what it says of a full disk known and not."""
    days = pl.DataFrame({"day": sessions(date(2021, 1, 4), date(2022, 3, 31))})
    assets = pl.DataFrame({"asset_id": [f"{600000 + n}.SH" for n in range(20)]})
    price = (pl.int_range(pl.len()) % 9973 / 7 + 1).alias("close")
    bars = days.join(assets, how="cross").with_columns(price).with_columns(
        *(pl.col("close").alias(name) for name in ("open", "high", "low", "prev_close", "volume", "amount", "adj_factor")),
        *(pl.lit(0).alias(name) for name in ("is_suspended", "is_st")), pl.lit("main").alias("board"),
    )  # fmt: skip
    bars.write_csv(tmp_path / "daily_bars.csv")
    command = [sys.executable, "-c", WRITER, str(tmp_path), way, sign]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    place = tmp_path / "cache" / "large-csv" if way == "files" else tmp_path
    if sign == "full":
        assert f"no space left in {place}, where" in said, said
        assert "GB are free" in said
    else:
        assert "can't be read" not in said, said
        assert f"{place}, w" in said
        assert "can't be written" in said
        assert "arge" in said.partition("can't be written")[2]  # the system's own words
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {
        "daily_bars.csv",
        *(("cache", "cache/large-csv", "cache/large-csv/.lock") if way == "files" else ()),
    }


def test_which_errors_are_of_writing() -> None:
    """The first is what polars says of a disk that fails while it writes, the second where it fails while it reads."""
    place = Path("/data/.making")
    nameless = pl.exceptions.ComputeError("parquet: File out of specification: underlying IO error: Input/output error (os error 5)")  # fmt: skip
    assert of_writing(nameless, place)
    assert not of_writing(OSError("Input/output error (os error 5)"), place)
    assert of_writing(OSError(5, "Input/output error", "/data/.making/year=2021/0.parquet"), place)
    assert not of_writing(OSError(5, "Input/output error", "/data/daily_bars.csv"), place)
    assert of_writing(OSError("No space left on device (os error 28)"), place)
    assert [is_full(OSError(text)) for text in ("Disk quota exceeded", "Input/output error")] == [True, False]
