"""Shared fixtures: a small database of the whole graph, made once per test process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cli_project import Answer, Project, made

from rotation_pipeline.cli import main
from rotation_pipeline.settings import Settings, load_settings

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real market data beside the project; never part of it."""


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's settings or writes into the project's folders."""
    import os

    for name in [name for name in os.environ if name.startswith("ROTATION_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def small_settings(folder: Path, **changes: dict[str, object]) -> Settings:
    """The whole graph in a minute: 30 stocks, 18 months, 2 seeds of tiny networks, few resamples."""
    base: dict[str, dict[str, object]] = {
        "sample": {"start": "2014-01", "end": "2015-06", "history_months": 37, "style_history_months": 12},
        "universe": {"members": 30},
        "simulation": {"n_stocks": 30, "n_members": 30, "n_spare": 20, "start_month": "2010-12"},
        "forecasts": {"min_train_months": 25},
        "network": {"seeds": 2, "hidden": 8, "epochs": 6, "workers": 1},
        "regimes": {"bootstrap_resamples": 100, "permutations": 99},
        "backtest": {"resamples": 100},
    }
    for name, values in changes.items():
        base[name] = {**base.get(name, {}), **values}
    return load_settings(database=folder / "small.duckdb", output=folder / "output", **base)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """``rotation run``, once for all tests of the command line; who changes the database takes a copy."""
    return made(tmp_path_factory.mktemp("project"))


@pytest.fixture
def rotation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``rotation(*arguments)``: the entry point itself, exit codes included."""

    def call(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rotation", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        printed = capsys.readouterr()
        code = ending.value.code
        assert "Traceback" not in printed.err
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call
