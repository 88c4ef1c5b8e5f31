"""What can go wrong with the database, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotation_pipeline.warehouse.quality import Quality


class WarehouseError(Exception):
    """Anything the warehouse refuses or cannot do."""


class DatabaseLocked(WarehouseError):
    """Another process has the file open for writing."""


class LayoutMismatch(WarehouseError):
    """The file was made by a version with other tables."""


class MissingPartition(WarehouseError):
    """A month another stage should have written first."""


class MixedSettings(WarehouseError):
    """Rows a stage would build on, or stand beside, were computed with other settings."""


class StaleResults(WarehouseError):
    """Stored results that do not belong together: no report and no verdict is made of them."""


class RestatedSource(WarehouseError):
    """A source delivers other rows for months stored before; they are taken over on command only."""


class DiskFull(WarehouseError):
    """No space left; nothing was changed."""


class PartitionInvalid(WarehouseError):
    """Rows that break their table's definition; they were not stored. ``quality`` holds the outcome by table."""

    def __init__(self, message: str, quality: Mapping[str, Quality] | None = None) -> None:
        super().__init__(message)
        self.quality: Mapping[str, Quality] = quality or {}
