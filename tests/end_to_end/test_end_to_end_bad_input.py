"""Bad input through the graph: what is wrong is named, and what was stored stays as it was.

What can be wrong            Where it is tested through the graph (here unless a file is named), and closer by
---------------------------  -------------------------------------------------------------------------------------------
missing file                 test_a_missing_file_is_refused; sources/test_sources_files.py
missing column               test_a_broken_delivery_is_refused[missing column]; sources/test_sources_files.py
wrong unit                   test_a_broken_delivery_is_refused[volume in lots, amount …, weights …]; market/test_market_sanity_bars.py
duplicate key                test_a_single_bad_row_is_kept_out[duplicate key], …is_refused[many duplicates]
gap in the calendar          test_a_broken_delivery_is_refused[gap in the calendar], test_a_session_without_a_row_is_told
prices ≤ 0                   test_a_single_bad_row_is_kept_out[price of zero, negative price], …is_refused[many …]
a future announcement date   test_a_report_announced_before_its_period_ended_is_kept_out,
                             test_what_is_announced_later_is_not_known_earlier
a month with too few stocks  test_a_month_with_too_few_stocks_is_refused; factors/test_factors_exposures.py
an all-null factor           test_a_factor_without_information_has_no_score[all null]; factors/test_factors_exposures.py
a constant series            test_a_factor_without_information_has_no_score[constant]; factors/test_factors_exposures.py,
                             factors/test_factors_evidence.py, allocation/test_allocation_rules.py
months the source lacks      test_months_the_source_lacks_are_refused; sources/test_sources_ingest.py
a code used again            test_nothing_of_another_company_of_the_same_code_is_seen; sources/test_sources_codes.py
a database that is locked    test_cli.py; warehouse/test_warehouse_store.py
a database of older layout   test_a_database_of_an_older_layout_is_refused; warehouse/test_warehouse_store.py
a full disk                  test_a_full_disk_changes_nothing; warehouse/test_warehouse_store.py
interruption in the middle   test_end_to_end_graph.py (killed outright); test_cli.py (Ctrl-C);
                             warehouse/test_warehouse_store.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from conftest import small_settings

from rotation_pipeline.factors.errors import TooFewNames
from rotation_pipeline.market.calendar import month_last_day, months_between
from rotation_pipeline.market.identifiers import asset_key, with_asset_id
from rotation_pipeline.market.simulation import SimulationOptions, simulate
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings
from rotation_pipeline.warehouse.catalog import catalog
from rotation_pipeline.warehouse.errors import DiskFull, LayoutMismatch
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

GOOD, BAD = [date(2013, 12, 1), date(2014, 1, 1)], date(2014, 2, 1)
HISTORY = months_between(date(2011, 11, 1), date(2014, 1, 1))
"""Market data goes back further than exposures."""
MARKET = ["raw_market_data", "staging", "adjusted_bars", "fundamentals_as_of", "index_daily", "index_monthly",
          "stock_snapshot", "universe", "factor_exposures"]  # fmt: skip
Frames = dict[str, pl.DataFrame]
IN_BAD = pl.col("day").is_between(BAD, month_last_day(BAD))


@dataclass(frozen=True)
class World:
    """A sound folder of files, and a database that holds its good months."""

    frames: Frames
    folder: Path
    database: Path


def settings_of(folder: Path, database: Path) -> Settings:
    return small_settings(
        database.parent, source={"name": "files", "path": folder}, universe={"members": 24},
        sample={"start": "2014-02", "end": "2014-02", "history_months": 27, "style_history_months": 2},
    ).model_copy(update={"database": database})  # fmt: skip


def write(frames: Frames, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    base = tmp_path_factory.mktemp("world")
    options = SimulationOptions(n_stocks=24, n_members=24, n_spare=15, start_month="2011-10")
    market = simulate(options, BAD)
    frames = {
        name: with_asset_id(frame) if "asset_key" in frame.columns else frame for name, frame in market.tables.items()
    }
    folder = write(frames, base / "sound")
    database = base / "good.duckdb"
    settings = settings_of(folder, database)
    with open_warehouse(database, threads=2) as warehouse:
        run_graph(warehouse, settings, HISTORY, only=MARKET)
        assert warehouse.months("raw.daily_bars") == HISTORY
        assert warehouse.months("marts.factor_exposures") == GOOD
    return World(frames, folder, database)


class Attempt:
    """The bad month into a copy of the database with the good ones."""

    def __init__(self, world: World, folder: Path, base: Path) -> None:
        self.path = base / "attempt.duckdb"
        shutil.copy(world.database, self.path)
        self.settings = settings_of(folder, self.path)
        with open_warehouse(self.path, read_only=True, threads=2) as warehouse:
            self.before = stored(warehouse)

    def run(self, months: list[date] | None = None, only: list[str] | None = None) -> None:
        with open_warehouse(self.path, threads=2) as warehouse:
            run_graph(warehouse, self.settings, months or [BAD], only=only or MARKET)

    def after(self) -> dict[str, list[tuple[object, ...]]]:
        with open_warehouse(self.path, read_only=True, threads=2) as warehouse:
            return stored(warehouse)

    def refused(self, error: type[Exception], *parts: str) -> None:
        """The run fails with every one of ``parts`` in its message, and nothing at all has changed."""
        with pytest.raises(error) as caught:
            self.run()
        for part in parts:
            assert part in str(caught.value)
        assert self.after() == self.before

    def findings(self) -> pl.DataFrame:
        with open_warehouse(self.path, read_only=True, threads=2) as warehouse:
            return warehouse.read("raw.quarantine", first=BAD)

    def good_months_untouched(self) -> None:
        after = self.after()
        for name, rows in self.before.items():
            assert [row for row in after[name] if row[0] != BAD] == rows, name


def stored(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, ``month`` first."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for name, table in catalog().items():
        if not table.view:
            extra = ", run_id" if table.tracked else ""
            found[name] = warehouse.execute(f"SELECT {', '.join(table.stored_names)}{extra} FROM {name} ORDER BY ALL")
    return found


@pytest.fixture
def attempt(world: World, tmp_path: Path) -> Callable[[Frames], Attempt]:
    """``attempt({table: frame})``: the sound folder with these tables in place of its own."""

    def make(changed: Frames) -> Attempt:
        return Attempt(world, write({**world.frames, **changed}, tmp_path / "files"), tmp_path)

    return make


def nth(column: str, value: object, rows: int = 1) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """``value`` in ``column`` of the first ``rows`` rows of the bad month."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        hit = IN_BAD & (IN_BAD.cum_sum() <= rows)
        return frame.with_columns(pl.when(hit).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))

    return change


