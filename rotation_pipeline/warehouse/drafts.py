"""Texts of language models, kept beside the results in ``meta.drafts``: computing months again asks for none a second time."""

from __future__ import annotations

from datetime import UTC, datetime

from rotation_pipeline.warehouse.store import Warehouse


class StoredDrafts:
    """Drafts by key in an open database; a :class:`~rotation_pipeline.narratives.cache.DraftCache`.

    Each is stored at once, not with the rows of the stage, so that what an interrupted run has paid for is kept.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def get(self, key: str) -> str | None:
        """The draft kept under the key; None without."""
        rows = self._warehouse.execute("SELECT draft FROM meta.drafts WHERE cache_key = ?", [key])
        return str(rows[0][0]) if rows else None

    def put(self, key: str, text: str) -> None:
        """Keep a draft in place of any other under the key."""
        now = datetime.now(UTC).replace(tzinfo=None)
        self._warehouse.execute("INSERT OR REPLACE INTO meta.drafts VALUES (?, ?, ?)", [key, text, now])


def copy_drafts(origin: Warehouse, into: Warehouse) -> None:
    """Put every draft of one database into another. Files made before there were drafts have none."""
    known = origin.execute(
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'meta' AND table_name = 'drafts'"
    )
    if not known[0][0]:
        return
    for row in origin.execute("SELECT cache_key, draft, stored_at FROM meta.drafts ORDER BY cache_key"):
        into.execute("INSERT OR REPLACE INTO meta.drafts VALUES (?, ?, ?)", row)
