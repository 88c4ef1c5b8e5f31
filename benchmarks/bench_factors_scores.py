"""Preprocessing, quintiles and information coefficients of eleven factors: ours against pandas and alphalens.

    python benchmarks/bench_factors_scores.py [--assets 5000] [--sessions 2430] [--rounds 2]

Input in memory for both: the raw factors of every month end (from ``compute_raw_factors``), industries, market values,
daily returns. Both clip at median ± 5 × 1.4826 × MAD, take the residual on 28 industry dummies and log size (not of the
size factor itself), standardise, form quintiles among tradable names, and compute quintile returns and rank ICs with
next month's return. Ours also makes the five styles, value-weighted and daily book returns, turnover, coverage and
autocorrelation. Alphalens (reloaded) does quintiles, returns and ICs; pandas and least squares the rest.

Scores and ICs must agree; quintiles are cut by linear quantiles there and by counting here, so that names at an edge may
fall on either side: at most one in two hundred may.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Contender, compete, measured, report, table

SCRIPT = Path(__file__).resolve()
WARM_UP = 24
"""Months left out: their windows are not full."""


def inputs(size: Any) -> dict[str, Any]:
    """Raw factors and what goes with them, as polars frames."""
    import polars as pl

    from rotation_pipeline.factors.options import FactorOptions
    from rotation_pipeline.factors.raw import bar_columns, compute_raw_factors
    from rotation_pipeline.warehouse.store import open_warehouse

    months = size.months()
    with open_warehouse(size.path, read_only=True, threads=2) as warehouse:
        snapshot = warehouse.read("intermediate.stock_snapshot", order=())
        universe = warehouse.read("intermediate.universe", order=())
        raw = compute_raw_factors(
            warehouse.batches("intermediate.adjusted_bars", columns=bar_columns(), order=("day", "asset_key")),
            warehouse.read("intermediate.index_daily"), snapshot, universe, size.days(), months, FactorOptions(),
        )  # fmt: skip
        bars = warehouse.read(
            "intermediate.adjusted_bars", columns=("day", "asset_key", "adj_close", "ret"), order=("asset_key", "day")
        )
    late = pl.col("month") >= months[WARM_UP]
    return {
        "raw": raw.filter(late), "snapshot": snapshot.filter(late), "universe": universe.filter(late),
        "bars": bars, "months": months[WARM_UP:],
    }  # fmt: skip


def ours(given: dict[str, Any]) -> dict[str, Any]:
    """The stage's three functions."""
    from rotation_pipeline.factors.evidence import monthly_evidence
    from rotation_pipeline.factors.exposures import compute_exposures
    from rotation_pipeline.factors.options import FactorOptions
    from rotation_pipeline.factors.returns import long_short_returns

    options = FactorOptions(neutralise="both")
    months = given["months"]
    exposures = compute_exposures(given["raw"], given["universe"], given["snapshot"], options)
    returns = long_short_returns(exposures, given["bars"], given["snapshot"], months[1:], options, months[0])
    evidence = monthly_evidence(exposures, given["bars"], months[1:], months[0])
    return {"exposures": exposures, "groups": returns.groups, "evidence": evidence}


def _scores(month: Any, names: list[str]) -> Any:
    """Clipped, neutralised, standardised factors of one month."""
    import pandas as pd

    dummies = pd.get_dummies(month["industry"]).to_numpy(dtype=float)
    size = np.log(month["total_market_value"].to_numpy())
    out = {}
    for name in names:
        x = month[name]
        centre = x.median()
        spread = 5 * 1.4826 * (x - centre).abs().median()
        x = x.clip(centre - spread, centre + spread)
        known = x.notna().to_numpy()
        design = dummies[known] if name == "log_market_value" else np.column_stack([dummies[known], size[known]])
        y = x.to_numpy()[known]
        solution = np.linalg.lstsq(design, y, rcond=None)[0]
        left = pd.Series(np.nan, month.index)
        left[known] = y - design @ solution
        out[name] = (left - left.mean()) / left.std()
    return pd.DataFrame(out)


def pandas_and_alphalens(given: dict[str, Any]) -> dict[str, Any]:
    """As one writes it with the two."""
    import pandas as pd
    from alphalens.performance import factor_information_coefficient, mean_return_by_quantile
    from alphalens.utils import get_clean_factor_and_forward_returns

    from rotation_pipeline.factors.styles import RAW_FACTORS

    names = [factor.name for factor in RAW_FACTORS]
    signs = {factor.name: factor.sign for factor in RAW_FACTORS}
    frame = (
        given["raw"]
        .to_pandas()
        .merge(
            given["universe"].to_pandas()[["month", "asset_key", "industry", "in_tradable"]], on=["month", "asset_key"]
        )
    )
    frame = frame.merge(
        given["snapshot"].to_pandas()[["month", "asset_key", "total_market_value"]], on=["month", "asset_key"]
    )
    frame["month"] = pd.to_datetime(frame["month"])
    scores = frame.groupby("month", group_keys=False)[[*names, "industry", "total_market_value"]].apply(_scores, names)
    scores = scores * pd.Series(signs)
    bars = given["bars"].to_pandas()
    bars["month"] = pd.to_datetime(bars["day"]).dt.to_period("M").dt.to_timestamp()
    prices = bars.groupby(["month", "asset_key"])["adj_close"].last().unstack()
    # without a price a month later there is no return; alphalens would carry the last price forward
    later = prices.shift(-1).stack().rename("later").reset_index()
    frame = frame.merge(later, how="left", on=["month", "asset_key"])
    counted = (frame["in_tradable"] & frame["later"].notna()).to_numpy()
    index = pd.MultiIndex.from_arrays([frame["month"], frame["asset_key"]], names=["date", "asset"])
    ics, groups, labels = {}, {}, {}
    for name in names:
        factor = pd.Series(scores[name].to_numpy(), index)[counted].dropna()
        data = get_clean_factor_and_forward_returns(factor, prices, quantiles=5, periods=(1,), max_loss=1.0)
        period = next(column for column in data.columns if column not in ("factor", "factor_quantile", "group"))
        ics[name] = factor_information_coefficient(data)[period]
        groups[name] = mean_return_by_quantile(data, by_date=True, demeaned=False)[0][period]
        labels[name] = data["factor_quantile"]
    return {
        "scores": pd.DataFrame(scores.to_numpy(), index, names),
        "ics": pd.DataFrame(ics),
        "groups": groups,
        "labels": pd.DataFrame(labels),
    }


