"""What the pipeline asks of a source of market data.

An adapter is the only place that knows a vendor's names and units: what leaves :meth:`Source.fetch` is canonical
(see ``market/tables.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from typing import Any, Literal, Protocol, runtime_checkable

import polars as pl

SourceKind = Literal["simulated", "real"]


class SourceError(ValueError):
    """A source can't deliver what was asked; the message names the source, the table and what to do."""


@runtime_checkable
class Source(Protocol):
    """A source of canonical tables."""

    @property
    def name(self) -> str:
        """Short name, as in the settings: simulated, files, baostock, …"""
        ...

    @property
    def kind(self) -> SourceKind:
        """Whether its data are simulated or real; everything made from them carries this word."""
        ...

    @property
    def version(self) -> str:
        """Identity of its content and configuration: equal versions deliver equal tables."""
        ...

    def span(self) -> tuple[date, date]:
        """First and last month it can serve completely."""
        ...

    def serves(self, table_name: str) -> bool:
        """Whether it has the table (``daily_bars``, …) at all."""
        ...

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        """Canonical columns without ``month`` (``asset_id`` text or ``asset_key``), in any order of rows.

        Tables of dated rows: those whose date (``DATED_BY``) lies in [first, last]. Tables of intervals: those that
        overlap [first, last], with their true ends; ends are exclusive, null = open. Days before the source begins
        have no rows and are no error. Raises :class:`SourceError`.
        """
        ...


@runtime_checkable
class KnowsTruth(Protocol):
    """A simulated source, whose hidden state is known."""

    def truth(self, months: Sequence[date]) -> dict[str, pl.DataFrame]:
        """Rows of the ``truth`` tables by table name, for the months."""
        ...


@runtime_checkable
class Downloads(Protocol):
    """A source that first brings what it lacks into a folder of its own."""

    def prepare(self, first: date, last: date, listen: Callable[[int, int, str], None] = ...) -> int:
        """Fetch what the months of [first, last] lack; how many units that were. ``listen``: done, in all, what is next."""
        ...

    def refused(self) -> dict[str, str]:
        """Canonical tables it won't deliver, and why; known before anything is fetched."""
        ...


@runtime_checkable
class AsksAgain(Protocol):
    """A source that keeps what it downloaded and can ask once more, beside it."""

    def again(self) -> Source:
        """The same source with an empty folder of its own, to ask once more for what was fetched before."""
        ...

    def asked_at(self, now: datetime) -> datetime:
        """When asking for what the folder holds began: ``now``, if it has not. Both UTC without zone."""
        ...

    def adopt(self, other: Any, months: Collection[date]) -> list[str]:  # another store of the same class
        """Take over what another folder of the same source holds of ``months``, in place of its own.

        Returns what the other holds otherwise of months before them, which is left as it was.
        """
        ...

    def discard(self) -> None:
        """Forget everything in the source's own folder."""
        ...
