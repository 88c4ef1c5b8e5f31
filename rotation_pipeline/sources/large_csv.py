"""Large CSV files of a table of dated rows, parsed once into Parquet, a folder a year: later only the years asked for are read.

A stage is a folder ``TABLE-KEY``. Its key is made of the content of the CSV files and of all that decides what they are read as,
so a changed file has another one. It is written under another name, flushed and renamed: a folder of that name is complete,
whenever its writing was killed, for it is renamed once more before it is deleted. It goes when another is made and its own files
are gone, changed or read otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.disk import is_full, of_writing, remove
from rotation_pipeline.sources.locking import holder, locked

LARGE = 200_000_000
"""Bytes of a table's CSV files from which on they are staged: about two million bars, which an ingestion reads three times."""
LONG = 24
"""Months asked for together from which on large files are staged. To parse all of one takes four to five times as long as to look
through it for a few months, and of a whole market an ingestion looks for half a year at a time."""
ROWS_TOGETHER = 30_000
"""Rows of a year written together. A file sorted by security fills all its years at once, with so many rows of each in memory."""
_MANIFEST, _LOCK, _MAKING = "manifest.json", ".lock", ".making"
_NAME = re.compile("^[a-z_]+-[0-9a-f]{16}$", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as it was when it was looked at, and the sha256 of its content."""

    path: Path
    size: int
    changed: int
    """When it was changed last, ns."""
    sha256: bytes

    @classmethod
    def of(cls, path: Path) -> SeenFile:
        """The file as it is now. Raises OSError if it can't be read, :class:`SourceError` if it is being written."""
        found = path.stat()
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").digest()
        seen = cls(path, found.st_size, found.st_mtime_ns, digest)
        seen.refuse_changed()
        return seen

    def refuse_changed(self) -> None:
        """Raise :class:`SourceError` if it is no longer as it was."""
        if _state(self.path) != (self.size, self.changed):
            raise SourceError(f"source files: {self.path} was changed while it was read; run again when it is complete")


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of last change, ns; None if there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that was complete when it was looked up."""

    place: Path
    files: tuple[Path, ...]
    """By year, those of rows without a date last."""

    @classmethod
    def at(cls, place: Path) -> Stage | None:
        """That in the folder, if all that its manifest names is there in the size that was written."""
        manifest = _manifest(place)
        if manifest is None:
            return None
        sizes = {place / name: size for name, size in manifest["files"].items()}
        try:
            whole = all(path.stat().st_size == size for path, size in sizes.items())
        except OSError:
            return None
        return cls(place, tuple(sizes)) if whole else None

    def rows(self, first: date, last: date) -> list[Path]:
        """Its files of the years from ``first`` to ``last`` and of rows without a date; one may be gone when it is read."""
        return [path for path in self.files if (year := _year(path)) is None or first.year <= year <= last.year]


@cache
def _code() -> bytes:
    """What decides how text is read, as it was when this process asked first: a file of it that is replaced later is not at work here."""
    return b"".join(Path(__file__).with_name(name).read_bytes() for name in ("files.py", "columns.py", "large_csv.py"))


def _year(path: Path) -> int | None:
    text = path.parent.name.partition("=")[2]
    return int(text) if text.isdigit() else None


class Stages:
    """The stages in one folder. They may be deleted while nothing is read; they are made again when they are needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has_of(self, table: str) -> bool:
        """Whether there is a stage of the table, be it of other files: what must be known before files are looked at."""
        return any(self.folder.glob(f"{table}-*"))

    def find(self, table: str, reading: str, files: Sequence[SeenFile]) -> Stage | None:
        """The stage of these files read so, if there is a whole one."""
        return Stage.at(self._place(table, reading, files))

    def make(self, table: str, reading: str, files: Sequence[SeenFile], rows: pl.LazyFrame, dated: str) -> None:
        """Write ``rows``, all that the files hold, by the year of ``dated``, a piece at a time and in their order.

        Raises :class:`SourceError` where the disk is full, the folder can't be written or is held by another process, or a file
        changed meanwhile; the errors of reading pass through. Nothing is left of what fails.
        """
        place = self._place(table, reading, files)
        try:
            with self._alone():
                if Stage.at(place) is None:  # else another process made it a moment ago, and may be reading
                    with self._writing():
                        self._drop_outdated(table, files)
                        self._drop(place)
                    self._write(place, files, rows, dated)
        except (pl.exceptions.PolarsError, OSError) as error:
            if is_full(error):
                raise self._full(table, files) from error
            raise

    def _write(self, place: Path, files: Sequence[SeenFile], rows: pl.LazyFrame, dated: str) -> None:
        making = self.folder / _MAKING
        try:
            with self._writing():
                making.mkdir()
            by_year = pl.PartitionBy(making, key={"year": pl.col(dated).dt.year()}, include_key=False)
            with self._writing(beside_reading=True):
                rows.sink_parquet(by_year, compression="zstd", row_group_size=ROWS_TOGETHER)
            for file in files:
                file.refuse_changed()
            csv = {str(file.path.resolve()): [file.size, file.changed] for file in files}
            with self._writing():
                (making / _MANIFEST).write_text(json.dumps({"csv": csv, "files": _sizes(making)}), encoding="utf-8")
                for path in sorted(making.rglob("*")):
                    if path.is_file():
                        with path.open("rb+") as handle:
                            os.fsync(handle.fileno())
                making.rename(place)
        finally:
            remove(making)

    def _place(self, table: str, reading: str, files: Sequence[SeenFile]) -> Path:
        digest = hashlib.sha256(f"{table}\0{reading}\0{pl.__version__}".encode() + _code())
        for file in files:
            digest.update(file.sha256)
        return self.folder / f"{table}-{digest.hexdigest()[:16]}"

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One process writes in the folder; what one that was killed left half done goes."""
        with ExitStack() as held:
            try:
                with self._writing():
                    self.folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(locked(self.folder / _LOCK))
            except BlockingIOError as error:
                who = holder(self.folder / _LOCK)
                raise SourceError(
                    f"source files: {who} writes into {self.folder}; run again when it has ended"
                ) from error
            remove(self.folder / _MAKING)
            yield

    @contextmanager
    def _writing(self, *, beside_reading: bool = False) -> Generator[None]:
        """Say of an error that the folder can't be written; ``beside_reading``: of one that is of the writing, alone."""
        try:
            yield
        except BlockingIOError:
            raise
        except (pl.exceptions.PolarsError, OSError) as error:
            if is_full(error) or (beside_reading and not of_writing(error, self.folder / _MAKING)):
                raise
            raise SourceError(
                f"source files: large CSV files are kept as Parquet in {self.folder}, which can't be written ({error}); set "
                "source.cache to a folder that can"
            ) from error

    def _drop(self, place: Path) -> None:
        """Remove a stage, if it is there; never in part under its name, for others read without a lock."""
        if place.exists():
            shutil.rmtree(place.rename(self.folder / _MAKING))

    def _drop_outdated(self, table: str, files: Sequence[SeenFile]) -> None:
        """Remove stages whose files are gone or changed, and of ``files`` those of other content or read otherwise."""
        mine = {str(file.path.resolve()) for file in files}
        for place in sorted(self.folder.iterdir()):
            if not _NAME.match(place.name):
                continue
            manifest = _manifest(place)
            if manifest is None:
                continue
            csv = manifest["csv"]
            replaced = place.name.startswith(f"{table}-") and set(csv) == mine
            if replaced or any(_state(Path(name)) != tuple(state) for name, state in csv.items()):
                self._drop(place)

    def _full(self, table: str, files: Sequence[SeenFile]) -> SourceError:
        size = sum(file.size for file in files)
        there = next(place for place in (self.folder.absolute(), *self.folder.absolute().parents) if place.is_dir())
        return SourceError(
            f"source files: no space left in {self.folder}, where the CSV of table {table} ({size / 1e9:.1f} GB) is kept as Parquet, "
            f"in a sixth to a half of its size; {shutil.disk_usage(there).free / 1e9:.1f} GB are free. Nothing was left there. Free "
            "some space, or set source.cache to a folder on another disk"
        )


def _sizes(place: Path) -> dict[str, int]:
    """Bytes of each Parquet file of a stage, by its name in it."""
    return {path.relative_to(place).as_posix(): path.stat().st_size for path in sorted(place.rglob("*.parquet"))}


def _manifest(place: Path) -> dict[str, dict[str, Any]] | None:
    """``csv``: size and time of last change of the files it was made of; ``files``: sizes of its own. None if it can't be read."""
    try:
        found = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
        return {"csv": dict(found["csv"]), "files": dict(found["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