def worker(name: str, size: Any, out: Path) -> None:
    """Warm up on a small market, measure, leave the results."""
    from factor_market import Size

    warnings.simplefilter("ignore")
    work = ours if name == "ours" else pandas_and_alphalens
    work(inputs(Size(400, 800)))
    figures, result = measured_with(work, inputs(size))
    if name == "ours":
        exposures = result["exposures"].to_pandas().assign(month=lambda f: f["month"].astype("datetime64[ns]"))
        raw = exposures[exposures["kind"] == "raw"]
        raw.pivot(index=["month", "asset_key"], columns="factor", values="score").to_pickle(out / "scores.pickle")
        raw.pivot(index=["month", "asset_key"], columns="factor", values="quantile").to_pickle(out / "labels.pickle")
        result["evidence"].pivot(index="month", columns="factor", values="rank_ic").to_pickle(out / "ics.pickle")
    else:
        for key in ("scores", "ics", "labels"):
            result[key].to_pickle(out / f"peer-{key}.pickle")
    report(figures)


def measured_with(work: Any, given: dict[str, Any]) -> tuple[dict[str, float], Any]:
    """Measured, with the input made before."""
    return measured(lambda: work(given))


def compare(out: Path) -> str:
    """Why the results differ; empty if they agree."""
    import pandas as pd

    mine = {key: pd.read_pickle(out / f"{key}.pickle") for key in ("scores", "ics", "labels")}
    theirs = {key: pd.read_pickle(out / f"peer-{key}.pickle") for key in ("scores", "ics", "labels")}
    scores = theirs["scores"].rename_axis(["month", "asset_key"])
    gap = float(np.nanmax(np.abs(mine["scores"].loc[scores.index, scores.columns] - scores).to_numpy()))
    if gap > 1e-6:
        return f"scores differ by {gap:.1e}"
    # alphalens stamps an IC with the month of the score, we with that of the return
    ics = theirs["ics"].set_axis(theirs["ics"].index + pd.DateOffset(months=1))
    both = mine["ics"].index.intersection(ics.index)
    ic_gap = float(np.nanmax(np.abs(mine["ics"].loc[both, ics.columns] - ics.loc[both]).to_numpy()))
    if ic_gap > 1e-6:
        return f"rank ICs differ by {ic_gap:.1e}"
    labels = theirs["labels"].rename_axis(["month", "asset_key"])
    own = mine["labels"].reindex(labels.index)[labels.columns].to_numpy(dtype=float)
    known = ~np.isnan(labels.to_numpy(dtype=float)) & ~np.isnan(own)
    moved = float(np.mean(own[known] != labels.to_numpy(dtype=float)[known]))
    print(
        f"scores within {gap:.1e}, rank ICs of {len(both)} months within {ic_gap:.1e}, {moved:.2%} of the names in another quintile",
        file=sys.stderr,
    )
    return f"{moved:.2%} of the names are in another quintile" if moved > 0.005 else ""


def main() -> int:
    """Prints the table; 1 if the goal is missed by more than a fifth or results differ."""
    from factor_market import Size, make

    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=int, default=5000)
    parser.add_argument("--sessions", type=int, default=2430)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    size = Size(arguments.assets, arguments.sessions)
    if arguments.worker:
        worker(arguments.worker, size, arguments.out)
        return 0
    make(Size(400, 800))
    make(size)
    chosen = [
        Contender("ours", "ours, and styles, books, turnover"),
        Contender("peer", "pandas + alphalens", 35.0, "ours"),
    ]
    out = Path(tempfile.mkdtemp(prefix="bench-scores-"))
    try:
        compete(
            SCRIPT,
            chosen,
            ["--assets", str(size.assets), "--sessions", str(size.sessions), "--out", str(out)],
            arguments.rounds,
        )
        verdict = compare(out)
    finally:
        shutil.rmtree(out)
    print(
        f"{size.assets:,} stocks, {len(size.months()) - WARM_UP} months, 11 factors: scores, quintiles, rank ICs; input in memory, warm"
    )
    return 0 if table(chosen, {"peer": verdict}) else 1


if __name__ == "__main__":
    raise SystemExit(main())
