"""Qlib's expressions and KunQuant's kernel; run by the interpreter of the peers' environment, without this project.

Both read what ``factor_exchange`` left and leave the month ends as NumPy files: ``asset_key`` (assets,), ``month``
(months,) and a matrix (assets, months) for each factor.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

EXPRESSIONS = {
    "mom_20": "$close/Ref($close,20)-1",
    "mom_120": "$close/Ref($close,120)-1",
    "rsi_14": (
        "100*EMA(Greater($close-Ref($close,1),0),0.07142857142857142)/EMA(Abs($close-Ref($close,1)),0.07142857142857142)"
    ),
    "book_to_price": "1/$pb",
    "earnings_yield": "1/$pe_ttm",
    "dividend_yield": "$dividend_yield*1",
    "volatility_60": "Std($ret,60)*15.620499351813308",
    "beta_252": "Cov($ret,$index,252)/Var($index,252)",
    "log_market_value": "Log($total_market_value)",
}
"""Nine of the eleven. Return on equity and profit growth are quarterly figures, which Qlib keeps in files of another
kind (point in time)."""


def spent(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """As ``harness.measured``, child processes included; memory is that of the largest process."""

    def cpu() -> float:
        found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in found)

    wall, begun = time.perf_counter(), cpu()
    result = work()
    figures = {"cpu": cpu() - begun, "wall": time.perf_counter() - wall}
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {**figures, "memory": largest / 1e6}, result


def leave(path: Path, folder: Path, factors: dict[str, np.ndarray]) -> None:
    """Month ends of the factors, each (assets, months)."""
    closes, days = np.load(folder / "closes.npy"), np.load(folder / "days.npy")
    month = days[closes].astype("datetime64[M]").astype("datetime64[D]")
    np.savez(path, asset_key=np.load(folder / "asset_key.npy"), month=month, **factors)


def by_qlib(folder: Path, out: Path) -> dict[str, float]:
    """Nine expressions of every stock and session, neither expression nor data set cached, two processes."""
    import qlib
    from qlib.data import D
    from qlib.data.cache import H

    qlib.init(
        provider_uri=str(folder / "qlib"), region="cn", kernels=2, joblib_backend="multiprocessing",
        expression_cache=None, dataset_cache=None, logging_level=30,
    )  # fmt: skip
    key, days, closes = (np.load(folder / f"{name}.npy") for name in ("asset_key", "days", "closes"))

    def work(number: int) -> dict[str, np.ndarray]:
        names = [f"S{one}" for one in key[:number]]
        frame = D.features(names, list(EXPRESSIONS.values()), str(days[0]), str(days[-1]), freq="day")
        frame = frame[frame.index.get_level_values("datetime").isin(days[closes].astype("datetime64[ns]"))]
        asset = np.searchsorted(key, frame.index.get_level_values("instrument").str[1:].astype(np.int64))
        when = np.searchsorted(
            days[closes], frame.index.get_level_values("datetime").to_numpy().astype("datetime64[D]")
        )
        found = {name: np.full((key.size, closes.size), np.nan) for name in EXPRESSIONS}
        for name, column in zip(EXPRESSIONS, frame.columns, strict=True):
            found[name][asset, when] = frame[column].to_numpy()
        return found

    work(20)
    H.clear()
    figures, factors = spent(lambda: work(key.size))
    leave(out, folder, factors)
    return figures


def _module(blocking: int) -> Any:
    """KunQuant's compiled module: five factors of adjusted close, return and index return, in float64."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.ops import Abs, BackRef, ExpMovingAvg, Sqrt, WindowedSum
    from KunQuant.Stage import Function

    builder = Builder()
    with builder:
        price, ret, index = Input("price"), Input("ret"), Input("index")
        Output(price / BackRef(price, 20) - 1, "mom_20")
        Output(price / BackRef(price, 120) - 1, "mom_120")
        change = price - BackRef(price, 1)
        up = (change + Abs(change)) * 0.5
        # a span of 27 is Wilder's weight of 1 / 14
        Output(ExpMovingAvg(up, 27) / ExpMovingAvg(Abs(change), 27) * 100, "rsi_14")
        total = WindowedSum(ret, 60)
        Output(Sqrt((WindowedSum(ret * ret, 60) - total * total / 60) / 59 * 244), "volatility_60")
        x, y = WindowedSum(index, 252), WindowedSum(ret, 252)
        shared = WindowedSum(index * ret, 252) - x * y / 252
        Output(shared / (WindowedSum(index * index, 252) - x * x / 252), "beta_252")
    config = KunCompilerConfig(
        dtype="double", blocking_len=blocking, input_layout="STs", output_layout="STs",
        options={"opt_reduce": True, "fast_log": True},
    )  # fmt: skip
    compiler = cfake.CppCompilerConfig()
    library = cfake.compileit([("factors", Function(builder.ops), config)], "factors_of_bench", compiler)
    return library, library.getModule("factors")


def by_kunquant(folder: Path, out: Path) -> dict[str, float]:
    """The kernel alone, one thread, columns in memory in its layout (blocks of 8 stocks × sessions); compiled before."""
    from KunQuant.runner import KunRunner

    block = 8 if "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8") else 4
    library, module = _module(block)
    price, ret, index, closes = (np.load(folder / f"{name}.npy") for name in ("price", "ret", "index", "closes"))
    assets, sessions = price.shape

    def blocked(values: np.ndarray) -> np.ndarray:
        padded = np.concatenate((values, np.repeat(values[-1:], -assets % block, axis=0)))
        return np.ascontiguousarray(padded.reshape(-1, block, sessions).transpose(0, 2, 1))

    given = {"price": blocked(price), "ret": blocked(ret), "index": blocked(np.broadcast_to(index, price.shape))}
    outputs = {name: np.empty_like(given["price"]) for name in module.getOutputNames()}
    executor = KunRunner.createSingleThreadExecutor()

    def work() -> None:
        KunRunner.runGraph(executor, module, given, 0, sessions, outputs)

    work()
    figures = min((spent(work)[0] for _ in range(9)), key=lambda found: found["cpu"])
    found = {
        name: values[:, closes, :].transpose(0, 2, 1).reshape(-1, closes.size)[:assets]
        for name, values in outputs.items()
    }
    leave(out, folder, found)
    del library
    return figures


APART = {"qlib": by_qlib, "kunquant": by_kunquant}
