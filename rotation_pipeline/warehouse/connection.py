"""Opening the database file: one process may write it, and only a DuckDB file is opened at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import psutil

from rotation_pipeline.warehouse.errors import DatabaseLocked, WarehouseError

_PID = re.compile(r"\(PID (\d+)\)")
_MAGIC, _MAGIC_AT = b"DUCK", 8
"""How a DuckDB file begins: eight bytes of checksum, then these."""
OTHER_FILE = "Set `database` to another file (--database FILE), or move this one away"


def lock_holder(message: str) -> str | None:
    """Who holds the lock DuckDB complains about, as ``PID 12 (command line)``; None if the message is about no lock."""
    if "Could not set lock" not in message:
        return None
    found = _PID.search(message)
    if found is None:
        return "another process"
    pid = int(found.group(1))
    try:
        command = " ".join(psutil.Process(pid).cmdline())[:200]
    except psutil.Error:
        command = "ended meanwhile"
    return f"PID {pid} ({command})"


def connect(path: Path, *, read_only: bool = False, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to the file. Raises :class:`DatabaseLocked` naming who holds it, or WarehouseError."""
    if read_only and not path.exists():
        raise WarehouseError(f"there is no database at {path}; make one with `rotation run`")
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_other_kinds(path)
    config: dict[str, str | bool | int | float | list[str]] = {} if threads is None else {"threads": threads}
    try:
        return duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.IOException as error:
        holder = lock_holder(str(error))
        if holder is not None:
            raise DatabaseLocked(f"{path} is held by {holder}; wait for it or end it, then try again") from error
        raise WarehouseError(f"{path} cannot be opened as a DuckDB database: {error}. {OTHER_FILE}") from error
    except duckdb.Error as error:
        raise WarehouseError(f"{path} cannot be opened: {error}. {OTHER_FILE}") from error


class Room:
    """How much memory DuckDB takes. The limit is the whole database's, so its readers share one of these."""

    def __init__(self, execute: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self._execute = execute
        self._readers = 0

    @contextmanager
    def little(self) -> Generator[None]:
        """Room for little while a large table passes through once, so that DuckDB fills the same memory again and again:
        touching new memory costs more than what is put there. Where it holds more already, it keeps its room. With the last
        reader DuckDB's own limit comes back: no other is ever set."""
        if not self._readers:
            threads = self._execute("SELECT current_setting('threads')")[0][0]
            try:  # every thread pins blocks of its own
                self._execute(f"SET memory_limit = '{24 + 4 * int(threads)}MB'")
            except duckdb.OutOfMemoryException:
                yield
                return
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                with suppress(duckdb.ConnectionException):  # closed meanwhile, and its limit with it
                    self._execute("RESET memory_limit")


def _refuse_other_kinds(path: Path) -> None:
    """WarehouseError for what is no DuckDB file: DuckDB itself would look for an extension that reads it."""
    if path.is_dir():
        raise WarehouseError(f"{path} is a folder. {OTHER_FILE}")
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            head = file.read(_MAGIC_AT + len(_MAGIC))
    except OSError as error:
        raise WarehouseError(f"{path} cannot be read: {error}. {OTHER_FILE}") from error
    if head[_MAGIC_AT:] != _MAGIC:
        raise WarehouseError(f"{path} is no DuckDB database; nothing was changed. {OTHER_FILE}")
