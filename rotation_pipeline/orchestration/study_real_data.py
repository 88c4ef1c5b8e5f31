"""The study of real data: every published check of the data beside the project, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.real_data import Check, check_folder, factor_checks

FOLDERS: dict[str, tuple[str, int, date, date]] = {
    "sse50": ("000016.SH", 50, date(2013, 6, 1), date(2025, 3, 1)),
    "csi300": ("000300.SH", 300, date(2013, 6, 1), date(2023, 5, 1)),
}
"""Canonical folders: index, members, first and last month of complete membership."""
STOCKS, PUBLISHED = (
    Path("references/ashare_all_monthly_2010_2022.parquet"),
    Path("factors/china_ch3_monthly_2000_2021.csv"),
)


def run_study(path: Path, listen: Callable[[str], None] = lambda _name: None) -> list[Check]:
    """The checks of whatever of the folders and series is under ``path``. Raises SourceError if nothing is."""
    now, found = datetime.now(UTC).replace(tzinfo=None), list[Check]()
    for name, (index_id, count, first, last) in FOLDERS.items():
        if (path / name).is_dir():
            listen(name)
            found += check_folder(path / name, index_id, count, first, last, fetched_at=now)
    if (path / STOCKS).is_file() and (path / PUBLISHED).is_file():
        listen("references")
        published = pl.read_csv(path / PUBLISHED, try_parse_dates=True)
        found += factor_checks(pl.read_parquet(path / STOCKS), published, _listings(path))
    if not found:
        names = ", ".join([*FOLDERS, str(STOCKS)])
        raise SourceError(f"{path} holds none of {names}; give the folder that does (--path)")
    return found


def _listings(path: Path) -> pl.DataFrame:
    """First days of the companies of whatever of the folders is there: of the larger names, as a market's listings are not."""
    none = pl.DataFrame(schema={"asset_id": pl.String, "listed_on": pl.Date})
    files = [path / name / "listings.parquet" for name in FOLDERS]
    known = [pl.read_parquet(file, columns=none.columns) for file in files if file.is_file()]
    return pl.concat([none, *known]).unique()


def markdown(checks: Sequence[Check]) -> str:
    """The table as documentation has it."""
    head = "| data | check | expected | found | holds | note |\n|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| {one.data} | {one.check} | {one.expected} | {one.found} | {'yes' if one.holds else '**no**'} | {one.note} |\n"
        for one in checks
    )
