"""Daily bars as they come, frames or Arrow record batches of any length, gathered into blocks of plain columns.

A block spans months, so that a security's rows in it fill whole cache lines and pages where they are put, whatever
the pieces were. Its memory is used again for the next block: touching new memory costs more than filling it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from rotation_pipeline.factors.errors import BadInput
from rotation_pipeline.factors.inputs import Bits, is_known, lying, require_columns, take
from rotation_pipeline.factors.statistics import Floats

TABLE = "intermediate.adjusted_bars"
BARS = ("day", "asset_key", "adj_close", "ret", "is_suspended")
"""Columns every panel is made of."""
Keys = NDArray[np.int32]
RecordBatch = Any
"""Arrow's; it comes without types."""
Bars = pl.DataFrame | Iterable[pl.DataFrame | RecordBatch]
"""Daily bars: a frame, or pieces of one as frames or Arrow record batches (``is_suspended`` as 0 or 1 in a byte)."""
_ROWS = 1 << 18
"""Rows of a block: a quarter of 5,000 stocks."""
_KINDS: dict[str, tuple[Any, Any, Any]] = {
    "day": (pl.Date, pa.date32(), np.int32),
    "asset_key": (pl.Int32, pa.int32(), np.int32),
    "is_suspended": (pl.UInt8, pa.uint8(), np.uint8),
}
_FLOAT: tuple[Any, Any, Any] = (pl.Float64, pa.float64(), np.float64)


@njit(cache=True)
def _own_days(suspended: Bits, valid: Bits, shift: int, out: Bits) -> None:
    """1 for own trading days with a price, else 0."""
    for i in range(suspended.size):
        out[i] = not suspended[i] and is_known(valid, shift + i)


def buffers(part: RecordBatch, name: str) -> tuple[NDArray[Any], Bits, int]:
    """A column's numbers and validity bitmap where they lie, and the bit of the bitmap that is the first number's."""
    return lying(part.column(name), _KINDS.get(name, _FLOAT)[2])


def numbers(part: RecordBatch, name: str) -> NDArray[Any]:
    """A column that is never null."""
    values, valid, _ = buffers(part, name)
    if valid.size:
        count = part.column(name).null_count
        row = int(part.column(name).is_null().to_numpy(zero_copy_only=False).argmax())
        raise BadInput(
            f"{TABLE}: {name} is null in {count} rows, the first of them {_where(part, row)}; quarantine them"
        )
    return values


def _where(part: RecordBatch, row: int) -> str:
    """A row by what it has of security and day, and by the row beside it where it lacks one of them."""

    def facts(at: int) -> tuple[str, str]:
        key, day = (part.column(name)[at].as_py() for name in ("asset_key", "day"))
        return ("" if key is None else f"asset_key {key}"), ("" if day is None else f"on {day}")

    own = facts(row)
    said = [" ".join(filter(None, own))] if any(own) else []
    if not all(own):
        beside = [(row - 1, "after"), (row + 1, "before")]
        known = [(at, word) for at, word in beside if 0 <= at < part.num_rows and all(facts(at))]
        said += [f"{word} that of {' '.join(facts(at))}" for at, word in known[:1]]
    return ", ".join(said) or f"row {row} of {part.num_rows}"


class Block:
    """Rows gathered so far, in columns of one length.

    Attributes:
        day (since 1970), key, own (1: an own trading day with a price, 0), columns by name (NaN unknown): each of shape
            (rows,), good until the next :meth:`clear`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._day, self._key = np.empty(_ROWS, np.int32), np.empty(_ROWS, np.int32)
        self._own = np.empty(_ROWS, np.uint8)
        self._columns = {name: np.empty(_ROWS) for name in names}
        self.rows = 0

    @property
    def day(self) -> Keys:
        return self._day[: self.rows]

    @property
    def key(self) -> Keys:
        return self._key[: self.rows]

    @property
    def own(self) -> Bits:
        return self._own[: self.rows]

    def column(self, name: str) -> Floats:
        return self._columns[name][: self.rows]

    @property
    def full(self) -> bool:
        return self.rows == _ROWS

    def clear(self) -> None:
        """Room for the next rows."""
        self.rows = 0

    def take(self, part: RecordBatch) -> int:
        """Rows of ``part`` there was room for, from its first on."""
        count = min(part.num_rows, _ROWS - self.rows)
        part, at = part.slice(0, count), slice(self.rows, self.rows + count)
        self._day[at] = numbers(part, "day")
        self._key[at] = numbers(part, "asset_key")
        _own_days(numbers(part, "is_suspended"), *buffers(part, "adj_close")[1:], self._own[at])
        for name, column in self._columns.items():
            take(*buffers(part, name), column[at])
        self.rows += count
        return count


def _batches(piece: pl.DataFrame | RecordBatch, names: Sequence[str]) -> Iterator[RecordBatch]:
    """Record batches with the columns ``names`` in the types a block takes."""
    if isinstance(piece, pl.DataFrame):
        yield from (
            piece.select(pl.col(name).cast(_KINDS.get(name, _FLOAT)[0]) for name in names).to_arrow().to_batches()
        )
        return
    wanted = pa.schema([(name, _KINDS.get(name, _FLOAT)[1]) for name in names])
    yield piece if piece.schema.equals(wanted) else piece.select(list(names)).cast(wanted)


def blocks(bars: Bars, names: Sequence[str], begin: date, end: date) -> Iterator[Block]:
    """The rows between two days, as they come, block by block; it is one object that is filled again.

    Raises:
        MissingInput: a column is missing. BadInput: a day, key or flag is null.
    """
    low, high = (int(np.datetime64(day, "D").astype(np.int64)) for day in (begin, end))
    block = Block([name for name in names if name not in _KINDS])
    for piece in (bars,) if isinstance(bars, pl.DataFrame) else bars:
        require_columns(piece, TABLE, names)
        for part in _batches(piece, names):
            day = numbers(part, "day")
            if day.size and (day.min() < low or day.max() > high):
                part = part.filter(pa.array((day >= low) & (day <= high)))
            done = 0
            while done < part.num_rows:
                done += block.take(part.slice(done))
                if block.full:
                    yield block
                    block.clear()
    if block.rows:
        yield block
