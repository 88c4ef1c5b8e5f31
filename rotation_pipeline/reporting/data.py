"""What a report is made from: the stored tables up to one month, where they came from, and the computed verdict.

The report never computes a result that a table already holds; it chooses rows, formats and draws. Tables may hold
rows after the report's month: they are never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from rotation_pipeline.backtest.sensitivity import Unvaried
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.reporting.frames import chosen, floats, labels, number, where

SourceKind = Literal["simulated", "real"]

REQUIRED: dict[str, tuple[str, ...]] = {
    "weights": ("month", "strategy", "style", "target", "weight", "drifted"),
    "books": ("month", "strategy", "turnover", "active_share", "is_equal_weight_clone"),
    "backtest": ("month", "strategy", "role", "gross_return", "factor_cost", "book_cost", "net_return", "net_value", "drawdown"),
    "measures": ("month", "strategy", "sample", "cost_bp", "measure", "value", "low", "high", "months"),
    "significance": ("month", "strategy", "baseline", "statistic", "value", "low", "high", "p_value", "trials", "detail"),
    "regimes": ("month", "detector", "regime", "p_slow_bull", "p_bear", "p_range", "months_in_regime"),
    "regime_evidence": ("month", "labelling", "style", "regime", "months", "mean", "low", "high", "t_newey_west", "hit_rate"),
    "regime_tests": ("month", "labelling", "style", "kruskal_h", "kruskal_p", "permutation_p", "adjusted_p"),
    "regime_transitions": ("month", "detector", "from_regime", "to_regime", "count", "probability"),
    "longshort": ("month", "factor", "kind", "long_short", "n_long", "n_short", "n_members"),
    "groups": ("month", "factor", "quantile", "n", "return_equal"),
    "factor_summary": ("month", "factor", "months", "mean", "t_newey_west", "sharpe", "hit_rate", "max_drawdown", "ic_mean", "icir", "ic_positive", "monotonicity"),
    "index": ("month", "close", "ret"),
    "expert_weights": ("month", "expert", "weight"),
    "forecast_scores": ("month", "expert", "style", "months", "r2_out_of_sample", "hit_rate", "rank_correlation", "clark_west_t", "clark_west_p", "coverage"),
    "confidence_set": ("month", "loss", "statistic", "expert", "p_value", "in_set"),
    "forecasts": ("month", "style", "mean", "low", "high"),
    "narratives": ("month", "language", "text", "sentences", "source", "reason"),
    "quarters": ("month", "language", "text"),
    "facts": ("month", "fact_id", "kind", "subject", "measure", "value", "label", "unit", "precision", "as_of", "source_column", "source_month"),
    "quarantine": ("month", "table_name", "rule", "severity"),
    "ingestions": ("month", "source", "table_name", "rows", "quarantined", "warnings", "source_version"),
    "trials": ("month", "trial_id", "kind", "strategy", "configuration", "months", "sharpe", "information_ratio"),
    "attribution": ("month", "strategy", "effect", "style", "regime", "value"),
    "decay": ("month", "factor", "horizon", "rank_ic"),
    "stock_measures": ("month", "strategy", "portfolio", "measure", "value", "low", "high", "months"),
    "stock_significance": ("month", "strategy", "portfolio", "baseline", "statistic", "value", "low", "high", "p_value", "trials"),
    "sensitivity": ("month", "axis", "value", "is_default", "trial_id", "months", "sharpe", "baseline_sharpe", "difference", "low", "high", "active_share", "turnover"),
}  # fmt: skip
"""Columns the report reads of each table; more columns do no harm."""


class ReportError(ValueError):
    """A report cannot be made from this input; the message names the table and the remedy."""


class VerdictLike(Protocol):
    """The computed answer to "does it beat equal weight after costs, and would we believe it"."""

    @property
    def state(self) -> str:
        """Machine-readable outcome."""
        ...

    def sentences(self, language: Literal["en", "zh"]) -> Sequence[str]:
        """The verdict as sentences in ``en`` or ``zh``."""
        ...


@dataclass(frozen=True)
class Measure:
    """One number with its 95 % interval (None where there is none) and its sample size."""

    value: float | None
    low: float | None
    high: float | None
    months: int


def _without_rows(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=pd.Index(REQUIRED[name]))


MeasureKey = tuple[str, str, float, str]
"""(strategy, sample, cost in basis points, measure)."""


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything a report shows. Frames are pandas, named after the tables they come from, ``month`` a column.

    Attributes:
        source_kind: ``simulated`` or ``real``; badges every page and chart.
        source_name: where the data came from; untrusted text.
        month: the report's month (first calendar day); later rows are not shown.
        run_id: run that made the newest rows.
        cost_bp: cost, in basis points of turnover, behind every net figure that names no other.
        index_id: the benchmark index; untrusted text.
        verdict: the computed first paragraph.
        settings: every tunable, nested by stage; versions: package → version.
        index: monthly closes and returns of the benchmark index (``month, close, ret``).
        others: the stored tables, columns as in each stage's ``tables.py``.

    Raises:
        ReportError: a frame lacks a column the report reads, or the source kind is unknown.
    """

    source_kind: SourceKind
    source_name: str
    month: pd.Timestamp
    run_id: str
    cost_bp: float
    index_id: str
    verdict: VerdictLike
    settings: Mapping[str, object]
    versions: Mapping[str, str]
    weights: pd.DataFrame
    books: pd.DataFrame
    backtest: pd.DataFrame
    measures: pd.DataFrame
    significance: pd.DataFrame
    regimes: pd.DataFrame
    regime_evidence: pd.DataFrame
    regime_tests: pd.DataFrame
    regime_transitions: pd.DataFrame
    longshort: pd.DataFrame
    groups: pd.DataFrame
    factor_summary: pd.DataFrame
    index: pd.DataFrame
    expert_weights: pd.DataFrame
    forecast_scores: pd.DataFrame
    forecasts: pd.DataFrame
    narratives: pd.DataFrame
    facts: pd.DataFrame
    quarantine: pd.DataFrame
    ingestions: pd.DataFrame
    trials: pd.DataFrame
    stock_measures: pd.DataFrame = field(default_factory=lambda: _without_rows("stock_measures"))
    stock_significance: pd.DataFrame = field(default_factory=lambda: _without_rows("stock_significance"))
    attribution: pd.DataFrame = field(default_factory=lambda: _without_rows("attribution"))
    decay: pd.DataFrame = field(default_factory=lambda: _without_rows("decay"))
    confidence_set: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=pd.Index(REQUIRED["confidence_set"]))
    )
    sensitivity: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=pd.Index(REQUIRED["sensitivity"])))
    """Cells of a sensitivity study of these very results; no rows where there was none."""
    unvaried: tuple[Unvaried, ...] = ()
    """Axes such a study does not vary, or not wholly, because it would change nothing."""
    quarters: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=pd.Index(REQUIRED["quarters"])))
    """Texts of whole quarters, by their last month; ``narratives`` and ``facts`` are those of months."""
    _histories: dict[str, pd.DataFrame] = field(init=False, repr=False, default_factory=dict[str, pd.DataFrame])
    _measures: dict[MeasureKey, Measure] = field(init=False, repr=False, default_factory=dict["MeasureKey", "Measure"])

    def __post_init__(self) -> None:
        if self.source_kind not in ("simulated", "real"):
            raise ReportError(f"source_kind is {self.source_kind!r}; give 'simulated' or 'real'")
        for one in fields(self):
            if one.name not in REQUIRED:
                continue
            frame: pd.DataFrame = getattr(self, one.name)
            missing = [name for name in REQUIRED[one.name] if name not in frame.columns]
            if missing:
                raise ReportError(f"report table {one.name} lacks the columns {missing}; pass the whole stored table")

    def history(self, name: str) -> pd.DataFrame:
        """Rows of table ``name`` up to the report's month, sorted by month, ``month`` as normalised timestamps (not to be changed)."""
        if name not in self._histories:
            frame: pd.DataFrame = getattr(self, name)
            stamped = frame.assign(month=pd.to_datetime(frame["month"]).dt.normalize())
            shown = chosen(stamped, np.asarray(stamped["month"] <= self.month, dtype=bool))
            order = np.argsort(np.asarray(shown["month"], dtype="datetime64[ns]"), kind="stable")
            self._histories[name] = shown.iloc[order].reset_index(drop=True)
        return self._histories[name]

    def latest(self, name: str) -> pd.DataFrame:
        """Rows of the last month of :meth:`history`: the newest state of a table of cumulative results."""
        shown = self.history(name)
        return where(shown, month=shown["month"].iloc[-1]) if len(shown) else shown

    def measure_index(self) -> dict[MeasureKey, Measure]:
        """The newest measures by (strategy, sample, cost in basis points, measure)."""
        if not self._measures:
            rows = self.latest("measures")
            keys = zip(
                labels(rows, "strategy"),
                labels(rows, "sample"),
                floats(rows, "cost_bp").tolist(),
                labels(rows, "measure"),
                strict=True,
            )
            parts = [[number(value) for value in floats(rows, name).tolist()] for name in ("value", "low", "high")]
            values = zip(*parts, floats(rows, "months").astype(int).tolist(), strict=True)
            self._measures.update({key: Measure(*value) for key, value in zip(keys, values, strict=True)})
        return self._measures

    def strategies(self) -> list[str]:
        """Books with a backtest, the headline first, then by role in the order the report shows them.

        Left out: a style alone that has no figures, whose returns stand as 0 and are none.
        """
        rows = self.history("backtest").drop_duplicates("strategy")
        absent = {f"only_{style}" for style in self.absent_styles()}
        rows = chosen(rows, np.array([name not in absent for name in labels(rows, "strategy")], dtype=bool))
        order = {"strategy": 0, "alternative": 1, "baseline": 2, "index": 3, "upper_bound": 4}
        known = list(zip(labels(rows, "strategy"), labels(rows, "role"), strict=True))
        ranked = sorted(enumerate(known), key=lambda item: (order.get(item[1][1], 5), _book_rank(item[1][0]), item[0]))
        return [strategy for _, (strategy, _) in ranked]

    def absent_styles(self) -> list[str]:
        """Styles without a long-short return in any month up to the report's; none where nothing of any is stored."""
        rows = self.history("longshort")
        if rows.empty:
            return []
        known = set(labels(chosen(rows, ~np.isnan(floats(rows, "long_short"))), "factor"))
        return [style for style in STYLES if style not in known]

    def roles(self) -> dict[str, str]:
        """Role of each book: strategy, alternative, baseline, index or upper_bound."""
        rows = self.history("backtest").drop_duplicates("strategy")
        return dict(zip(labels(rows, "strategy"), labels(rows, "role"), strict=True))

    def headline(self) -> str:
        """The book the verdict is about: the one with role ``strategy``.

        Raises:
            ReportError: the backtest has none.
        """
        for strategy, role in self.roles().items():
            if role == "strategy":
                return strategy
        raise ReportError(
            "report table backtest has no row with role 'strategy'; run the backtest up to the report's month"
        )

    def trial_count(self) -> int:
        """Configurations ever evaluated up to the report's month, those among them that count as no trial included.

        Ways of trading them as stocks are no further configurations of the books judged here.
        """
        counted = [number(value) for value in self.latest("significance")["trials"]]
        trials = self.history("trials")
        own = where(trials, kind=("book", "cell"))
        stored = int(own["trial_id"].nunique())
        return max([stored, *(int(value) for value in counted if value is not None)])


_BOOK_ORDER = (
    "rotation", "softmax_mixture", "softmax_network", "mean_variance", "inverse_volatility", "decision_focused",
    "equal_weight", "rule_based", "risk_parity", "factor_momentum",
    *(f"only_{style}" for style in STYLES),
)  # fmt: skip


def _book_rank(strategy: str) -> int:
    return _BOOK_ORDER.index(strategy) if strategy in _BOOK_ORDER else len(_BOOK_ORDER)
