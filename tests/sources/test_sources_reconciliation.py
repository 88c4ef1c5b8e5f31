"""Two sources held against each other: each planted mistake is found and named, and sound sources agree."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rotation_pipeline.market.calendar import months_between
from rotation_pipeline.market.identifiers import with_asset_id
from rotation_pipeline.market.schema import Table
from rotation_pipeline.market.simulation import SimulationOptions, simulate
from rotation_pipeline.market.tables import SOURCE_TABLES
from rotation_pipeline.orchestration.reconcile import Side, reconcile
from rotation_pipeline.settings import load_settings
from rotation_pipeline.sources.base import SourceError
from rotation_pipeline.sources.canonical import partitioned
from rotation_pipeline.sources.options import ReconcileOptions
from rotation_pipeline.sources.reconciliation import Reconciler, Reconciliation, common

MONTHS = months_between(date(2012, 5, 1), date(2012, 7, 1))
Frames = dict[str, pl.DataFrame]
CLOSES = ("close", "prev_close")
OPTIONS = SimulationOptions(n_stocks=30, n_members=30, n_spare=20, start_month="2012-02")


@pytest.fixture(scope="module")
def delivered() -> Frames:
    """Canonical rows of the simulated market, as a source hands them over."""
    return dict(simulate(OPTIONS, MONTHS[-1]).tables)


def stored(delivered: Frames) -> Frames:
    """By month, with the month before the first one, which its first returns are measured from."""

    def one(table: Table) -> pl.DataFrame:
        return partitioned(table, delivered[table.name], months_between(date(2012, 4, 1), MONTHS[-1]))

    return {table.name: one(table) for table in SOURCE_TABLES}


def held(a: Frames, b: Frames, options: ReconcileOptions | None = None) -> Reconciliation:
    found = Reconciler(options or ReconcileOptions())
    for month in MONTHS:
        found.add(stored(a), stored(b), [month])
    return found.result()


def with_column(frames: Frames, table: str, **columns: pl.Expr) -> Frames:
    return {**frames, table: frames[table].with_columns(**columns)}


def column(found: Reconciliation, table: str, name: str) -> dict[str, Any]:
    return found.columns.filter((pl.col("table") == table) & (pl.col("column") == name)).row(0, named=True)


def test_a_source_agrees_with_itself(delivered: Frames) -> None:
    found = held(delivered, delivered)
    assert found.agree
    assert found.named == ()
    assert found.worst.is_empty()
    assert found.missing.is_empty()
    bars = delivered["daily_bars"].filter(pl.col("day") >= MONTHS[0])
    assert found.rows.filter(pl.col("table") == "daily_bars").row(0) == ("daily_bars", *[bars.height] * 3, 0, 0)
    assert column(found, "daily_bars", "close")["compared"] == bars.height
    # each traded day has a return but the first of a security: all were listed before these months
    assert column(found, "daily_bars", "return")["compared"] == bars.filter(~pl.col("is_suspended")).height


def test_rounding_of_vendors_is_no_difference(delivered: Frames) -> None:
    """Whole lots, thousands of CNY and another base of the factor."""
    rounded = with_column(
        delivered, "daily_bars",
        volume=(pl.col("volume") / 100).round() * 100, amount=(pl.col("amount") / 1000).round() * 1000,
        adj_factor=pl.col("adj_factor") * 7.0,
    )  # fmt: skip
    assert held(delivered, rounded).agree


def test_each_company_of_a_reused_code_has_a_base_of_its_own(delivered: Frames) -> None:
    """A source may begin the factor of the second company at any number: no return spans the two."""
    key, gone, back = delivered["daily_bars"]["asset_key"].min(), date(2012, 6, 5), date(2012, 6, 20)
    mine, day = pl.col("asset_key") == key, pl.col("day")
    listings = delivered["listings"]
    one, others = listings.filter(mine), listings.filter(~mine)
    second = one.with_columns(listed_on=pl.lit(back))
    first = one.with_columns(delisted_on=pl.lit(gone))
    two = {
        **delivered,
        "daily_bars": delivered["daily_bars"].filter(~mine | (day < gone) | (day >= back)),
        "listings": pl.concat([others, first, second]),
    }
    base = pl.when(mine & (day >= back)).then(7.0).otherwise(1.0)
    assert held(two, with_column(two, "daily_bars", adj_factor=pl.col("adj_factor") * base)).agree
    # the sources may tell different days of the second one's listing: where either of them falls, no return is held
    told = {**two, "listings": pl.concat([others, first, second.with_columns(listed_on=pl.lit(date(2012, 6, 27)))])}
    rebased = with_column(two, "daily_bars", adj_factor=pl.col("adj_factor") * base)
    for sides in ((told, rebased), (rebased, told)):
        found = held(*sides)
        assert column(found, "daily_bars", "return")["beyond"] == 0
        assert column(found, "listings", "listed_on")["beyond"] > 0
    once = {**two, "listings": listings}
    found = held(once, with_column(once, "daily_bars", adj_factor=pl.col("adj_factor") * base))
    assert column(found, "daily_bars", "return")["beyond"] == 1, "one company all the time"


def lots(frames: Frames) -> Frames:
    return with_column(frames, "daily_bars", volume=pl.col("volume") / 100)


def thousands(frames: Frames) -> Frames:
    return with_column(frames, "daily_bars", amount=pl.col("amount") / 1000)


def percent(frames: Frames) -> Frames:
    return with_column(frames, "daily_valuation", turnover_rate=pl.col("turnover_rate") * 100)


def qfq(frames: Frames) -> Frames:
    """Prices forward-adjusted to the last day, so that no factor is needed."""
    last = pl.col("adj_factor").last().over("asset_key")
    ratio = pl.col("adj_factor") / last
    bars = frames["daily_bars"].sort("asset_key", "day")
    names = ("open", "high", "low", "close", "prev_close")
    return {
        **frames,
        "daily_bars": bars.with_columns(
            *((pl.col(name) * ratio).alias(name) for name in names), pl.lit(1.0).alias("adj_factor")
        ),
    }


def missing_day(frames: Frames) -> Frames:
    return {**frames, "daily_bars": frames["daily_bars"].filter(pl.col("day") != date(2012, 6, 14))}


def ex_day(frames: Frames) -> tuple[int, date]:
    """A traded ex-day inside the months."""
    paid = frames["dividends"].filter(
        pl.col("ex_day").is_between(MONTHS[0], date(2012, 7, 31)), pl.col("cash_per_share") > 0
    )
    bars = frames["daily_bars"].filter(~pl.col("is_suspended"))
    found = paid.join(bars, left_on=["asset_key", "ex_day"], right_on=["asset_key", "day"]).sort("ex_day", "asset_key")
    return found["asset_key"][0], found["ex_day"][0]


def wrong_factor(frames: Frames) -> Frames:
    """One dividend is forgotten in the factor: from its ex-day on the factor is too low."""
    key, day = ex_day(frames)
    bars = frames["daily_bars"].sort("asset_key", "day")
    mine = bars.filter(pl.col("asset_key") == key)
    step = mine.filter(pl.col("day") >= day)["adj_factor"][0] / mine.filter(pl.col("day") < day)["adj_factor"][-1]
    assert step > 1.0001
    after = (pl.col("asset_key") == key) & (pl.col("day") >= day)
    return {
        **frames,
        "daily_bars": bars.with_columns(
            pl.when(after).then(pl.col("adj_factor") / step).otherwise(pl.col("adj_factor")).alias("adj_factor")
        ),
    }


def lost_row(frames: Frames) -> Frames:
    key, day = ex_day(frames)
    return {**frames, "daily_bars": frames["daily_bars"].filter((pl.col("asset_key") != key) | (pl.col("day") != day))}


def write_folder(folder: Path, frames: Frames) -> None:
    """A folder for the source `files`, a Parquet file per table."""
    folder.mkdir()
    for table, rows in frames.items():
        text = with_asset_id(rows) if "asset_key" in rows.columns else rows
        text.write_parquet(folder / f"{table}.parquet")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lots, "unit: daily_bars.volume of B is 0.01 times that of A; B counts lots of 100, A shares"),
        (thousands, "unit: daily_bars.amount of B is 0.001 times that of A; B counts thousand CNY, A CNY"),
        (percent, "unit: daily_valuation.turnover_rate of B is 100 times that of A; B is in percent"),
        (missing_day, "missing day: B has no row of daily_bars on 2012-06-14"),
        (lost_row, "missing rows: B lacks 1 rows of daily_bars that the other has"),
    ],
)
def test_a_planted_mistake_is_named_and_nothing_else(
    delivered: Frames, plant: Callable[[Frames], Frames], said: str
) -> None:
    found = held(delivered, plant(delivered))
    assert not found.agree
    assert found.named == (said,)
    turned = held(plant(delivered), delivered)
    assert len(turned.named) == 1
    assert turned.named != found.named


def test_lots_of_some_securities_are_named(delivered: Frames) -> None:
    """As a site does that sends shares for one board and lots for another."""
    few = delivered["daily_bars"]["asset_key"].unique().sort()[:5].to_list()
    mine = pl.when(pl.col("asset_key").is_in(few)).then(pl.col("volume") / 100).otherwise(pl.col("volume"))
    found = held(delivered, with_column(delivered, "daily_bars", volume=mine))
    assert len(found.named) == 1
    said = r"unit: daily_bars\.volume of B is 0\.01 times that of A; B counts lots of 100, A shares; so in \d{3} of \d{4} rows"
    assert re.fullmatch(said, found.named[0])


def test_rows_lost_beside_a_missing_day_are_named_too(delivered: Frames) -> None:
    found = held(delivered, lost_row(missing_day(delivered)))
    assert found.named == (
        "missing day: B has no row of daily_bars on 2012-06-14",
        "missing rows: B lacks 1 rows of daily_bars that the other has",
    )


def test_forward_adjusted_prices_rounded_to_cents_are_named(delivered: Frames) -> None:
    """As vendors send them: their returns differ by what rounding does."""
    cents = {name: pl.col(name).round(2) for name in ("open", "high", "low", "close", "prev_close")}
    found = held(delivered, with_column(qfq(delivered), "daily_bars", **cents))
    assert [text.partition(":")[0] for text in found.named] == ["adjusted prices"]
    assert column(found, "daily_bars", "return")["beyond"] > 0
    noisy = {name: pl.col(name) + 0.01 * (pl.col("day").dt.day() % 2) for name in cents}
    assert held(delivered, with_column(delivered, "daily_bars", **noisy)).named == (), (
        "a cent now and then is no adjustment"
    )


def cheap(frames: Frames) -> Frames:
    """The same market at about 3 CNY a share, in whole cents."""
    level = 3.0 / pl.col("close").mean().over("asset_key")
    return with_column(
        frames, "daily_bars", **{name: (pl.col(name) * level).round(2) for name in ("open", "high", "low", *CLOSES)}
    )


def cents(frames: Frames) -> Frames:
    return with_column(
        frames, "daily_bars", **{name: pl.col(name).round(2) for name in ("open", "high", "low", *CLOSES)}
    )


@pytest.mark.parametrize("level", [cheap, dict])
@pytest.mark.parametrize("noise", [(3, 4, 5), (3, 5), (-4, 3, 5), (3, 4)])
def test_noise_of_a_few_cents_is_no_adjustment(
    delivered: Frames, level: Callable[[Frames], Frames], noise: tuple[int, ...]
) -> None:
    """An average price in place of the close, say: at 3 CNY the rounding of both sides alone is 0.7 % of a day's return."""
    sound = level(delivered)
    drawn = pl.struct("asset_key", "day").hash(seed=1) % len(noise)
    off = drawn.replace_strict({at: 0.01 * one for at, one in enumerate(noise)}, return_dtype=pl.Float64)
    found = held(sound, with_column(sound, "daily_bars", close=pl.col("close") + off))
    assert column(found, "daily_bars", "close")["beyond"] == column(found, "daily_bars", "close")["compared"]
    assert not [text for text in found.named if text.startswith("adjusted prices")]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("split", [1.0, 5.0])
