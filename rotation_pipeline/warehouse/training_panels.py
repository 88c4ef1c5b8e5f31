"""Extra training panels as settings name them: files of monthly returns, or other databases of this pipeline."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import polars as pl

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.forecasting.frames import as_months
from rotation_pipeline.forecasting.options import PanelOptions
from rotation_pipeline.forecasting.panels import TrainingPanel
from rotation_pipeline.forecasting.series import market_state
from rotation_pipeline.forecasting.tables import MARKET_FEATURES
from rotation_pipeline.sources.factor_files import FactorFileError, read_factor_returns
from rotation_pipeline.warehouse.store import open_warehouse

MARKET = "MARKET"
"""Role of a file's column that holds the market's return."""
DATABASE = ".duckdb"
_FROM_RETURN = ("index_return", "volatility", None, "drawdown")
"""Features that follow from the market's monthly returns, in the order of ``market_state``."""


def load_panel(options: PanelOptions) -> TrainingPanel:
    """The panel of one setting. Raises FactorFileError (a file, or other content than ``options.content`` pins) or a
    WarehouseError (a database), naming what is wrong."""
    if not options.path:
        raise FactorFileError("a panel has no path; name a file of monthly returns or a database (path = FILE)")
    path = Path(options.path)
    panel = _database_panel(path, options) if path.suffix == DATABASE else _file_panel(path, options)
    content = content_of(panel)
    if options.content not in (None, content):
        raise FactorFileError(
            f"panel {path.name} holds other values (content {content}) than those settled on (content = {options.content}); "
            "take that file, or leave content out and compute all months again"
        )
    return panel


def content_of(panel: TrainingPanel) -> str:
    """SHA-256 of the months and values a panel trains with: equal content is an equal panel, wherever it lies."""
    digest = hashlib.sha256()
    for values in (panel.months, panel.styles, panel.market):
        digest.update(repr(values.shape).encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _file_panel(path: Path, options: PanelOptions) -> TrainingPanel:
    roles = {column: role.removeprefix("-") for column, role in options.columns.items()}
    known = (*STYLES, MARKET)
    unknown = sorted(set(roles.values()) - set(known))
    twice = sorted({role for role in roles.values() if list(roles.values()).count(role) > 1})
    if unknown or twice or not set(roles.values()) & set(STYLES):
        what = f"{', '.join(unknown)} is no role" if unknown else f"{', '.join(twice)} is named twice" if twice else ""
        raise FactorFileError(
            f"panel {path.name}: {what or 'no column is a style'}; columns = {{FILE_COLUMN = ROLE}} with the roles "
            f"{', '.join(known)}, each at most once, a style at least (-SIZE turns a sign)"
        )
    frame = read_factor_returns(path, roles, options.unit, options.month_column)
    signs = {role.removeprefix("-"): -1.0 if role.startswith("-") else 1.0 for role in options.columns.values()}
    nothing = np.full(len(frame), np.nan)
    styles = [np.asarray(frame[name], float) * signs[name] if name in frame else nothing for name in STYLES]
    market = np.full((len(frame), len(MARKET_FEATURES)), np.nan)
    if MARKET in frame:
        returns = np.asarray(frame[MARKET], dtype=np.float64) * signs[MARKET]
        gap = np.flatnonzero(np.isnan(returns))
        if gap.size:
            raise FactorFileError(f"panel {path.name}: the market has no return for {frame.index[int(gap[0])]:%Y-%m}")
        for column, name in enumerate(_FROM_RETURN):
            if name is not None:
                market[:, MARKET_FEATURES.index(name)] = market_state(returns)[:, column]
    return TrainingPanel(path.stem, _ordinals(frame.index), np.column_stack(styles), market)


def _ordinals(index: pd.Index) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([month.year * 12 + month.month - 1 for month in as_months(index)], dtype=np.int64)


def _database_panel(path: Path, options: PanelOptions) -> TrainingPanel:
    if not path.is_file():
        raise FactorFileError(f"panel {path}: there is no such database; `rotation run --database {path}` makes one")
    if options.columns:
        raise FactorFileError(f"panel {path.name}: a database has the styles themselves; leave columns out")
    with open_warehouse(path, read_only=True, threads=1) as warehouse:
        rows = warehouse.read("marts.factor_longshort", kind="style")
        daily = warehouse.read("intermediate.index_features", order=("day",))
        if not rows.height:
            raise FactorFileError(f"panel {path.name}: no long-short returns are stored; `rotation run` makes them")
        active = json.loads(warehouse.latest_run()["settings"])["regimes"]["active"]
        regimes = warehouse.read("marts.regimes", detector=active)
    wide = rows.pivot(on="factor", index="month", values="long_short").sort("month")
    state = daily.group_by("month", maintain_order=True).last()
    own = [name for name in MARKET_FEATURES if name in state.columns]
    rest = [name for name in MARKET_FEATURES if name not in own]
    joined = (
        wide.join(state.select("month", *own), on="month", how="left")
        .join(regimes.select("month", *rest), on="month", how="left")
        .sort("month")
    )
    nothing = pl.lit(None, dtype=pl.Float64)
    styles = joined.select(pl.col(name) if name in joined.columns else nothing.alias(name) for name in STYLES)
    months = pd.DatetimeIndex(cast("list[object]", joined["month"].to_list()))
    return TrainingPanel(
        path.stem,
        _ordinals(months),
        styles.cast(pl.Float64).fill_null(np.nan).to_numpy(),
        joined.select(MARKET_FEATURES).cast(pl.Float64).fill_null(np.nan).to_numpy(),
    )
