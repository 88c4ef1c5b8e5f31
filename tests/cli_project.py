"""A folder in which ``rotation run`` has run, for the tests of the command line."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rotation_pipeline.cli import main

CONFIG = """
threads = 2
[sample]
start = "2014-01"
end = "2014-06"
history_months = 31
style_history_months = 6
[universe]
members = 30
[simulation]
n_stocks = 30
n_members = 30
n_spare = 20
start_month = "2011-05"
[forecasts]
experts = ["zero", "historical_mean", "factor_momentum"]
min_train_months = 12
[regimes]
bootstrap_resamples = 100
permutations = 99
[backtest]
resamples = 100
"""
"""Thirty stocks, six months, no networks: every command in seconds."""


@dataclass(frozen=True)
class Answer:
    """What one command printed and the code it left."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; anything beside it fails the test."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Project:
    """A folder in which ``rotation run`` has run, with what it printed into files."""

    database: Path
    folder: Path
    first: Answer


def made(folder: Path) -> Project:
    """``rotation run`` in a folder with :data:`CONFIG`, through the entry point itself."""
    (folder / "rotation.toml").write_text(CONFIG, encoding="utf-8")
    with (
        pytest.MonkeyPatch.context() as patch,
        (folder / "o").open("w+") as stdout,
        (folder / "e").open("w+") as stderr,
    ):
        for name in [name for name in os.environ if name.startswith("ROTATION_")]:
            patch.delenv(name)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["rotation", "run"])
        with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as ending:
            main()
        first = Answer(int(ending.value.code or 0), (folder / "o").read_text(), (folder / "e").read_text())
    return Project(folder / "data" / "simulated.duckdb", folder, first)