def test_adjusted_prices_of_cheap_shares_are_named(delivered: Frames, split: float, turned: bool) -> None:
    """``split``: shares each became after these months, by which their adjusted prices are lower still."""
    lower = {name: pl.col(name) / split for name in ("open", "high", "low", *CLOSES)}
    sides = (cheap(delivered), cents(with_column(qfq(cheap(delivered)), "daily_bars", **lower)))
    found = held(sides[1], sides[0]) if turned else held(*sides)
    assert [text.partition(":")[0] for text in found.named] == ["adjusted prices"]


def test_prices_less_the_cash_paid_since_are_named(delivered: Frames) -> None:
    """As some sites adjust: the returns are off a little, the closes by the same amount between ex-days."""
    sound = cents(delivered)
    off = {name: pl.col(name) - 0.3 for name in ("open", "high", "low", *CLOSES)}
    found = held(sound, with_column(sound, "daily_bars", **off))
    assert column(found, "daily_bars", "return")["beyond"] > 0
    assert any(text.startswith("adjusted prices") for text in found.named)


def test_two_adjusted_sides_both_rounded_are_named(delivered: Frames) -> None:
    """Forward against backward adjusted prices, of dividends before and after these months: both have their own cents."""

    def adjusted(times: float) -> Frames:
        names = ("open", "high", "low", *CLOSES)
        return cents(with_column(qfq(delivered), "daily_bars", **{name: pl.col(name) * times for name in names}))

    found = held(adjusted(0.937), adjusted(1.171))
    assert [text.partition(":")[0] for text in found.named] == ["adjusted prices"]


