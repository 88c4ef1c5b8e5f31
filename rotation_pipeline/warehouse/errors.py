"""What can go wrong with the database, each with what to do about it."""

from __future__ import annotations


class WarehouseError(Exception):
    """Anything the warehouse refuses or cannot do."""


class DatabaseLocked(WarehouseError):
    """Another process has the file open for writing."""


class LayoutMismatch(WarehouseError):
    """The file was made by a version with other tables."""


class MissingPartition(WarehouseError):
    """A month another stage should have written first."""


class DiskFull(WarehouseError):
    """No space left; nothing was changed."""


class PartitionInvalid(WarehouseError):
    """Rows that break their table's definition; nothing was stored."""
