"""Recovery study: how many simulated markets of twenty years, judged at 5, 10 and 20, a core finishes a minute.

Run: ``python benchmarks/bench_recovery.py [markets]`` (default 2, after one short market that compiles and is not counted).

The market, its chain and its settings are those of `rotation study recovery` at its default size: the CPU seconds are the
ones the study itself measures and stores. One process, one thread. No peer runs the same thing, and no goal is set.
"""

from __future__ import annotations

import statistics
import sys

import scoreboard
from threadpoolctl import threadpool_limits

from rotation_pipeline.cli.proving import CHEAP
from rotation_pipeline.orchestration.study import run_market
from rotation_pipeline.settings import load_settings

YEARS = (5, 10, 20)


def main() -> int:
    """Prints the rate."""
    markets = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    settings = load_settings(
        forecasts={"experts": CHEAP}, network={"seeds": 2, "workers": 1}, regimes={"detectors": ("hmm",)}
    ).model_dump_json()
    run_market(settings, 0.5, 99, (4,))
    seconds = [run_market(settings, 0.5, 100 + number, YEARS)[-1].cpu_seconds for number in range(markets)]
    rate = 60.0 / statistics.mean(seconds)
    print(
        f"{markets} markets of {YEARS[-1]} years: {', '.join(f'{each:.1f}' for each in seconds)} CPU s; "
        f"{rate:.1f} markets a core-minute; the default study of 160 markets takes {160 / rate:.0f} core-minutes"
    )
    scoreboard.add("recovery study", f"{rate:.1f} markets of 20 years a core-minute", "none set")
    return 0


if __name__ == "__main__":
    with threadpool_limits(1):
        code = main()
    raise SystemExit(code)
