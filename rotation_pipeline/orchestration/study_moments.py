"""The study of moments: a simulated market as large as the real one beside real data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from rotation_pipeline.market.calendar import add_months
from rotation_pipeline.market.simulation import SimulationOptions, Simulator
from rotation_pipeline.market.simulation.full_market import full_market_moments, monthly_panel
from rotation_pipeline.market.simulation.moments import moments
from rotation_pipeline.market.tables import DAILY_BARS, DAILY_VALUATION, INDEX_BARS, INDEX_MEMBERS
from rotation_pipeline.sources.base import SourceError

BEGIN, END = "<!-- moments of the large market: rotation study moments -->", "<!-- end of moments -->"
INDEX = "000300.SH"
REAL_DAYS = (date(2013, 6, 1), date(2023, 5, 31))
"""Complete membership of the CSI 300 in the data."""
WARM_UP_MONTHS = 30
FAR = 2.0
"""A ratio of simulated to real beyond this, or below its inverse, is far."""


@dataclass(frozen=True)
class Line:
    """One moment of both markets; ``real`` None where no data are at hand."""

    part: str
    moment: str
    unit: str
    real: float | None
    simulated: float

    @property
    def far(self) -> bool:
        """More than a factor :data:`FAR` apart; of correlations and skewness also where the sign differs."""
        if self.real is None or self.moment.startswith("names"):
            return False
        small = 0.05 if self.unit in ("correlation", "excess", "1") else 0.0
        if max(abs(self.real), abs(self.simulated)) <= small:
            return False
        return not 1 / FAR <= (self.simulated / self.real if self.real else float("inf")) <= FAR


def simulated(stocks: int, years: int, seed: int, tell: Callable[[str], None]) -> Mapping[str, pl.DataFrame]:
    """Moments of a market of ``stocks`` names over ``years`` up to 2024-12: daily ones of its index, monthly ones of all."""
    last = date(2024, 12, 1)
    start = add_months(last, 1 - 12 * years)
    sizes = {"n_stocks": stocks, "n_members": min(300, stocks), "n_spare": max(30, stocks // 10)}
    options = replace(SimulationOptions(seed=seed), index_id=INDEX, start_month=f"{start:%Y-%m}", **sizes)
    simulator = Simulator(options)
    tell(f"simulating {options.total} names, {start:%Y-%m} to {last:%Y-%m}")
    simulator.advance(last)
    records = simulator.records
    members = records.intervals(INDEX_MEMBERS, simulator.standing, simulator.membership, last)
    keys = members["asset_key"].unique().implode()
    tell("daily bars")
    bars = records.dated(DAILY_BARS)
    begin = add_months(start, min(WARM_UP_MONTHS, 6 * years))
    of_index = bars.filter(pl.col("asset_key").is_in(keys) & (pl.col("day") >= begin))
    bars = bars.select("asset_key", "day", "close", "prev_close", "adj_factor", "amount", "is_suspended", "is_st")
    valuation = records.dated(DAILY_VALUATION)
    tell("monthly panel")
    panel = monthly_panel(bars, valuation)
    del bars
    valued = valuation.filter(pl.col("asset_key").is_in(keys) & (pl.col("day") >= begin))
    del valuation
    tables = {
        "daily_bars": of_index, "daily_valuation": valued, "index_members": members, "index_bars": records.dated(INDEX_BARS),
    }  # fmt: skip
    tell("moments")
    return {"index": moments(tables, INDEX), "market": full_market_moments(panel)}


def real(path: Path) -> Mapping[str, pl.DataFrame]:
    """The same of real data under ``path``: CSI 300 members daily, all A shares monthly; what is not there is left out."""
    found: dict[str, pl.DataFrame] = {}
    folder, stocks = path / "csi300", path / "references" / "ashare_all_monthly_2010_2022.parquet"
    if folder.is_dir():
        names = ("index_bars", "daily_bars", "daily_valuation", "index_members", "listings")
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in names}
        tables["daily_bars"] = tables["daily_bars"].filter(pl.col("day").is_between(*REAL_DAYS))
        found["index"] = moments(tables, INDEX)
    if stocks.is_file():
        rows = pl.read_parquet(stocks)
        panel = rows.select(
            pl.col("code").alias("asset"), "month", pl.col("ret").cast(pl.Float64), (pl.col("total_mv_wan").cast(pl.Float64) * 1e4).alias("size"),
            (pl.col("amount_wan") / pl.col("float_mv_wan")).cast(pl.Float64).alias("turnover"), pl.col("daily_ret_std").alias("daily_volatility"),
            pl.col("max_daily_ret").alias("largest"), pl.col("ndays").cast(pl.Int64).alias("traded"), "is_st",
        )  # fmt: skip
        whole = panel.filter(pl.col("month").is_between(date(2010, 1, 1), date(2021, 12, 1)))
        found["market"] = full_market_moments(whole)
    if not found:
        raise SourceError(f"{path} holds neither csi300 nor references; give the folder that does (--path)")
    return found


def run_study(
    path: Path | None, stocks: int, years: int, seed: int, tell: Callable[[str], None] = lambda _text: None
) -> list[Line]:
    """Every moment of both; without ``path`` of the simulated market alone."""
    known = {} if path is None else real(path)
    mine = simulated(stocks, years, seed, tell)
    lines: list[Line] = []
    for part, frame in mine.items():
        values = dict(known[part].select("moment", "value").iter_rows()) if part in known else {}
        for moment, unit, value in frame.select("moment", "unit", "value").iter_rows():
            lines.append(Line(part, moment, unit, values.get(moment), value))
    return lines


_TITLES = {
    "index": "Daily, the 300 members of the index. Real: CSI 300, 2013-06 to 2023-05.",
    "market": "Monthly, every stock. Real: all A shares, 2010 to 2021.",
}


def markdown(lines: list[Line], command: str) -> str:
    """The section between :data:`BEGIN` and :data:`END`."""
    text = f"{BEGIN}\n\nMade by `{command}`; options of the market but for its size, index and first month are the defaults. **far**: more than a factor {FAR:g} from the real value, or of the other sign.\n"
    for part, title in _TITLES.items():
        text += f"\n{title}\n\n| moment | unit | | real | simulated |\n|---|---|---|---|---|\n"
        for line in lines:
            if line.part == part:
                known = "" if line.real is None else f"{line.real:.3g}"
                text += f"| {line.moment} | {line.unit} | {'**far**' if line.far else ''} | {known} | {line.simulated:.3g} |\n"
    return f"{text}\n{END}\n"


def into_page(page: Path, section: str) -> None:
    """Put the section in the place of the one before. Raises ValueError for a page without the two marks."""
    old = page.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}; write them where the table belongs")
    head, rest = old.split(BEGIN, 1)
    page.write_text(head + section.rstrip("\n") + rest.split(END, 1)[1], encoding="utf-8")
