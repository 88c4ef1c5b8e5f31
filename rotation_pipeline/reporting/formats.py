"""Numbers and months as text: a true minus, fixed decimals, a dash for what is unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rotation_pipeline.reporting.data import Measure
from rotation_pipeline.reporting.frames import number, stamp
from rotation_pipeline.reporting.words import Words

UNKNOWN = "–"


def percent(value: object, decimals: int = 1, *, signed: bool = False) -> str:
    """A fraction as percent."""
    known = number(value)
    return UNKNOWN if known is None else _minus(f"{100.0 * known:{'+' if signed else ''}.{decimals}f}%")


def plain(value: object, decimals: int = 2) -> str:
    """A number with fixed decimals."""
    known = number(value)
    return UNKNOWN if known is None else _minus(f"{known:.{decimals}f}")


def count(value: object) -> str:
    """A whole number with thousands separated."""
    known = number(value)
    return UNKNOWN if known is None else _minus(f"{round(known):,}")


def probability(value: object) -> str:
    """A p value; below 0.001 only that."""
    known = number(value)
    if known is None:
        return UNKNOWN
    return "< 0.001" if known < 0.001 else f"{known:.3f}"


def interval(measure: Measure, decimals: int = 2) -> str:
    """``[low, high]``, empty where there is none."""
    if measure.low is None or measure.high is None:
        return ""
    return f"[{plain(measure.low, decimals)}, {plain(measure.high, decimals)}]"


def month_text(month: object) -> str:
    """``YYYY-MM``."""
    return f"{stamp(month):%Y-%m}"


def day_text(day: object) -> str:
    """``YYYY-MM-DD``."""
    return f"{stamp(day):%Y-%m-%d}"


def fact_value(fact: Mapping[str, object], words: Words) -> str:
    """A fact's value in its unit at its display precision; a label by its name."""
    value = number(fact["value"])
    if value is None:
        return label_text(fact["label"], words)
    decimals = int(float(str(fact["precision"])))
    unit = str(fact["unit"])
    if unit == "fraction":
        return percent(value, decimals)
    if unit == "fraction_per_year":
        return words("unit.per_year", value=percent(value, decimals))
    shown = plain(value, decimals)
    return words(f"unit.{unit}", value=shown) if words.has(f"unit.{unit}") else shown


def label_text(label: object, words: Words) -> str:
    """The name of a style, regime or hint; anything else as it stands."""
    text = str(label)
    for prefix in ("style", "regime", "hint"):
        if words.has(f"{prefix}.{text}"):
            return words(f"{prefix}.{text}")
    return text


def setting_text(value: object) -> str:
    """A setting's value as one line of JSON (text without quotes)."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def flattened(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted path, value) in the order given."""
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows.extend(flattened({str(name): one for name, one in value.items()}, f"{path}."))
        else:
            rows.append((path, setting_text(value)))
    return rows


def _minus(text: str) -> str:
    # what rounds to 0 has no sign
    if text.startswith(("-", "+")) and not any(character in "123456789" for character in text):
        text = text[1:]
    return text.replace("-", "−")
