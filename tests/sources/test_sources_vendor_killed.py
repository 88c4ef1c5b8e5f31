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


@pytest.mark.parametrize(("vendor", "kills"), [("baostock", (1, 0)), ("akshare", (1, 0)), ("tinysoft", (1, 1))])
def test_killed_and_resumed_is_undisturbed(
    starter: Starter, vendor: str, kills: tuple[int, int], tmp_path: Path
) -> None:
    why = client_missing(vendor)
    if why is not None:
        pytest.skip(why)
    with world(vendor, tmp_path) as running:
        shown = killed_and_resumed(starter, running, tmp_path, kills, seed=7)
    assert len(shown.killed) == sum(kills)
    assert "fetched 0 of" in shown.whole.stderr
    assert "coverage" in shown.last.stdout
    assert "28 of 28" in next(line for line in shown.last.stdout.splitlines() if line.startswith("daily_bars "))
    assert shown.rows > 5000
