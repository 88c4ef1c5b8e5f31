"""Colours: one per style, regime, book and forecaster, in a light and a dark edition.

Figures are drawn in the light edition; the page swaps each colour for its dark twin, so a colour may be used for one
role only or for roles that share their twin. Hues were chosen to stay apart under the common colour-vision
deficiencies; regimes are bands and books are lines, so the two sets may come closer to each other than within a set.
"""

from __future__ import annotations

INK, MUTED, GRID, AXIS = "#1d2126", "#666b73", "#e6e3db", "#b9b5aa"
SURFACE = {INK: "#e9e7e1", MUTED: "#a0a4aa", GRID: "#2d3237", AXIS: "#565c63"}

STYLE_COLOURS = {"MOM": "#c4513a", "VAL": "#2f6f9f", "QLTY": "#3d8b63", "VOL": "#8a5fa8", "SIZE": "#b5842a"}
REGIME_COLOURS = {"slow_bull": "#5aa9a0", "bear": "#a34a62", "range": "#a3a096"}
ROTATION = "#16243f"
BOOK_COLOURS = {
    "rotation": ROTATION,
    "softmax_mixture": "#4a6a9c",
    "softmax_network": "#8ba3c7",
    "mean_variance": "#5b8a8f",
    "inverse_volatility": "#9a9470",
    "decision_focused": "#a0627e",
    "equal_weight": "#7d828a",
    "rule_based": "#b08968",
    "risk_parity": "#84a56f",
    "factor_momentum": "#bb86a8",
    "oracle": "#c7b98f",
    "index": "#9a6b4f",
    **{f"only_{style}": colour for style, colour in STYLE_COLOURS.items()},
}
EXPERT_COLOURS = {
    "zero": "#cfcbc0",
    "historical_mean": "#9fb3c8",
    "factor_momentum": "#d3a552",
    "time_series_momentum": "#e0c48c",
    "rank_random_walk": "#a88a52",
    "pooled_ridge": "#7fa88b",
    "pooled_elastic_net": "#a9c7ae",
    "pooled_pls": "#5d8268",
    "pooled_lightgbm": "#bccb91",
    "regime_mean": "#b07aa1",
    "jump_model": "#cda9c2",
    "network_lstm": "#3f6ea3",
    "network_transformer": "#1f3a5f",
    "network_gru": "#7d9fc4",
    "network_lstm_daily": "#5689a8",
    "network_transformer_daily": "#41597d",
    "network_gru_daily": "#a3bfd6",
    "mixture": ROTATION,
}
EFFECT_COLOURS = {"forecast": "#3f6ea3", "risk_scaling": "#b07aa1", "inertia": "#84a56f", "cost": "#9a6b4f"}
"""What each decision added to the excess over equal weight."""
LOW, MIDDLE, HIGH = "#8fb3d6", "#f5f2ea", "#e5a07c"
DIVERGING = [[0.0, LOW], [0.5, MIDDLE], [1.0, HIGH]]
SEQUENTIAL = [[0.0, MIDDLE], [1.0, LOW]]

DARK: dict[str, str] = {
    **SURFACE,
    "#c4513a": "#e8836b", "#2f6f9f": "#6fb1e0", "#3d8b63": "#6cc497", "#8a5fa8": "#bb94d8", "#b5842a": "#e0b257",
    "#5aa9a0": "#4fb3a8", "#a34a62": "#d0708c", "#a3a096": "#8d8d86",
    ROTATION: "#f4efe2", "#4a6a9c": "#8fb1e6", "#8ba3c7": "#5f7ba8", "#5b8a8f": "#86b9be", "#9a9470": "#c2bb92", "#a0627e": "#d08bab", "#7d828a": "#979ca4", "#b08968": "#cfa680",
    "#84a56f": "#a3c78c", "#bb86a8": "#d9a3c6", "#c7b98f": "#8f845f", "#9a6b4f": "#c99272",
    "#cfcbc0": "#4a4f55", "#9fb3c8": "#7f97b0", "#7fa88b": "#7fb391", "#b07aa1": "#d3a0c6", "#3f6ea3": "#5c93d1", "#1f3a5f": "#a9cbf5", "#d3a552": "#b3873a",
    "#e0c48c": "#8f7440", "#a88a52": "#cfae6c", "#a9c7ae": "#5c8567", "#5d8268": "#93cba5", "#bccb91": "#8d9b5e", "#cda9c2": "#9b6d8c",
    "#7d9fc4": "#46719f", "#5689a8": "#78b4d6", "#41597d": "#8aa6cf", "#a3bfd6": "#4f6d86",
    LOW: "#3d6a96", MIDDLE: "#24282d", HIGH: "#a1553a",
}  # fmt: skip
"""The dark twin of every colour a figure may use."""


def faded(colour: str, opacity: float) -> str:
    """``#rrggbb`` with an opacity in [0, 1] as ``#rrggbbaa``."""
    return f"{colour}{round(opacity * 255):02x}"
