"""A vendor as a source: downloads what is missing into its store, then serves canonical rows from there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from rotation_pipeline.market.calendar import (
    CalendarError,
    add_months,
    calendar_end,
    month_last_day,
    month_start,
    months_between,
    parse_month,
)  # fmt: skip
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES
from rotation_pipeline.sources.base import SourceError, SourceKind
from rotation_pipeline.sources.files import FilesSource
from rotation_pipeline.sources.vendors.caller import Caller
from rotation_pipeline.sources.vendors.options import VendorOptions
from rotation_pipeline.sources.vendors.store import VendorStore

_NAMES = tuple(table.name for table in SOURCE_TABLES)
Listen = Callable[[int, int, str], None]
"""Units done, units in all, what comes next."""
_UPTO = "upto-"
_PROBE = "index_bars"
"""Monthly units that need no others and are refused while a session of the month is lacking."""
_NEEDED = frozenset({"trading_days", "daily_bars", "index_weights", "listings"})
"""Other tables are made of them: downloaded though left out."""


Fetch = Callable[[Caller, date, VendorStore], pl.DataFrame]
"""Rows of one unit as known in its month, sorted by key. Raises :class:`VendorError` if the answer is not all of them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is fetched and stored as one: a table's rows of a month, or all of a table as known in a month (``whole``)."""

    table: str
    month: date
    fetch: Fetch = field(repr=False, compare=False)
    whole: bool = False

    @property
    def name(self) -> str:
        """File name without suffix: ``2014-01`` or ``upto-2014-01``."""
        return f"{_UPTO if self.whole else ''}{self.month:%Y-%m}"


class Adapter(Protocol):
    """What one vendor's module knows: its calls, names and units."""

    name: str
    model: str
    """Raised whenever the same answers become other rows: a folder filled by another one is refused."""
    first_month: date
    """First month with every required table."""
    cannot: Mapping[str, str]
    """Canonical tables the vendor can't serve, and why."""
    selection: Mapping[str, object]
    """Securities, indices and the like that stored units hold and whose names do not say: a folder is kept for one."""

    def units(self, first: date, last: date) -> list[Unit]:
        """All that months [first, last] need and what fetches it, in the order in which it must be fetched."""
        ...

    def rows(self, table: str, first: date, last: date, store: VendorStore) -> pl.DataFrame:
        """Canonical rows for :meth:`Source.fetch`, from units that are all there; the caller cuts them to size."""
        ...


def whole_units(fetch: Mapping[str, Fetch], month: date) -> list[Unit]:
    """Every table as known in ``month``."""
    return [Unit(table, month, what, whole=True) for table, what in fetch.items()]


def monthly_units(fetch: Mapping[str, Fetch], first: date, last: date) -> list[Unit]:
    """Every table's months of [first, last], month by month."""
    return [Unit(table, month, what) for month in months_between(first, last) for table, what in fetch.items()]


def covering(store: VendorStore, table: str, month: date) -> str | None:
    """The earliest whole-table unit that knows ``month``, so that what a month reads never changes later."""
    wanted = f"{_UPTO}{month:%Y-%m}"
    return next((name for name in store.units(table) if name.startswith(_UPTO) and name >= wanted), None)


def read_months(store: VendorStore, table: str, first: date, last: date) -> pl.DataFrame:
    """Monthly units of [first, last] one below the other."""
    return pl.concat([store.read(table, f"{month:%Y-%m}") for month in months_between(first, last)])


def read_whole(store: VendorStore, table: str, month: date) -> pl.DataFrame:
    """The whole-table unit that covers ``month``."""
    return store.read(table, covering(store, table, month) or f"{_UPTO}{month:%Y-%m}")


