"""The stage's input frames, checked and indexed by month."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from rotation_pipeline.allocation.tables import BASELINES, STRATEGIES
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.regimes.tables import DETECTORS

HEADLINE = STRATEGIES[0]
"""The book narratives are about."""
BASELINE = BASELINES[0]
"""The book it is compared with: static equal weight."""
DETECTOR = DETECTORS[0]
"""The detector whose regimes narratives state where rows of several are given."""


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class NarrativeInputError(ValueError):
    """An input of the narrative stage that cannot be used; the message names table, month and column."""


@dataclass(frozen=True)
class NarrativeInputs:
    """What facts are made from. Each frame holds **all** rows up to the latest month asked for; later rows are ignored.

    ``month`` is datetime64 at the first day of the month. Rows of other books, detectors or raw factors may be present and
    are left out. A null is a fact that does not exist, except in weights, regimes and net returns, which have none.
    """

    weights: pd.DataFrame
    """marts.weights: month, strategy, style, weight and drifted (fractions).

    ``drifted`` is last month's weight after this month's returns, so weight − drifted is what was traded at the month's end;
    null for all styles of a month that has no month before.
    """
    books: pd.DataFrame
    """marts.books: month, strategy, turnover and active_share (fractions), is_equal_weight_clone."""
    forecasts: pd.DataFrame
    """marts.forecasts: month, style, mean (fraction per month)."""
    longshort: pd.DataFrame
    """marts.factor_longshort: month, factor, long_short (fraction per month)."""
    regimes: pd.DataFrame
    """marts.regimes: month, detector, regime, p_<regime>, months_in_regime."""
    index_features: pd.DataFrame
    """intermediate.index_features, daily or the last day of each month only: month, day, volatility, drawdown, trend."""
    index_returns: pd.DataFrame
    """intermediate.index_monthly: month, ret (fraction, close on close)."""
    backtest: pd.DataFrame
    """marts.backtest: month, strategy, net_return, drawdown, factor_cost, book_cost."""


@dataclass(frozen=True, slots=True)
class RegimeRow:
    """Regime of a month: label, its filtered probability, months since it began."""

    label: str
    probability: float
    months: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """Index at the month's last session."""

    day: pd.Timestamp
    volatility: float | None
    drawdown: float | None
    trend: float | None


@dataclass(frozen=True, slots=True)
class BookRow:
    """A book at the close of a month."""

    turnover: float
    active_share: float
    is_clone: bool


@dataclass(frozen=True, slots=True)
class ReturnRow:
    """A book's result over a month."""

    net_return: float
    drawdown: float
    factor_cost: float
    book_cost: float


def timestamp(value: Any) -> pd.Timestamp:
    """A day as pandas timestamp; raises for a null."""
    stamp = pd.Timestamp(value)
    if not isinstance(stamp, pd.Timestamp):
        raise NarrativeInputError(f"{value!r} is no date")
    return stamp


def month_stamp(number: int) -> pd.Timestamp:
    """First day of a month from its running number."""
    return timestamp(f"{number // 12:04d}-{number % 12 + 1:02d}-01")


def month_number(month: object) -> int:
    """Running number of a month, 12 × year + month − 1. Raises for anything but the first day of a month."""
    stamp = timestamp(month)
    if stamp.day != 1 or stamp != stamp.normalize():
        raise NarrativeInputError(f"{month!r} is no month; a month is its first calendar day")
    return 12 * stamp.year + stamp.month - 1


