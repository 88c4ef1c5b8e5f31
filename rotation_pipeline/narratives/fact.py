"""One fact as the writer and the checks see it, read from the rows of table FACTS."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from rotation_pipeline.narratives.catalogue import FACT_IDS
from rotation_pipeline.narratives.history import timestamp
from rotation_pipeline.narratives.options import Period
from rotation_pipeline.narratives.tables import FACTS


class FactTableError(ValueError):
    """A frame that is no fact table, or lacks the month asked for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact: exactly one of ``value`` (in ``unit``) and ``label`` is not None."""

    fact_id: str
    kind: str
    subject: str
    measure: str
    value: float | None
    label: str | None
    unit: str
    precision: int


def shows_zero(value: float, precision: int) -> bool:
    """Whether a number (in the unit shown) reads 0 at display precision."""
    return float(f"{value:.{precision}f}") == 0.0


Facts = Mapping[str, Fact]
"""Facts of one month, or one quarter, by id."""
_QUARTER = FACT_IDS["market", "quarter_months"]


def period_of(facts: Facts) -> Period:
    """What the facts are about: those of a quarter, and no others, count its months."""
    return "quarter" if _QUARTER in facts else "month"


_USED = ("fact_id", "kind", "subject", "measure", "value", "label", "unit", "precision")


def facts_by_month(frame: pd.DataFrame, period: Period = "month") -> dict[pd.Timestamp, dict[str, Fact]]:
    """Facts by id, of each month or of the quarter that ends with it. Raises :class:`FactTableError` for a missing column or
    a repeated id."""
    missing = [name for name in ("month", "period", *_USED) if name not in frame.columns]
    if missing:
        raise FactTableError(f"{FACTS.full_name} lacks {', '.join(missing)}")
    result: dict[pd.Timestamp, dict[str, Fact]] = {}
    own = frame[frame["period"] == period]
    columns = [own[name].tolist() for name in ("month", *_USED)]
    for month, fact_id, kind, subject, measure, value, label, unit, precision in zip(*columns, strict=True):
        facts = result.setdefault(timestamp(month), {})
        if fact_id in facts:
            raise FactTableError(f"{FACTS.full_name} has two facts {fact_id!r} in {timestamp(month):%Y-%m}")
        number = None if pd.isna(value) else float(value)
        text = None if pd.isna(label) else str(label)
        if (number is None) == (text is None):
            raise FactTableError(
                f"{FACTS.full_name} {fact_id} of {timestamp(month):%Y-%m} must have either a value or a label"
            )
        facts[fact_id] = Fact(fact_id, kind, subject, measure, number, text, unit, int(precision))
    return result


def facts_hash(frame: pd.DataFrame) -> str:
    """sha256 of the rows' canonical JSON: table columns in order, sorted by month, period and id, floats by their shortest repr.

    ``run_id`` and other columns are left out, so equal facts of two runs have the same hash.
    """
    columns: list[list[object]] = []
    for name in FACTS.stored_names:
        values = frame[name].tolist()
        if FACTS.column(name).type == "DATE":
            days = {value: f"{timestamp(value):%Y-%m-%d}" for value in set(values)}
            columns.append([days[value] for value in values])
        else:
            # a float is null when it differs from itself; texts are null when they are None or a pandas null
            columns.append([None if value is None or value is pd.NA or value != value else value for value in values])
    rows = sorted(zip(*columns, strict=True), key=lambda row: row[:3])
    text = json.dumps([FACTS.stored_names, *rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
