"""A CSV of prices as people have it: read whatever it is called and however it is dated, or refused with row, column and remedy."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from rotation_pipeline.market.calendar import sessions
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.price_csv import price_columns, read_index, stage_prices, staged

DAYS = [str(day) for day in sessions(date(2024, 2, 26), date(2024, 3, 5))]  # a leap day among them
HEAD = "code,date,open,high,low,close,volume,pre_close,st,pb"
LINES = [HEAD, *(f"{code},{day},10,11,9,10.5,1000,10,0,1.5" for code in ("600519", "000001") for day in DAYS)]


def joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def read(place: Path, text: str | bytes, name: str = "prices.csv") -> pl.DataFrame:
    """What is kept of a CSV before tables are made of it."""
    path = place / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    stage_prices(path, price_columns(path), place / "prices.parquet")
    return staged(place / "prices.parquet").collect()


def cell(row: int, column: int, text: str) -> str:
    """The file with another text in one place; row 1 is the line of names."""
    cells = LINES[row - 1].split(",")
    cells[column] = text
    return joined([*LINES[: row - 1], ",".join(cells), *LINES[row:]])


def dated(form: Callable[[date], str]) -> str:
    return re.sub(r"\d{4}-\d{2}-\d{2}", lambda found: form(date.fromisoformat(found[0])), joined(LINES))


ZH = "股票代码,日期,开盘,最高,最低,收盘,成交量,前收盘,ST,pb"


@pytest.mark.parametrize(
    "write",
    [
        lambda: joined([ZH, *LINES[1:]]),
        lambda: joined([HEAD.upper().replace(",", ", "), *LINES[1:]]),
        lambda: joined([",".join(line.split(",")[::-1]) for line in LINES]),
        lambda: "\ufeff" + joined(LINES),
        lambda: joined(LINES).replace("\n", "\r\n"),
        lambda: joined(LINES).replace("000001", "1").replace("600519", "sh.600519"),
        lambda: dated(lambda day: f"{day:%Y%m%d}"),
        lambda: dated(lambda day: f"{day.year}/{day.month}/{day.day}"),
        lambda: dated(lambda day: f"{day} 00:00:00"),
        lambda: dated(lambda day: f"{day.year}/{day.month}/{day.day} 0:00"),
        lambda: gzip.compress(joined(LINES).encode(), mtime=0),
        lambda: joined([line.replace(",0,1.5", ",否,1.5") for line in LINES]),
        lambda: joined([line.replace(",0,1.5", ",,1.5") for line in LINES]),
    ],
)
def test_the_same_prices_written_otherwise(tmp_path: Path, write: Callable[[], str | bytes]) -> None:
    plain = read(tmp_path, joined(LINES))
    assert plain["asset_id"].unique(maintain_order=True).to_list() == ["600519.SH", "000001.SZ"]
    assert date(2024, 2, 29) in plain["day"].to_list()
    text = write()
    found = read(tmp_path, text, "prices.csv.gz" if isinstance(text, bytes) else "prices.csv")
    assert found.select(plain.columns).equals(plain)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda: "", r"prices .*prices\.csv can't be read as CSV: empty CSV"),
        (lambda: joined(LINES[:1]), "hold no rows"),
        (lambda: "<!DOCTYPE html>\n<html>\n", "lack asset_id .* It is a web page"),
        (lambda: joined([ZH, *LINES[1:]]).encode("gb18030"), "lack asset_id .* Its first line is not UTF-8; .*iconv -f GB18030"),
        (lambda: joined([f"{line},银行" if n == 4 else f"{line},x" for n, line in enumerate(LINES)]).replace("pb,x", "pb,industry").encode("gb18030"), r"Row 5 of prices\.csv is the first that is not; .*iconv"),
        (lambda: joined(LINES).replace(",", ";"), "Its values are separated by semicolons"),
        (lambda: joined([HEAD.replace("volume", "shares"), *LINES[1:]]), r"lack volume \(called volume, vol, 成交量\)\. Their columns are .*Rename"),
        (lambda: cell(5, 6, '"1,234,500"'), "row 5: '1,234,500' in column volume is no volume; write a plain number"),
        (lambda: cell(5, 6, "1,234,500"), r"Row 5 of prices\.csv has more values than there are names"),
        (lambda: cell(5, 1, "2023-02-29"), "row 5: '2023-02-29' in column date is no day; days are written 2024-01-31, 20240131"),
        (lambda: cell(5, 0, "AAPL"), "row 5: 'AAPL' in column code is no asset_id; a security is written 600519"),
        (lambda: cell(5, 5, "0"), "row 5: '0' in column close is no close; write a number above 0"),
        (lambda: cell(5, 5, "inf"), "row 5: 'inf' in column close is no close"),
        (lambda: cell(5, 9, "1e999"), "row 5: '1e999' in column pb is no pb"),
        (lambda: cell(5, 8, "maybe"), "row 5: 'maybe' in column st is no is_st; it is written 1 or 0"),
        (lambda: joined([*LINES[:4], LINES[4][:24], *LINES[5:]]), "row 5: nothing in column low is no low"),
        (lambda: joined([*LINES, ""]), r"row 16: nothing in column code is no asset_id"),
        (lambda: joined([f"{line},{'Close' if n == 0 else 1}" for n, line in enumerate(LINES)]), r"prices\.csv has 2 columns for close: close, Close; keep one"),
        (lambda: joined([f"{line},{'close' if n == 0 else 1}" for n, line in enumerate(LINES)]), r"prices\.csv has 2 columns for close: close, close; keep one"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, write: Callable[[], str | bytes], told: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, write())
    assert re.search(told, str(caught.value), re.DOTALL), caught.value


def test_a_compressed_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress("".join(f"{line},{n * 7919}\n" for n, line in enumerate(LINES * 50)).encode(), mtime=0)
    with pytest.raises(SourceError, match=r"prices\.csv\.gz can't be read as CSV: unexpected end of file"):
        read(tmp_path, packed[:-200], "prices.csv.gz")


@pytest.mark.parametrize(
    ("code", "asset"),
    [("600519", "600519.SH"), ("900902", "900902.SH"), ("920002", "920002.BJ"), ("830799", "830799.BJ"), ("430047", "430047.BJ"), ("200002", "200002.SZ"), ("301001", "301001.SZ"), ("2", "000002.SZ")],
)  # fmt: skip
def test_bare_numbers_belong_to_the_exchange_that_gives_them(tmp_path: Path, code: str, asset: str) -> None:
    assert set(read(tmp_path, joined([HEAD, LINES[1].replace("600519", code)]))["asset_id"]) == {asset}


@pytest.mark.parametrize(("text", "flag"), [("1", True), ("*ST", True), ("是", True), ("0", False), ("", False), ("nan", False)])  # fmt: skip
def test_special_treatment_as_it_is_written(tmp_path: Path, text: str, flag: bool) -> None:
    assert read(tmp_path, cell(3, 8, text))["is_st"][1] is flag


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("date,close\n2024-01-02,3000\n2024-01-03,x\n", r"index .*i\.csv, row 3: 'x' in column close is no level"),
        ("date,close\n2024-01-02,3000\n,3001\n", "row 3: nothing in column date is no day; days are written"),
        ("date,close\n2024-01-02,3000\n2024-01-02,3001\n", "has 2024-01-02 more than once"),
        ("", "can't be read as CSV: empty CSV"),
        ("date,close,Close\n2024-01-02,1,2\n", "2 columns for close"),
        ("day;close\n", "lacks day, close; its columns are day;close"),
    ],
)
def test_what_is_wrong_with_an_index_is_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "i.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=told):
        read_index(tmp_path / "i.csv")