class VendorSource:
    """One vendor over its store. Nothing is asked of the vendor before :meth:`prepare` or the first :meth:`fetch`.

    ``beside``: a folder that holds tables the vendor can't serve; they come from there, and all others from the vendor.
    """

    kind: SourceKind = "real"

    def __init__(
        self,
        adapter: Adapter,
        folder: Path | str,
        options: VendorOptions,
        *,
        caller: Callable[..., Caller] = Caller,
        beside: FilesSource | None = None,
    ) -> None:
        unknown = sorted(set(options.leave_out) - set(_NAMES))
        if unknown:
            raise SourceError(f"source.vendor.leave_out names {', '.join(unknown)}; tables are {', '.join(_NAMES)}")
        if beside is not None and beside.kind != self.kind:
            raise SourceError(
                f"source {adapter.name}: {beside.path} holds {beside.kind} data; real and simulated never mix"
            )
        self._adapter, self._options, self._caller, self._beside = adapter, options, caller, beside
        self.store = VendorStore(folder)

    @property
    def name(self) -> str:
        """The vendor's name; with ``+files`` where a folder adds tables."""
        return f"{self._adapter.name}+files" if any(map(self._added, self._adapter.cannot)) else self._adapter.name

    @property
    def version(self) -> str:
        """Version of the adapter, the options that shape rows, and a hash of what is downloaded."""
        shape = {
            "assets": self._options.assets,
            "members_from": self._options.members_from,
            "leave_out": sorted(self._options.leave_out),
            "industry_scheme": self._options.industry_scheme,
        }
        parts: list[object] = [self._adapter.model, shape, self.store.fingerprint()]
        parts += [] if self._beside is None else [self._beside.version]
        text = json.dumps(parts, sort_keys=True)
        return f"{self._adapter.model}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def span(self) -> tuple[date, date]:
        """From the vendor's first month to the last one whose holidays are recorded; whether the vendor has a month
        already shows when it is asked."""
        end = calendar_end()
        complete = month_start(end) if end == month_last_day(end) else add_months(end, -1)
        return self._adapter.first_month, complete

    def serves(self, table_name: str) -> bool:
        """Whether the vendor has the table and it is not left out."""
        return table_name in _NAMES and table_name not in self.refused()

    def refused(self) -> dict[str, str]:
        """Tables that won't come, with the reason; known before anything is asked."""
        left = dict.fromkeys(self._options.leave_out, "left out by source.vendor.leave_out")
        cannot = {table: why for table, why in self._adapter.cannot.items() if not self._added(table)}
        return {**left, **cannot}

    def prepare(self, first: date, last: date, listen: Listen = lambda _done, _total, _next: None) -> int:
        """Download what months of [first, last] lack; how many units that were.

        Each unit is complete in the store before the next begins, so that the same call goes on where an interrupted
        one stopped. Raises :class:`VendorError`.
        """
        months = month_start(first), month_start(last)
        self._check(*months)
        self.store.check(self._adapter.selection, self._adapter.model)
        wanted = self._missing(*months)
        if not wanted:
            return 0
        with self.store.alone():
            self.store.claim(self._adapter.selection, self._adapter.model)
            wanted = self._missing(*months)
            done = 0

            def tell(text: str) -> None:
                listen(done, len(wanted), text)

            with self._caller(self._adapter.name, self._options, tell=tell) as caller:
                for unit in wanted:
                    tell(f"{unit.table} {unit.name}")
                    self.store.write(unit.table, unit.name, unit.fetch(caller, unit.month, self.store))
                    done += 1
            tell("done")
        return len(wanted)

    def again(self) -> VendorSource:
        """The same vendor with a store beside this one, empty at first: what it says today of months stored before."""
        self.store.check(self._adapter.selection, self._adapter.model)  # what it says would be put into this one
        folder = self.store.folder.with_name(self.store.folder.name + "-again")
        return VendorSource(self._adapter, folder, self._options, caller=self._caller, beside=self._beside)

    def asked_at(self, now: datetime) -> datetime:
        """When the download into this folder of :meth:`again` began: ``now``, if it has not. Both UTC without zone."""
        return self.store.ask(now)

    def adopt(self, other: VendorSource, months: Collection[date]) -> list[str]:
        """Put the units of ``months`` of another store of this vendor into this one and empty the other.

        Of earlier months the other store holds what judging the first one needed: what is kept of them stays as it is. A
        whole table that months before them read is kept for those under an earlier name; one known in an earlier month
        of those asked for goes, for its months would read it still. Returns units of earlier months, as ``table/unit``,
        of which the vendor says something else today.
        """
        first = min(months)
        left: list[str] = []
        with self.store.alone():
            held = self.store.entries()
            for name, entry in other.store.entries().items():
                table, _, unit = name.partition("/")
                whole = unit.startswith(_UPTO)
                if not whole and parse_month(unit) not in months and name in held:
                    left += [name] if held[name]["sha256"] != entry["sha256"] else []
                    continue
                if whole:
                    self._keep_for_earlier(table, first, entry["sha256"])
                self.store.write(table, unit, other.store.read(table, unit))
            for table, unit in self._outdated(other, first):
                self.store.forget(table, unit)
        other.discard()
        return left

    def _keep_for_earlier(self, table: str, first: date, sha256: str) -> None:
        """Where months before ``first`` read the same unit of a whole table as it does, give them one of their own."""
        earlier = add_months(first, -1)
        shared = covering(self.store, table, earlier)
        if shared is None or shared < f"{_UPTO}{first:%Y-%m}":
            return
        if self.store.entries()[f"{table}/{shared}"]["sha256"] != sha256:
            self.store.write(table, f"{_UPTO}{earlier:%Y-%m}", self.store.read(table, shared))

    def _outdated(self, other: VendorSource, first: date) -> list[tuple[str, str]]:
        """Units of whole tables kept as known in a month from ``first`` on, where ``other`` knows a later one."""
        units: dict[str, list[str]] = {}
        for name in other.store.entries():
            table, _, unit = name.partition("/")
            if unit.startswith(_UPTO):
                units.setdefault(table, []).append(unit)
        return [
            (table, unit)
            for table, held in units.items()
            for unit in self.store.units(table)
            if f"{_UPTO}{first:%Y-%m}" <= unit < max(held) and unit not in held
        ]

    def discard(self) -> None:
        """Forget everything downloaded into this store."""
        shutil.rmtree(self.store.folder, ignore_errors=True)

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        """Rows of [first, last] as :class:`rotation_pipeline.sources.base.Source` says; what is missing is downloaded.

        Raises :class:`SourceError` for a table it does not serve.
        """
        if not self.serves(table_name):
            why = self.refused().get(table_name, "it is no canonical table")
            raise SourceError(f"source {self.name} does not serve {table_name}: {why}")
        if self._beside is not None and self._added(table_name):
            return self._beside.fetch(table_name, first, last)
        self.prepare(first, last)
        rows = self._adapter.rows(table_name, month_start(first), month_start(last), self.store)
        if table_name in DATED_BY:
            return rows.filter(pl.col(DATED_BY[table_name]).is_between(first, last))
        start, end = INTERVAL_TABLES[table_name], INTERVAL_ENDS[table_name]
        return rows.filter((pl.col(start) <= last) & (pl.col(end).is_null() | (pl.col(end) > first)))

    def _added(self, table: str) -> bool:
        """Whether the folder adds the table: only what the vendor can't serve, and the user does not leave out."""
        wanted = table in self._adapter.cannot and table not in self._options.leave_out
        return self._beside is not None and wanted and table in _NAMES and self._beside.serves(table)

    def _missing(self, first: date, last: date) -> list[Unit]:
        have = set(self.store.entries())
        units = [
            unit
            for unit in self._adapter.units(first, last)
            if unit.table in _NEEDED or unit.table not in self._options.leave_out
        ]
        # whole tables as known in the last month are kept for good: first it is seen that the vendor has finished it
        first_of_all = _PROBE, last
        return [
            unit
            for unit in sorted(units, key=lambda unit: (unit.table, unit.month) != first_of_all)
            if f"{unit.table}/{unit.name}" not in have
            and not (unit.whole and covering(self.store, unit.table, unit.month))
        ]

    def _check(self, first: date, last: date) -> None:
        low, high = self.span()
        if not low <= first <= last <= high:
            raise SourceError(
                f"source {self.name} can be asked for {low:%Y-%m} to {high:%Y-%m}, not {first:%Y-%m} to {last:%Y-%m} "
                "(market data begin sample.history_months before the sample)"
            )
        try:
            origin = parse_month(self._options.members_from)
        except CalendarError as error:
            raise SourceError(f"source.vendor.members_from: {error}") from error
        if origin > first and "index_members" not in {*self.refused(), *self._adapter.cannot}:
            raise SourceError(
                f"source.vendor.members_from = {self._options.members_from} is later than {first:%Y-%m}, the first month "
                "asked for: set it to that month or an earlier one"
            )
