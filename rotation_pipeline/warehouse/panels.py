"""Panels kept on disk: the columns the factor kernels read, laid out as they read them, mapped into memory.

For work that computes factors of the same bars again and again (other options, other factors): the bars need not be
read from the database and put in order each time. The graph does not use it: a database file does not say by itself
whether its rows are those a panel was made of. Whoever keeps a panel gives it a key that does, the fingerprint of the
partitions, say, and gets it back under no other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from rotation_pipeline.factors.panel import Panel
from rotation_pipeline.warehouse.errors import WarehouseError

_FIXED = ("days", "asset_key", "start", "stop", "session")


def keep_panel(folder: Path, panel: Panel, key: str) -> None:
    """Write a panel; one already in ``folder`` is replaced as a whole, or not at all."""
    building = folder.with_name(folder.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name in _FIXED:
        np.save(building / f"{name}.npy", getattr(panel, name))
    for name, values in panel.columns.items():
        np.save(building / f"column-{name}.npy", values)
    (building / "panel.json").write_text(json.dumps({"key": key, "columns": list(panel.columns)}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def kept_panel(folder: Path, key: str) -> Panel | None:
    """The panel in ``folder``, its columns mapped (private: what is written into them stays in memory); None if there
    is none or it was kept under another key.

    Raises:
        WarehouseError: a file of the panel is missing or damaged.
    """
    head = folder / "panel.json"
    if not head.exists():
        return None
    try:
        said = json.loads(head.read_text(encoding="utf-8"))
        if said["key"] != key:
            return None
        days, asset_key, start, stop = (np.load(folder / f"{name}.npy") for name in _FIXED[:4])
        session = open_memmap(folder / "session.npy", mode="c")
        columns = {name: np.asarray(open_memmap(folder / f"column-{name}.npy", mode="c")) for name in said["columns"]}
    except (OSError, ValueError, KeyError) as error:
        raise WarehouseError(
            f"the panel in {folder} is damaged ({error}); delete the folder, it is made again"
        ) from error
    return Panel(days, asset_key, start, stop, np.asarray(session), columns)
