"""The docs site builds without a warning, asks no other host for anything, and its pages say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cli_project import CONFIG, Project

from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.tables import BASELINES
from rotation_pipeline.backtest.options import BacktestOptions
from rotation_pipeline.factors.definitions import RAW_FACTORS
from rotation_pipeline.factors.options import FactorOptions
from rotation_pipeline.forecasting.options import ForecastOptions, NetworkOptions
from rotation_pipeline.forecasting.tables import EXPERTS
from rotation_pipeline.notebook import __all__ as notebook_names
from rotation_pipeline.regimes.options import DETECTORS, RegimeOptions
from rotation_pipeline.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [found[2] for found in FENCE.finditer(page(name)) if found[1] == language]


# ---------------------------------------------------------------------- the site


class Requests(HTMLParser):
    """Addresses a page makes a browser fetch; links to click are none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
        address = given.get(names.get(tag, ""))
        if address and given.get("rel") != "canonical":
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "--site-dir", str(folder)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    built = {path.stem for path in site.glob("*.html")} - {"404"}
    assert built == {path.stem for path in (ROOT / "docs").glob("*.md")}


def test_no_page_asks_another_host(site: Path) -> None:
    for path in site.glob("*.html"):
        seen = Requests()
        seen.feed(path.read_text(encoding="utf-8"))
        assert seen.found, path.name
        assert [address for address in seen.found if re.match(r"(https?:)?//", address)] == [], path.name
    sheets = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert sheets
    assert not any(re.search(r"url\(['\"]?(https?:)?//", sheet) for sheet in sheets)


def test_a_request_to_another_host_would_be_noticed() -> None:
    seen = Requests()
    seen.feed('<link rel="stylesheet" href="https://fonts.example/css"><script src="//cdn.example/x.js"></script>')
    assert seen.found == ["https://fonts.example/css", "//cdn.example/x.js"]


# ---------------------------------------------------------------------- pages against the code


def rows(name: str, heading: str) -> list[list[str]]:
    """Cells of the first table after a heading."""
    text = f"\n{page(name)}".partition(f"\n{heading}\n")[2]
    table = re.search(r"^\|.*(?:\n\|.*)+", text, re.MULTILINE)
    assert table is not None, heading
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def test_the_factors_are_those_of_the_definitions() -> None:
    written = [(row[0].strip("`"), row[1], {"+": 1, "−": -1}[row[2]]) for row in rows("stages.md", "## Factors")]
    assert written == [(factor.name, factor.style, factor.sign) for factor in RAW_FACTORS]


def test_the_detectors_and_experts_are_those_of_the_code() -> None:
    assert {row[0].strip("` ") for row in rows("stages.md", "## Regimes")} == set(DETECTORS)
    named = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows("stages.md", "## Forecasts")))
    assert named == list(EXPERTS)


def test_the_baselines_are_named() -> None:
    text = page("stages.md")
    assert [name for name in BASELINES if not name.startswith("only_") and f"`{name}`" not in text] == []


FACTORS, REGIMES, FORECASTS = FactorOptions(), RegimeOptions(), ForecastOptions()
NETWORK, ALLOCATION, BACKTEST = NetworkOptions(), AllocationOptions(), BacktestOptions()


