"""What an error says of the disk: that it is full, or that what was written failed and not what was read; and what to remove."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

_FULL = ("no space left", "not enough space", "quota exceeded", "file too large", "os error 28", "os error 112")
_PARQUET = "parquet:"
"""How polars begins what its Parquet reader and writer meet, which names no file."""


def is_full(error: Exception) -> bool:
    """Whether there was no space for what was written."""
    return any(sign in str(error).lower() for sign in _FULL)


def of_writing(error: Exception, place: Path) -> bool:
    """Whether an error that came while CSV text was read and Parquet written below ``place`` is of the writing."""
    return is_full(error) or place.name in str(error) or str(error).startswith(_PARQUET)


def remove(place: Path) -> None:
    """Remove a folder with all in it, also while writers that have yet to notice that another failed put files into it."""
    for wait in (0.0, 0.02, 0.1, 0.5):
        time.sleep(wait)
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
