"""A line chart as SVG text for a page of Markdown: drawn without any library, the same bytes for the same values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from rotation_pipeline.reporting.palette import AXIS, GRID, INK, MUTED
from rotation_pipeline.reporting.thumbnails import ThumbnailError

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 190, 14, 30
_LINE = 15.0
"""Pixels between two labels at the right edge."""


def line_chart_svg(
    lines: Mapping[str, Sequence[float]],
    ticks: Mapping[int, str],
    colours: Mapping[str, str],
    *,
    label: str,
    percent: bool = True,
    width: int = 860,
    height: int = 380,
) -> str:
    """Lines over common positions 0 … n − 1, each named at its end.

    Args:
        lines: name → n finite values; fractions if ``percent``.
        ticks: position → text under the axis.
        colours: name → ``#rrggbb``.
        label: what is drawn, for screen readers.
        width, height: pixels.

    Raises:
        ThumbnailError: no line, lines of different lengths, fewer than two values, or one that is not finite.
    """
    lengths = {len(values) for values in lines.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ThumbnailError("a line chart needs lines of one length, two values at least")
    if not all(math.isfinite(value) for values in lines.values() for value in values):
        raise ThumbnailError("a line chart needs finite values")
    count = lengths.pop()
    low = min(0.0, *(min(values) for values in lines.values()))
    high = max(0.0, *(max(values) for values in lines.values()))
    step = _step(high - low)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    inner_width, inner_height = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def x(position: int) -> float:
        return _LEFT + inner_width * position / (count - 1)

    def y(value: float) -> float:
        return _TOP + inner_height * (high - value) / (high - low)

    parts: list[str] = []
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        colour = AXIS if abs(value) < step / 2 else GRID
        parts.append(
            f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{colour}"/>'
        )
        text = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(_text(_LEFT - 8, y(value) + 4, text, MUTED, "end"))
    parts += [_text(x(position), height - 10, text, MUTED, "middle") for position, text in sorted(ticks.items())]
    for name, values in lines.items():
        points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.6"/>')
    for name, row in _label_rows({name: y(values[-1]) for name, values in lines.items()}).items():
        parts.append(_text(width - _RIGHT + 8, row + 4, name, colours[name], "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" font-size="12"><title>{escape(label)}</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _step(span: float) -> float:
    """A round distance between grid lines, four to eight of them."""
    raw = max(span, 1e-12) / 5.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * size for size in (1.0, 2.0, 2.5, 5.0, 10.0) if power * size >= raw)


def _label_rows(ends: Mapping[str, float]) -> dict[str, float]:
    """Rows of the labels, moved apart where lines end close together."""
    rows: dict[str, float] = {}
    last = -math.inf
    for name, row in sorted(ends.items(), key=lambda item: item[1]):
        last = max(row, last + _LINE)
        rows[name] = last
    return rows


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    fill = colour or INK
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}">{escape(text)}</text>'
