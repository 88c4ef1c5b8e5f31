"""The folder of a vendor: canonical Parquet per table and unit of work, and a manifest of what is complete.

A unit is written to a temporary file, flushed and renamed, then entered in the manifest, which is itself replaced as a
whole. Killed at any moment, the folder holds complete units and at most one file the manifest does not name, which is
fetched again. File and manifest hold no clock reading, so a resumed download ends with the same bytes as an undisturbed
one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from rotation_pipeline.sources.locking import holder, locked
from rotation_pipeline.sources.vendors.errors import VendorError

MANIFEST = "manifest.json"
SELECTION = "selection.json"
ASKED = "asked.json"
_PARTIAL = ".partial"


class VendorStore:
    """Complete units of one vendor in one folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._known: tuple[tuple[int, int], dict[str, dict[str, Any]]] | None = None

    @property
    def _manifest(self) -> Path:
        return self.folder / MANIFEST

    def entries(self) -> dict[str, dict[str, Any]]:
        """Rows and sha256 of each complete unit, by ``table/unit``, sorted. Raises :class:`VendorError` if damaged."""
        if not self._manifest.is_file():
            return {}
        state = self._manifest.stat()
        identity = (state.st_mtime_ns, state.st_ino)
        if self._known is not None and self._known[0] == identity:
            return self._known[1]
        try:
            found = json.loads(self._manifest.read_text(encoding="utf-8"))
            self._known = (identity, dict(sorted(found["units"].items())))
            return self._known[1]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise VendorError(
                f"{self._manifest} can't be read ({error}); move the folder {self.folder} away and download again"
            ) from error

    def fingerprint(self) -> str:
        """Hash of everything complete: equal fingerprints mean equal tables."""
        text = json.dumps({name: entry["sha256"] for name, entry in self.entries().items()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def units(self, table: str) -> list[str]:
        """Complete units of a table, ascending."""
        return [name.partition("/")[2] for name in self.entries() if name.partition("/")[0] == table]

    def read(self, table: str, unit: str) -> pl.DataFrame:
        """Rows of a complete unit. Raises :class:`VendorError` if it is not there or not as it was written."""
        name = f"{table}/{unit}"
        entry, path = self.entries().get(name), self._path(table, unit)
        if entry is None:
            raise VendorError(f"{self.folder} holds no {name}; `rotation ingest` fetches it")
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise VendorError(
                f"{path} is not as it was written (truncated, changed or gone); remove the line {name} from "
                f"{self._manifest} and `rotation ingest` fetches it again"
            )
        return pl.read_parquet(io.BytesIO(content))

    def write(self, table: str, unit: str, frame: pl.DataFrame) -> None:
        """Add a unit. Equal frames give equal bytes; an earlier unit of that name is replaced."""
        buffer = io.BytesIO()
        frame.rechunk().write_parquet(buffer, compression="zstd", statistics=False, row_group_size=1 << 20)
        content = buffer.getvalue()
        self._replace(self._path(table, unit), content)
        entry = {"rows": frame.height, "sha256": hashlib.sha256(content).hexdigest()}
        self._enter({**self.entries(), f"{table}/{unit}": entry})

    def forget(self, table: str, unit: str) -> None:
        """Take a unit out; what it covered comes from another one, or is fetched again."""
        self._enter({name: entry for name, entry in self.entries().items() if name != f"{table}/{unit}"})
        self._path(table, unit).unlink(missing_ok=True)

    def _enter(self, units: Mapping[str, dict[str, Any]]) -> None:
        text = json.dumps({"units": dict(sorted(units.items()))}, indent=1) + "\n"
        self._replace(self._manifest, text.encode())

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold the folder: a vendor is asked by one process at a time. Raises :class:`VendorError` if another holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / ".lock"))
            except BlockingIOError as error:
                raise VendorError(
                    f"{holder(self.folder / '.lock')} downloads into {self.folder}; wait until it ends: vendors block addresses that "
                    "call in parallel"
                ) from error
            for left in sorted(self.folder.rglob(f"*{_PARTIAL}")):
                left.unlink()
            yield

    def check(self, selection: Mapping[str, object], model: str) -> None:
        """Refuse a folder filled for another selection of securities and indices, whose units hold no others, or by another
        model of the vendor's rows, whose units hold other rows.

        Raises :class:`VendorError`. A folder that holds something and names no model is one of an earlier version.
        """
        held = self._claimed()
        of = held.pop("model", "not said") if held or self.entries() else model
        if of != model:
            raise VendorError(
                f"{self.folder} holds what an earlier or later version of the program made of the vendor's answers (model "
                f"{of}, now {model}), and its rows may be wrong. Set source.cache to another folder, or delete this one; "
                "everything is then asked for again"
            )
        if held and _written(held) != _written(selection):
            raise VendorError(
                f"{self.folder} holds what was fetched for another selection ({json.dumps(held)}; now asked: "
                f"{json.dumps(selection)}), so others would be missing. Set source.cache to another folder"
            )

    def claim(self, selection: Mapping[str, object], model: str) -> None:
        """Keep the folder for one selection and model from now on; see :meth:`check`."""
        self.check(selection, model)
        text = _written({**selection, "model": model})
        if self._claimed() != json.loads(text):
            self._replace(self.folder / SELECTION, text.encode())

    def _claimed(self) -> dict[str, Any]:
        path = self.folder / SELECTION
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
        except (OSError, ValueError, TypeError) as error:
            raise VendorError(
                f"{path} can't be read ({error}); move the folder {self.folder} away and download again"
            ) from error

    def asked_at(self) -> datetime | None:
        """When the download into a folder for a second answer began, UTC without zone; None before that.

        Of a folder begun before this was written down, when its first file was.
        """
        path = self.folder / ASKED
        if path.is_file():
            return datetime.fromisoformat(json.loads(path.read_text(encoding="utf-8"))["asked_at"])
        if not self.entries():
            return None
        oldest = min(one.stat().st_mtime for one in self.folder.rglob("*") if one.is_file())
        return datetime.fromtimestamp(oldest, UTC).replace(tzinfo=None)

    def ask(self, now: datetime) -> datetime:
        """Write down that the download begins ``now``, unless it began earlier; when it did."""
        began = self.asked_at() or now
        if not (self.folder / ASKED).is_file():
            self._replace(self.folder / ASKED, (json.dumps({"asked_at": began.isoformat()}) + "\n").encode())
        return began

    def _path(self, table: str, unit: str) -> Path:
        return self.folder / table / f"{unit}.parquet"

    def _replace(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + _PARTIAL)
        with partial.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)


def _written(selection: Mapping[str, object]) -> str:
    return json.dumps(selection, sort_keys=True, indent=1) + "\n"
