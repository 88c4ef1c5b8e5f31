"""The eleven raw factors of the full market at 120 month ends, from the stored tables: ours against its peers.

    python benchmarks/bench_factors_engine.py [--assets 5000] [--sessions 2430] [--rounds 3] [--only NAME …]

Every contender starts from the tables a run stores (DuckDB, rows by day) and ends with a frame of month, asset_key and
the eleven factors; reading counts. Ours is what the graph does: ``Warehouse.read`` and ``compute_raw_factors``. Pandas,
polars and DuckDB are warm (a small market first), ours is compiled (numba's cache); the file is in the page cache.
Numbers are compared where all definitions mean the same: traded on the month's last session and on 400 of the last 504
sessions (RSI seeds faded).

Qlib and KunQuant run in an environment of their own (``make bench-peers``). They count sessions of the exchange, not own
trading days, so they are compared where a stock traded on each of the last 504. Qlib says nine of the eleven, without
cache, in two processes, from its own float32 files; making those is outside the clock, reading them inside. KunQuant's
kernel is compiled before the clock runs and reads matrices in its own layout; it computes every session, ours the month
ends, five factors both.

The bandwidth limit is the time one core needs to read the kernel's inputs and write its outputs once.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import scoreboard
from factor_exchange import PEERS, exchange_folder, installed, make_exchange
from harness import Contender, band, bandwidth, clock, compete, measured, ratios, report, table

SCRIPT = Path(__file__).resolve()
TOLERANCE = {"pandas": 1e-6, "polars": 1e-6, "duckdb": 1e-6, "cache": 0.0, "qlib": 1e-5, "kunquant": 1e-6}
"""Largest |a − b| / (1 + |a|) that counts as equal: rolling sums of the peers carry rounding, Qlib's files are float32."""
APART = ("qlib", "kunquant")


def _engine(size: Any, *, cached: bool = False) -> Callable[[], Any]:
    """Ours; or ours from a kept panel."""
    import polars as pl  # noqa: F401  # imported before the clock runs

    from rotation_pipeline.factors.options import FactorOptions
    from rotation_pipeline.factors.raw import bar_columns, compute_raw_factors, figure_columns
    from rotation_pipeline.warehouse.panels import kept_panel
    from rotation_pipeline.warehouse.store import open_warehouse

    def work(months: Any = None) -> Any:
        with open_warehouse(size.path, read_only=True, threads=2) as warehouse:
            wanted = months or size.months()
            days = size.days()
            first = wanted[0] if months else None
            if first is not None:
                at = int(np.searchsorted(days, np.datetime64(first, "D")))
                days = days[max(at - 540, 0) :]
            bars: Any = (
                kept_panel(panel_folder(size), str(size.path))
                if cached
                else warehouse.batches(
                    "intermediate.adjusted_bars", columns=bar_columns(), order=("day", "asset_key"),
                    first=days[0].astype("datetime64[M]").astype("datetime64[D]").item() if first else None,
                )
            )  # fmt: skip
            figures = ("month", "asset_key", *figure_columns())
            return compute_raw_factors(
                bars, warehouse.read("intermediate.index_daily", order=()),
                warehouse.read("intermediate.stock_snapshot", columns=figures, order=(), first=first),
                warehouse.read("intermediate.universe", columns=("month", "asset_key"), order=(), first=first),
                days, wanted, FactorOptions(),
            )  # fmt: skip

    return work


def panel_folder(size: Any) -> Path:
    """Where the panel is kept."""
    return size.path.with_suffix(".panel")


def make_panel(size: Any) -> None:
    """Keep the panel of the stored bars."""
    from rotation_pipeline.factors.panel import panel_of
    from rotation_pipeline.factors.raw import bar_columns
    from rotation_pipeline.warehouse.panels import keep_panel, kept_panel
    from rotation_pipeline.warehouse.store import open_warehouse

    if kept_panel(panel_folder(size), str(size.path)) is None:
        with open_warehouse(size.path, read_only=True) as warehouse:
            bars = warehouse.read("intermediate.adjusted_bars", columns=bar_columns(), order=())
        keep_panel(panel_folder(size), panel_of(bars, size.days()), str(size.path))


