"""Where the excess over equal weight came from, as tables: by decision and style, by regime; each ends with its sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rotation_pipeline.backtest.tables import EFFECTS
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.data import ReportData, ReportError
from rotation_pipeline.reporting.formats import count, percent
from rotation_pipeline.reporting.frames import floats, labels, months_of, stamp, where
from rotation_pipeline.reporting.sheets import Cell, Head, Sheet
from rotation_pipeline.reporting.words import Words

Floats = npt.NDArray[np.float64]
YEAR = 12.0
DECIMALS = 3


@dataclass(frozen=True)
class Effects:
    """What each decision added in each style and month to the net excess of the headline book.

    Attributes:
        months: (T,), in order.
        effects: (T, effects, styles) in the order of EFFECTS and STYLES, fraction per month.
        regimes: (T,), the regime at the close before, empty where there was none yet.
        excess: (T,), net return less that of equal weight as the backtest stores them.
    """

    months: Sequence[pd.Timestamp]
    effects: Floats
    regimes: Sequence[str]
    excess: Floats


def by_month(data: ReportData) -> Effects:
    """The attribution of the headline book. Raises ReportError where a month lacks an effect or its backtest."""
    rows = where(data.history("attribution"), strategy=data.headline())
    months = months_of(rows)
    place = {month: at for at, month in enumerate(months)}
    values = np.full((len(months), len(EFFECTS), len(STYLES)), np.nan)
    regimes = [""] * len(months)
    stamps = [stamp(month) for month in rows["month"]]
    columns = (labels(rows, "effect"), labels(rows, "style"), rows["regime"], floats(rows, "value").tolist())
    for month, effect, style, regime, value in zip(stamps, *columns, strict=True):
        if effect not in EFFECTS or style not in STYLES:
            raise ReportError(f"the report does not know the effect {effect!r} of {style!r} in marts.attribution")
        values[place[month], EFFECTS.index(effect), STYLES.index(style)] = value
        regimes[place[month]] = "" if pd.isna(regime) else str(regime)
    net = {
        book: {stamp(month): value for month, value in zip(own["month"], floats(own, "net_return").tolist(), strict=True)}
        for book in (data.headline(), "equal_weight")
        for own in (where(data.history("backtest"), strategy=book),)
    }  # fmt: skip
    own, base = net[data.headline()], net["equal_weight"]
    gaps = [
        month for at, month in enumerate(months) if np.isnan(values[at]).any() or month not in own or month not in base
    ]
    if gaps:
        raise ReportError(
            f"marts.attribution of {gaps[0]:%Y-%m} lacks an effect of a style, or its backtest: run the stages factor_backtest and attribution of that month again"
        )
    return Effects(months, values, regimes, np.array([own[month] - base[month] for month in months]))


def by_decision(data: ReportData, words: Words) -> Sheet:
    """Effects by style, a year; the sum, the backtest's own excess, and the largest monthly gap between the two."""
    found = by_month(data)
    yearly = YEAR * found.effects.mean(axis=0)
    heads = [Head(words("head.decision"), numeric=False), *(Head(words(f"style.{style}")) for style in STYLES)]
    heads.append(Head(words("head.all_styles")))
    rows = [
        _row(words(f"effect.{effect}"), [*line, float(line.sum())])
        for effect, line in zip(EFFECTS, yearly, strict=True)
    ]
    rows.append(_row(words("effect.sum"), [*yearly.sum(axis=0), float(yearly.sum())]))
    excess = _cell(YEAR * float(found.excess.mean()))
    rows.append([Cell(words("effect.excess")), *(Cell("") for _ in STYLES), excess])
    gap = float(np.abs(found.effects.sum(axis=(1, 2)) - found.excess).max())
    how = words("table.attribution.how", months=len(found.months), gap=f"{gap:.0e}")
    return Sheet("attribution", words("table.attribution"), how, heads, rows, marked=frozenset({len(EFFECTS)}))


def by_regime(data: ReportData, words: Words) -> Sheet:
    """Effects by the regime at the close before: each month's part of the yearly excess, so that the rows add up."""
    found = by_month(data)
    effects = found.effects.sum(axis=2)
    heads = [Head(words("head.regime"), numeric=False), Head(words("head.months"))]
    heads += [Head(words(f"effect.{effect}")) for effect in EFFECTS] + [Head(words("effect.sum"))]
    rows: list[list[Cell]] = []
    for regime in (*REGIMES, ""):
        own = np.array([one == regime for one in found.regimes])
        if not own.any():
            continue
        part = YEAR * effects[own].sum(axis=0) / len(found.months)
        name = words(f"regime.{regime}") if regime else words("cell.no_regime")
        first, *others = _row(name, [*part, float(part.sum())])
        rows.append([first, Cell(count(own.sum())), *others])
    total = YEAR * effects.mean(axis=0)
    first, *others = _row(words("cell.all_months"), [*total, float(total.sum())])
    rows.append([first, Cell(count(len(found.months))), *others])
    name, how = words("table.attribution_regimes"), words("table.attribution_regimes.how")
    return Sheet("attribution_regimes", name, how, heads, rows, marked=frozenset({len(rows) - 1}))


def _cell(value: float) -> Cell:
    return Cell(percent(value, DECIMALS, signed=True))


def _row(name: str, values: Sequence[float]) -> list[Cell]:
    return [Cell(name), *(_cell(value) for value in values)]
