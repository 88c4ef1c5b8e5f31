"""One process at a time in a folder: an advisory lock the operating system gives back when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock file ``path`` (made if it is not there). Raises :class:`BlockingIOError` if another process holds it."""
    with path.open("a+b") as handle:
        _take(handle.fileno())
        handle.truncate(0)
        handle.write(str(os.getpid()).encode())
        handle.flush()
        yield  # closing the file gives the lock back


def holder(path: Path) -> str:
    """Who holds the lock file ``path``, in words: the process it names, where the system lets others read it."""
    try:
        number = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        number = ""
    return f"process {number}" if number.isdigit() else "another process"


if sys.platform == "win32":

    def _take(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)  # a byte is locked from where the file stands, and may lie past its end
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(str(error)) from error

else:

    def _take(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