def _kernel(size: Any) -> Callable[[], Any]:
    """The kernel alone, its columns in memory."""
    from rotation_pipeline.factors import kernels
    from rotation_pipeline.factors.options import FactorOptions
    from rotation_pipeline.warehouse.panels import kept_panel
    from rotation_pipeline.warehouse.store import open_warehouse

    options = FactorOptions()
    panel = kept_panel(panel_folder(size), str(size.path))
    assert panel is not None
    with open_warehouse(size.path, read_only=True) as warehouse:
        index = warehouse.read("intermediate.index_daily")["ret"].to_numpy()
    days = size.days()
    closes = np.flatnonzero(np.append(days[1:].astype("datetime64[M]") != days[:-1].astype("datetime64[M]"), True))
    slot = np.arange(panel.asset_key.size * closes.size, dtype=np.int32).reshape(closes.size, -1).T.copy()
    price, ret, session = (
        np.array(column) for column in (panel.columns["adj_close"], panel.columns["ret"], panel.session)
    )
    rows = int((panel.stop - panel.start).sum())
    moved = rows * (8 + 8 + 4) + 5 * 8 * slot.size

    def work() -> float:
        kernels.month_end_factors(
            session, panel.start, panel.stop, price, ret, index, np.maximum(closes - options.lookback_sessions + 1, 0), closes, closes,
            slot, slot.size, options.min_window_share, options.beta_window, options.beta_min_days, 244**0.5,
        )  # fmt: skip
        return moved

    return work


def _peer(name: str, size: Any) -> Callable[[], Any]:
    import duckdb
    from factor_peers import PEERS

    def work() -> Any:
        connection = duckdb.connect(str(size.path), read_only=True, config={"threads": 2})
        return PEERS[name](connection)

    return work


def worker(name: str, size: Any, out: Path) -> None:
    """Runs in a fresh process: warm up on a small market, measure, leave the numbers behind."""
    from factor_market import Size

    small = Size(40, 800)
    if name == "kernel":
        work = _kernel(size)
        work()
        limit_rate = bandwidth()
        best = min((measured(work) for _ in range(9)), key=lambda found: found[0]["cpu"])
        report({**best[0], "limit": best[1] / limit_rate, "rate": limit_rate})
        return
    if name in ("ours", "month", "cache"):
        _engine(small)()
        engine = _engine(size, cached=name == "cache")
        figures, frame = measured(lambda: engine(size.months()[-1:]) if name == "month" else engine())
    else:
        _peer(name, small)()
        figures, frame = measured(_peer(name, size))
    if name != "month":
        frame.write_parquet(out / f"{name}.parquet")
    report(figures)


def compare(name: str, size: Any, out: Path) -> str:
    """Why the contender's numbers do not equal ours; empty if they do."""
    import polars as pl

    ours = pl.read_parquet(out / "ours.parquet")
    theirs = _left_apart(out / f"{name}.npz") if name in APART else pl.read_parquet(out / f"{name}.parquet")
    known = np.load(size.path.with_suffix(".npz"))
    asset = np.searchsorted(known["asset_key"], ours["asset_key"].to_numpy())
    month = np.searchsorted(known["month"], ours["month"].to_numpy().astype("datetime64[D]"))
    alike = known["whole" if name in APART else "alike"][asset, month]
    if not alike.any():
        return "no rows to compare"
    theirs = ours.select("month", "asset_key").join(
        theirs.with_columns(pl.col("month").cast(pl.Date), pl.col("asset_key").cast(pl.Int32)),
        on=["month", "asset_key"], how="left", maintain_order="left",
    )  # fmt: skip
    worst = 0.0
    for column in theirs.columns[2:]:
        a, b = ours[column].to_numpy()[alike], theirs[column].to_numpy()[alike]
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return f"{column}: {int(np.sum(np.isnan(a) != np.isnan(b)))} nulls differ"
        gap = float(np.nanmax(np.abs(a - b) / (1 + np.abs(a))))
        if gap > TOLERANCE[name]:
            return f"{column} differs by {gap:.1e}"
        worst = max(worst, gap)
    print(
        f"{name}: {int(alike.sum()):,} of {alike.size:,} rows compared, largest difference {worst:.1e}", file=sys.stderr
    )
    return ""


