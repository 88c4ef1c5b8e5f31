"""A CSV of prices of any size → a folder of canonical tables, with some securities in memory at a time.

The text is parsed once, a piece at a time, into a Parquet file beside the folder; what must be known of all prices (span, units,
sessions) is read from there in streams, and the tables are made of as many securities at once as a fixed number of rows holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import polars as pl

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.disk import is_full, of_writing, remove
from rotation_pipeline.sources.locking import holder, locked
from rotation_pipeline.sources.price_csv import price_columns, refuse_copies, stage_prices, staged
from rotation_pipeline.sources.prices import PriceFolder, PriceTables, check_adjustment, daily_bars, valuation

ROWS_AT_ONCE = 500_000
"""Rows of prices in memory at a time: 200 securities over ten years, about 300 MB with all that is derived of them."""
FEWEST_TOGETHER = 10_000
"""Rows of a part that are held and written together at least: with a tenth of them, writing takes half as long again."""
_WORKING, _LOCK = ".init-files-", ".lock"
_PART, _ROW = "_part_", "_row_"


def write_price_folder(
    path: Path,
    folder: Path,
    index: pl.DataFrame | None,
    index_id: str,
    *,
    adjusted: bool,
    lots: bool,
    thousands: bool,
    fewest: int = 1,
    rows_at_once: int = ROWS_AT_ONCE,
) -> PriceFolder:
    """Write the canonical tables of the CSV ``path`` into ``folder``, one Parquet file each; ``tables`` of the result lacks the
    two large ones. The other arguments and errors are those of :func:`~rotation_pipeline.sources.price_csv.stage_prices`,
    :func:`~rotation_pipeline.sources.prices.check_adjustment` and :class:`~rotation_pipeline.sources.prices.PriceTables`; what the
    first line of the CSV tells is refused before the rest is read, and all else but a second row of one day before a table is made.

    On an error nothing is left: the folder appears when all its files are complete, or they are moved into it, if it is there.
    About the size of the CSV is needed meanwhile, in it or beside it. What a killed call left there is removed by the next.
    """
    found = price_columns(path)
    check_adjustment(found, adjusted=adjusted)
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    try:
        with _working(there, folder) as place:
            stage_prices(path, found, place / "prices.parquet")
            prices = staged(place / "prices.parquet")
            making = PriceTables(
                prices, index, index_id, adjusted=adjusted, lots=lots, thousands=thousands, fewest=fewest
            )
            return _made(making, prices, path, place, folder, rows_at_once)
    except (pl.exceptions.PolarsError, OSError) as error:
        if is_full(error):
            size, free = path.stat().st_size / 1e9, shutil.disk_usage(there).free / 1e9
            raise SourceError(
                f"no space left in {there}, where {folder} is made: about the size of {path} ({size:.1f} GB) is needed, and {free:.1f} GB "
                "are free. Nothing was left there. Free some space, or choose a folder on another disk"
            ) from error
        if isinstance(error, OSError) or of_writing(error, there / _WORKING):
            raise SourceError(
                f"{there}, where {folder} is made, can't be written: {error}. Nothing was left there; choose another folder"
            ) from error
        raise


def is_free(folder: Path) -> bool:
    """Whether nothing is in the way of a folder to write: what a killed call left in it is not."""
    return not folder.exists() or (
        folder.is_dir() and all(inside.name.startswith(_WORKING) for inside in folder.iterdir())
    )


@contextmanager
def _working(there: Path, folder: Path) -> Generator[Path]:
    """A folder for what is made meanwhile, removed in the end; those of calls that were killed go first."""
    for left in sorted(there.glob(f"{_WORKING}*")):
        if not (left / _LOCK).is_file():
            continue
        try:
            with locked(left / _LOCK):
                shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError as error:
            if there == folder.absolute():
                raise SourceError(f"{holder(left / _LOCK)} is making {folder}; run again when it has ended") from error
        except OSError:  # another one's, or gone by now
            continue
    place = Path(mkdtemp(prefix=_WORKING, dir=there))
    try:
        with locked(place / _LOCK):
            yield place
    finally:
        remove(place)


def _made(
    making: PriceTables, prices: pl.LazyFrame, path: Path, place: Path, folder: Path, rows_at_once: int
) -> PriceFolder:
    """Write the tables in ``place``, then move them into ``folder``."""
    parts: dict[str, list[Path]] = {"daily_bars": [], "daily_valuation": []}
    for number, some in enumerate(_some_securities(prices, rows_at_once, place / "parts")):
        refuse_copies(some, str(path))
        bars = making.add(some.sort("asset_id", "day"))
        for table, made in (("daily_bars", daily_bars), ("daily_valuation", valuation)):
            parts[table].append(place / f"{table}-{number}.parquet")
            made(bars).write_parquet(parts[table][-1])
    result = making.result()
    done = place / "done"
    done.mkdir()
    for table, rows in result.tables.items():
        rows.write_parquet(done / f"{table}.parquet")
    for table, files in parts.items():
        pl.scan_parquet(files, glob=False).sink_parquet(done / f"{table}.parquet")
    if folder.is_dir():  # perhaps a volume of its own, which cannot be replaced
        for file in sorted(done.iterdir()):
            file.replace(folder / file.name)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        done.rename(folder)
    return result


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Securities that follow one another in the order of their identifiers."""

    assets: list[str]
    rows: int
    extent: int
    """Rows of the file from the first of theirs to the last."""