def test_forward_adjusted_prices_are_named(delivered: Frames) -> None:
    found = held(delivered, qfq(delivered))
    assert [text.partition(":")[0] for text in found.named] == ["adjusted prices"]
    assert column(found, "daily_bars", "return")["beyond"] == 0
    assert column(found, "daily_bars", "close")["beyond"] > 0


def test_a_wrong_factor_is_named_with_its_security_and_day(delivered: Frames) -> None:
    key, day = ex_day(delivered)
    asset = with_asset_id(pl.DataFrame({"asset_key": [key]}))["asset_id"][0]
    found = held(delivered, wrong_factor(delivered))
    assert len(found.named) == 1
    assert found.named[0].startswith("adjustment factor: 1 returns differ")
    assert found.named[0].endswith(f"wrong on {asset} {day}")
    worst = found.worst.row(0, named=True)
    assert (worst["table"], worst["column"]) == ("daily_bars", "return")
    assert json.loads(worst["row_key"]) == {"asset_id": asset, "day": day.isoformat()}


def test_all_planted_together_are_all_named(delivered: Frames) -> None:
    found = held(delivered, wrong_factor(missing_day(thousands(lots(delivered)))))
    assert {text.partition(":")[0] for text in found.named} == {"unit", "missing day", "adjustment factor"}
    assert len(found.named) == 4


