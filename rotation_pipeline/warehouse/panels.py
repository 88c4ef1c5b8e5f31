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
from typing import Any

import numpy as np
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0
from numpy.typing import NDArray

from rotation_pipeline.factors.kernels import LEAD
from rotation_pipeline.factors.panel import Panel
from rotation_pipeline.warehouse.errors import WarehouseError

_FIXED = ("days", "asset_key", "start", "stop")


def keep_panel(folder: Path, panel: Panel, key: str) -> None:
    """Write a panel, without the room that holds nothing; one already in ``folder`` is replaced as a whole, or not at all."""
    building = folder.with_name(folder.name + ".building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    lengths = panel.stop - panel.start
    stop = np.cumsum(lengths + LEAD)
    fixed = {"days": panel.days, "asset_key": panel.asset_key, "start": stop - lengths, "stop": stop}
    for name, values in fixed.items():
        np.save(building / f"{name}.npy", values)
    for name, values in {
        "session": panel.session,
        **{f"column-{name}": v for name, v in panel.columns.items()},
    }.items():
        _write_rows(building / f"{name}.npy", values, panel, int(stop[-1]) if stop.size else 0)
    (building / "panel.json").write_text(json.dumps({"key": key, "columns": list(panel.columns)}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)


def _write_rows(path: Path, values: NDArray[Any], panel: Panel, size: int) -> None:
    """Each security's rows with those of ones before them, one security after the other, ``size`` rows in all."""
    with path.open("wb") as file:
        write_array_header_1_0(file, {"descr": dtype_to_descr(values.dtype), "fortran_order": False, "shape": (size,)})
        for start, stop in zip(panel.start.tolist(), panel.stop.tolist(), strict=True):
            file.write(values[start - LEAD : stop].data)


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
        days, asset_key, start, stop = (np.load(folder / f"{name}.npy") for name in _FIXED)
        session = open_memmap(folder / "session.npy", mode="c")
        columns = {name: np.asarray(open_memmap(folder / f"column-{name}.npy", mode="c")) for name in said["columns"]}
    except (OSError, ValueError, KeyError) as error:
        raise WarehouseError(
            f"the panel in {folder} is damaged ({error}); delete the folder, it is made again"
        ) from error
    return Panel(days, asset_key, start, stop, np.asarray(session), columns)
