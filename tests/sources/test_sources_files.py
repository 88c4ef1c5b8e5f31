"""The files source: layouts, mapping, spellings, and errors that say what to write."""

from __future__ import annotations

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from sources_market import FIRST, LAST, tables, write

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.sources.base import Source, SourceError
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.ingest import ingest_months

NOW = datetime(2024, 2, 1)
MONTHS = months_between(FIRST, LAST)


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return tables()


@pytest.fixture(scope="module")
def folder(frames: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(frames, tmp_path_factory.mktemp("parquet"))


def mapped(folder: Path, text: str) -> FilesSource:
    (folder / "mapping.toml").write_text(text, encoding="utf-8")
    return FilesSource(folder)


def test_parquet_without_mapping(frames: dict[str, pl.DataFrame], folder: Path) -> None:
    source = FilesSource(folder)
    assert isinstance(source, Source)
    assert source.span() == (date(2021, 11, 1), date(2022, 4, 1))
    assert source.kind == "real"
    assert all(source.serves(table.name) for table in SOURCE_TABLES)
    for table in SOURCE_TABLES:
        got = source.fetch(table.name, FIRST, LAST)
        assert got.sort(got.columns).equals(frames[table.name].select(got.columns).sort(got.columns)), table.name


def test_csv_and_gzip_equal_parquet(frames: dict[str, pl.DataFrame], folder: Path, tmp_path: Path) -> None:
    write(frames, tmp_path, ".csv")
    plain = tmp_path / "daily_bars.csv"
    (tmp_path / "daily_bars.csv.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    left = ingest_months(FilesSource(folder), MONTHS, fetched_at=NOW)
    right = ingest_months(FilesSource(tmp_path), MONTHS, fetched_at=NOW)
    for table in SOURCE_TABLES:
        assert left.tables[table.name].equals(right.tables[table.name]), table.name
    assert left.ingestions["sha256"].equals(right.ingestions["sha256"])


def test_dates_are_filtered_and_intervals_overlap(folder: Path) -> None:
    source = FilesSource(folder)
    days = source.fetch("daily_bars", date(2022, 1, 10), date(2022, 1, 12))["day"]
    assert (days.min(), days.max()) == (date(2022, 1, 10), date(2022, 1, 12))
    left = pl.col("asset_id") == "600001.SH"
    assert source.fetch("index_members", date(2022, 2, 14), date(2022, 2, 14)).filter(left).height == 1
    assert source.fetch("index_members", date(2022, 2, 15), date(2022, 2, 28)).filter(left).is_empty()
    assert source.fetch("daily_bars", date(2019, 1, 1), date(2019, 12, 31)).is_empty()


def test_mapping_of_a_vendor_layout(frames: dict[str, pl.DataFrame], folder: Path, tmp_path: Path) -> None:
    write({name: frame for name, frame in frames.items() if name != "daily_bars"}, tmp_path)
    code = pl.lit("sh.") + pl.col("asset_id").str.slice(0, 6)
    vendor = frames["daily_bars"].select(
        code.alias("code"), pl.col("day").dt.strftime("%Y%m%d").alias("trade_date"), "open", "high", "low", "close",
        pl.col("prev_close").alias("preclose"), (pl.col("volume") / 100).alias("vol"), (pl.col("amount") / 1000).alias("amt"),
        "adj_factor", pl.lit(1).alias("tradestatus"), pl.lit("0").alias("isST"), pl.lit("x").alias("unused"),
    )  # fmt: skip
    (tmp_path / "bars").mkdir()
    vendor.slice(0, 2000).write_parquet(tmp_path / "bars" / "one.parquet")
    vendor.slice(2000).write_parquet(tmp_path / "bars" / "two.parquet")
    source = mapped(
        tmp_path,
        """
[source]
kind = "simulated"
[daily_bars]
file = "bars/*.parquet"
[daily_bars.columns]
asset_id = "code"
day = { column = "trade_date", format = "%Y%m%d" }
prev_close = "preclose"
volume = { column = "vol", factor = 100 }
amount = { column = "amt", factor = 1000 }
is_suspended = { column = "tradestatus", true = ["0"], false = ["1"] }
is_st = "isST"
board = { constant = "main" }
""",
    )
    assert source.kind == "simulated"
    got = ingest_months(source, MONTHS, fetched_at=NOW).tables["daily_bars"]
    want = ingest_months(FilesSource(folder), MONTHS, fetched_at=NOW).tables["daily_bars"]
    assert got.drop("amount").equals(want.drop("amount"))
    assert (got["amount"] / want["amount"] - 1).abs().max() < 1e-15


@pytest.mark.parametrize(
    "text", ["sh.600519", "SH600519", "sh600519", "600519.XSHG", "600519.sh", " 600519.SH ", "600519.SS"]
)
def test_spellings_of_identifiers(frames: dict[str, pl.DataFrame], tmp_path: Path, text: str) -> None:
    write({"daily_bars": frames["daily_bars"].head(100).with_columns(pl.lit(text).alias("asset_id"))}, tmp_path)
    assert set(FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)["asset_id"]) == {"600519.SH"}


@pytest.mark.parametrize("text", ["600519", "600519.HK", "6005190.SH", "贵州茅台"])
def test_ambiguous_identifiers_are_refused(frames: dict[str, pl.DataFrame], tmp_path: Path, text: str) -> None:
    write({"daily_bars": frames["daily_bars"].head(100).with_columns(pl.lit(text).alias("asset_id"))}, tmp_path)
    with pytest.raises(SourceError, match=f"'{text}' in column asset_id"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)


def test_missing_column_names_the_remedy(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write({"daily_bars": frames["daily_bars"].rename({"volume": "vol"})}, tmp_path)
    with pytest.raises(SourceError) as caught:
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)
    for part in ("daily_bars.parquet", "no column 'volume'", "shares", "vol", "[daily_bars.columns]", 'volume = "..."'):
        assert part in str(caught.value)


def test_column_that_may_be_missing_must_be_declared(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write({"daily_valuation": frames["daily_valuation"].drop("ps_ttm")}, tmp_path)
    with pytest.raises(SourceError, match=r"ps_ttm = \{ missing = true \}"):
        FilesSource(tmp_path).fetch("daily_valuation", FIRST, LAST)
    source = mapped(tmp_path, "[daily_valuation.columns]\nps_ttm = { missing = true }\n")
    got = source.fetch("daily_valuation", FIRST, LAST)
    assert got["ps_ttm"].null_count() == got.height


def test_columns_with_a_stated_default(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write(
        {
            "fundamentals": frames["fundamentals"].drop("announcement_is_deadline"),
            "index_weights": frames["index_weights"].drop("derivation"),
        },
        tmp_path,
    )
    source = FilesSource(tmp_path)
    assert not source.fetch("fundamentals", FIRST, LAST)["announcement_is_deadline"].any()
    assert source.fetch("index_weights", FIRST, LAST)["derivation"].null_count() == 50


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("close", "12,5", "'12,5' in column close"),
        ("day", "04/01/2022", "'04/01/2022' in column day"),
        ("is_st", "maybe", "'maybe' in column is_st"),
    ],
)
def test_first_bad_value_is_named(
    frames: dict[str, pl.DataFrame], tmp_path: Path, column: str, value: str, shown: str
) -> None:
    text = frames["daily_bars"].head(100).with_columns(pl.col(column).cast(pl.String))
    text = text.with_columns(pl.when(pl.int_range(pl.len()) == 50).then(pl.lit(value)).otherwise(column).alias(column))
    write({"daily_bars": text}, tmp_path, ".csv")
    with pytest.raises(SourceError) as caught:
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)
    assert shown in str(caught.value)
    assert "1 such values" in str(caught.value)