def test_a_wrong_factor_from_a_missing_day_on_is_named(delivered: Frames) -> None:
    """Past a day that one side lacks both are measured alike: the day makes no return differ, the factor one."""
    found = held(delivered, missing_day(delivered))
    assert column(found, "daily_bars", "return")["beyond"] == 0
    key, day = delivered["daily_bars"]["asset_key"].min(), date(2012, 6, 14)
    wrong = pl.when((pl.col("asset_key") == key) & (pl.col("day") >= day)).then(1.03).otherwise(1.0)
    bars = with_column(delivered, "daily_bars", adj_factor=pl.col("adj_factor") * wrong)
    found = held(delivered, missing_day(bars))
    assert column(found, "daily_bars", "return")["beyond"] == 1
    assert found.named[0] == "missing day: B has no row of daily_bars on 2012-06-14"
    assert re.match(r"adjustment factor: 1 returns differ .* on \d{6}\.S[HZ] 2012-06-15$", found.named[1])


def test_worst_rows_come_first_and_are_bounded(delivered: Frames) -> None:
    key, day = ex_day(delivered)
    at = (pl.col("asset_key") == key) & (pl.col("day") == day)
    other = with_column(
        delivered, "daily_bars", high=pl.when(at).then(pl.col("high") * 2).otherwise(pl.col("high") * 1.01)
    )
    found = held(delivered, other, ReconcileOptions(worst=5))
    assert found.worst.height == 5
    assert found.worst["size"].is_sorted(descending=True)
    assert found.worst["size"][0] == pytest.approx(0.5)
    looser = held(delivered, other, ReconcileOptions(price=0.02))
    assert column(looser, "daily_bars", "high")["beyond"] == 1


def test_months_one_by_one_equal_all_at_once(delivered: Frames) -> None:
    other = wrong_factor(missing_day(delivered))
    at_once = Reconciler()
    at_once.add(stored(delivered), stored(other), MONTHS)
    one, all_of_it = held(delivered, other), at_once.result()
    assert one.rows.equals(all_of_it.rows)
    assert one.columns.equals(all_of_it.columns)
    assert one.worst.equals(all_of_it.worst)
    assert one.named == all_of_it.named