def _some_securities(prices: pl.LazyFrame, rows_at_once: int, parts: Path) -> Iterator[pl.DataFrame]:
    """All rows of some securities at a time, in the order of their identifiers.

    Of a file that is sorted by security only the rows asked for are read. One in another order, say by day, is read once more and
    written into ``parts``, a file for each time: else the whole of it would be read each time.
    """
    stretches = _stretches(prices, rows_at_once)
    if sum(stretch.extent for stretch in stretches) <= 2 * sum(stretch.rows for stretch in stretches):
        for stretch in stretches:
            inside = pl.col("asset_id").is_between(pl.lit(stretch.assets[0]), pl.lit(stretch.assets[-1]))
            yield prices.filter(inside).collect(engine="streaming")
        return
    numbers = [
        pl.DataFrame({"asset_id": stretch.assets}).with_columns(pl.lit(n).alias(_PART))
        for n, stretch in enumerate(stretches)
    ]
    by_part = pl.PartitionBy(parts, key=_PART, include_key=False)
    together = max(rows_at_once // len(stretches), FEWEST_TOGETHER)
    numbered = prices.join(pl.concat(numbers).lazy(), on="asset_id", how="left")
    numbered.sink_parquet(by_part, compression="lz4", row_group_size=together)
    for number in range(len(stretches)):
        part = parts / f"{_PART}={number}"
        yield pl.read_parquet(sorted(part.glob("*.parquet")), glob=False, hive_partitioning=False)
        shutil.rmtree(part)


def _stretches(prices: pl.LazyFrame, rows: int) -> list[_Stretch]:
    """The securities in stretches of at most ``rows`` rows: one security at least."""
    at = pl.col(_ROW)
    found = (
        prices.select("asset_id").with_row_index(_ROW).group_by("asset_id")
        .agg(pl.len(), at.min().alias("first"), at.max().alias("last")).sort("asset_id").collect(engine="streaming")
    )  # fmt: skip
    stretches: list[_Stretch] = []
    assets, held, low, high = list[str](), 0, 0, 0
    for asset, count, first, last in found.iter_rows():
        if held and held + count > rows:
            stretches.append(_Stretch(assets, held, high - low + 1))
            assets, held = [], 0
        low, high = (min(low, first), max(high, last)) if held else (first, last)
        assets.append(asset)
        held += count
    return [*stretches, _Stretch(assets, held, high - low + 1)] if held else stretches