def scaled(column: str, factor: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns((pl.col(column) * factor).alias(column))


def doubled(rows: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: pl.concat([frame, frame.filter(IN_BAD).head(rows)])


def without(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.drop(column)


def first_row(frame: pl.DataFrame) -> tuple[str, str]:
    row = frame.filter(IN_BAD).row(0, named=True)
    return row["asset_id"], str(row["day"])


# ---------------------------------------------------------------------- sound data, so that the tests below can fail


def test_the_sound_month_goes_through_and_is_found_faultless(attempt: Callable[[Frames], Attempt]) -> None:
    sound = attempt({})
    sound.run()
    assert sound.findings().is_empty()
    sound.good_months_untouched()
    after = sound.after()
    for name in ("intermediate.universe", "marts.factor_exposures"):
        assert {row[0] for row in after[name]} == {*GOOD, BAD}
    assert {row[0] for row in after["raw.daily_bars"]} == {*HISTORY, BAD}
    kept = {name for stage in stages() if stage.name in MARKET for name in stage.tables}
    assert all(after[name] == [] for name in after if name not in kept)


# ---------------------------------------------------------------------- the delivery is wrong: an error, nothing stored


def test_a_missing_file_is_refused(world: World, tmp_path: Path) -> None:
    folder = write({name: frame for name, frame in world.frames.items() if name != "daily_bars"}, tmp_path / "files")
    Attempt(world, folder, tmp_path).refused(ValueError, "files", "daily_bars", "can't do without")


@pytest.mark.parametrize(
    ("table", "change", "parts"),
    [
        pytest.param(
            "daily_bars", without("volume"),
            ["daily_bars.parquet", "no column 'volume'", "shares", "[daily_bars.columns]", 'volume = "..."'], id="missing column",
        ),
        pytest.param(
            "daily_bars", scaled("volume", 0.01),
            ["daily_bars 2014-02", "1_amount_per_share", "First rows", 'volume = { column = "...", factor = 100 }'], id="volume in lots",
        ),
        pytest.param(
            "daily_bars", scaled("amount", 0.001),
            ["daily_bars 2014-02", "1_amount_per_share", "First rows", 'amount = { column = "...", factor = 1000 }'], id="amount in thousands",
        ),
        pytest.param(
            "index_weights", scaled("weight", 100.0), ["index_weights 2014-02", "First rows", "weight"], id="weights in percent",
        ),
        pytest.param(
            "daily_bars", doubled(60),
            ["daily_bars 2014-02", "7_duplicate_key", "First rows", "Remove the copies at the source"], id="many duplicates",
        ),
        pytest.param("daily_bars", nth("close", 0.0, 60), ["daily_bars 2014-02", "First rows", "close"], id="many prices of zero"),
        pytest.param("daily_bars", nth("low", -1.0, 60), ["daily_bars 2014-02", "First rows", "low"], id="many negative prices"),
        pytest.param(
            "trading_days", lambda frame: frame.filter(pl.col("day") != date(2014, 2, 12)),
            ["trading_days 2014-02", "7_missing_session", '{"day":"2014-02-12"}', "Add the missing sessions"], id="gap in the calendar",
        ),
        pytest.param(
            "daily_bars", lambda frame: frame.with_columns(pl.lit("600519").alias("asset_id")),
            ["daily_bars.parquet", "'600519' in column asset_id"], id="ambiguous identifiers",
        ),
    ],
)  # fmt: skip
def test_a_broken_delivery_is_refused(
    world: World,
    attempt: Callable[[Frames], Attempt],
    table: str,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    parts: list[str],
) -> None:
    attempt({table: change(world.frames[table])}).refused(ValueError, *parts)


def test_months_the_source_lacks_are_refused(attempt: Callable[[Frames], Attempt]) -> None:
    late = attempt({})
    with pytest.raises(
        ValueError, match=r"files serves 2011-10 to 2014-02 completely; asked for 2014-03, 2014-04 \(2 months"
    ):
        late.run([BAD, date(2014, 3, 1), date(2014, 4, 1)])
    assert late.after() == late.before


# ---------------------------------------------------------------------- a row is wrong: kept out, and said so


@pytest.mark.parametrize(
    ("change", "rule", "expected"),
    [
        pytest.param(doubled(1), "7_duplicate_key", "2 rows", id="duplicate key"),
        pytest.param(nth("close", 0.0), "2_price_order", "close", id="price of zero"),
        pytest.param(nth("low", -1.0), "0_range", "low", id="negative price"),
    ],
)
def test_a_single_bad_row_is_kept_out(
    world: World,
    attempt: Callable[[Frames], Attempt],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    rule: str,
    expected: str,
) -> None:
    asset, day = first_row(world.frames["daily_bars"])
    trial = attempt({"daily_bars": change(world.frames["daily_bars"])})
    trial.run(only=["raw_market_data"])
    found = trial.findings().filter(pl.col("severity") == "quarantined")
    assert found["table_name"].unique().to_list() == ["daily_bars"]
    entry = found.row(0, named=True)
    assert entry["rule"] == rule
    assert asset in entry["row_key"]
    assert day in entry["row_key"]
    assert expected in entry["detail"]
    assert entry["row"] != "null"
    with open_warehouse(trial.path, read_only=True, threads=2) as warehouse:
        kept = with_asset_id(warehouse.read("raw.daily_bars", first=BAD))
        whole = world.frames["daily_bars"].filter(IN_BAD)
        assert kept.height == whole.height - 1
        assert kept.filter((pl.col("asset_id") == asset) & (pl.col("day") == date.fromisoformat(day))).is_empty()
        counts = warehouse.read("raw.ingestions", first=BAD, table_name="daily_bars")
        assert counts["quarantined"][0] >= 1
    trial.good_months_untouched()


def test_a_report_announced_before_its_period_ended_is_kept_out(
    world: World, attempt: Callable[[Frames], Attempt]
) -> None:
    reports = world.frames["fundamentals"]
    known = reports.filter(pl.col("announced_on").is_between(BAD, month_last_day(BAD)))
    wrong = known.head(1).with_columns(pl.lit(date(2014, 3, 31)).alias("report_period"), pl.lit(0.5).alias("value"))
    item = wrong.row(0, named=True)
    # one of a hundred rows may be wrong before the month is refused, so the month gets a hundred more sound ones
    filled = pl.concat([known.head(1).with_columns(pl.lit(f"note_{n}").alias("item")) for n in range(100)])
    trial = attempt({"fundamentals": pl.concat([reports, filled, wrong])})
    trial.run(only=["raw_market_data"])
    entry = trial.findings().row(0, named=True)
    assert (entry["table_name"], entry["rule"]) == ("fundamentals", "0_announced_before_period")
    assert item["asset_id"] in entry["row_key"]
    assert "2014-03-31" in entry["row_key"]
    assert f"announced on {item['announced_on']}, before the period ended" in entry["detail"]
    with open_warehouse(trial.path, read_only=True, threads=2) as warehouse:
        assert not (warehouse.read("raw.fundamentals")["report_period"] == date(2014, 3, 31)).any()
    trial.good_months_untouched()
    # alone it is more than a hundredth of the month: the month is refused
    folder = trial.settings.source.path
    assert folder is not None
    other = Attempt(
        world,
        write({"fundamentals": pl.concat([reports.filter(pl.col("announced_on") < BAD), wrong])}, folder),
        trial.path.parent,
    )
    other.refused(ValueError, "fundamentals 2014-02", "0_announced_before_period", item["asset_id"], "2014-03-31")


def test_what_is_announced_later_is_not_known_earlier(world: World, attempt: Callable[[Frames], Attempt]) -> None:
    """A value that becomes public in 2099 is in no partition of today, whatever period it is of."""
    reports = world.frames["fundamentals"]
    future = reports.with_columns(pl.lit(date(2099, 1, 5)).alias("announced_on"), pl.lit(9.9).alias("value"))
    trial = attempt({"fundamentals": pl.concat([reports, future.unique(["asset_id", "report_period", "item"])])})
    sound = [stage for stage in MARKET if stage != "factor_exposures"]
    trial.run(only=sound)
    with open_warehouse(trial.path, read_only=True, threads=2) as warehouse:
        assert warehouse.read("raw.fundamentals").filter(pl.col("value") == 9.9).is_empty()
        snapshot = warehouse.read("intermediate.stock_snapshot", first=BAD)
        assert snapshot["roe_ttm"].null_count() < snapshot.height
        assert not (snapshot["roe_ttm"] == 9.9).any()
    trial.good_months_untouched()


def test_a_session_without_a_row_is_told(world: World, attempt: Callable[[Frames], Attempt]) -> None:
    gap = pl.col("day") == date(2014, 2, 12)
    bars = world.frames["daily_bars"]
    asset = bars.filter(gap)["asset_id"][0]
    trial = attempt({"daily_bars": bars.filter(~(gap & (pl.col("asset_id") == asset)))})
    trial.run(only=["raw_market_data"])
    entry = trial.findings().filter(pl.col("table_name") == "daily_bars").row(0, named=True)
    assert (entry["rule"], entry["severity"]) == ("7_missing_session", "warning")
    assert asset in entry["row_key"]
    assert "listed, but 1 sessions from 2014-02-12 to 2014-02-12 have no row" in entry["detail"]
    trial.good_months_untouched()


# ---------------------------------------------------------------------- the month is too thin


def test_a_month_with_too_few_stocks_is_refused(world: World, attempt: Callable[[Frames], Attempt]) -> None:
    members = world.frames["index_members"]
    leaving = members.filter(pl.col("valid_to").is_null())["asset_id"].unique().sort().head(10)
    gone = pl.col("asset_id").is_in(leaving.implode()) & pl.col("valid_to").is_null()
    trial = attempt(
        {
            "index_members": members.with_columns(
                pl.when(gone).then(date(2014, 2, 10)).otherwise(pl.col("valid_to")).alias("valid_to")
            )
        }
    )
    with pytest.raises(TooFewNames) as caught:
        trial.run()
    for part in ("2014-02", "14", "20", "min_names"):
        assert part in str(caught.value)
    counted = trial.findings().filter(pl.col("table_name") == "index_members").row(0, named=True)
    assert "14" in counted["detail"]
    assert "24" in counted["detail"]
    assert {row[0] for row in trial.after()["marts.factor_exposures"]} == set(GOOD)
    trial.good_months_untouched()


@pytest.mark.parametrize(
    "value",
    [pytest.param(None, id="all null"), pytest.param(1.5, id="constant")],
)
def test_a_factor_without_information_has_no_score(
    world: World, attempt: Callable[[Frames], Attempt], value: float | None
) -> None:
    """Null, never a zero that would look like a mean: and the other factors are what they were."""
    change = pl.when(IN_BAD).then(pl.lit(value, dtype=pl.Float64)).otherwise(pl.col("pb")).alias("pb")
    trial = attempt({"daily_valuation": world.frames["daily_valuation"].with_columns(change)})
    trial.run()
    with open_warehouse(trial.path, read_only=True, threads=2) as warehouse:
        rows = warehouse.read("marts.factor_exposures", first=BAD)
    empty = rows.filter(pl.col("factor") == "book_to_price")
    assert empty.height > 0
    assert empty["score"].null_count() == empty.height
    for factor in ("earnings_yield", "mom_20", "SIZE"):
        assert rows.filter(pl.col("factor") == factor)["score"].null_count() == 0, factor
    trial.good_months_untouched()


def test_nothing_of_another_company_of_the_same_code_is_seen(world: World, tmp_path: Path) -> None:
    """A code given to a second company within the windows: all of it is as where the first one never was."""
    who = world.frames["index_members"].filter(pl.col("valid_to").is_null())["asset_id"].min()
    gone, back = date(2013, 3, 1), date(2013, 6, 3)
    mine, day = pl.col("asset_id") == who, pl.col("day")
    listed = world.frames["listings"]
    one = listed.filter(mine)
    second = one.with_columns(pl.lit(back).alias("listed_on"))
    dividends, reports = world.frames["dividends"], world.frames["fundamentals"]
    paid = dividends.head(1).with_columns(
        pl.lit(who).alias("asset_id"), pl.lit(date(2013, 2, 20)).alias("ex_day"), pl.lit(date(2013, 2, 8)).alias("announced_on"),
        pl.lit(0.5).alias("cash_per_share"), pl.lit(0.0).alias("shares_per_share"),
    )  # fmt: skip
    assert reports.filter(mine & pl.col("announced_on").is_between(date(2012, 2, 1), gone)).height > 10
    rows: dict[str, pl.DataFrame] = {}
    seen: dict[str, dict[str, pl.DataFrame]] = {}
    for name, first_company in (("both", True), ("second", False)):
        kept = ~mine | (day >= back) | ((day < gone) if first_company else pl.lit(value=False))
        companies = [one.with_columns(pl.lit(gone).alias("delisted_on"))] if first_company else []
        changed = {
            "daily_bars": world.frames["daily_bars"].filter(kept),
            "daily_valuation": world.frames["daily_valuation"].filter(kept),
            "listings": pl.concat([listed.filter(~mine), *companies, second]),
            "fundamentals": reports.filter(~mine | (pl.col("announced_on") >= back) | pl.lit(first_company)),
            "dividends": pl.concat(
                [dividends.filter(~mine | (pl.col("ex_day") >= back)), *([paid] if first_company else [])]
            ),
        }
        settings = settings_of(write({**world.frames, **changed}, tmp_path / name), tmp_path / f"{name}.duckdb")
        settings = settings.model_copy(update={"universe": replace(settings.universe, maximum_absent=1.0)})
        with open_warehouse(settings.database_path, threads=2) as warehouse:
            run_graph(warehouse, settings, [*HISTORY, BAD], only=MARKET)
            key: dict[str, Any] = {"asset_key": asset_key(str(who))}
            bars = warehouse.read("raw.daily_bars", **key)
            rows[name] = warehouse.read("marts.factor_exposures", kind="raw", **key).select(
                "month", "factor", "raw_value"
            )
            seen[name] = {
                table: warehouse.read(f"intermediate.{table}", **key, first=GOOD[0], last=BAD)
                for table in ("fundamentals_as_of", "stock_snapshot")
            }
            stored_cash = warehouse.read("raw.dividends", ex_day=date(2013, 2, 20), **key).height
            first_day = warehouse.read("intermediate.adjusted_bars", day=bars.filter(day >= back)["day"].min(), **key)
        assert bars["day"].min() == (date(2011, 11, 1) if first_company else back)
        assert first_day["ret"].to_list() == [None]
        assert stored_cash == (1 if first_company else 0), "stored, and not of the company there is now"
    for table, frame in seen["both"].items():
        assert frame.equals(seen["second"][table]), table
    assert (known := seen["both"]["fundamentals_as_of"])["announced_on"].min() >= back
    assert known["value_year_ago"].null_count() == known.height
    assert rows["both"].equals(rows["second"])
    prices = ("mom_20", "mom_120", "rsi_14", "volatility_60", "beta_252")
    both = rows["both"].filter(pl.col("factor").is_in(prices))
    assert both.filter(pl.col("month") == BAD)["raw_value"].null_count() == 0
    with open_warehouse(world.database, read_only=True, threads=2) as warehouse:
        before = warehouse.read(
            "marts.factor_exposures", kind="raw", factor="beta_252", first=GOOD[-1], last=GOOD[-1], **key
        )
    assert (
        both.filter((pl.col("factor") == "beta_252") & (pl.col("month") == GOOD[-1]))["raw_value"][0]
        != before["raw_value"][0]
    )


# ---------------------------------------------------------------------- the database is not as it should be


def test_a_database_of_an_older_layout_is_refused(attempt: Callable[[Frames], Attempt]) -> None:
    older = attempt({})
    with open_warehouse(older.path, threads=2) as warehouse:
        warehouse.execute("UPDATE meta.layout SET definition = 'older' WHERE table_name = 'marts.factor_exposures'")
    content = older.path.read_bytes()
    with pytest.raises(LayoutMismatch) as caught:
        older.run()
    for part in (str(older.path), "marts.factor_exposures", "Nothing was changed", "Set `database` to a new file"):
        assert part in str(caught.value)
    assert older.path.read_bytes() == content


def test_a_full_disk_changes_nothing(attempt: Callable[[Frames], Attempt], monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up in the middle of the partition: half of the stage's tables are written, the next write fails."""
    full = attempt({})
    honest = Warehouse._replace
    written: list[str] = []

    def replace(self: Warehouse, table: object, *rest: object) -> None:
        if len(written) == 5:
            raise duckdb.IOException('IO Error: Could not write file "attempt.duckdb.wal": No space left on device')
        written.append(str(table))
        honest(self, table, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Warehouse, "_replace", replace)
    full.refused(DiskFull, "no space left", str(full.path), "nothing was changed", "Free some space and run again")
    assert len(written) == 5
    monkeypatch.undo()
    full.run(only=["raw_market_data"])
    assert {row[0] for row in full.after()["raw.daily_bars"]} == {*HISTORY, BAD}