def test_sources_of_different_coverage_compare_what_both_have(delivered: Frames) -> None:
    keys = delivered["daily_bars"]["asset_key"].unique().sort()[:20].to_list()
    fewer = {
        name: rows.filter(pl.col("asset_key").is_in(keys)) if "asset_key" in rows.columns else rows
        for name, rows in delivered.items()
    }
    a, b = common(stored(delivered), stored(fewer))
    found = Reconciler()
    found.add(a, b, MONTHS)
    assert found.result().agree
    assert found.result().rows.filter(pl.col("table") == "listings")["a"][0] == 20 * len(MONTHS)
    assert not held(delivered, fewer).agree


def test_agreement_about_nothing_is_none(delivered: Frames) -> None:
    """Securities of which the other side has none, and sides without a table in common."""
    rows, settings = stored(delivered), load_settings()
    keys = rows["daily_bars"]["asset_key"].unique().sort().to_list()

    def side(name: str, frames: Frames) -> Side:
        return Side(name, MONTHS[0], MONTHS[-1], lambda _first, _last: frames)

    halves = [
        side(
            name,
            {
                table: part.filter(pl.col("asset_key").is_in(chosen)) if "asset_key" in part.columns else part
                for table, part in rows.items()
            },
        )
        for name, chosen in (("low", keys[:15]), ("high", keys[15:]))
    ]
    with pytest.raises(SourceError, match="nothing was compared: low and high have no security with bars in common"):
        reconcile(halves[0], halves[1], settings, MONTHS, only_common=True)
    days, bars = (side(name, {name: rows[name]}) for name in ("trading_days", "daily_bars"))
    with pytest.raises(SourceError, match="have no table with rows of these months in common"):
        reconcile(days, bars, settings, MONTHS)
    assert reconcile(halves[0], halves[0], settings, MONTHS, only_common=True).agree


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (lots, "unit: daily_bars.volume of B is 0.01 times that of A; B counts lots of 100, A shares"),
        (thousands, "unit: daily_bars.amount of B is 0.001 times that of A; B counts thousand CNY, A CNY"),
        (qfq, "one side's prices are adjusted (qfq or hfq), canonical ones are not"),
        (missing_day, "missing day: B has no row of daily_bars on 2012-06-14"),
    ],
)
def test_the_command_names_each_planted_mistake(
    rotation: Any, delivered: Frames, tmp_path: Path, plant: Callable[[Frames], Frames], said: str
) -> None:
    for name, frames in (("a", delivered), ("b", plant(delivered))):
        write_folder(tmp_path / name, frames)
    answer = rotation("reconcile", tmp_path / "a", tmp_path / "b", "--from", "2012-05", "--to", "2012-07")
    assert answer.code == 1
    assert said in answer.stdout
    assert "They differ." in answer.stdout


def test_the_command(rotation: Any, delivered: Frames, tmp_path: Path) -> None:
    for name, frames in (("a", delivered), ("b", wrong_factor(delivered))):
        write_folder(tmp_path / name, frames)
    same = rotation("reconcile", tmp_path / "a", tmp_path / "a", "--from", "2012-05", "--to", "2012-07")
    assert same.code == 0
    assert "They agree." in same.stdout
    answer = rotation("reconcile", tmp_path / "a", tmp_path / "b", "--from", "2012-05", "--to", "2012-07", "--json")
    assert answer.code == 1
    assert answer.json["named"][0].startswith("adjustment factor")
    text = rotation("reconcile", tmp_path / "a", tmp_path / "b", "--from", "2012-05")
    assert (text.code, "They differ." in text.stdout, "worst rows" in text.stdout) == (1, True, True)
    worst = text.stdout.partition("worst rows")[2].splitlines()
    assert re.match(r"daily_bars +return +\d{6}\.S[HZ] 2012-\d\d-\d\d( +-?0\.\d{1,12}){2} +0\.013$", worst[2])
    loose = rotation(
        "reconcile",
        tmp_path / "a",
        tmp_path / "b",
        "--from",
        "2012-05",
        "--to",
        "2012-07",
        "--set",
        "reconcile.returns=0.5",
    )
    assert loose.code == 0
    assert rotation("reconcile", tmp_path / "a", "nowhere").code == 2
    none = rotation("reconcile", tmp_path / "a", tmp_path / "b", "--from", "2020-01", "--to", "2020-02")
    assert none.code == 1
    assert "not 2020-01; choose months both have" in none.stderr
