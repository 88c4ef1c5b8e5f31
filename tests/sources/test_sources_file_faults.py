"""Files a person sends that are not what they should be: each is read all the same, or refused with file, row and remedy."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from sources_market import FIRST, LAST, tables

from rotation_pipeline.market.tables import DAILY_BARS
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.file_faults import day_format, remedy, strange_header
from rotation_pipeline.sources.files import FilesSource

ZH = ("代码", "日期", "开盘", "最高", "最低", "收盘", "昨收", "成交量", "成交额", "复权因子", "停牌", "是否ST", "板块")
TWO = '[daily_bars]\nfile = "bars/*.csv"\n'


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    return tables()["daily_bars"].sort("day", "asset_id").head(300)


@pytest.fixture(scope="module")
def lines(bars: pl.DataFrame) -> list[str]:
    return bars.write_csv().splitlines()


def joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def folder(place: Path, files: dict[str, str | bytes], mapping: str = "") -> Path:
    for name, content in {**files, **({"mapping.toml": mapping} if mapping else {})}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def ways(place: Path) -> list[FilesSource]:
    """The text looked through, and what is kept of it."""
    return [FilesSource(place), FilesSource(place, cache=place / "cache", large=0, long=1)]


def read(source: FilesSource) -> pl.DataFrame:
    source.prepare(FIRST, LAST)
    return source.fetch("daily_bars", FIRST, LAST)


def refused(place: Path) -> str:
    told: list[str] = []
    for source in ways(place):
        with pytest.raises(SourceError) as caught:
            read(source)
        told.append(str(caught.value))
    assert told[0] == told[1]
    return told[0]


def day(line: str, form: Callable[[date], str]) -> str:
    asset, when, rest = line.split(",", 2)
    return f"{asset},{form(date.fromisoformat(when))},{rest}"


FORMS: dict[str, Callable[[date], str]] = {
    "%Y%m%d": lambda d: f"{d:%Y%m%d}",
    "%Y/%m/%d": lambda d: f"{d.year}/{d.month}/{d.day}",
    "%Y-%m-%d %H:%M:%S": lambda d: f"{d} 00:00:00",
    "%Y年%m月%d日": lambda d: f"{d.year}年{d.month}月{d.day}日",
}


@pytest.mark.parametrize("form", FORMS)
def test_days_written_otherwise_are_told_with_the_line_that_reads_them(
    bars: pl.DataFrame, lines: list[str], tmp_path: Path, form: str
) -> None:
    text = joined([lines[0].replace("day", "date"), *(day(line, FORMS[form]) for line in lines[1:])])
    place = folder(tmp_path, {"daily_bars.csv": text}, '[daily_bars.columns]\nday = "date"\n')
    told = refused(place)
    assert f"{FORMS[form](bars['day'][0])!r} in column day can't be read as DATE" in told
    assert "daily_bars.csv, row 2." in told
    line = f'day = {{ column = "date", format = "{form}" }}'
    assert told.endswith(line)
    (place / "mapping.toml").write_text(f"[daily_bars.columns]\n{line}\n", encoding="utf-8")
    for source in ways(place):
        assert read(source).equals(bars)


def test_whole_number_days_of_a_parquet_file_are_told_with_the_line_that_reads_them(
    bars: pl.DataFrame, tmp_path: Path
) -> None:
    bars.with_columns(pl.col("day").dt.strftime("%Y%m%d").cast(pl.Int64)).write_parquet(tmp_path / "daily_bars.parquet")
    line = 'day = { column = "day", format = "%Y%m%d" }'
    with pytest.raises(SourceError, match="column 'day' is Int64, which can't be read as DATE") as caught:
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)
    assert line in str(caught.value)
    folder(tmp_path, {}, f"[daily_bars.columns]\n{line}\n")
    assert FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST).equals(bars)


def test_chinese_names_are_told_all_at_once_and_read_by_a_mapping(
    bars: pl.DataFrame, lines: list[str], tmp_path: Path
) -> None:
    """Also by one that an editor wrote with a byte order mark."""
    place = folder(tmp_path, {"daily_bars.csv": joined([",".join(ZH), *lines[1:]])})
    told = refused(place)
    assert "has no column 'asset_id' for asset_id" in told
    assert "nor any for day, open, high, low, close, prev_close, volume" in told
    assert f"Its columns are {', '.join(ZH)}." in told
    named = "\n".join(f'{name} = "{own}"' for name, own in zip(lines[0].split(","), ZH, strict=True))
    for mark in ("", "\ufeff"):
        folder(place, {}, f"{mark}[daily_bars.columns]\n{named}\n")
        assert FilesSource(place).fetch("daily_bars", FIRST, LAST).equals(bars)
    (place / "mapping.toml").write_bytes(f"[daily_bars.columns]\n{named}\n".encode("gb18030"))
    with pytest.raises(SourceError, match=r"mapping\.toml can't be read, which is a TOML file in UTF-8"):
        FilesSource(place)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda lines: joined([",".join(ZH), *lines[1:]]).encode("gb18030"), "Its first line is not UTF-8; write it as UTF-8, for example with: iconv"),
        (lambda lines: joined(lines).encode("utf-16"), "Its first line is not UTF-8"),
        (lambda lines: joined(lines).replace(",", ";"), "Its values are separated by semicolons"),
        (lambda lines: joined(lines).replace(",", "\t"), "Its values are separated by tabs"),
        (lambda _: b"PK\x03\x04\x14\x00" + bytes(range(256)), "It is an Excel workbook or another archive"),
        (lambda _: "<!DOCTYPE html>\n<html>\n", "It is a web page or JSON and no table"),
        (lambda _: '{"code": 500}\n', "It is a web page or JSON and no table"),
        (lambda _: "", "can't be read; .* empty CSV"),
        (lambda lines: joined([*lines[:9], lines[9].replace("0.", "1,234,0.", 1), *lines[10:]]), r"Row 10 of daily_bars\.csv has more values than there are names"),
        (lambda lines: joined([*lines[:9], lines[9].replace("main", "主板"), *lines[10:]]).encode("gb18030"), r"Row 10 of daily_bars\.csv is the first that is not; write it as UTF-8"),
        (lambda lines: joined([*lines[:9], "", *lines[9:]]), r"a row without day, in daily_bars\.csv, row 10; it holds nothing at all"),
        (lambda lines: joined([f"{lines[0]},close", *(f"{line},1" for line in lines[1:])]), "has the column 'close' more than once"),
        (lambda lines: joined(lines) + "\0" * 900, r"'(\\x00){80}…' in column asset_id can't be read"),
        (lambda lines: joined([*lines, "总计" + "," * 12]), r"'总计' in column asset_id .* row 302"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_csv_of_bars_is_named_with_what_it_is(
    lines: list[str], tmp_path: Path, write: Callable[[list[str]], str | bytes], told: str
) -> None:
    said = refused(folder(tmp_path, {"daily_bars.csv": write(lines)}))
    assert re.search(told, said, re.DOTALL), said
    assert "daily_bars.csv" in said


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda lines: joined([",".join(line.split(",")[::-1]) for line in (lines[0], *lines[150:])]), r"b\.csv has them in another order, compared with a\.csv"),
        (lambda lines: joined([lines[0].replace("volume", "vol"), *lines[150:]]), r"b\.csv has vol and lacks volume, compared with a\.csv"),
        (lambda lines: joined(lines[150:]), r"b\.csv has .* and lacks asset_id, day"),
        (lambda _: "<html>\n", r"Look at b\.csv\. It is a web page"),
        (lambda _: "", r"empty CSV\. It is b\.csv"),
        (lambda lines: joined([lines[0], *lines[150:160], lines[160].replace("main", "主板")]).encode("gb18030"), r"Row 12 of b\.csv is the first that is not; write it as UTF-8"),
        (lambda lines: joined([lines[0], *lines[150:160], f"{lines[160]},1"]), r"Row 12 of b\.csv has more values"),
    ],
)  # fmt: skip
def test_of_several_files_the_one_at_fault_is_named(
    lines: list[str], tmp_path: Path, write: Callable[[list[str]], str | bytes], told: str
) -> None:
    place = folder(tmp_path, {"bars/a.csv": joined(lines[:150]), "bars/b.csv": write(lines)}, TWO)
    assert re.search(told, refused(place))


def test_of_several_parquet_files_the_one_at_fault_is_named(bars: pl.DataFrame, tmp_path: Path) -> None:
    place = folder(tmp_path, {"bars/none": ""}, TWO.replace("csv", "parquet"))
    one, two = place / "bars" / "a.parquet", place / "bars" / "b.parquet"
    bars[:150].write_parquet(one)
    bars[150:].select(bars.columns[::-1]).write_parquet(two)
    assert FilesSource(place).fetch("daily_bars", FIRST, LAST).equals(bars)
    for other, told in (
        (bars[150:].rename({"volume": "vol"}), r"b\.parquet has vol \(Float64\) and lacks volume \(Float64\)"),
        (bars[150:].with_columns(pl.col("volume").cast(pl.Int64)), r"b\.parquet has volume \(Int64\) and lacks volume"),
    ):
        other.write_parquet(two)
        with pytest.raises(SourceError, match=told):
            FilesSource(place).fetch("daily_bars", FIRST, LAST)
    two.write_bytes(one.read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"can't be read; .*It is b\.parquet\."):
        FilesSource(place).fetch("daily_bars", FIRST, LAST)


@pytest.mark.parametrize(
    "write",
    [
        lambda lines: "\ufeff" + joined(lines),
        lambda lines: joined(lines).replace("\n", "\r\n"),
        lambda lines: joined([",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]),
        lambda lines: joined([f"{lines[0]},note", *(f'{line},"a, b"' for line in lines[1:])]),
        lambda lines: gzip.compress(joined(lines[:9]).encode()) + gzip.compress(joined(lines[9:]).encode()),
    ],
)
def test_other_ways_to_write_the_same_table_are_read(
    bars: pl.DataFrame, lines: list[str], tmp_path: Path, write: Callable[[list[str]], str | bytes]
) -> None:
    text = write(lines)
    name = "daily_bars.csv.gz" if isinstance(text, bytes) else "daily_bars.csv"
    for source in ways(folder(tmp_path, {name: text})):
        assert read(source).equals(bars)


def test_a_file_that_comes_or_goes_after_a_source_looked_is_no_part_of_it(lines: list[str], tmp_path: Path) -> None:
    """Else rows of one month came of other files than those of another, under one version."""
    place = folder(tmp_path, {"bars/a.csv": joined(lines[:150]), "bars/b.csv": joined([lines[0], *lines[150:]])}, TWO)
    early, version = FilesSource(place), FilesSource(place).version
    assert early.version == version
    rows = early.fetch("daily_bars", FIRST, LAST)
    folder(place, {"bars/c.csv": joined([lines[0], lines[5]])})
    for ask in (lambda: early.fetch("daily_bars", FIRST, LAST), lambda: early.serves("daily_bars")):
        with pytest.raises(SourceError, match=r"the files of table daily_bars changed .*: .*c\.csv came; run again"):
            ask()
    assert FilesSource(place).version != version
    (place / "bars" / "c.csv").unlink()
    assert early.fetch("daily_bars", FIRST, LAST).equals(rows)
    (place / "bars" / "b.csv").unlink()
    with pytest.raises(SourceError, match=r"b\.csv went; run again"):
        early.fetch("daily_bars", FIRST, LAST)
    late = FilesSource(place)
    folder(place, {"dividends.csv": "asset_id,ex_day,announced_on,cash_per_share,shares_per_share\n"})
    with pytest.raises(SourceError, match=r"the files of table dividends changed .*dividends\.csv came"):
        late.serves("dividends")


def test_a_file_that_comes_while_it_is_read_is_noticed(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path, {"bars/a.csv": joined(lines)}, TWO)
    source, collect = FilesSource(place), pl.LazyFrame.collect

    def coming(frame: pl.LazyFrame, *given: object, **named: object) -> object:
        folder(place, {"bars/b.csv": joined(lines[:9])})
        return collect(frame, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(pl.LazyFrame, "collect", coming)
    with pytest.raises(SourceError, match=r"b\.csv came; run again"):
        source.fetch("daily_bars", FIRST, LAST)


def test_the_mapping_a_source_has_read_is_that_of_its_version(lines: list[str], tmp_path: Path) -> None:
    place = folder(tmp_path, {"daily_bars.csv": joined(lines)}, "[daily_bars.columns]\nvolume = { factor = 100 }\n")
    source, version = FilesSource(place), FilesSource(place).version
    folder(place, {}, "[daily_bars.columns]\nvolume = { factor = 1 }\n")
    assert source.version == version != FilesSource(place).version


def test_names_that_look_odd_and_are_none_of_these() -> None:
    for columns in (["<TICKER>", "<CLOSE>"], ["[open]", "[close]"], ["a;b", "c"], ["代码", "日期"]):
        assert strange_header(columns) == ""
    assert [day_format(text) for text in ("2019-1-2", "20190102", "20190230", "2.1.2019")] == [
        "%Y-%m-%d",
        "%Y%m%d",
        None,
        None,
    ]
    flag, number = DAILY_BARS.column("is_st"), DAILY_BARS.column("close")
    assert 'is_st = { column = "ST", true = ["..."]' in remedy(flag, "ST", "是", "[daily_bars.columns]")
    assert "plain numbers such as 1234.5" in remedy(number, "close", "12,5", "[daily_bars.columns]")