def _left_apart(path: Path) -> Any:
    """What a peer of the other environment left, a row per month and stock."""
    import polars as pl

    with np.load(path) as left:
        key, month = left["asset_key"], left["month"]
        rows = {"month": np.repeat(month, key.size), "asset_key": np.tile(key, month.size)}
        factors = {name: left[name].T.ravel() for name in left.files if name not in rows}
    return pl.DataFrame({**rows, **factors})


def contenders() -> list[Contender]:
    """All of them; those that are not installed say so."""
    missing = {
        module: "" if installed(module) else "not installed: make bench-peers" for module in ("qlib", "KunQuant")
    }
    apart = str(PEERS)
    return [
        Contender("ours", "ours: stored tables"),
        Contender("pandas", "pandas: group-by rolling", 30.0, "ours", rounds=2),
        Contender("polars", "polars: rolling over", 7.0, "ours"),
        Contender("duckdb", "DuckDB: window functions", 19.0, "ours", rounds=2),
        Contender("qlib", "Qlib: 9 expressions, no cache, 2 processes", 50.0, "ours", apart, 2, missing["qlib"]),
        Contender("cache", "ours: kept panel"),
        Contender("month", "ours: one further month"),
        Contender("kernel", "ours: kernel, arrays in memory"),
        Contender(
            "kunquant", "KunQuant: kernel, arrays in its layout", None, "kernel", apart, absent=missing["KunQuant"]
        ),
    ]


def main() -> int:
    """Prints the table; 1 if a goal is missed by more than a fifth or numbers differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=int, default=5000)
    parser.add_argument("--sessions", type=int, default=2430)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--worker")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--exchange", type=Path)
    arguments = parser.parse_args()
    if arguments.worker in APART:  # in the peers' environment, which has nothing of this project
        from factor_peers_apart import APART as ways

        report(ways[arguments.worker](arguments.exchange, arguments.out / f"{arguments.worker}.npz"))
        return 0
    from factor_market import Size, make

    size = Size(arguments.assets, arguments.sessions)
    if arguments.worker == "prepare":
        make(Size(40, 800))
        make(size)
        make_panel(size)
        if all(map(installed, ("qlib", "KunQuant"))):
            make_exchange(size)
        return 0
    if arguments.worker:
        worker(arguments.worker, size, arguments.out)
        return 0
    sizes = ["--assets", str(size.assets), "--sessions", str(size.sessions)]
    # by another process: a new program is held to have needed what its parent held when it began
    subprocess.run([sys.executable, str(SCRIPT), "--worker", "prepare", *sizes], check=True)
    chosen = [c for c in contenders() if not arguments.only or c.name in ("ours", *arguments.only)]
    if any(c.name == "kunquant" for c in chosen) and all(c.name != "kernel" for c in chosen):
        chosen.append(next(c for c in contenders() if c.name == "kernel"))
    out = Path(tempfile.mkdtemp(prefix="bench-factors-"))
    try:
        shared = [*sizes, "--out", str(out)]
        if any(c.name in APART and not c.absent for c in chosen):
            shared += ["--exchange", str(exchange_folder(size))]
        compete(SCRIPT, chosen, shared, arguments.rounds)
        present = {c.name: c for c in chosen if not c.absent}
        verdicts = {name: compare(name, size, out) for name in present if name in TOLERANCE}
    finally:
        shutil.rmtree(out)
    print(
        f"{size.assets:,} stocks × {size.sessions:,} sessions, {len(size.months())} month ends, 11 factors; 2 threads at most; warm"
    )
    kept = table(chosen, verdicts)
    leave_rows(chosen, verdicts)
    return 0 if further(present, verdicts) and kept else 1


ROWS = {
    "pandas": "factor table, against pandas group-by",
    "polars": "factor table, against polars",
    "duckdb": "factor table, against DuckDB windows",
    "qlib": "factor table, against Qlib without cache",
    "kunquant": "factor kernel, against KunQuant",
}


def leave_rows(chosen: list[Contender], verdicts: dict[str, str]) -> None:
    """The ratios' rows of the common table."""
    by_name, seconds = {c.name: c for c in chosen}, clock(chosen)
    for name, row in ROWS.items():
        if name not in by_name:
            continue
        peer = by_name[name]
        goal = f"≥ {peer.goal:g}" if peer.goal is not None else "none set"
        if peer.absent:
            scoreboard.add(row, peer.absent, goal)
        elif verdicts[name]:
            scoreboard.add(row, f"no ratio: {verdicts[name]}", goal, "MISSED")
        else:
            found = float(np.median(ratios(by_name[peer.against], peer, seconds)))
            met = scoreboard.verdict(found, peer.goal) if peer.goal is not None else "–"
            scoreboard.add(row, f"{found:.1f} × ({seconds})", goal, met)


