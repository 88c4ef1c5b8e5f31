"""Statistical jump model: the compiled descent against the public jumpmodels package, the same starts, equal objectives.

Run: ``python benchmarks/bench_regimes_jump.py [windows] [rounds]`` (default 6 windows, 3 rounds).

Each window holds a three-state market of 500 to 2,900 days with two features; both descend from the same ten k-means++
centres at the same penalty. Warm, one process, one thread, random order within a round; the median of the paired
CPU-second ratios with its range. A ratio counts only if the objectives of all starts agree within 1e-6 of their size
where no state empties (one that does is kept here and lost there, so ours may then only be lower). No goal is set.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import scoreboard
from threadpoolctl import threadpool_limits

from rotation_pipeline.regimes.jump import fit_jump
from rotation_pipeline.regimes.kmeans import seeded_centres

STATES, STARTS, PENALTY = 3, 10, 2.0
ROW = "jump model, against jumpmodels"
Window = tuple[np.ndarray, list[np.ndarray]]


def make_windows(count: int) -> list[Window]:
    """Scaled observations and their starts."""
    rng = np.random.default_rng(0)
    windows: list[Window] = []
    for days in np.linspace(500, 2900, count).round().astype(int):
        state = (np.arange(days) // 120) % STATES
        x = rng.normal(0.0, 2.0, (STATES, 2))[state] + rng.standard_normal((days, 2))
        x = np.ascontiguousarray((x - x.mean(axis=0)) / x.std(axis=0))
        windows.append((x, [seeded_centres(x, STATES, draws) for draws in rng.random((STARTS, STATES))]))
    return windows


def ours(windows: list[Window]) -> list[tuple[float, bool]]:
    """Objective of every start, and True."""
    return [(fit_jump(x, start, PENALTY).value, True) for x, starts in windows for start in starts]


def peer(windows: list[Window]) -> list[tuple[float, bool]]:
    """Objective of every start by jumpmodels, and whether every state kept a point."""
    from jumpmodels.jump import JumpModel

    found: list[tuple[float, bool]] = []
    for x, starts in windows:
        for start in starts:
            model = JumpModel(n_components=STATES, jump_penalty=PENALTY, n_init=1)
            model.init_centers = lambda _x, start=start: [start]
            model.fit(x, sort_by=None)
            found.append((float(model.val_), bool(np.isfinite(model.centers_).all())))
    return found


def main() -> int:
    """Prints the ratio; 1 if an objective differs."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    try:
        import jumpmodels  # noqa: F401
    except ImportError:
        print("jumpmodels is not installed (pip install -e '.[dev]'): not measured")
        scoreboard.add(ROW, "not measured: jumpmodels is not installed")
        return 0
    windows = make_windows(count)
    ways: dict[str, Callable[[list[Window]], list[tuple[float, bool]]]] = {"compiled": ours, "jumpmodels": peer}
    for way in ways.values():
        way(windows[:1])
    spent: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, list[tuple[float, bool]]] = {}
    for round_ in range(rounds):
        for name in random.Random(round_).sample(list(ways), len(ways)):
            begun = time.process_time()
            results[name] = ways[name](windows)
            spent[name].append(time.process_time() - begun)
    pairs = list(zip(results["compiled"], results["jumpmodels"], strict=True))
    whole = [abs(own - theirs) / (1.0 + theirs) for (own, _), (theirs, kept) in pairs if kept]
    lost = [own - theirs for (own, _), (theirs, kept) in pairs if not kept]
    equal = len(whole) > len(pairs) // 2 and max(whole) <= 1e-6 and all(gap <= 1e-6 * (1.0 + abs(gap)) for gap in lost)
    ratios = sorted(theirs / own for theirs, own in zip(spent["jumpmodels"], spent["compiled"], strict=True))
    for name, seconds in spent.items():
        print(f"{name:<12} {statistics.median(seconds):8.3f} CPU s")
    print(
        f"jumpmodels / compiled: {statistics.median(ratios):.0f} ({ratios[0]:.0f} to {ratios[-1]:.0f}); objectives of "
        f"{len(whole)} of {len(pairs)} starts compared, largest relative difference {max(whole):.1e}"
        f"{'' if equal else ': NOT EQUAL'}"
    )
    scoreboard.add(
        ROW,
        f"{statistics.median(ratios):.0f} ×" if equal else "objectives differ",
        "none set",
        "–" if equal else "MISSED",
    )
    return int(not equal)


if __name__ == "__main__":
    with threadpool_limits(1):
        code = main()
    raise SystemExit(code)