def test_empty_text_is_null(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write(
        {"daily_valuation": frames["daily_valuation"].head(3).with_columns(pl.Series("pb", ["", "1.5", "nan"]))},
        tmp_path,
    )
    assert FilesSource(tmp_path).fetch("daily_valuation", FIRST, LAST)["pb"].to_list() == [None, 1.5, None]


def test_wrong_type_is_named(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write({"daily_bars": frames["daily_bars"].with_columns(pl.col("day").dt.year().alias("day"))}, tmp_path)
    with pytest.raises(SourceError, match="column 'day' is Int32, which can't be read as DATE"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)


def test_rows_without_a_date_are_refused(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    gone = pl.when(pl.int_range(pl.len()) != 3).then(pl.col("day"))
    write({"daily_bars": frames["daily_bars"].with_columns(gone.alias("day"))}, tmp_path)
    with pytest.raises(SourceError, match="a row without day"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, FIRST)


def test_truncated_file(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    write({"daily_bars": frames["daily_bars"]}, tmp_path)
    path = tmp_path / "daily_bars.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"daily_bars\.parquet.*can't be read; it may be truncated"):
        FilesSource(tmp_path).fetch("daily_bars", FIRST, LAST)


def test_span_counts_whole_months_only(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    inner = pl.col("day").is_between(date(2021, 11, 2), date(2022, 4, 28))
    write({"trading_days": frames["trading_days"].filter(inner)}, tmp_path)
    assert FilesSource(tmp_path).span() == (date(2021, 12, 1), date(2022, 3, 1))
    write({"trading_days": frames["trading_days"].filter(pl.col("day") == date(2022, 1, 5))}, tmp_path)
    with pytest.raises(SourceError, match="holds no whole month"):
        FilesSource(tmp_path).span()


def test_version_is_the_content(frames: dict[str, pl.DataFrame], folder: Path, tmp_path: Path) -> None:
    write(frames, tmp_path)
    one = FilesSource(tmp_path).version
    assert one == FilesSource(folder).version
    (tmp_path / "notes.txt").write_text("not a table")
    assert FilesSource(tmp_path).version == one
    write({"dividends": frames["dividends"].head(1)}, tmp_path)
    assert FilesSource(tmp_path).version != one
    write(frames, tmp_path)
    assert mapped(tmp_path, '[source]\nkind = "simulated"\n').version != one


def test_folder_and_file_errors(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        FilesSource(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="holds no file of a canonical table"):
        FilesSource(tmp_path)
    write({"daily_bars": frames["daily_bars"]}, tmp_path)
    with pytest.raises(SourceError, match=r"no file for table dividends .*dividends\.parquet"):
        FilesSource(tmp_path).fetch("dividends", FIRST, LAST)
    with pytest.raises(SourceError, match="'bars' is no canonical table"):
        FilesSource(tmp_path).serves("bars")
    write({"daily_bars": frames["daily_bars"]}, tmp_path, ".csv")
    with pytest.raises(SourceError, match="daily_bars has 2 files"):
        FilesSource(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[daily_bars", "can't be read"),
        ("[bars]\n", r"\[bars\] is no canonical table"),
        ("[daily_bars]\ncolumn = 3\n", "may hold columns, file"),
        ('[source]\nkind = "fake"\n', "source.kind = 'fake'"),
        ('[daily_bars]\nfile = "none*.csv"\n', "matches no file"),
        ('[daily_bars.columns]\nvol = "volume"\n', "names 'vol', which is no column"),
        ("[daily_bars.columns]\nvolume = 3\n", "write a column name"),
        ("[daily_bars.columns]\nvolume = { missing = true }\n", "volume may not be missing"),
        ('[daily_bars.columns]\nvolume = { factor = "100" }\n', "factor = '100'"),
        ("[daily_bars.columns]\nboard = { factor = 100 }\n", "factor = 100"),
        ('[daily_bars.columns]\nvolume = { colum = "vol" }\n', "unknown key 'colum'"),
        ('[daily_bars.columns]\nboard = { column = "b", constant = "main" }\n', "give one of"),
        ('[daily_bars.columns]\nvolume = { format = "%Y" }\n', "format is for dates"),
        ("[daily_bars.columns]\nvolume = { true = 1 }\n", "are for flags"),
    ],
)
def test_mapping_errors(frames: dict[str, pl.DataFrame], tmp_path: Path, text: str, message: str) -> None:
    write({"daily_bars": frames["daily_bars"].head(10)}, tmp_path)
    with pytest.raises(SourceError, match=message):
        mapped(tmp_path, text)


def test_mapping_given_apart(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    data = write({"daily_bars": frames["daily_bars"].rename({"volume": "vol"})}, tmp_path / "data")
    other = tmp_path / "other.toml"
    other.write_text('[daily_bars.columns]\nvolume = "vol"\n')
    assert FilesSource(data, other).fetch("daily_bars", FIRST, LAST).height == frames["daily_bars"].height
