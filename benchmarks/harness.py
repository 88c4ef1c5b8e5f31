"""How the benchmarks are run: each contender in a fresh process, in random order within a round, results compared.

A ratio is printed only if the contender's numbers equal ours within the stated tolerance. Ratios are paired within a
round, as min / median / max: of CPU seconds (all threads) if the machine was loaded beyond its cores before some run,
of wall seconds if it never was.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GATE = 0.8
"""A goal counts as kept from this share of it on."""
Check = Callable[[Path, Path], str]


@dataclass
class Contender:
    """One way to do the work.

    Attributes:
        name: as the worker knows it. label: as printed. goal: ours must be so many times faster; None: no goal.
        against: contender it is compared with. python: interpreter it needs, if not this one.
        rounds: rounds it takes part in at most (slow peers need few). absent: why it is not here, if it is not.
    """

    name: str
    label: str
    goal: float | None = None
    against: str = ""
    python: str = sys.executable
    rounds: int = 99
    absent: str = ""
    runs: list[dict[str, float]] = field(default_factory=list)


def measured(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """CPU and wall seconds of ``work`` and the process's peak memory (GB) at its end; and what it returned."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**spent, "memory": peak_memory()}, result


def peak_memory() -> float:
    """Largest memory this process has held, in GB. What the system says of resources counts the parent's memory too, from
    before a new program took the child's place; Linux tells the program's own apart."""
    status = Path("/proc/self/status")
    if status.exists():
        held = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(held.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def report(figures: Mapping[str, float]) -> None:
    """What a worker says at its end."""
    print("RESULT " + json.dumps(dict(figures)), flush=True)


def run_worker(script: Path, contender: Contender, arguments: Sequence[str]) -> dict[str, float]:
    """One fresh process; SystemExit with its last words if it fails."""
    done = subprocess.run(
        [contender.python, str(script), "--worker", contender.name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{contender.label} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(lines[-1][7:])


def compete(
    script: Path, contenders: Sequence[Contender], arguments: Sequence[str], rounds: int, seed: int = 0
) -> None:
    """Run every contender ``rounds`` times, in random order within each round."""
    order = random.Random(seed)
    for number in range(rounds):
        present = [c for c in contenders if not c.absent and number < c.rounds]
        for contender in order.sample(present, len(present)):
            load = os.getloadavg()[0]
            contender.runs.append({**run_worker(script, contender, arguments), "round": number, "load": load})
            print(
                f"  round {number + 1}: {contender.label} {contender.runs[-1]['cpu']:.3f} s",
                file=sys.stderr,
                flush=True,
            )


def band(values: Sequence[float], form: str = "{:.2f}") -> str:
    """min / median / max."""
    return " / ".join(form.format(v) for v in (min(values), statistics.median(values), max(values)))


def clock(contenders: Sequence[Contender]) -> str:
    """What ratios are of: "cpu" if the load (average of a minute) exceeded the cores before some run, else "wall"."""
    cores = len(os.sched_getaffinity(0))
    return "cpu" if any(run["load"] > cores for contender in contenders for run in contender.runs) else "wall"


def ratios(ours: Contender, theirs: Contender, seconds: str) -> list[float]:
    """Seconds ("cpu" or "wall") of theirs over ours, round by round."""
    own = {run["round"]: run[seconds] for run in ours.runs}
    return [run[seconds] / own[run["round"]] for run in theirs.runs if run["round"] in own]


def table(contenders: Sequence[Contender], verdicts: Mapping[str, str]) -> bool:
    """Print the table; whether every goal is kept. ``verdicts``: why a contender's numbers do not count, by name."""
    by_name = {contender.name: contender for contender in contenders}
    kept, seconds = True, clock(contenders)
    print(f"ratios are of {'CPU' if seconds == 'cpu' else 'wall'} seconds")
    print(
        f"{'':44s} {'CPU s (min / median / max)':>28s} {'wall s':>8s} {'peak GB':>8s} {'ratio (min / median / max)':>28s}  goal"
    )
    for contender in contenders:
        if contender.absent:
            print(f"{contender.label:44s} {contender.absent}")
            continue
        cpu = [run["cpu"] for run in contender.runs]
        wall = statistics.median(run["wall"] for run in contender.runs)
        line = f"{contender.label:44s} {band(cpu, '{:.3f}'):>28s} {wall:8.2f} {max(run['memory'] for run in contender.runs):8.2f}"
        if contender.against:
            if verdicts.get(contender.name):
                print(f"{line}  no ratio: {verdicts[contender.name]}")
                kept = False
                continue
            found = ratios(by_name[contender.against], contender, seconds)
            line += f" {band(found, '{:.1f}'):>28s}"
            if contender.goal is not None:
                good = statistics.median(found) >= GATE * contender.goal
                kept &= good
                line += f"  ≥ {contender.goal:g}{'' if statistics.median(found) >= contender.goal else ' (missed)' if not good else ' (within a fifth)'}"
        print(line)
    return kept


def bandwidth(rounds: int = 7) -> float:
    """Bytes a second one core reads from memory: the largest number of 400 MB, CPU time, best of ``rounds``."""
    values = np.arange(50_000_000, dtype=np.int64)
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        values.max()
        best = min(best, time.process_time() - begun)
    return values.nbytes / best
