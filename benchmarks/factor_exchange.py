"""The benchmark market as the peers of another environment read it: NumPy files, and Qlib's binary files.

Made once by this project's environment, outside every clock, and kept under ``.benchmarks/``. Qlib's files hold
float32, a row per session of the exchange, nothing on sessions without a trade; a month's figures stand on each of its
sessions. The matrices for KunQuant have no gaps: a halted or unlisted stock keeps the nearest price, with a return of 0,
which costs it no time and leaves the windows that are compared untouched.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

PEERS = Path(__file__).resolve().parents[1] / ".venv-peers" / "bin" / "python"
"""Interpreter of the peers; made by ``make bench-peers``."""
FIGURES = ("pb", "pe_ttm", "dividend_yield", "total_market_value")
BARS = "SELECT asset_key, day, adj_close, ret FROM intermediate.adjusted_bars WHERE NOT is_suspended"


def installed(module: str) -> bool:
    """Whether the peers' environment is complete and has a module's folder."""
    return (PEERS.parents[1] / ".ready").exists() and any(
        (PEERS.parents[1] / "lib").glob(f"python3*/site-packages/{module}")
    )


def exchange_folder(size: Any) -> Path:
    """Where the files of a market are."""
    return size.path.with_suffix(".exchange")


def make_exchange(size: Any) -> Path:
    """The files, made if they are not there or older than the market."""
    import duckdb  # not in the peers' environment, which reads this file too

    folder, market = exchange_folder(size), size.path.with_suffix(".npz")
    if folder.exists() and folder.stat().st_mtime >= market.stat().st_mtime:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    building = folder.with_suffix(".exchange-building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    with duckdb.connect(str(size.path), read_only=True) as connection:
        fields = _matrices(connection, size)
    days = size.days()
    months = days.astype("datetime64[M]")
    np.save(building / "asset_key.npy", np.load(market)["asset_key"])
    np.save(building / "days.npy", days)
    np.save(building / "closes.npy", np.flatnonzero(np.append(months[1:] != months[:-1], True)))
    _qlib(building / "qlib", fields, days, np.load(market)["asset_key"])
    np.save(building / "price.npy", _filled(fields["close"]))
    np.save(building / "ret.npy", np.nan_to_num(fields["ret"]))
    np.save(building / "index.npy", fields["index"][0])
    building.rename(folder)
    return folder


def _matrices(connection: Any, size: Any) -> dict[str, np.ndarray]:
    """Fields as (assets, sessions), NaN without a trade; the index has one row."""
    days, key = size.days(), np.load(size.path.with_suffix(".npz"))["asset_key"]
    months = days.astype("datetime64[M]")

    def empty() -> np.ndarray:
        return np.full((key.size, days.size), np.nan)

    fields = {"close": empty(), "ret": empty()}
    bars = connection.sql(BARS).fetchnumpy()
    at = np.searchsorted(key, bars["asset_key"]), np.searchsorted(days, bars["day"].astype("datetime64[D]"))
    for name, column in (("close", "adj_close"), ("ret", "ret")):
        fields[name][at] = np.ma.filled(np.ma.asarray(bars[column], dtype=np.float64), np.nan)
    index = connection.sql("SELECT ret FROM intermediate.index_daily ORDER BY day").fetchnumpy()["ret"]
    fields["index"] = np.ma.filled(np.ma.asarray(index, dtype=np.float64), np.nan)[None, :]
    rows = connection.sql(
        f"SELECT month, asset_key, {', '.join(FIGURES)} FROM intermediate.stock_snapshot"
    ).fetchnumpy()
    month = np.unique(months)
    asset, when = np.searchsorted(key, rows["asset_key"]), np.searchsorted(month, rows["month"].astype("datetime64[M]"))
    of_session = np.searchsorted(month, months)
    for name in FIGURES:
        monthly = np.full((key.size, month.size), np.nan)
        monthly[asset, when] = np.ma.filled(np.ma.asarray(rows[name], dtype=np.float64), np.nan)
        fields[name] = monthly[:, of_session]
    return fields


def _filled(price: np.ndarray) -> np.ndarray:
    """Gaps take the last price before them, the first ones the first price after them."""
    known = ~np.isnan(price)
    place = np.maximum.accumulate(np.where(known, np.arange(price.shape[1]), -1), axis=1)
    place = np.where(place < 0, known.argmax(axis=1)[:, None], place)
    return np.take_along_axis(price, place, axis=1)


def _qlib(folder: Path, fields: dict[str, np.ndarray], days: np.ndarray, key: np.ndarray) -> None:
    """Calendar, instruments and a file per stock and field: number of its first session, then float32 numbers."""
    for name in ("calendars", "instruments"):
        (folder / name).mkdir(parents=True)
    (folder / "calendars" / "day.txt").write_text("".join(f"{day}\n" for day in days), encoding="utf-8")
    (folder / "instruments" / "all.txt").write_text(
        "".join(f"S{number}\t{days[0]}\t{days[-1]}\n" for number in key), encoding="utf-8"
    )
    for row, number in enumerate(key):
        own = folder / "features" / f"s{number}"
        own.mkdir(parents=True)
        for name, values in fields.items():
            line = values[0 if name == "index" else row]
            np.concatenate(([0.0], line)).astype("<f4").tofile(own / f"{name}.day.bin")
