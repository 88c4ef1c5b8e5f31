"""A folder of Parquet or CSV files, one per canonical table, with an optional mapping for other names and units.

Without a mapping, table ``daily_bars`` is read from ``daily_bars.parquet``, ``.csv`` or ``.csv.gz`` with the canonical
columns; extra columns and files are ignored. A mapping is a TOML file, ``mapping.toml`` in the folder or given::

    [source]
    kind = "real"                                   # or "simulated"

    [daily_bars]
    file = "bars/*.parquet"                         # relative to the folder; a pattern reads several files as one

    [daily_bars.columns]
    asset_id = "code"                               # another name; sh.600519, SH600519, 600519.XSHG are translated
    day = { column = "date", format = "%Y%m%d" }    # text or whole-number dates
    volume = { column = "vol", factor = 100 }       # lots → shares
    amount = { column = "amt", factor = 1000 }      # thousand CNY → CNY
    is_suspended = { column = "status", true = ["0"], false = ["1"] }
    board = { constant = "main" }
    ps_ttm = { missing = true }                     # a column that may be null and is not there

Large CSV files of dated tables are parsed once for a long range and kept as Parquet, where a folder for that is given
(``large_csv.py``).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl

from rotation_pipeline.market.calendar import add_months, last_session, month_sessions, month_start, months_between
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.tables import DATED_BY, INTERVAL_ENDS, INTERVAL_TABLES, SOURCE_TABLES
from rotation_pipeline.sources.base import SourceError, SourceKind
from rotation_pipeline.sources.columns import NULLS, ColumnRule, bad_value, column_rule, parsed
from rotation_pipeline.sources.file_faults import fault, opened, remedy, strange_header
from rotation_pipeline.sources.large_csv import LARGE, LONG, SeenFile, Stage, Stages

SUFFIXES = (".parquet", ".csv", ".csv.gz")
DEFAULTS: dict[tuple[str, str], object] = {
    ("fundamentals", "announcement_is_deadline"): False,
    ("index_weights", "derivation"): None,
}
"""Columns that may be absent without a word in the mapping, and what stands in for them."""
_TABLES = {table.name: table for table in SOURCE_TABLES}


class FilesSource:
    """Canonical tables from a folder. Files are scanned lazily: only the columns and days asked for are read.

    ``cache``: a folder of its own, in which :meth:`prepare` keeps CSV files of ``large`` bytes or more of a table of dated rows
    as Parquet, of the same rows, for a range of ``long`` months or more. A call without that looks through the whole of a file.
    Raises :class:`SourceError` for a folder or mapping that isn't there or names unknown tables, columns or keys.
    """

    name = "files"

    def __init__(
        self, path: Path | str, mapping: Path | str | None = None, *, cache: Path | None = None, large: int = LARGE, long: int = LONG
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self._large, self._long = large, long
        self._stages = None if cache is None else Stages(cache / "large-csv")
        self._seen: dict[Path, SeenFile] = {}
        self._listed: dict[str, list[Path]] = {}
        if not self.path.is_dir():
            raise SourceError(f"source files: {self.path} is no folder; give the folder that holds one file per table")
        inside = self.path / "mapping.toml"
        self._mapping_path = Path(mapping) if mapping is not None else inside if inside.is_file() else None
        self._mapping_text, self._mapping = _read_mapping(self._mapping_path)
        self._rules = {name: _table_rules(name, self._mapping.get(name, {}), self._where) for name in _TABLES}
        kind = self._mapping.get("source", {}).get("kind", "real")
        if kind not in ("real", "simulated"):
            raise SourceError(f'{self._where}: source.kind = {kind!r}; write "real" or "simulated"')
        self.kind: SourceKind = kind
        served = [name for name in _TABLES if self.serves(name)]  # of all: what is there now must be there later
        if not served:
            raise SourceError(f"source files: {self.path} holds no file of a canonical table ({', '.join(_TABLES)})")

    @property
    def _where(self) -> str:
        return str(self._mapping_path or self.path / "mapping.toml")

    @property
    def version(self) -> str:
        """Hash of the content of the files served and of the mapping."""
        return self._version

    @cached_property
    def _version(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(_TABLES):
            for path in self._files(name):
                seen = self._look(path)
                digest.update(f"{name}\0{path.name}\0{seen.size}\0".encode() + seen.sha256)
        digest.update(self._mapping_text)
        return digest.hexdigest()[:16]

    def _look(self, path: Path) -> SeenFile:
        """The file as it was when this source first looked at it: version and rows are of that state, or it is refused."""
        if path not in self._seen:
            self._seen[path] = SeenFile.of(path)
        return self._seen[path]

    def serves(self, table_name: str) -> bool:
        """Whether the folder has a file for the table."""
        return bool(self._files(table_name))

    @cached_property
    def _span(self) -> tuple[date, date]:
        name = "trading_days" if self.serves("trading_days") else "daily_bars"
        table = _TABLES[name]
        frame, _ = self._scan(table, ["day"])
        low, high = self._collect(
            table, frame.select(pl.col("day").min().alias("low"), pl.col("day").max().alias("high"))
        ).row(0)
        if low is None:
            raise SourceError(f"source files: {self._named(name)} has no rows")
        first, last = month_start(low), month_start(high)
        if low > month_sessions(first)[0]:
            first = add_months(first, 1)
        if high < last_session(last):
            last = add_months(last, -1)
        if first > last:
            raise SourceError(
                f"source files: {self._named(name)} runs from {low} to {high}, which holds no whole month"
            )
        return first, last

    def span(self) -> tuple[date, date]:
        """First and last month all of whose sessions lie between the first and last day delivered."""
        return self._span

    def fetch(self, table_name: str, first: date, last: date) -> pl.DataFrame:
        """Rows of a table dated in [first, last], or intervals that overlap it; see :class:`Source`."""
        table = self._table(table_name)
        stage = self._stage(table) if self._is_large(table) else None
        frame, checked = self._rows(table, (first, last), stage)
        rows = self._collect(table, frame, stage)  # a date that could not be read is null and comes along
        for path in self._files(table_name):
            if path in self._seen:
                self._seen[path].refuse_changed()
        for name in checked:
            wrong = rows.filter(pl.col(bad_value(name)).is_not_null())
            if wrong.height:
                raise self._bad_value(table, name, wrong)
        rows = rows.select([column.name for column in table.columns[1:]])
        dated = DATED_BY.get(table_name) or INTERVAL_TABLES[table_name]
        if rows[dated].null_count():
            at = rows.filter(pl.col(dated).is_null()).row(0, named=True)
            held = {name: value for name, value in at.items() if value is not None} or "nothing at all"
            raise SourceError(
                f"source files: {self._named(table_name)} has a row without {dated}, in {self._place(table, dated, None)}; it holds "
                f"{held}. Complete it, or take it out"
            )
        return rows

    def refused(self) -> dict[str, str]:
        """Nothing: what the folder does not hold is not served."""
        return {}

    def prepare(
        self, first: date, last: date, listen: Callable[[int, int, str], None] = lambda _done, _total, _next: None
    ) -> int:
        """Parse large CSV files, if the range is long; how many tables that were. See :class:`Downloads`.

        Raises :class:`SourceError` for files that can't be read, and where what is made of them can't be kept.
        """
        if len(months_between(month_start(first), month_start(last))) < self._long:
            return 0
        waiting = [table for table in _TABLES.values() if self._is_large(table) and self._stage(table) is None]
        for number, table in enumerate(waiting):
            size = sum(path.stat().st_size for path in self._files(table.name))
            listen(number, len(waiting), f"{table.name}: {size / 1e9:.1f} GB of CSV, parsed once and kept as Parquet")
            self._make_stage(table)
        if waiting:
            listen(len(waiting), len(waiting), "done")
        return len(waiting)

    # --- files -------------------------------------------------------------------------------------------------------

    def _table(self, table_name: str) -> Table:
        if table_name not in _TABLES:
            raise SourceError(f"source files: {table_name!r} is no canonical table; they are {', '.join(_TABLES)}")
        return _TABLES[table_name]

    def _files(self, table_name: str) -> list[Path]:
        """Files of a table, sorted; none if it is not served.

        Raises :class:`SourceError` where others are there than at first: the version would be that of other rows.
        """
        self._table(table_name)
        now = self._there(table_name)
        first = self._listed.setdefault(table_name, now)
        if now != first:
            came, gone = [path for path in now if path not in first], [path for path in first if path not in now]
            told = f"{came[0]} came" if came else f"{gone[0]} went"
            raise SourceError(
                f"source files: the files of table {table_name} changed while they were read: {told}; run again when they are complete"
            )
        return first

    def _there(self, table_name: str) -> list[Path]:
        """Its files as they are now."""
        pattern = self._mapping.get(table_name, {}).get("file")
        if pattern is not None:
            found = sorted(path for path in self.path.glob(pattern) if path.is_file())
            if not found:
                raise SourceError(f"{self._where}: {table_name}.file = {pattern!r} matches no file in {self.path}")
            return found
        found = [path for suffix in SUFFIXES if (path := self.path / f"{table_name}{suffix}").is_file()]
        if len(found) > 1:
            raise SourceError(
                f"source files: table {table_name} has {len(found)} files ({', '.join(path.name for path in found)}); "
                f'keep one, or write [{table_name}] file = "{found[0].name}" in {self._where}'
            )
        return found

    def _named(self, table_name: str) -> str:
        files = self._files(table_name)
        return f"table {table_name} ({', '.join(str(path) for path in files[:3])})"

    def _open(self, table: Table) -> pl.LazyFrame:
        files = self._files(table.name)
        if not files:
            raise SourceError(
                f"source files: no file for table {table.name} in {self.path}; expected {table.name}.parquet, .csv or "
                f'.csv.gz, or [{table.name}] file = "..." in {self._where}'
            )
        kinds = {path.suffix == ".parquet" for path in files}
        if len(kinds) > 1:
            raise SourceError(f"source files: {self._named(table.name)} mixes Parquet and CSV; use one of them")
        return opened(files)

    def _is_large(self, table: Table) -> bool:
        """Whether its files are kept as Parquet."""
        files = self._files(table.name)
        csv = bool(files) and not any(path.suffix == ".parquet" for path in files)
        return (
            csv and self._stages is not None and table.name in DATED_BY
            and sum(path.stat().st_size for path in files) >= self._large
        )  # fmt: skip

    def _stage(self, table: Table) -> Stage | None:
        """What is kept of a large table as it is now, if anything is."""
        assert self._stages is not None
        if not self._stages.has_of(table.name):
            return None
        return self._stages.find(table.name, self._reading(table), self._looked_at(table))

    def _make_stage(self, table: Table) -> None:
        """Parse a large table and keep it as it is now."""
        assert self._stages is not None
        reading, files = self._reading(table), self._looked_at(table)
        rows, _ = self._scan(table, [column.name for column in table.columns[1:]])
        try:
            self._stages.make(table.name, reading, files, rows, DATED_BY[table.name])
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(table, error) from error

    def _reading(self, table: Table) -> str:
        """What its columns are read as."""
        found = self._schema(table, self._open(table))
        columns = table.columns[1:]
        return repr([(column.name, column.type, self._rule(table, column.name, found)) for column in columns])

    def _looked_at(self, table: Table) -> list[SeenFile]:
        """Its files, as they were and still are."""
        try:
            files = [self._look(path) for path in self._files(table.name)]
            for file in files:
                file.refuse_changed()
        except OSError as error:
            raise self._unreadable(table, error) from error
        return files

    def _rows(self, table: Table, span: tuple[date, date], stage: Stage | None) -> tuple[pl.LazyFrame, list[str]]:
        """:meth:`_scan` of the rows of ``span``, from what is kept of a large table."""
        names = [column.name for column in table.columns[1:]]
        frame, checked = self._scan(table, names, span if stage is None else None)
        if stage is None:
            return frame, checked
        files = stage.rows(*span)
        if not files:
            return pl.LazyFrame(schema=frame.collect_schema()), checked
        kept = {name: pl.col(name) for name in names}
        return pl.scan_parquet(files, glob=False, hive_partitioning=False).filter(_inside(table, kept, *span)), checked

    def _scan(
        self, table: Table, names: list[str], span: tuple[date, date] | None = None
    ) -> tuple[pl.LazyFrame, list[str]]:
        """Lazy canonical columns ``names``, and those of them beside which stands the file's text of what could not be read, else null.

        ``span``: only rows dated in it, or intervals that overlap it, and those without a date. Dates are read before
        anything else, so that of a large file only these rows are ever parsed.
        """
        frame = self._open(table)
        found = self._schema(table, frame)
        values: list[pl.Expr] = []
        checked: list[str] = []
        read: dict[str, pl.Expr] = {}
        rules = {name: self._rule(table, name, found) for name in names}
        self._refuse_other_columns(table, rules, found)
        for name, rule in rules.items():
            column = table.column(name)
            value, failed = parsed(column, rule, found, f"{self._named(table.name)}")
            read[name] = value
            values.append(value.alias(name))
            if failed is not None:
                text = pl.col(str(rule.column)).cast(pl.String)
                values.append(pl.when(failed).then(text).alias(bad_value(name)))
                checked.append(name)
        return (frame if span is None else frame.filter(_inside(table, read, *span))).select(values), checked

    def _schema(self, table: Table, frame: pl.LazyFrame) -> pl.Schema:
        try:
            return frame.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(table, error) from error

    def _collect(self, table: Table, frame: pl.LazyFrame, stage: Stage | None = None) -> pl.DataFrame:
        try:
            # a piece at a time, rows in order: a file larger than the memory gives the days asked for
            return frame.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            if stage is not None:
                raise SourceError(
                    f"source files: {stage.place}, where the CSV of table {table.name} is kept as Parquet, can't be read; another "
                    f"process may have deleted or replaced it. Run again, or delete the folder first: {error}"
                ) from error
            raise self._unreadable(table, error) from error

    def _unreadable(self, table: Table, error: Exception) -> SourceError:
        told = str(error).partition("\n")[0].rstrip(".")
        return SourceError(
            f"source files: {self._named(table.name)} can't be read; it may be truncated, no Parquet/CSV file, or text in another "
            f"encoding than UTF-8: {told}.{fault(self._files(table.name), error)}"
        )

    def _rule(self, table: Table, name: str, found: pl.Schema) -> ColumnRule:
        rule = self._rules[table.name].get(name)
        if rule is not None:
            return rule
        if name not in found and (table.name, name) in DEFAULTS:
            return ColumnRule(constant=DEFAULTS[table.name, name], missing=DEFAULTS[table.name, name] is None)
        return ColumnRule(column=name)

    def _refuse_other_columns(self, table: Table, rules: dict[str, ColumnRule], found: pl.Schema) -> None:
        """Raise :class:`SourceError` where the file has a column not at all, or twice."""
        named = {name: rule.column for name, rule in rules.items() if rule.column is not None}
        lacking = [table.column(name) for name, own in named.items() if own not in found]
        if lacking:
            first, *others = lacking
            also = f"; nor any for {', '.join(column.name for column in others)}" if others else ""
            strange = strange_header(found.names())
            ways = ", ".join(
                f'{column.name} = "..."' + (f" or {column.name} = {{ missing = true }}" if column.nullable else "")
                for column in lacking
            )
            way = strange or f"Write under [{table.name}.columns] in {self._where}: {ways}"
            raise SourceError(
                f"source files: {self._named(table.name)} has no column {named[first.name]!r} for {first.name} "
                f"({first.meaning}; {first.unit}){also}. Its columns are {', '.join(found)}. {way}"
            )
        csv = self._files(table.name)[0].suffix != ".parquet"
        twice = [
            own for own in named.values() if csv and f"{own}_duplicated_0" in found
        ]  # as it is called the second time
        if twice:
            raise SourceError(
                f"source files: {self._named(table.name)} has the column {twice[0]!r} more than once; leave one of that name"
            )

    def _bad_value(self, table: Table, name: str, wrong: pl.DataFrame) -> SourceError:
        column, text = table.column(name), wrong[bad_value(name)][0]
        own = str(self._rule(table, name, self._schema(table, self._open(table))).column)
        shown = repr(text if len(text) <= 80 else f"{text[:80]}…")
        return SourceError(
            f"source files: {self._named(table.name)}: {shown} in column {name} can't be read as "
            f"{column.type} ({column.unit}); {wrong.height} such values. The first {shown} stands in {self._place(table, name, text)}. "
            f"{remedy(column, own, text, f'[{table.name}.columns] in {self._where}')}"
        )

    def _place(self, table: Table, name: str, text: str | None) -> str:
        """File and row of the first value of a column that is ``text``, or is none; the line of names is row 1 of a CSV."""
        for path in self._files(table.name):
            frame = opened([path])
            given = pl.col(str(self._rule(table, name, self._schema(table, frame)).column)).cast(pl.String)
            wanted = given == text if text is not None else given.is_null() | given.str.strip_chars().is_in(NULLS)
            same = frame.with_row_index("_row_").filter(wanted)
            at = self._collect(table, same.select(pl.col("_row_").min()))["_row_"][0]
            if at is not None:
                return f"{path.name}, row {at + (1 if path.suffix == '.parquet' else 2)}"
        raise SourceError(
            f"source files: {self._named(table.name)} was changed while it was read; run again when it is complete"
        )


def _inside(table: Table, read: dict[str, pl.Expr], first: date, last: date) -> pl.Expr:
    """Whether a row is dated in [first, last], or its interval overlaps it, or it has no date. ``read``: values by column."""
    if table.name in DATED_BY:
        day = read[DATED_BY[table.name]]
        return day.is_between(first, last) | day.is_null()
    start, end = read[INTERVAL_TABLES[table.name]], read[INTERVAL_ENDS[table.name]]
    return (start <= last) & (end.is_null() | (end > first)) | start.is_null()


def _read_mapping(path: Path | None) -> tuple[bytes, dict[str, Any]]:
    """As it stands in the file, and parsed."""
    if path is None:
        return b"", {}
    try:
        text = path.read_bytes()
        content = tomllib.loads(text.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SourceError(
            f"source files: the mapping {path} can't be read, which is a TOML file in UTF-8: {error}"
        ) from error
    for name, section in content.items():
        if name != "source" and name not in _TABLES:
            raise SourceError(f"{path}: [{name}] is no canonical table; they are {', '.join(_TABLES)}")
        allowed = {"kind"} if name == "source" else {"file", "columns"}
        if not isinstance(section, dict) or set(cast(dict[str, Any], section)) - allowed:
            raise SourceError(f"{path}: [{name}] may hold {', '.join(sorted(allowed))}; found {section}")
    return text, content


def _table_rules(table_name: str, section: dict[str, Any], where: str) -> dict[str, ColumnRule]:
    """Column rules of one table's section of the mapping."""
    table = _TABLES[table_name]
    rules: dict[str, ColumnRule] = {}
    for name, written in section.get("columns", {}).items():
        if name not in table.column_names[1:]:
            raise SourceError(
                f"{where}: [{table_name}.columns] names {name!r}, which is no column of {table_name}; "
                f"they are {', '.join(table.column_names[1:])}"
            )
        rules[name] = column_rule(table.column(name), written, f"{where}: {table_name}.columns.{name}")
    return rules