def _columns(frame: pd.DataFrame, table: str, names: Sequence[str]) -> list[list[object]]:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise NarrativeInputError(f"{table} lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    return [frame[name].tolist() for name in names]


def _months(frame: pd.DataFrame, table: str) -> list[int]:
    (values,) = _columns(frame, table, ["month"])
    known: dict[object, int] = {}
    for value in values:
        if value not in known:
            try:
                known[value] = month_number(value)
            except NarrativeInputError as error:
                raise NarrativeInputError(f"{table}.month: {error}") from error
    return [known[value] for value in values]


def _number(value: object, where: str) -> float | None:
    """A finite number, None for null; infinite values and texts are errors."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if not isinstance(value, (int, float)):
        raise NarrativeInputError(f"{where} is {value!r}; a number was expected")
    number = float(value)
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise NarrativeInputError(f"{where} is infinite; repair the stage that made it")
    return number


def _required(value: object, where: str) -> float:
    number = _number(value, where)
    if number is None:
        raise NarrativeInputError(f"{where} is null; the table allows none there")
    return number


def _where(table: str, number: int, column: str) -> str:
    return f"{table}.{column} of {number // 12}-{number % 12 + 1:02d}"


def _put(target: dict[_K, _V], key: _K, value: _V, table: str, number: int) -> None:
    if key in target:
        raise NarrativeInputError(f"{table} has two rows for {key!r} in {number // 12}-{number % 12 + 1:02d}")
    target[key] = value


def _by_style(frame: pd.DataFrame, table: str, style_column: str, value_column: str) -> dict[int, dict[str, float]]:
    """Month → style → value of the rows that are styles and have a value."""
    result: dict[int, dict[str, float]] = {}
    names, values = _columns(frame, table, [style_column, value_column])
    for number, name, value in zip(_months(frame, table), names, values, strict=True):
        if name in STYLES:
            known = _number(value, _where(table, number, value_column))
            if known is not None:
                _put(result.setdefault(number, {}), str(name), known, table, number)
    return result


def _weights(frame: pd.DataFrame, column: str) -> dict[int, dict[str, float]]:
    """Weights or drifted weights of the headline book; a month has all styles or none."""
    table = "marts.weights"
    (strategies,) = _columns(frame, table, ["strategy"])
    result = _by_style(frame.loc[[name == HEADLINE for name in strategies]], table, "style", column)
    for number, weights in result.items():
        missing = [style for style in STYLES if style not in weights]
        if missing:
            raise NarrativeInputError(f"{_where(table, number, column)}: {HEADLINE} lacks {', '.join(missing)}")
    return result


def _regimes(frame: pd.DataFrame) -> dict[int, RegimeRow]:
    table = "marts.regimes"
    result: dict[int, RegimeRow] = {}
    names = ["detector", "regime", "months_in_regime", *(f"p_{name}" for name in REGIMES)]
    columns = _columns(frame, table, names)
    present = {str(detector) for detector in columns[0]}
    chosen = next(iter(present)) if len(present) == 1 else DETECTOR
    for number, detector, regime, months, *probabilities in zip(_months(frame, table), *columns, strict=True):
        if detector != chosen:
            continue
        if regime not in REGIMES:
            raise NarrativeInputError(
                f"{_where(table, number, 'regime')} is {regime!r}, not one of {', '.join(REGIMES)}"
            )
        place = REGIMES.index(regime)
        row = RegimeRow(
            label=REGIMES[place],
            probability=_required(probabilities[place], _where(table, number, f"p_{regime}")),
            months=int(_required(months, _where(table, number, "months_in_regime"))),
        )
        _put(result, number, row, table, number)
    return result


def _features(frame: pd.DataFrame) -> dict[int, IndexState]:
    """The last day of each month."""
    table = "intermediate.index_features"
    result: dict[int, IndexState] = {}
    days, volatility, drawdown, trend = _columns(frame, table, ["day", "volatility", "drawdown", "trend"])
    last: dict[int, tuple[pd.Timestamp, int]] = {}
    for place, (number, day) in enumerate(zip(_months(frame, table), days, strict=True)):
        stamp = timestamp(day)
        if 12 * stamp.year + stamp.month - 1 != number:
            raise NarrativeInputError(f"{_where(table, number, 'day')} is {stamp:%Y-%m-%d}, outside its month")
        if number in last and stamp == last[number][0]:
            raise NarrativeInputError(f"{table} has two rows for {stamp:%Y-%m-%d}")
        if number not in last or stamp > last[number][0]:
            last[number] = (stamp, place)
    for number, (stamp, place) in last.items():
        result[number] = IndexState(
            day=stamp,
            volatility=_number(volatility[place], _where(table, number, "volatility")),
            drawdown=_number(drawdown[place], _where(table, number, "drawdown")),
            trend=_number(trend[place], _where(table, number, "trend")),
        )
    return result


def _books(frame: pd.DataFrame) -> dict[int, BookRow]:
    table = "marts.books"
    result: dict[int, BookRow] = {}
    columns = _columns(frame, table, ["strategy", "turnover", "active_share", "is_equal_weight_clone"])
    for number, strategy, turnover, active_share, is_clone in zip(_months(frame, table), *columns, strict=True):
        if strategy == HEADLINE:
            row = BookRow(
                turnover=_required(turnover, _where(table, number, "turnover")),
                active_share=_required(active_share, _where(table, number, "active_share")),
                is_clone=bool(is_clone),
            )
            _put(result, number, row, table, number)
    return result


def _backtest(frame: pd.DataFrame) -> dict[tuple[str, int], ReturnRow]:
    table = "marts.backtest"
    result: dict[tuple[str, int], ReturnRow] = {}
    names = ["net_return", "drawdown", "factor_cost", "book_cost"]
    columns = _columns(frame, table, ["strategy", *names])
    for number, strategy, *values in zip(_months(frame, table), *columns, strict=True):
        if strategy in (HEADLINE, BASELINE):
            known = [_required(value, _where(table, number, name)) for name, value in zip(names, values, strict=True)]
            _put(result, (str(strategy), number), ReturnRow(*known), table, number)
    return result


def _index_returns(frame: pd.DataFrame) -> dict[int, float]:
    table = "intermediate.index_monthly"
    result: dict[int, float] = {}
    (values,) = _columns(frame, table, ["ret"])
    for number, value in zip(_months(frame, table), values, strict=True):
        known = _number(value, _where(table, number, "ret"))
        if known is not None:
            _put(result, number, known, table, number)
    return result


@dataclass(frozen=True, slots=True)
class History:
    """The inputs by running month number; months without rows are missing keys."""

    weights: dict[int, dict[str, float]]
    drifted: dict[int, dict[str, float]]
    books: dict[int, BookRow]
    forecasts: dict[int, dict[str, float]]
    long_short: dict[int, dict[str, float]]
    regimes: dict[int, RegimeRow]
    features: dict[int, IndexState]
    index_returns: dict[int, float]
    backtest: dict[tuple[str, int], ReturnRow]

    @classmethod
    def of(cls, inputs: NarrativeInputs) -> History:
        """Check and index the frames; raises :class:`NarrativeInputError`."""
        return cls(
            weights=_weights(inputs.weights, "weight"),
            drifted=_weights(inputs.weights, "drifted"),
            books=_books(inputs.books),
            forecasts=_by_style(inputs.forecasts, "marts.forecasts", "style", "mean"),
            long_short=_by_style(inputs.longshort, "marts.factor_longshort", "factor", "long_short"),
            regimes=_regimes(inputs.regimes),
            features=_features(inputs.index_features),
            index_returns=_index_returns(inputs.index_returns),
            backtest=_backtest(inputs.backtest),
        )
