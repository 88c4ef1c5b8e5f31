"""Files that are not what they should be, and a very large one: an error that names it, or the same rows in little memory."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from sources_market import FIRST, LAST, tables, write

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.price_folder import write_price_folder

FEB = (date(2022, 2, 1), date(2022, 2, 28))
STATUS = Path("/proc/self/status")


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return tables()


def prices(path: Path) -> None:
    """What ``rotation init-files`` does with a CSV of prices."""
    made = path.parent / "made"
    write_price_folder(path, made, None, "999999.SH", adjusted=False, lots=False, thousands=False)


def test_a_page_of_html_is_no_table(tmp_path: Path) -> None:
    page = "<!DOCTYPE html>\n<html><body>\n<p>too many requests, come back later</p>\n</body></html>\n"
    (tmp_path / "daily_bars.csv").write_text(page, encoding="utf-8")
    with pytest.raises(SourceError, match=r"daily_bars\.csv.* has no column .*Its columns are <!DOCTYPE html>"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)
    with pytest.raises(SourceError, match=r"prices .*daily_bars\.csv lack asset_id .*<!DOCTYPE html>"):
        prices(tmp_path / "daily_bars.csv")
    (tmp_path / "daily_bars.csv").rename(tmp_path / "daily_bars.parquet")
    with pytest.raises(SourceError, match=r"daily_bars\.parquet.* can't be read; it may be truncated, no Parquet"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)


def test_text_in_another_encoding_is_refused(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    """A name that is read wrong would be another name."""
    write({"listings": frames["listings"].with_columns(pl.lit("贵州茅台").alias("name"))}, tmp_path, ".csv")
    path = tmp_path / "listings.csv"
    assert FilesSource(tmp_path).fetch("listings", FIRST, LAST)["name"].unique().to_list() == ["贵州茅台"]
    path.write_bytes(path.read_text(encoding="utf-8").encode("gb18030"))
    with pytest.raises(SourceError, match=r"listings\.csv.* can't be read; .*another encoding than UTF-8"):
        FilesSource(tmp_path).fetch("listings", FIRST, LAST)
    path = tmp_path / "prices.csv"
    row = "600000.SH,2022-02-28,10,11,9,10,1000,10,银行\n"
    path.write_bytes(f"code,date,open,high,low,close,volume,pre_close,industry\n{row}".encode("gb18030"))
    with pytest.raises(SourceError, match=r"prices\.csv can't be read as CSV: .*utf-?8"):
        prices(path)


def test_numbers_with_commas_are_named_and_not_guessed(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    bars = frames["daily_bars"].head(50).with_columns(pl.lit("1,234,500").alias("volume"))
    write({"daily_bars": bars}, tmp_path, ".csv")
    with pytest.raises(SourceError, match=r"'1,234,500' in column volume can't be read as DOUBLE \(shares\); 50 such"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)
    with pytest.raises(SourceError, match=r"row 2: '1,234,500' in column volume is no volume"):
        prices(tmp_path / "daily_bars.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_order_of_columns_is_of_no_account(frames: dict[str, pl.DataFrame], tmp_path: Path, suffix: str) -> None:
    bars = frames["daily_bars"].drop("month", strict=False)
    straight = FilesSource(write({"daily_bars": bars}, tmp_path / "one", suffix))
    turned = FilesSource(write({"daily_bars": bars.select(bars.columns[::-1])}, tmp_path / "two", suffix))
    rows = straight.fetch("daily_bars", *FEB)
    assert rows.height > 100
    assert turned.fetch("daily_bars", *FEB).equals(rows)


def test_the_twenty_ninth_of_february(tmp_path: Path) -> None:
    """Read where there is one, refused where there is none."""
    text = "asset_id,day,open,high,low,close,prev_close,volume,amount,adj_factor,is_suspended,is_st,board\n"
    row = "600000.SH,{},10,11,9,10,10,1000,10000,1,0,0,main\n"
    path = tmp_path / "daily_bars.csv"
    path.write_text(text + row.format("2024-02-28") + row.format("2024-02-29"), encoding="utf-8")
    found = FilesSource(tmp_path).fetch("daily_bars", date(2024, 2, 1), date(2024, 2, 29))
    assert found["day"].to_list() == [date(2024, 2, 28), date(2024, 2, 29)]
    with pytest.raises(SourceError, match="prices run from 2024-02-28 to 2024-02-29, 0 whole months"):
        prices(path)
    path.write_text(text + row.format("2023-02-28") + row.format("2023-02-29"), encoding="utf-8")
    with pytest.raises(SourceError, match="'2023-02-29' in column day"):
        FilesSource(tmp_path).fetch("daily_bars", date(2023, 2, 1), date(2023, 2, 28))
    with pytest.raises(SourceError, match="row 3: '2023-02-29' in column day is no day"):
        prices(path)


READER = """
import sys, threading, time
from datetime import date
from pathlib import Path
import polars as pl
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.price_folder import write_price_folder

