"""What is wrong with a file that can't be read, in words: which of several it is, in which row, and what to do about it.

Asked only when something failed: to find a row, a file is read once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from rotation_pipeline.market.schema import Column

_DAY_FORMATS = (
    "%Y-%m-%d",
    "%Y%m%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
)
_TO_UTF8 = "write it as UTF-8, for example with: iconv -f GB18030 -t UTF-8 OLD > NEW"
_NO_CHARACTER = "\ufffd"


def opened(files: Sequence[Path]) -> pl.LazyFrame:
    """Files of one kind, one after the other; every CSV column as text, so that a wrong value can be named."""
    if files[0].suffix == ".parquet":
        return pl.scan_parquet(list(files), glob=False)
    return pl.scan_csv(list(files), infer_schema=False, glob=False)


def fault(files: Sequence[Path], error: Exception) -> str:
    """A sentence on which of ``files``, that can't be read as one table, is at fault; empty where nothing can be said."""
    first: list[str] | None = None
    for path in files:
        try:
            columns = [
                f"{name} ({kind})" if path.suffix == ".parquet" else name
                for name, kind in opened([path]).collect_schema().items()
            ]
        except (pl.exceptions.PolarsError, OSError):
            return f" It is {path.name}." if len(files) > 1 else ""
        told = strange_header([name.partition(" (")[0] for name in columns])
        if told:
            return f" Look at {path.name}. {told}."
        first = columns if first is None else first
        if columns != first:
            own, lacking = (
                [name for name in columns if name not in first],
                [name for name in first if name not in columns],
            )
            differs = (
                f"has {', '.join(own) or 'nothing else'} and lacks {', '.join(lacking) or 'nothing'}"
                if own or lacking
                else "has them in another order"
            )
            return f" {path.name} {differs}, compared with {files[0].name}: files of one table need the same columns."
    return _broken_row(files, error)


def _broken_row(files: Sequence[Path], error: Exception) -> str:
    """Which of files with the same columns breaks off, and where."""
    for path in files:
        try:
            if len(files) > 1:
                opened([path]).select(pl.all().count()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as own:
            return _broken_row([path], own) or f" It is {path.name}."
    path = files[0]
    if path.suffix == ".parquet" or len(files) > 1:
        return ""
    if "more fields" in str(error):
        row = _row(
            path, pl.col("line").str.replace_all('"[^"]*"', "").str.count_matches(",", literal=True) > _commas(path)
        )
        return f" Row {row} of {path.name} has more values than there are names: write numbers without separators of thousands, or in quotes texts that hold a comma." if row else ""  # fmt: skip
    if "utf" in str(error).lower():
        row = _row(path, pl.col("line").str.contains(_NO_CHARACTER, literal=True))
        return f" Row {row} of {path.name} is the first that is not; {_TO_UTF8}." if row else ""
    return ""


def _lines(path: Path) -> pl.LazyFrame:
    """Lines of a text file as they stand there."""
    return pl.scan_csv(
        path, has_header=False, separator="\x1f", quote_char=None, infer_schema=False, schema={"line": pl.String},
        truncate_ragged_lines=True, encoding="utf8-lossy", glob=False,
    )  # fmt: skip


def _commas(path: Path) -> int:
    text = _lines(path).head(1).collect()["line"][0]
    return int(pl.Series([text]).str.replace_all('"[^"]*"', "").str.count_matches(",", literal=True)[0])


def _row(path: Path, wrong: pl.Expr) -> int | None:
    """Number of the first line that is ``wrong``; the line of names is row 1."""
    try:
        at = (
            _lines(path).with_row_index("_row_").filter(wrong).select(pl.col("_row_").min()).collect(engine="streaming")
        )
    except (pl.exceptions.PolarsError, OSError):  # as where a compressed file breaks off: then no row is named
        return None
    found = at["_row_"][0]
    return None if found is None else int(found) + 1


def strange_header(columns: Sequence[str]) -> str:
    """What a first line tells that is none of a CSV in UTF-8, and the remedy; empty for one that may be."""
    text = ",".join(columns)
    start = text.lstrip().lower()
    if start.startswith("pk\x03\x04"):
        return "It is an Excel workbook or another archive; export the table as CSV"
    if start.startswith("par1"):
        return "It is a Parquet file by another name"
    if _NO_CHARACTER in text or "\0" in text:
        return f"Its first line is not UTF-8; {_TO_UTF8}"
    if start.startswith(("<!doctype", "<html", "<?xml", "{", "[{")):
        return "It is a web page or JSON and no table, as a server sends that refuses; fetch it again"
    separators = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    if len(columns) == 1 and (sign := next((sign for sign in separators if sign in text), None)):
        return f"Its values are separated by {separators[sign]}; write them separated by commas"
    return ""


def day_format(text: str) -> str | None:
    """How a day is written, if it is one of the usual ways."""
    for form in _DAY_FORMATS:
        try:
            datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        return form
    return None


def remedy(column: Column, own: str, text: str, section: str) -> str:
    """What to do about a value of ``column``, called ``own`` in the file, that can't be read. ``section``: where the mapping has it."""
    name = "" if own == column.name else f'column = "{own}", '
    if column.type == "DATE" and (form := day_format(text)):
        return f'Write under {section}: {column.name} = {{ {name}format = "{form}" }}'
    if column.type == "BOOLEAN":
        return f'Correct the file, or write its words under {section}: {column.name} = {{ {name}true = ["..."], false = ["..."] }}'
    if column.type == "DOUBLE":
        return "Correct the file: plain numbers such as 1234.5, no commas or units in them, and nothing or NaN where there is none"
    if column.type == "DATE":
        return f'Correct the file, or write under {section} how days are written: {column.name} = {{ {name}format = "%Y%m%d" }}'
    return f"Correct the file, or write the format or meaning of {column.name} under {section}"
