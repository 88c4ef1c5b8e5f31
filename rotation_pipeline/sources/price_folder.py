"""A CSV of prices of any size → a folder of canonical tables, with some securities in memory at a time.

The text is parsed once, a piece at a time, into a Parquet file beside the folder; what must be known of all prices (span, units,
sessions) is read from there in streams, and the tables are made of as many securities at once as a fixed number of rows holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from rotation_pipeline.sources.price_csv import price_columns, refuse_copies, stage_prices, staged
from rotation_pipeline.sources.prices import PriceFolder, PriceTables, check_adjustment, daily_bars, valuation

ROWS_AT_ONCE = 500_000
"""Rows of prices in memory at a time: 200 securities over ten years, about 300 MB with all that is derived of them."""


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
    About the size of the CSV is needed meanwhile, in it or beside it.
    """
    found = price_columns(path)
    check_adjustment(found, adjusted=adjusted)
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())
    with TemporaryDirectory(prefix=".init-files-", dir=there) as name:
        place = Path(name)
        stage_prices(path, found, place / "prices.parquet")
        prices = staged(place / "prices.parquet")
        making = PriceTables(prices, index, index_id, adjusted=adjusted, lots=lots, thousands=thousands, fewest=fewest)
        parts: dict[str, list[Path]] = {"daily_bars": [], "daily_valuation": []}
        for number, (low, high) in enumerate(_stretches(prices, rows_at_once)):
            some = prices.filter(pl.col("asset_id").is_between(pl.lit(low), pl.lit(high))).collect(engine="streaming")
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


def _stretches(prices: pl.LazyFrame, rows: int) -> Iterator[tuple[str, str]]:
    """First and last identifier of stretches of securities, in their order, of at most ``rows`` rows: one security at least."""
    counts = prices.group_by("asset_id").len().sort("asset_id").collect(engine="streaming")
    first, last, held = "", "", 0
    for asset, count in counts.iter_rows():
        if held and held + count > rows:
            yield first, last
            held = 0
        first = asset if held == 0 else first
        last, held = asset, held + count
    if held:
        yield first, last
