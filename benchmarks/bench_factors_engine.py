"""Month-end price factors: compiled kernels against pandas group-by rolling, on one synthetic panel, numbers equal.

Run: ``python benchmarks/bench_factors_engine.py [assets] [sessions] [rounds]`` (default 500 × 2,430, 3 rounds).

Layout: asset-sorted polars columns in memory for both (pandas gets its frame ready made), warm (compiled before the
first round). Ours and the peer alternate in random order; the median of the paired CPU-second ratios is reported,
with the wall clock beside it. The ratio counts only if the numbers agree.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.factors.exposures import PRICE_FACTORS, compute_exposures, compute_raw_factors
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.market.calendar import month_start, sessions

OPTIONS = FactorOptions()
GOAL = 30.0
TOLERANCE = 1e-9
"""Largest difference that counts as equal, relative to 1 + abs(value)."""


def make_panel(assets: int, n_sessions: int, seed: int = 0) -> dict[str, pl.DataFrame | np.ndarray]:
    """Random walks without suspensions (so that pandas' row windows mean the same), snapshot and universe."""
    rng = np.random.default_rng(seed)
    days = np.array(sessions(date(2012, 1, 4), date(2024, 12, 31))[:n_sessions], dtype="datetime64[D]")
    if days.size < n_sessions:
        raise SystemExit(f"at most {days.size} sessions")
    index = 0.01 * rng.standard_normal(n_sessions)
    ret = rng.uniform(0.5, 1.5, (assets, 1)) * index + 0.02 * rng.standard_normal((assets, n_sessions))
    price = 10 * np.cumprod(1 + ret, axis=1)
    ret[:, 1:] = price[:, 1:] / price[:, :-1] - 1
    ret[:, 0] = np.nan
    key = np.repeat(np.arange(assets, dtype=np.int32) * 4 + 1, n_sessions)
    bars = pl.DataFrame({
        "day": np.tile(days, assets), "asset_key": key, "adj_close": price.ravel(), "ret": ret.ravel(),
        "is_suspended": np.zeros(key.size, np.bool_),
    })  # fmt: skip
    months = sorted({month_start(day) for day in days.tolist()})
    members = pl.DataFrame({"month": months}).join(pl.DataFrame({"asset_key": key[::n_sessions]}), how="cross")
    size = pl.Series("total_market_value", np.exp(rng.normal(24, 1, members.height)))
    names = ("pb", "pe_ttm", "dividend_yield", "roe_ttm", "net_profit_ttm", "net_profit_ttm_year_ago")
    snapshot = members.with_columns(size, *(pl.Series(name, rng.uniform(1, 9, members.height)) for name in names))
    universe = members.with_columns(
        pl.lit(True).alias("in_estimation"), pl.lit(True).alias("in_tradable"), pl.lit("all").alias("industry")
    )
    index_daily = pl.DataFrame({"day": days, "ret": index})
    return {"bars": bars, "index_daily": index_daily, "snapshot": snapshot, "universe": universe, "sessions": days}


def ours(panel: dict[str, pl.DataFrame], months: list[date]) -> pl.DataFrame:
    """The stage's own function, checks, snapshot ratios and joins included."""
    return compute_raw_factors(
        panel["bars"], panel["index_daily"], panel["snapshot"], panel["universe"], panel["sessions"], months, OPTIONS
    )


def pandas_rolling(frame: pd.DataFrame, month_end: np.ndarray) -> pd.DataFrame:
    """The usual way: group-by rolling over every day, then the month ends."""
    by = frame.groupby("asset_key", sort=False)
    change = by["adj_close"].diff()
    key = frame["asset_key"]
    out = pd.DataFrame({"asset_key": key, "day": frame["day"]})
    out["mom_20"] = by["adj_close"].pct_change(20)
    out["mom_120"] = by["adj_close"].pct_change(120)
    up, down = (
        side.groupby(key, sort=False).ewm(alpha=1 / 14, adjust=False).mean().droplevel(0)
        for side in (change.clip(lower=0), -change.clip(upper=0))
    )
    out["rsi_14"] = 100 * up / (up + down)
    out["volatility_60"] = by["ret"].rolling(60, min_periods=48).std().droplevel(0) * np.sqrt(244)
    pair = pd.DataFrame(
        {"xy": frame["ret"] * frame["index"], "y": frame["ret"], "x": frame["index"].where(frame["ret"].notna())}
    )
    pair["xx"] = pair["x"] ** 2
    mean = pair.groupby(key, sort=False).rolling(252, min_periods=120).mean().droplevel(0)
    out["beta_252"] = (mean["xy"] - mean["x"] * mean["y"]) / (mean["xx"] - mean["x"] ** 2)
    return out[frame["day"].isin(month_end)]


def clocked(work: Callable[[], object]) -> tuple[float, float, object]:
    """CPU and wall seconds and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def worst_difference(own: pl.DataFrame, peer: pd.DataFrame) -> dict[str, float]:
    """Largest |a − b| / (1 + |b|) by factor where both have a value."""
    peer = peer.assign(month=peer["day"].to_numpy().astype("datetime64[M]").astype("datetime64[ns]"))
    theirs = peer.set_index(["month", "asset_key"]).sort_index()
    frame = (
        own.to_pandas()
        .assign(month=lambda f: f["month"].astype("datetime64[ns]"))
        .set_index(["month", "asset_key"])
        .sort_index()
    )
    late = frame.index.get_level_values("month") > frame.index.get_level_values("month").min() + pd.DateOffset(
        months=23
    )
    out: dict[str, float] = {}
    for name in PRICE_FACTORS:
        a, b = frame.loc[late, name], theirs.loc[frame.index[late], name]
        if a.isna().to_numpy().tolist() != b.isna().to_numpy().tolist():
            raise SystemExit(f"{name}: nulls differ")
        out[name] = float(((a - b).abs() / (1 + b.abs())).max())
    return out


def main(assets: int = 500, n_sessions: int = 2430, rounds: int = 3) -> None:
    """Print times, the paired ratio and the largest difference."""
    panel = make_panel(assets, n_sessions)
    months = panel["universe"]["month"].unique().sort().to_list()
    frame = (
        panel["bars"]
        .to_pandas()
        .merge(panel["index_daily"].rename({"ret": "index"}).to_pandas(), on="day")
        .sort_values(["asset_key", "day"])
    )
    frame = frame.reset_index(drop=True)
    days = panel["sessions"]
    month_end = days[np.append(days[1:].astype("datetime64[M]") != days[:-1].astype("datetime64[M]"), True)]
    jobs = {
        "numba": lambda: ours(panel, months),
        "pandas": lambda: pandas_rolling(frame, month_end.astype("datetime64[ns]")),
    }
    own = jobs["numba"]()  # compiles
    ratios: list[float] = []
    times: dict[str, list[tuple[float, float]]] = {"numba": [], "pandas": []}
    order = random.Random(0)
    for _ in range(rounds):
        cpu: dict[str, float] = {}
        for name in order.sample(sorted(jobs), 2):
            cpu[name], wall, result = clocked(jobs[name])
            times[name].append((cpu[name], wall))
            if name == "pandas":
                difference = worst_difference(own, result)
        ratios.append(cpu["pandas"] / cpu["numba"])
    for name, values in times.items():
        print(
            f"{name}: CPU {statistics.median(v[0] for v in values):.3f} s, wall {statistics.median(v[1] for v in values):.3f} s"
        )
    print(f"largest difference {difference} (two years in, where the RSI seeds have faded)")
    if max(difference.values()) > TOLERANCE:
        raise SystemExit("the numbers differ: the ratio does not count")
    print(
        f"{assets} assets × {n_sessions} sessions → {own.height} rows: pandas / numba = {statistics.median(ratios):.1f} (CPU; goal {GOAL:.0f})"
    )
    cpu_seconds, wall, exposures = clocked(
        lambda: compute_exposures(own, panel["universe"], panel["snapshot"], OPTIONS)
    )
    print(
        f"scores, styles and groups of {len(months)} months: CPU {cpu_seconds:.3f} s, wall {wall:.3f} s, {exposures.height} rows"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
