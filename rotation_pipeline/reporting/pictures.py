"""Pictures of studies for the documentation: values with their intervals, as SVG text drawn without any library.

The SVG is self-contained, has an accessible title and the same bytes for the same values; text and lines are legible on a
light and on a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, LINE, OWN, OTHER = "#6b7280", "#9ca3af", "#c4513a", "#3f6ea3"
_LEFT, _RIGHT, _TOP, _STEP = 190, 24, 44, 20


@dataclass(frozen=True)
class Mark:
    """One line of the picture: a value with its interval (NaN = none), set off if ``marked``; a new ``group`` leaves a gap."""

    label: str
    value: float
    low: float
    high: float
    group: str = ""
    marked: bool = False


def intervals_svg(
    marks: Sequence[Mark], *, title: str, axis: str, reference: float = 0.0, width: int = 760, percent: bool = False
) -> str:
    """Values down the page with their intervals across it, and a dashed line at ``reference``.

    Raises ValueError without a single known value.
    """
    known = [mark for mark in marks if math.isfinite(mark.value)]
    if not known:
        raise ValueError(f"{title}: there is no value to draw")
    ends = [end for mark in known for end in (mark.low, mark.high, mark.value) if math.isfinite(end)] + [reference]
    step = _nice((max(ends) - min(ends)) / 6.0)
    low, high = math.floor(min(ends) / step) * step, math.ceil(max(ends) / step) * step
    span = width - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * span

    heights = _heights(known)
    bottom = heights[-1] + _STEP
    parts: list[str] = []
    for place in range(round((high - low) / step) + 1):
        value = low + place * step
        text = f"{value:.0%}" if percent else f"{value:.10g}".replace("-", "−")
        parts.append(_rule(x(value), bottom, LINE, 'stroke-opacity="0.35"'))
        parts.append(_text(x(value), bottom + 16, text, "middle"))
    parts.append(_rule(x(reference), bottom, INK, 'stroke-dasharray="4 3"'))
    parts.append(_text(_LEFT + span / 2, bottom + 34, axis, "middle"))
    parts.append(_text(8, 20, title, "start", 'font-weight="600"'))
    for mark, y in zip(known, heights, strict=True):
        colour = OWN if mark.marked else OTHER
        parts.append(_text(_LEFT - 10, y + 4, mark.label, "end", 'font-weight="600"' if mark.marked else ""))
        if math.isfinite(mark.low) and math.isfinite(mark.high):
            parts.append(
                f'<line x1="{x(mark.low):.1f}" y1="{y}" x2="{x(mark.high):.1f}" y2="{y}" stroke="{colour}" '
                f'stroke-width="{3 if mark.marked else 1.6}"/>'
            )
        parts.append(f'<circle cx="{x(mark.value):.1f}" cy="{y}" r="{5 if mark.marked else 3.5}" fill="{colour}"/>')
    name = escape(title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 46}" width="{width}" '
        f'height="{bottom + 46}" role="img" aria-label="{name}" font-family="system-ui, sans-serif" font-size="12" '
        f'fill="{INK}"><title>{name}</title>{"".join(parts)}</svg>\n'
    )


def _heights(marks: Sequence[Mark]) -> list[int]:
    found: list[int] = []
    y, group = _TOP, marks[0].group
    for mark in marks:
        y += _STEP // 2 if mark.group != group else 0
        group = mark.group
        found.append(y)
        y += _STEP
    return found


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``step``."""
    if not step > 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1.0, 2.0, 5.0, 10.0) if times * power >= step * (1.0 - 1e-9))


def _rule(x: float, bottom: float, colour: str, more: str) -> str:
    return f'<line x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" {more}/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'
