"""Does the pipeline find what is there, and nothing where there is nothing?

The whole chain from prices to net returns is run on simulated markets with planted premia of a given strength, one
market a seed. With strength 0 every style premium is exactly 0: whatever the strategy earns above equal weight is luck,
less costs. The regime labels are held against the simulated truth.

Nothing looks ahead, so the first five years of a forty-year run are, bit for bit, the run of five years: one run a market
gives a judgement at every length. Lengths share their markets; strengths share their seeds.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rotation_pipeline.market.calendar import add_months, month_last_day, projected_sessions
from rotation_pipeline.orchestration.chain import run_chain
from rotation_pipeline.orchestration.graph import stage_named
from rotation_pipeline.orchestration.runner import make_source, record
from rotation_pipeline.orchestration.stages import Work, run_stage, to_pandas
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.warehouse.models import models_folder
from rotation_pipeline.warehouse.store import Warehouse, open_warehouse

JUDGING = ("backtest_measures", "trials", "significance")
"""Stages of a month's verdict; run for the last month of each length only."""
NO_PART = ("reporting", "cli", "narratives", "notebook", "stock_selection", "definitions.py", "__main__.py")
"""Parts of the package no number of a trial depends on."""
CHECKED_SEED = 1
"""The market whose tables are held against their definitions at every strength; of the others it is the same code."""
TASKS_PER_PROCESS = 16
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Trial:
    """One market up to one length: what the pipeline says of it, what it earned, how well regimes were recovered.

    Ratios are annual, returns fractions a year; NaN where a sample is too short for it.
    """

    strength: float
    seed: int
    years: int
    state: str
    """The verdict's; ``beats`` is the claim of an edge."""
    sharpe: float
    equal_weight_sharpe: float
    sharpe_difference: float
    low: float
    high: float
    """95 % interval of the difference, by the studentised bootstrap."""
    excess_per_year: float
    excess_t: float
    """Newey-West."""
    deflated_sharpe: float
    deflated_excess: float
    active_share: float
    balanced_accuracy: float
    cpu_seconds: float
    """Of the whole market, at all its lengths."""
    settings: str
    code: str

    @property
    def claimed(self) -> bool:
        """The pipeline says that the strategy beats equal weight."""
        return self.state == "beats"

    @property
    def significant(self) -> bool:
        """The interval of the difference lies above 0."""
        return self.low > 0.0


def balanced_accuracy(truth: Sequence[str], labels: Sequence[str]) -> float:
    """Mean over the true regimes of the share of their months that carry their name; NaN without months."""
    recalls = [
        float(np.mean([label == name for actual, label in zip(truth, labels, strict=True) if actual == name]))
        for name in sorted(set(truth))
    ]
    return float(np.mean(recalls)) if recalls else float("nan")


def fingerprint(settings: Settings) -> str:
    """Hash of the settings a row may depend on, the market's seed and strength and the length left out."""
    values = settings.shaping()
    simulation = {
        name: value for name, value in values["simulation"].items() if name not in ("seed", "premium_strength")
    }
    return _hash(json.dumps({**values, "simulation": simulation}, sort_keys=True).encode())


@cache
def code_fingerprint() -> str:
    """Hash of the code a trial's numbers depend on: the package without its pages, sentences and commands, and the SQL."""
    package = Path(__file__).resolve().parents[1]
    paths = [(package, path) for pattern in ("*.py", "*.sql") for path in package.rglob(pattern)]
    paths = [(root, path) for root, path in paths if path.relative_to(root).parts[0] not in NO_PART]
    paths += [(models_folder(), path) for path in models_folder().rglob("*.sql")]
    digest = hashlib.sha256()
    for root, path in sorted(paths, key=lambda found: found[1]):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


class StudyError(RuntimeError):
    """A market on which the chain could not be run, or a file of trials that is none; says which one and why."""


def run_market(settings_json: str, strength: float, seed: int, years: Sequence[int]) -> list[Trial]:
    """Run the chain on one simulated market, judged at each length; an error says which market it was."""
    try:
        return _run_market(settings_json, strength, seed, sorted(years))
    except Exception as error:  # noqa: BLE001  # whatever it was is told; many errors cannot be pickled
        raise StudyError(f"strength {strength:g}, seed {seed}: {type(error).__name__}: {error}") from None


