"""Tiny plots as SVG text, drawn without any library: small enough for a cell, a log line or an asset's metadata.

The SVG is self-contained, has an accessible title and the same bytes for the same values. Missing values (None or
not a number) leave a gap.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

from rotation_pipeline.reporting.palette import AXIS, STYLE_COLOURS

_PAD = 3.0


class ThumbnailError(ValueError):
    """The values cannot be drawn."""


def sparkline_svg(
    values: Sequence[float | None],
    *,
    width: int = 240,
    height: int = 48,
    colour: str = STYLE_COLOURS["VAL"],
    label: str = "",
) -> str:
    """Line through ``values`` in order, its last known point marked; a hairline at 0 where the range crosses it.

    Args:
        values: any unit, evenly spaced; None and NaN are gaps.
        width, height: pixels.
        colour: ``#rrggbb``.
        label: what is drawn, for screen readers; escaped.

    Raises:
        ThumbnailError: the picture has no area, or a value is infinite.
    """
    known = _known(values, width, height)
    if not known:
        return _svg(width, height, label, [])
    low, high = min(known.values()), max(known.values())
    y = _scale(low, high, height)
    step = (width - 2 * _PAD) / max(len(values) - 1, 1)
    parts = [_hairline(y(0.0), width)] if low < 0.0 < high else []
    for run in _runs(sorted(known)):
        points = " ".join(f"{_PAD + i * step:.1f},{y(known[i]):.1f}" for i in run)
        if len(run) > 1:
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linejoin="round"/>'
            )
        else:
            parts.append(
                f'<circle cx="{_PAD + run[0] * step:.1f}" cy="{y(known[run[0]]):.1f}" r="1.2" fill="{colour}"/>'
            )
    last = max(known)
    parts.append(f'<circle cx="{_PAD + last * step:.1f}" cy="{y(known[last]):.1f}" r="2.4" fill="{colour}"/>')
    return _svg(width, height, label, parts)


def bars_svg(
    values: Sequence[float | None],
    *,
    width: int = 240,
    height: int = 48,
    colours: Sequence[str] = (),
    colour: str = STYLE_COLOURS["VAL"],
    label: str = "",
) -> str:
    """One bar per value from a common zero line; ``colours`` gives each bar its own (else all ``colour``).

    Raises:
        ThumbnailError: the picture has no area, a value is infinite, or the number of colours differs from the bars'.
    """
    if colours and len(colours) != len(values):
        raise ThumbnailError(f"bars_svg: {len(colours)} colours for {len(values)} bars; give one each or none")
    known = _known(values, width, height)
    if not known:
        return _svg(width, height, label, [])
    y = _scale(min(0.0, *known.values()), max(0.0, *known.values()), height)
    slot = (width - 2 * _PAD) / len(values)
    parts: list[str] = []
    for i, value in sorted(known.items()):
        top, bottom = sorted((y(value), y(0.0)))
        fill = colours[i] if colours else colour
        parts.append(
            f'<rect x="{_PAD + i * slot + 0.1 * slot:.1f}" y="{top:.1f}" width="{0.8 * slot:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}" fill="{fill}"/>'
        )
    parts.append(_hairline(y(0.0), width))
    return _svg(width, height, label, parts)


def svg_data_uri(svg: str) -> str:
    """The SVG as a ``data:`` address, to stand in Markdown as ``![label](…)``."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")


def _known(values: Sequence[float | None], width: int, height: int) -> dict[int, float]:
    if width <= 2 * _PAD or height <= 2 * _PAD:
        raise ThumbnailError(
            f"a plot of {width} × {height} pixels has no area; use at least {int(2 * _PAD) + 1} each way"
        )
    known: dict[int, float] = {}
    for position, value in enumerate(values):
        if value is None or math.isnan(value):
            continue
        if math.isinf(value):
            raise ThumbnailError(f"value {position} is infinite; leave it out or give None")
        known[position] = float(value)
    return known


class _scale:
    """Value → pixel row; a constant series runs through the middle."""

    def __init__(self, low: float, high: float, height: int) -> None:
        self.low, self.span, self.height = low, high - low, height

    def __call__(self, value: float) -> float:
        share = (value - self.low) / self.span if self.span > 0.0 else 0.5
        return self.height - _PAD - share * (self.height - 2 * _PAD)


def _runs(positions: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][-1] + 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def _hairline(row: float, width: int) -> str:
    return f'<line x1="0" x2="{width}" y1="{row:.1f}" y2="{row:.1f}" stroke="{AXIS}" stroke-width="0.75"/>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    title = f"<title>{escape(label)}</title>" if label else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img">{title}{"".join(parts)}</svg>'
    )
