"""Pages and pictures of the sensitivity study. A page has a section for each market, replaced when its study is run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rotation_pipeline.backtest.sensitivity import Unvaried, standing
from rotation_pipeline.orchestration.reports import replace_text
from rotation_pipeline.reporting.formats import count, percent, plain
from rotation_pipeline.reporting.frames import number, records
from rotation_pipeline.reporting.pictures import Mark, intervals_svg
from rotation_pipeline.reporting.sensitivity import cell_value, unvaried_axes
from rotation_pipeline.reporting.words import Words
from rotation_pipeline.settings import Settings

HEAD = """# Sensitivity

How much does the verdict depend on choices that could have been others? One setting or convention is changed at a time, all
else as in use; each market's section is made by the command in it. The difference is the headline book's Sharpe ratio, after
costs and a year, minus that of static equal weight in the same months, with the 95 % interval of the studentised bootstrap
(Ledoit & Wolf 2008), as in the verdict. Where the book in use has no such parameter, one that has it stands in: the anchored
book for κ, a softmax book for τ and α. An axis that would leave the book in use as it is is not run, and the section says
why. Cost is what the backtest charges; a book that weighs costs itself (mean-variance, decision-focused, or any under nested
selection) and plans with the cost it is charged plans with that of the cell too, because who expects another cost plans with
that one. A lag of one session changes the style weights one session after the month end; a lag of one month sets them from
last month's forecasts. Groups, universe and first month compute the whole chain anew.

Cells share most of their months and are no independent confirmations. Every cell is a trial in `marts.trials`, and the deflated
Sharpe ratio of the next report counts it. No cell but the settings in use is ever the headline.
"""


def market_name(settings: Settings, kind: str) -> str:
    """What a section is called after: the market, its index and sample."""
    where = "Simulated market" if kind == "simulated" else "Real data"
    return f"{where}, {settings.universe.index_id}, {settings.sample.start} to {settings.sample.end}"


def write_sensitivity(
    page: Path, cells: pd.DataFrame, settings: Settings, kind: str, command: str, left: Sequence[Unvaried] = ()
) -> list[Path]:
    """Put the section of this market into the page, and its picture beside it; the paths written. ``left``: axes not varied."""
    title = market_name(settings, kind)
    name = f"sensitivity-{kind}-{settings.universe.index_id.replace('.', '-').lower()}.svg"
    picture = page.parent / "images" / name
    picture.parent.mkdir(parents=True, exist_ok=True)
    replace_text(picture, _picture(cells, title))
    text = page.read_text(encoding="utf-8") if page.exists() else HEAD
    replace_text(page, with_section(text, title, _section(cells, title, f"images/{name}", command, left)))
    return [page, picture]


def with_section(text: str, title: str, section: str) -> str:
    """The page with the section of that market and index in the place of the former one, or at its end."""
    head, *sections = text.split("\n## ")
    market = title.rpartition(",")[0]
    kept = [part for part in sections if not part.startswith(market)]
    place = next((at for at, part in enumerate(sections) if part.startswith(market)), len(kept))
    kept.insert(place, section)
    return "\n\n## ".join(part.strip("\n") for part in (head, *kept)) + "\n"


def _section(cells: pd.DataFrame, title: str, picture: str, command: str, left: Sequence[Unvaried]) -> str:
    words = Words("en")
    found = standing(cells)
    lines = [
        title,
        "",
        f"```bash\n{command}\n```",
        "",
        f"The settings in use rank {found.rank} of {found.cells} distinct cells by the difference. {found.positive} differences are "
        f"above 0, {found.significant} intervals lie above 0 and {found.worse} below. Differences range from "
        f"{plain(found.smallest, 3)} to {plain(found.largest, 3)}, median {plain(found.median, 3)}.",
        "",
        *([unvaried_axes(left, words), ""] if left else []),
        f"![Sharpe ratio minus that of equal weight, one choice changed at a time]({picture})",
        "",
        "| changed | value | Sharpe, net | equal weight | difference | 95 % interval | active share | turnover a year | months |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in records(cells):
        bold = "**" if row["is_default"] else ""
        values = (
            words(f"sensitivity.{row['axis']}"), cell_value(str(row["axis"]), str(row["value"]), words), plain(row["sharpe"]),
            plain(row["baseline_sharpe"]), plain(row["difference"], 3), f"{plain(row['low'], 3)} to {plain(row['high'], 3)}",
            percent(row["active_share"]), percent(row["turnover"], 0), count(row["months"]),
        )  # fmt: skip
        lines.append("| " + " | ".join(f"{bold}{value}{bold}" for value in values) + " |")
    return "\n".join(lines)


def _picture(cells: pd.DataFrame, title: str) -> str:
    words = Words("en")
    nothing = float("nan")
    marks = [
        Mark(
            f"{words('sensitivity.' + str(row['axis']))}: {cell_value(str(row['axis']), str(row['value']), words)}",
            *(nothing if number(row[name]) is None else float(str(row[name])) for name in ("difference", "low", "high")),
            group=str(row["axis"]), marked=bool(row["is_default"]),
        )
        for row in records(cells)
    ]  # fmt: skip
    return intervals_svg(marks, title=title, axis="Sharpe ratio minus that of equal weight, a year")