def _run_market(settings_json: str, strength: float, seed: int, years: Sequence[int]) -> list[Trial]:
    """One market in a database of its own, thrown away afterwards."""
    base = json.loads(settings_json)
    first = date.fromisoformat(f"{base['sample']['start']}-01")
    last = add_months(first, 12 * years[-1] - 1)
    base["simulation"] |= {"seed": seed, "premium_strength": strength}
    base["sample"]["end"] = f"{last:%Y-%m}"
    started = time.process_time()
    with (
        tempfile.TemporaryDirectory(prefix="rotation-study-") as folder,
        projected_sessions(month_last_day(add_months(last, 1))),
    ):
        path = Path(folder) / "study.duckdb"
        settings = stored_settings(json.dumps(base), database=path, output=Path(folder))
        with open_warehouse(path, threads=1) as warehouse:
            run_chain(warehouse, settings, checked=seed == CHECKED_SEED)
            ends = [add_months(first, 12 * length - 1) for length in years]
            judged = [_judged(warehouse, settings, month) for month in ends]
    seconds = time.process_time() - started
    return [
        Trial(
            strength=strength, seed=seed, years=length, cpu_seconds=seconds, settings=fingerprint(settings),
            code=code_fingerprint(), **found,
        )
        for length, found in zip(years, judged, strict=True)
    ]  # fmt: skip


def _judged(warehouse: Warehouse, settings: Settings, month: date) -> dict[str, Any]:
    """The verdict as of one month, and the regimes up to it."""
    from rotation_pipeline.backtest.verdict import verdict
    from rotation_pipeline.factors.statistics import newey_west_t

    source = make_source(settings)
    run_id = record(warehouse, settings, source)
    for name in JUDGING:
        run_stage(stage_named(name), Work(warehouse, settings, source, run_id, [month], checked=False))
    tables = ("marts.backtest_measures", "marts.significance", "marts.books")
    measures, significance, books = (to_pandas(warehouse.read(name, last=month)) for name in tables)
    found = verdict(measures, significance, books, None, month, settings.backtest)
    net = {
        name: warehouse.read("marts.backtest", last=month, strategy=name)["net_return"].to_numpy()
        for name in ("rotation", "equal_weight")
    }
    first = settings.sample.first
    labels = warehouse.read("marts.regimes", first=first, last=month, detector=settings.regimes.active)
    both = labels.join(warehouse.read("truth.regimes", first=first, last=month), on="month", suffix="_true")
    return {
        "state": found.state, "sharpe": found.sharpe, "equal_weight_sharpe": found.baseline_sharpe,
        "sharpe_difference": found.difference, "low": found.low, "high": found.high, "excess_per_year": found.excess,
        "excess_t": float(newey_west_t(net["rotation"] - net["equal_weight"])), "deflated_sharpe": found.deflated,
        "deflated_excess": found.deflated_excess, "active_share": found.active_share,
        "balanced_accuracy": balanced_accuracy(both["regime_true"].to_list(), both["regime"].to_list()),
    }  # fmt: skip


# ---------------------------------------------------------------------- many markets


