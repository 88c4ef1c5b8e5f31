"""Does the pipeline find what is there, and nothing where there is nothing?

The whole chain from prices to net returns is run on simulated markets with planted premia of a given strength, one
market a seed. With strength 0 every style premium is exactly 0: whatever the strategy earns above equal weight is luck,
less costs. The regime labels are held against the simulated truth.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from rotation_pipeline.backtest.measures import sharpe_ratio
from rotation_pipeline.factors.statistics import newey_west_t
from rotation_pipeline.orchestration.graph import stages
from rotation_pipeline.orchestration.runner import run_graph
from rotation_pipeline.settings import Settings, stored_settings
from rotation_pipeline.warehouse.store import open_warehouse

LAST_STAGE = "factor_backtest"
LEFT_OUT = frozenset({"factor_evidence", "factor_summary", "regime_evidence", "forecast_scores"})
"""Stages the net returns do not depend on."""


@dataclass(frozen=True)
class Trial:
    """One market: what the strategy earned above equal weight after costs, and how well regimes were recovered."""

    strength: float
    seed: int
    sharpe: float
    equal_weight_sharpe: float
    sharpe_difference: float
    excess_per_year: float
    excess_t: float
    active_share: float
    balanced_accuracy: float
    settings: str


@dataclass(frozen=True)
class Summary:
    """All markets of one strength."""

    strength: float
    markets: int
    mean_difference: float
    standard_error: float
    t: float
    positive: int
    significant: int
    mean_excess_per_year: float
    mean_active_share: float
    mean_balanced_accuracy: float


def balanced_accuracy(truth: Sequence[str], labels: Sequence[str]) -> float:
    """Mean over the true regimes of the share of their months that carry their name; NaN without months."""
    recalls = [
        float(np.mean([label == name for actual, label in zip(truth, labels, strict=True) if actual == name]))
        for name in sorted(set(truth))
    ]
    return float(np.mean(recalls)) if recalls else float("nan")


def fingerprint(settings: Settings) -> str:
    """Hash of the settings of a study, the market's seed and strength left out."""
    values = settings.model_dump(
        mode="json", exclude={"database": True, "output": True, "simulation": {"seed", "premium_strength"}}
    )
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


class StudyError(RuntimeError):
    """A market on which the chain could not be run; says which one and why."""


def run_trial(settings_json: str, strength: float, seed: int) -> Trial:
    """Run the chain on one simulated market; an error says which market it was and survives the way between processes."""
    try:
        return _run_trial(settings_json, strength, seed)
    except Exception as error:  # noqa: BLE001  # whatever it was is told; many errors cannot be pickled
        raise StudyError(f"strength {strength:g}, seed {seed}: {type(error).__name__}: {error}") from None


def _run_trial(settings_json: str, strength: float, seed: int) -> Trial:
    """Run the chain on one simulated market in a database of its own, thrown away afterwards."""
    base = json.loads(settings_json)
    simulation = {**base["simulation"], "seed": seed, "premium_strength": strength}
    with tempfile.TemporaryDirectory(prefix="rotation-study-") as folder:
        path = Path(folder) / "study.duckdb"
        settings = stored_settings(json.dumps({**base, "simulation": simulation}), database=path, output=Path(folder))
        names = [stage.name for stage in stages()]
        chosen = [name for name in names[: names.index(LAST_STAGE) + 1] if name not in LEFT_OUT]
        with open_warehouse(path, threads=1) as warehouse:
            run_graph(warehouse, settings, settings.all_months(), only=chosen)
            first = settings.sample.first
            book = warehouse.read("marts.backtest", strategy="rotation")["net_return"].to_numpy()
            equal = warehouse.read("marts.backtest", strategy="equal_weight")["net_return"].to_numpy()
            held = warehouse.read("marts.books", strategy="rotation", first=first)["active_share"].to_numpy()
            labels = warehouse.read("marts.regimes", first=first, detector=settings.regimes.active)
            truth = warehouse.read("truth.regimes", first=first)
            both = labels.join(truth, on="month", suffix="_true")
    years = settings.backtest.periods_per_year
    own, base_sharpe = float(sharpe_ratio(book, years)), float(sharpe_ratio(equal, years))
    excess = book - equal
    return Trial(
        strength=strength, seed=seed, sharpe=own, equal_weight_sharpe=base_sharpe, sharpe_difference=own - base_sharpe,
        excess_per_year=float(excess.mean() * years), excess_t=float(newey_west_t(excess)),
        active_share=float(held.mean()),
        balanced_accuracy=balanced_accuracy(both["regime_true"].to_list(), both["regime"].to_list()),
        settings=fingerprint(settings),
    )  # fmt: skip