def own():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))

def watch():
    while True:
        peak[0] = max(peak[0], own())
        time.sleep(0.002)

folder, way = Path(sys.argv[1]), sys.argv[2]
said = {"adjusted": False, "lots": False, "thousands": False}
before = own()
peak = [before]
threading.Thread(target=watch, daemon=True).start()
if way == "pieces":
    rows = FilesSource(folder).fetch("daily_bars", date(2015, 2, 1), date(2015, 2, 28))
elif way.isdigit():
    write_price_folder(folder / "daily_bars.csv", folder / way, None, "999999.SH", **said, rows_at_once=int(way))
    rows = pl.scan_parquet(folder / way / "daily_bars.parquet").filter(pl.col("day").is_between(date(2015, 2, 1), date(2015, 2, 28)))
    rows = rows.select("close").collect()
else:
    text = pl.read_csv(folder / "daily_bars.csv", infer_schema=False)
    rows = text.filter(pl.col("day").is_between(pl.lit("2015-02-01"), pl.lit("2015-02-28"))).select(pl.col("close").cast(pl.Float64))
print(peak[0] - before, rows.height, rows["close"].sum())
"""


def large(folder: Path, stocks: int, ways: tuple[str, str]) -> list[int]:
    """Bytes of its own (pages of the file left out) by which a process grows that reads bars of ``stocks`` securities in each way."""
    days = pl.Series("day", sessions(date(2011, 1, 4), date(2018, 12, 28)))
    assets = pl.DataFrame({"asset_id": [f"{600000 + n}.SH" for n in range(stocks)]})
    price = (pl.int_range(pl.len()) % 9973 / 100 + 1).alias("close")
    bars = days.to_frame().join(assets, how="cross").with_columns(price)
    bars = bars.with_columns(
        *(pl.col("close").alias(name) for name in ("open", "high", "low", "prev_close")),
        (pl.col("close") * 1e6).alias("amount"), pl.lit(1e6).alias("volume"), pl.lit(1.0).alias("adj_factor"),
        pl.lit(0).alias("is_suspended"), pl.lit(0).alias("is_st"), pl.lit("main").alias("board"),
    )  # fmt: skip
    bars.write_csv(folder / "daily_bars.csv")
    wanted = bars.filter(pl.col("day").is_between(date(2015, 2, 1), date(2015, 2, 28)))
    grown: list[int] = []
    for way in ways:
        command = [sys.executable, "-c", READER, str(folder), way]
        peak, rows, total = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert (int(rows), float(total)) == (wanted.height, wanted["close"].sum())
        grown.append(int(peak) * 1024)
    return grown


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from /proc")
def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    """90 MB of bars: memory grows by a part of what their text takes."""
    pieces, whole = large(tmp_path, 530, ("pieces", "whole"))
    assert (tmp_path / "daily_bars.csv").stat().st_size > 75e6
    assert pieces < 0.8 * whole  # 0.5 where measured; the allocator has a say


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from /proc")
def test_a_large_file_of_prices_is_made_into_a_folder_some_securities_at_a_time(tmp_path: Path) -> None:
    """``rotation init-files`` on half of that: memory grows by a part of what all securities at once take."""
    pieces, whole = large(tmp_path, 265, ("75000", "1000000"))
    assert pieces < 0.75 * whole  # 0.5 where measured
