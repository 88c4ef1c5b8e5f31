"""`rotation ingest` from each vendor's stand-in, killed with its whole process group and resumed: the same rows and files.

The vendors' own packages are used but for TinySoft, whose client is itself a stand-in. `vendor_worlds.py`, run as a script, does
the same with ten kills each, tushare included; its download alone is killed ten times in `test_sources_vendor_store.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from vendor_worlds import Starter, client_missing, killed_and_resumed, world

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups and their signals are those of Unix")


@pytest.fixture(scope="module")
def starter() -> Generator[Starter]:
    with Starter() as found:
        yield found


def test_a_command_that_hangs_is_killed(starter: Starter, tmp_path: Path) -> None:
    """Every command hangs by a deadline of no time. The tests below use the same starter: its exit code is not theirs."""
    said = "tinysoft: the command did not end within 0 s; it said:"
    with world("tinysoft", tmp_path) as running, pytest.raises(TimeoutError, match=said):
        starter.ingest(running, tmp_path / "hanging", deadline=0.0)
    assert not (tmp_path / "hanging" / "x.duckdb").exists()


@pytest.mark.parametrize(("vendor", "kills"), [("baostock", (1, 0)), ("akshare", (1, 0)), ("tinysoft", (1, 1))])
def test_killed_and_resumed_is_undisturbed(
    starter: Starter, vendor: str, kills: tuple[int, int], tmp_path: Path
) -> None:
    why = client_missing(vendor)
    if why is not None:
        pytest.skip(why)
    with world(vendor, tmp_path) as running:
        shown = killed_and_resumed(starter, running, tmp_path, kills, seed=7)
    assert [one.phase for one in shown.killed] == ["fetching"] * kills[0] + ["storing"] * kills[1]
    fetching, storing = shown.killed[: kills[0]], shown.killed[kills[0] :]
    assert all(0 <= one.units < shown.units and not one.database for one in fetching)
    assert any(one.units > 0 for one in fetching)
    assert all(one.units == shown.units and one.database and one.written >= one.moment.written for one in storing)
    assert f"fetched 0 of {shown.units}:" in shown.whole.stderr
    lacking = shown.units - shown.killed[-1].units
    assert [line.split(":")[0] for line in shown.last.stderr.splitlines() if line.startswith("fetched 0 of ")] == (
        [f"fetched 0 of {lacking}"] if lacking else []
    )  # what was there was not asked for again
    assert "coverage" in shown.last.stdout
    assert "28 of 28" in next(line for line in shown.last.stdout.splitlines() if line.startswith("daily_bars "))
    assert shown.rows > 5000
