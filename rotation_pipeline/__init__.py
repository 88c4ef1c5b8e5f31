"""Style rotation for Chinese equities.

``import rotation_pipeline as rp`` gives the stages as functions on plain pandas frames (see
:mod:`rotation_pipeline.notebook`); they are imported when they are first asked for, so that the import itself is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotation_pipeline.notebook import (
        AllocationOptions,
        BacktestOptions,
        Choices,
        FactorOptions,
        ForecastOptions,
        Market,
        NarrativeOptions,
        NetworkOptions,
        NotebookError,
        RegimeOptions,
        Study,
        allocate,
        detect_regimes,
        exposures,
        facts,
        forecast,
        index_features,
        long_short_returns,
        longshort_rows,
        measures,
        narrative,
        read_market,
        report_page,
        research,
        run_backtest,
        scored_exposures,
        significance,
        simulated_market,
        style_returns,
        verdict,
    )

__all__ = [
    "AllocationOptions",
    "BacktestOptions",
    "Choices",
    "FactorOptions",
    "ForecastOptions",
    "Market",
    "NarrativeOptions",
    "NetworkOptions",
    "NotebookError",
    "RegimeOptions",
    "Study",
    "allocate",
    "detect_regimes",
    "exposures",
    "facts",
    "forecast",
    "index_features",
    "long_short_returns",
    "longshort_rows",
    "measures",
    "narrative",
    "read_market",
    "report_page",
    "research",
    "run_backtest",
    "scored_exposures",
    "significance",
    "simulated_market",
    "style_returns",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.notebook"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
