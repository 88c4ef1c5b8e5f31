"""The whole graph through Dagster against the command line: what orchestration costs.

`rotation run` and `dagster asset materialize` over the same months of the default simulated market, each in a fresh
process with a new database, in random order within each round. Both databases must be equal, row by row and bit for
bit. The machine may be shared, so the verdict is by CPU seconds (all processes of each); wall seconds are shown. The
goal is at most 15 % on top of the command line; the gate is a quarter more, 18.75 %. Then one further month on the
command line's database, against all months before it.

    python benchmarks/bench_end_to_end.py                 # 121 months, some minutes
    python benchmarks/bench_end_to_end.py --to 2014-06    # six months
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import scoreboard

GOAL = 1.15
GATE = 1.0 + (GOAL - 1.0) / scoreboard.GATE
ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds by the clock, CPU seconds of all its processes, memory of the largest of them in GB."""

    wall: float
    cpu: float
    peak: float


def run(command: list[str], environment: dict[str, str], log: Path) -> Cost:
    """Run to the end; SystemExit with the end of its output if it fails."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e9)


def environment(folder: Path, to: str) -> dict[str, str]:
    """A database, an output folder and a Dagster home in ``folder``; nothing else set by the caller's environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ROTATION_", "DAGSTER_"))}
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    return {
        **kept,
        "ROTATION_CONFIG": str(_empty(folder / "rotation.toml")),
        "ROTATION_SAMPLE__END": to,
        "ROTATION_DATABASE": str(folder / "rotation.duckdb"),
        "ROTATION_OUTPUT": str(folder / "output"),
        "DAGSTER_HOME": str(home),
    }


def _empty(path: Path) -> Path:
    path.write_text("", encoding="utf-8")
    return path


def command(who: str, to: str) -> list[str]:
    """The command line, or Dagster over a range of months in one run."""
    if who == "command line":
        return [str(BIN / "rotation"), "run"]
    from rotation_pipeline.settings import Settings

    first = Settings().history_start.isoformat()
    return [
        str(BIN / "dagster"), "asset", "materialize", "--select", "*", "-m", "rotation_pipeline.definitions",
        "--partition-range", f"{first}...{to}-01",
    ]  # fmt: skip


def measure(who: str, to: str, folder: Path) -> Cost:
    """One run of ``who`` with its files in ``folder``."""
    return run(command(who, to), environment(folder, to), folder / "log.txt")


def month_after(month: str) -> str:
    """``2014-01`` after ``2013-12``."""
    from rotation_pipeline.market.calendar import add_months

    return f"{add_months(date.fromisoformat(f'{month}-01'), 1):%Y-%m}"


def differences(left: Path, right: Path) -> tuple[int, int, list[str]]:
    """Tables, rows and what differs between two databases; clock readings do not count."""
    from rotation_pipeline.orchestration.replay import compare
    from rotation_pipeline.warehouse.catalog import catalog
    from rotation_pipeline.warehouse.store import open_warehouse

    tables, rows, found = 0, 0, []
    with open_warehouse(left, read_only=True) as one, open_warehouse(right, read_only=True) as other:
        for name, table in catalog().items():
            if table.view:
                continue
            frame = one.read(name)
            count, example = compare(table, frame, other.read(name))
            tables, rows = tables + 1, rows + frame.height
            if count:
                found.append(f"{name}: {count} rows, {example}")
    return tables, rows, found


def main() -> int:
    """Print both costs and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default="2024-01", help="last month of the sample, as 2014-06 (default 2024-01)")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    best: dict[str, list[Cost]] = {"command line": [], "Dagster": []}
    further: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="rotation-bench-") as name:
        # compiled kernels are kept on disk: whoever came first would pay for them alone
        measure("command line", "2014-02", Path(name) / "warm")
        for number in range(arguments.rounds):
            order = list(best)
            random.shuffle(order)
            for who in order:
                cost = measure(who, arguments.to, Path(name) / f"{number}-{who}")
                best[who].append(cost)
                print(f"{who:<14}{cost.wall:8.1f} s wall {cost.cpu:8.1f} s CPU {cost.peak:6.2f} GB", flush=True)
            paths = [Path(name) / f"{number}-{who}" / "rotation.duckdb" for who in best]
            tables, rows, found = differences(paths[0], paths[1])
            if found:
                raise SystemExit("the databases differ:\n" + "\n".join(found))
            print(f"{'both':<14}{tables} tables with {rows:,} rows, equal bit for bit")
            log = Path(name) / f"{number}-Dagster" / "dagster"
            size = sum(path.stat().st_size for path in log.rglob("*.db")) / 1e6
            print(f"{'':<14}what Dagster remembers of the run: {size:.0f} MB")
            further.append(measure("command line", month_after(arguments.to), paths[0].parent))
            print(f"{'one month more':<14}{further[-1].wall:8.1f} s wall {further[-1].cpu:8.1f} s CPU", flush=True)
    cpu, wall = (
        min(getattr(cost, what) for cost in best["Dagster"]) / min(getattr(cost, what) for cost in best["command line"])
        for what in ("cpu", "wall")
    )
    print(f"Dagster costs {cpu:.2f} × the command line in CPU seconds, {wall:.2f} × by the clock; the goal is {GOAL} ×")
    scoreboard.add(
        "Dagster around the graph, against the command line", f"{cpu - 1:+.0%} CPU seconds, to {arguments.to}",
        f"≤ {GOAL - 1:+.0%}", scoreboard.ceiling(cpu - 1, GOAL - 1),
    )  # fmt: skip
    share = min(cost.cpu for cost in further) / min(cost.cpu for cost in best["command line"])
    print(f"one further month costs {share:.2f} of all months to {arguments.to} in CPU seconds, report included")
    scoreboard.add(
        "`rotation run` for one further month, report included, against all",
        f"{share:.2f} in CPU seconds, after {arguments.to}",
        "none set",
        "–",
    )
    return int(cpu > GATE)


if __name__ == "__main__":
    sys.exit(main())