def further(present: dict[str, Contender], verdicts: dict[str, str]) -> bool:
    """Goals that are no plain ratio to the run from the stored tables."""
    kept = True
    ours, seconds = present["ours"], clock(list(present.values()))

    def say(text: str, good: bool, row: str, figure: str, goal: str, met: str) -> None:
        nonlocal kept
        kept &= good
        print(f"{text}{'' if good else ' (missed)'}")
        scoreboard.add(row, figure, goal, met)

    if "cache" in present and "pandas" in present and not (verdicts["cache"] or verdicts["pandas"]):
        found = ratios(present["cache"], present["pandas"], seconds)
        middle = float(np.median(found))
        say(
            f"pandas from the stored tables / ours from the kept panel: {band(found, '{:.1f}')} (goal 60)", middle >= 48,
            "factor table from the kept panel, against pandas", f"{middle:.1f} × ({seconds})", "≥ 60",
            scoreboard.verdict(middle, 60),
        )  # fmt: skip
    if "month" in present:
        shares = ratios(ours, present["month"], seconds)
        middle = float(np.median(shares))
        say(
            f"one further month / all months: {band(shares, '{:.3f}')} (goal 0.02)", middle <= 0.025,
            "factor table, one further month against all", f"{middle:.3f}", "≤ 0.02", scoreboard.ceiling(middle, 0.02),
        )  # fmt: skip
    if "kernel" in present:
        runs = present["kernel"].runs
        times = [run["cpu"] / run["limit"] for run in runs]
        rate = np.median([run["rate"] for run in runs]) / 1e9
        middle = float(np.median(times))
        say(
            f"kernel / bandwidth limit ({rate:.1f} GB/s, {1e3 * np.median([r['limit'] for r in runs]):.1f} ms): {band(times, '{:.1f}')} (goal 3)",
            middle <= 3.75, "factor kernel, against the bandwidth limit", f"{middle:.1f} ×", "≤ 3",
            scoreboard.ceiling(middle, 3),
        )  # fmt: skip
    memory = max(run["memory"] for run in ours.runs)
    say(
        f"peak memory of ours: {memory:.2f} GB (goal 2)", memory <= 2.0, "factor table, peak memory", f"{memory:.2f} GB",
        "≤ 2 GB", "reached" if memory <= 2.0 else "MISSED",
    )  # fmt: skip
    return kept


if __name__ == "__main__":
    raise SystemExit(main())