def read_trials(path: Path) -> list[Trial]:
    """Trials of an earlier, perhaps interrupted, study."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds: dict[str, Callable[[str], Any]] = {"seed": int, "settings": str}
    return [Trial(**{item.name: kinds.get(item.name, float)(row[item.name]) for item in fields(Trial)}) for row in rows]


def run_study(
    settings: Settings,
    strengths: Sequence[float],
    seeds: Sequence[int],
    path: Path,
    *,
    workers: int = 2,
    listen: Callable[[Trial, int, int], None] = lambda _trial, _done, _total: None,
) -> list[Trial]:
    """Every strength on every seed's market; finished ones are kept in ``path`` (CSV) and not run again."""
    mark = fingerprint(settings)
    known = {(trial.strength, trial.seed): trial for trial in read_trials(path) if trial.settings == mark}
    wanted = [(strength, seed) for seed in seeds for strength in strengths]
    todo = [pair for pair in wanted if pair not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = settings.model_dump_json()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=8) as pool:
        futures = [pool.submit(run_trial, text, strength, seed) for strength, seed in todo]
        for future in as_completed(futures):
            trial = future.result()
            _append(path, trial)
            known[trial.strength, trial.seed] = trial
            listen(trial, len(wanted) - len(todo) + sum(item.done() for item in futures), len(wanted))
    return [known[pair] for pair in wanted]


def _append(path: Path, trial: Trial) -> None:
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [item.name for item in fields(Trial)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(trial))


def summarise(trials: Sequence[Trial]) -> list[Summary]:
    """One line a strength: mean Sharpe difference over the markets with its standard error."""
    found: list[Summary] = []
    for strength in sorted({trial.strength for trial in trials}):
        here = [trial for trial in trials if trial.strength == strength]
        differences = np.array([trial.sharpe_difference for trial in here])
        error = float(differences.std(ddof=1) / np.sqrt(differences.size)) if differences.size > 1 else float("nan")
        found.append(
            Summary(
                strength=strength, markets=len(here), mean_difference=float(differences.mean()), standard_error=error,
                t=float(differences.mean() / error), positive=int((differences > 0).sum()),
                significant=sum(trial.excess_t > 1.96 for trial in here),
                mean_excess_per_year=float(np.mean([trial.excess_per_year for trial in here])),
                mean_active_share=float(np.mean([trial.active_share for trial in here])),
                mean_balanced_accuracy=float(np.mean([trial.balanced_accuracy for trial in here])),
            )
        )  # fmt: skip
    return found


def markdown(trials: Sequence[Trial], settings: Settings, command: str) -> str:
    """The study as a page: what was run, the summary, and every market."""
    lines = [
        "# Recovery study",
        "",
        "Does the pipeline find rotating premia where they are planted, and nothing where there are none? "
        "Simulated markets only; made by",
        "",
        f"```bash\n{command}\n```",
        "",
        f"{len({trial.seed for trial in trials})} markets per strength, {settings.sample.start} to {settings.sample.end}, "
        f"{settings.network.seeds} network seeds refitted every {settings.forecasts.refit_every} months, costs "
        f"{settings.backtest.cost_bp:g} bp. Sharpe ratios are annual and after costs; the difference is rotation minus static "
        "equal weight; t is the mean difference over its standard error across markets; balanced accuracy is that of the "
        "filtered monthly regime labels against the simulated truth (chance is 0.33).",
        "",
        "| strength | markets | mean Sharpe difference | standard error | t | positive | excess t > 1.96 | excess a year | "
        "active share | balanced accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {item.strength:g} | {item.markets} | {item.mean_difference:+.3f} | {item.standard_error:.3f} | {item.t:+.2f} | "
        f"{item.positive} of {item.markets} | {item.significant} of {item.markets} | {item.mean_excess_per_year:+.2%} | "
        f"{item.mean_active_share:.1%} | {item.mean_balanced_accuracy:.2f} |"
        for item in summarise(trials)
    ]
    lines += [
        "",
        "## Every market",
        "",
        "| strength | seed | Sharpe | equal weight | difference | excess a year | t | active share | balanced accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {trial.strength:g} | {trial.seed} | {trial.sharpe:+.2f} | {trial.equal_weight_sharpe:+.2f} | "
        f"{trial.sharpe_difference:+.3f} | {trial.excess_per_year:+.2%} | {trial.excess_t:+.2f} | {trial.active_share:.1%} | "
        f"{trial.balanced_accuracy:.2f} |"
        for trial in sorted(trials, key=lambda trial: (trial.strength, trial.seed))
    ]
    return "\n".join(lines) + "\n"
