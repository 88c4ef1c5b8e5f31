"""The data dictionary, written from the definitions that also make the tables, the checks and the lineage.

``python -m rotation_pipeline.warehouse.dictionary > docs/data-dictionary.md`` regenerates the committed file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rotation_pipeline.market.schema import Column, Table
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.lineage import direct_sources

COMMAND = "python -m rotation_pipeline.warehouse.dictionary > docs/data-dictionary.md"
SCHEMAS: dict[str, str] = {
    "raw": "What a source delivered and the sanity rules let in, unadjusted and in canonical units.",
    "truth": "The hidden state of the simulated market, kept to judge results by; no stage reads it. Empty with real data.",
    "staging": "Views of the raw tables with readable identifiers, one for one.",
    "intermediate": "Prepared inputs: adjusted prices, what was public by a month's last close, who was a member.",
    "marts": "What people query: one folder of the package for each group of tables, and two views over all of them.",
}
"""Schemas in the order of the data flow."""
_HEAD = f"""# Data dictionary

Generated from the table definitions; do not edit. Regenerate with

```sh
{COMMAND}
```

Every table is partitioned by `month`, the first calendar day of the month. A value stamped *t* is known at the close of
*t*; a return stamped *t* covers (t − 1, t]; weights and forecasts stamped *t* apply to t + 1. Tables marked *tracked*
also carry `run_id`, the configuration that made the row (see `meta.runs`, [architecture](architecture.md)). A column of
type `ASSET` is stored as the integer `asset_key`, with the readable `asset_id` (600519.SH) beside it. A column may be null
only where its entry says what null means. *From* names the columns it was computed from, one step back;
`rotation lineage TABLE.COLUMN` follows them to the raw ones.
"""


def dictionary_markdown() -> str:
    """Every table by schema: meaning, key, and each column with type, unit, meaning, null, range and sources.

    Raises KeyError for a table in a schema that ``SCHEMAS`` does not describe.
    """
    by_schema: dict[str, list[Table]] = {schema: [] for schema in SCHEMAS}
    for table in catalog().values():
        by_schema[table.schema].append(table)
    parts = [_HEAD]
    for schema, tables in by_schema.items():
        parts.append(f"## {schema}\n\n{SCHEMAS[schema]}\n")
        parts.extend(_section(table) for table in tables)
    return "\n".join(parts)


def _section(table: Table) -> str:
    facts = [f"key ({', '.join(table.key)})"]
    facts += ["view"] if table.view else []
    facts += ["tracked"] if table.tracked and not table.view else []
    facts += [f"at least {table.minimum_rows} rows a month"] if table.minimum_rows else []
    facts += [f"rows with another {', '.join(table.scope)} stay when a month is rewritten"] if table.scope else []
    lines = [
        f"### {table.full_name}",
        "",
        f"{table.meaning[:1].upper()}{table.meaning[1:]}. *{'; '.join(facts)}*",
        "",
        "| column | type | unit | meaning | null means | range | from |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(table, column) for column in table.columns]
    return "\n".join(lines) + "\n"


def _row(table: Table, column: Column) -> str:
    meaning = column.meaning + (" (differs between equal runs)" if column.volatile else "")
    cells = (
        f"`{column.name}`", column.type, column.unit, meaning, column.null or "never", _range(column),
        "; ".join(_sources(table, column)),
    )  # fmt: skip
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _range(column: Column) -> str:
    if column.allowed:
        return ", ".join(column.allowed)
    if column.minimum is not None and column.maximum is not None:
        return f"{column.minimum:g} to {column.maximum:g}"
    if column.minimum is not None:
        return f"≥ {column.minimum:g}"
    return "" if column.maximum is None else f"≤ {column.maximum:g}"


def _sources(table: Table, column: Column) -> Iterator[str]:
    """Direct sources, sorted, the columns of one table together: ``raw.daily_bars: close, volume``."""
    grouped: dict[str, list[str]] = {}
    for source in direct_sources(f"{table.full_name}.{column.name}"):
        owner, _, name = source.rpartition(".")
        grouped.setdefault(owner, []).append(name)
    for owner, names in sorted(grouped.items()):
        yield f"{owner}: {', '.join(sorted(names))}"


def _escaped(text: str) -> str:
    """Text that keeps within its cell: no bar, no line break."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(dictionary_markdown())