def read_trials(path: Path) -> list[Trial]:
    """Trials of an earlier study. A last line cut off in the middle, as by a power cut, is left out.

    Raises :class:`StudyError` for a file that holds something else.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    rows = csv.DictReader(whole)
    names = [item.name for item in fields(Trial)]
    if whole and rows.fieldnames != names:
        raise StudyError(f"{path} holds no trials of this version (columns {rows.fieldnames}); move it away")
    kinds: dict[str, Callable[[str], Any]] = {
        "seed": int, "years": int, "state": str, "settings": str, "code": str,
    }  # fmt: skip
    return [Trial(**{name: kinds.get(name, float)(row[name]) for name in names}) for row in rows]


def as_finished(function: Callable[..., Answer], tasks: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Answer]:
    """``function(*task)`` of every task in ``workers`` processes, in the order they finish; the first error ends it.

    Processes are started anew after about ``TASKS_PER_PROCESS`` tasks each, for their memory grows. The executor's own
    ``max_tasks_per_child`` does that too, but can wait for ever for a process it never started (Python issue 115634).
    """
    size = workers * TASKS_PER_PROCESS
    for first in range(0, len(tasks), size):
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(function, *task) for task in tasks[first : first + size]]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def run_study(
    settings: Settings,
    strengths: Sequence[float],
    seeds: Sequence[int],
    years: Sequence[int],
    path: Path,
    *,
    workers: int | None = None,
    listen: Callable[[Sequence[Trial], int, int], None] = lambda _trials, _done, _total: None,
    notice: Callable[[str], None] = lambda _text: None,
) -> list[Trial]:
    """Every strength on every seed's market, judged at every length; finished markets are kept in ``path`` (CSV).

    A market is stored when it is finished and not run again while settings and code are the same; rows of others stay in the
    file and are told of in ``notice``. ``workers``: processes, by default one a core.
    """
    mark, code = fingerprint(settings), code_fingerprint()
    stored = read_trials(path)
    known = {_key(trial): trial for trial in stored if (trial.settings, trial.code) == (mark, code)}
    strangers = sum((trial.settings, trial.code) != (mark, code) for trial in stored)
    if strangers:
        notice(f"{path}: {strangers} rows are of other settings or code and are not used; their markets are run again")
    wanted = [(strength, seed) for seed in seeds for strength in strengths]
    todo = [pair for pair in wanted if any((*pair, length) not in known for length in years)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = settings.model_dump_json()
    done = len(wanted) - len(todo)
    tasks = [(text, strength, seed, list(years)) for strength, seed in todo]
    for trials in as_finished(run_market, tasks, workers or os.cpu_count() or 1):
        _append(path, trials)
        known |= {_key(trial): trial for trial in trials}
        done += 1
        listen(trials, done, len(wanted))
    return [known[(*pair, length)] for pair in wanted for length in sorted(years)]


def _key(trial: Trial) -> tuple[float, int, int]:
    return trial.strength, trial.seed, trial.years


def _append(path: Path, trials: Sequence[Trial]) -> None:
    """All lengths of a market in one write; a line cut off before is ended first."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    with path.open("a", encoding="utf-8", newline="") as file:
        if text and not text.endswith("\n"):
            file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        writer = csv.DictWriter(file, [item.name for item in fields(Trial)], lineterminator="\n")
        if "\n" not in text:
            writer.writeheader()
        writer.writerows(asdict(trial) for trial in trials)


# ---------------------------------------------------------------------- what they say together


@dataclass(frozen=True)
class Summary:
    """All markets of one strength and length. Rates with their Wilson 95 % intervals."""

    strength: float
    years: int
    markets: int
    claimed: int
    claimed_low: float
    claimed_high: float
    significant: int
    significant_low: float
    significant_high: float
    mean_difference: float
    standard_error: float
    mean_excess_per_year: float
    mean_active_share: float
    mean_balanced_accuracy: float


NOMINAL = 0.025
"""Share of samples without an edge whose 95 % interval lies above 0, were it exact."""


def chance_of(hits: int, count: int, rate: float = NOMINAL) -> float:
    """Probability of ``hits`` or more among ``count`` at a true ``rate`` (binomial): small means the rate is exceeded."""
    return math.fsum(math.comb(count, k) * rate**k * (1.0 - rate) ** (count - k) for k in range(hits, count + 1))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927): right also where none or all of ``count`` are hits."""
    z = 1.959963984540054
    centre = (hits + z * z / 2.0) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4.0)
    return max(0.0, centre - half), min(1.0, centre + half)


def summarise(trials: Sequence[Trial]) -> list[Summary]:
    """One line a length and strength."""
    found: list[Summary] = []
    for years, strength in sorted({(trial.years, trial.strength) for trial in trials}):
        here = [trial for trial in trials if (trial.years, trial.strength) == (years, strength)]
        differences = np.array([trial.sharpe_difference for trial in here])
        claimed, significant = sum(trial.claimed for trial in here), sum(trial.significant for trial in here)
        error = float(differences.std(ddof=1) / np.sqrt(differences.size)) if differences.size > 1 else math.nan
        found.append(
            Summary(
                strength, years, len(here), claimed, *wilson(claimed, len(here)), significant,
                *wilson(significant, len(here)), float(differences.mean()), error,
                float(np.mean([trial.excess_per_year for trial in here])),
                float(np.mean([trial.active_share for trial in here])),
                float(np.mean([trial.balanced_accuracy for trial in here])),
            )
        )  # fmt: skip
    return found


def cpu_minutes(trials: Sequence[Trial]) -> float:
    """CPU minutes of the markets behind the trials."""
    markets = {(trial.strength, trial.seed): trial.cpu_seconds for trial in trials}
    return math.fsum(markets.values()) / 60.0
