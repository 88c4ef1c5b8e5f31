"""Security identifiers: ``600519.SH`` for people, a small integer for storage.

The integer is computed from the identifier (six digits × 4 + exchange), so it needs no dimension table, never depends
on the order in which securities were first seen, and sorts exactly as the text does.
"""

from __future__ import annotations

import re

import polars as pl

EXCHANGES = ("BJ", "SH", "SZ")
_CANONICAL = re.compile(r"^(\d{6})\.(BJ|SH|SZ)$")


class IdentifierError(ValueError):
    """A text that is no A-share identifier."""


def asset_key(identifier: str) -> int:
    """``600519.SH`` → 2402077. Raises :class:`IdentifierError` for anything else than six digits and an exchange."""
    match = _CANONICAL.match(identifier)
    if match is None:
        raise IdentifierError(f"{identifier!r} is no security identifier; expected six digits and .SH, .SZ or .BJ")
    return int(match.group(1)) * 4 + EXCHANGES.index(match.group(2))


def asset_id(key: int) -> str:
    """The inverse of :func:`asset_key`."""
    if not 0 <= key < 4_000_000 or key % 4 == 3:
        raise IdentifierError(f"{key} is no asset key")
    return f"{key // 4:06d}.{EXCHANGES[key % 4]}"


def with_asset_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace text column ``asset_id`` by integer ``asset_key`` (Int32) at the same place; already keyed frames pass.

    Raises :class:`IdentifierError` naming the first text that is no identifier.
    """
    if "asset_key" in frame.columns:
        return frame.drop("asset_id", strict=False).with_columns(pl.col("asset_key").cast(pl.Int32))
    text = pl.col("asset_id").cast(pl.String)
    bad = frame.filter(text.is_null() | ~text.str.contains(_CANONICAL.pattern))
    if bad.height:
        raise IdentifierError(
            f"asset_id {bad['asset_id'][0]!r} ({bad.height} rows) is no security identifier; "
            "expected six digits and .SH, .SZ or .BJ"
        )
    exchange = text.str.slice(7, 2).replace_strict({"BJ": 0, "SH": 1, "SZ": 2}, return_dtype=pl.Int32)
    key = (text.str.slice(0, 6).cast(pl.Int32) * 4 + exchange).alias("asset_key")
    names = ["asset_key" if name == "asset_id" else name for name in frame.columns]
    return frame.with_columns(key).select(names)


def with_asset_id(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace integer ``asset_key`` by text ``asset_id`` at the same place."""
    key = pl.col("asset_key")
    suffix = (key % 4).replace_strict({0: ".BJ", 1: ".SH", 2: ".SZ"}, return_dtype=pl.String)
    text = ((key // 4).cast(pl.String).str.zfill(6) + suffix).alias("asset_id")
    names = ["asset_id" if name == "asset_key" else name for name in frame.columns if name != "asset_id"]
    return frame.with_columns(text).select(names)