@pytest.mark.parametrize(
    "sentence",
    [
        f"inside the last {FACTORS.lookback_sessions} sessions; below {FACTORS.min_window_share:.0%} of its window".replace("%", " %"),
        f"median ± {FACTORS.mad_limit:g} × 1.4826 × MAD",
        f"over {FACTORS.beta_window} own days, at least {FACTORS.beta_min_days} pairs",
        f"standard deviation of 60 daily returns × √{FACTORS.trading_days_per_year}",
        f"Priors of {REGIMES.mean_prior_months:g} months",
        f"mean block of {'three' if REGIMES.bootstrap_block == 3.0 else REGIMES.bootstrap_block} months",
        f"trend ≥ {REGIMES.rule_trend:.0%}".replace("%", " %"),
        f"after {FORECASTS.min_train_months} months of style returns",
        f"(1 + {FORECASTS.momentum_shrinkage_months:g} / n)",
        f"(Σ_s p_k(s) + {FORECASTS.regime_shrinkage_months:g})",
        f"w_e ← {1.0 - FORECASTS.fixed_share:g} v_e + {FORECASTS.fixed_share:g} prior_e",
        f"The {FORECASTS.interval_level:.0%} interval".replace("%", " %"),
        f"(two layers, {NETWORK.hidden} wide)" if NETWORK.layers == 2 else "layers",
        "ten seeds" if NETWORK.seeds == 10 else "seeds",
        f"1 − {ALLOCATION.shrinkage:g} × standard error_i",
        f"1/K + {ALLOCATION.tilt_scale:g} × kept_i × s_i",
        f"|w_i − 1/K| ≤ {ALLOCATION.tilt_cap:g}, {ALLOCATION.floor:g} ≤ w_i ≤ {ALLOCATION.cap:g}",
        f"|target_i − w⁺_i| > {ALLOCATION.no_trade_band:g}",
        f"with τ = {ALLOCATION.temperature:g}",
        f"momentum + {ALLOCATION.rule_tilt * 100:g} points",
        f"so far under {ALLOCATION.clone_threshold:.0%}".replace("%", " %"),
        f"cost  = {BACKTEST.cost_bp:g} bp",
        f"(best LS − LS_i + {BACKTEST.oracle_epsilon:g})",
        f"reach {BACKTEST.deflated_threshold:g}",
        f"the {BACKTEST.confidence:.0%} interval".replace("%", " %"),
    ],
)  # fmt: skip
def test_numbers_on_the_page_are_the_defaults(sentence: str) -> None:
    assert sentence in page("stages.md")


def test_the_notebook_page_names_every_function() -> None:
    table = " ".join(row[0] for row in rows("notebook.md", "# Notebook use"))
    functions = {name for name in notebook_names if name.islower()}
    assert functions == set(re.findall(r"`?(\w+)\(", table))


def test_the_extending_page_names_places_that_exist() -> None:
    named = re.findall(r"`(\w+)`[^`\n]*?\(?`(rotation_pipeline/[\w/]+\.py)`", page("extending.md"))
    assert len(named) > 8
    for name, path in named:
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path} has no {name}"


# ---------------------------------------------------------------------- the tutorial, carried out


def test_the_tutorials_settings_are_those_of_the_small_project(tmp_path: Path) -> None:
    (tmp_path / "rotation.toml").write_text(blocks("tutorial.md", "toml")[0], encoding="utf-8")
    own = load_settings().model_dump()
    (tmp_path / "rotation.toml").write_text(CONFIG, encoding="utf-8")
    assert own == load_settings().model_dump()


def test_the_tutorials_output_is_what_is_printed(project: Project) -> None:
    printed = " ".join(project.first.stdout.split())
    for line in blocks("tutorial.md", "text")[0].splitlines():
        assert " ".join(line.split()) in printed


CHEAP = ("status", "show", "explain", "lineage", "report", "doctor")
"""Commands of the tutorial that take a second or two; `run` is what made the project, the others parse only."""
LINES = [
    line for block in blocks("tutorial.md", "sh") for line in block.splitlines() if line.split()[1] in CHEAP
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_the_tutorials_commands_run(
    line: str, project: Project, rotation: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(rotation)
    monkeypatch.chdir(project.folder)
    answer = rotation(*line.split()[1:])
    assert answer.code == 0, answer.stderr
    assert answer.stdout.strip()
    if line.endswith("--facts"):
        assert blocks("tutorial.md", "text")[1].split() == answer.stdout.partition("\n\n")[2].splitlines()[0].split()


def test_the_tutorial_runs_every_cheap_command() -> None:
    assert {line.split()[1] for line in LINES} == set(CHEAP)
