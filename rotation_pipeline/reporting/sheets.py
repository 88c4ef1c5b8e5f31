"""The report's tables as plain rows of cells, before they are HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rotation_pipeline.backtest.methods import method_in
from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.regimes.names import REGIMES
from rotation_pipeline.reporting.data import Measure, MeasureKey, ReportData, ReportError
from rotation_pipeline.reporting.formats import (
    UNKNOWN,
    count,
    flattened,
    interval,
    month_text,
    percent,
    plain,
    probability,
)
from rotation_pipeline.reporting.frames import floats, labels, number, records, where
from rotation_pipeline.reporting.words import Words

RATIOS = ("sharpe", "sortino", "calmar", "information_ratio", "skew")


@dataclass(frozen=True)
class Cell:
    """Text, a quieter remark after it, and whether it stands out."""

    text: str
    aside: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Head:
    """A column's head; numbers are set flush right."""

    text: str
    numeric: bool = True


@dataclass(frozen=True)
class Sheet:
    """A table with its title and the sentence that says how to read it."""

    name: str
    title: str
    how: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    empty: str = ""
    marked: frozenset[int] = field(default_factory=frozenset[int])
    """Positions of rows that are set bold."""


def headline(data: ReportData, words: Words) -> Sheet:
    """Strategy and baselines over the whole sample."""
    how = words("table.headline.how", trials=data.trial_count())
    return _comparison(data, words, "headline", "all", words("table.headline", cost=plain(data.cost_bp, 0)), how)


def forecast_months(data: ReportData, words: Words) -> Sheet:
    """The same over months with an active forecast."""
    return _comparison(
        data, words, "forecast", "forecast", words("table.forecast"), words("table.forecast.how"), folded=True
    )


COMPARED = (
    "annualised_return",
    "volatility",
    "sharpe",
    "max_drawdown",
    "factor_turnover",
    "cost_drag",
    "information_ratio",
)


def _comparison(
    data: ReportData, words: Words, name: str, sample: str, title: str, how: str, *, folded: bool = False
) -> Sheet:
    measures, roles = data.measure_index(), data.roles()
    heads = [Head(words("head.book"), numeric=False), *(Head(words(f"measure.{one}")) for one in (*COMPARED, "months"))]
    rows: list[list[Cell]] = []
    for book in data.strategies():
        found = {one: measures.get((book, sample, data.cost_bp, one)) for one in COMPARED}
        if all(one is None for one in found.values()):
            continue
        months = max(one.months for one in found.values() if one is not None)
        aside = words(f"role.{roles[book]}") if roles[book] in ("alternative", "upper_bound") else ""
        cells = [_measure_cell(one, found[one]) for one in COMPARED]
        rows.append([Cell(words(f"book.{book}"), aside), *cells, Cell(str(months))])
    first = frozenset({0}) if rows else frozenset[int]()
    return Sheet(name, title, how, heads, rows, folded=folded, marked=first)


def _measure_cell(name: str, measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell(UNKNOWN)
    if name in RATIOS:
        return Cell(plain(measure.value), interval(measure) if name in ("sharpe", "information_ratio") else "")
    return Cell(percent(measure.value, 2 if name == "cost_drag" else 1))


STATISTICS = (
    "sharpe_difference_bootstrap", "sharpe_difference_adjusted", "sharpe_difference_hac", "excess_return", "sharpe_bootstrap",
    "sharpe_hac", "probabilistic_sharpe", "deflated_sharpe", "minimum_track_record", "overfitting_probability",
    "superior_predictive_ability", "reality_check",
)  # fmt: skip
"""In the order they are shown; a statistic the report has no name for is an error, by :func:`_ranked`."""


def significance(data: ReportData, words: Words) -> Sheet:
    """Every test of the headline book against zero and against equal weight."""
    rows = data.latest("significance")
    own = where(rows, strategy=data.headline(), baseline=("zero", "equal_weight"))
    keys = ("against", "statistic", "value", "p", "trials", "method")
    heads = [Head(words(f"head.{key}"), numeric=key in ("value", "p", "trials")) for key in keys]
    cells = [
        [
            Cell(words.named("book", str(row["baseline"]))), Cell(words.named("statistic", str(row["statistic"]))),
            _statistic_cell(row), Cell(probability(row["p_value"])), Cell(count(row["trials"])),
            Cell(method_in(words.language, str(row["detail"]), lambda book: words.named("book", book))),
        ]
        for row in _ranked(own, {"baseline": ("equal_weight", "zero"), "statistic": STATISTICS})
    ]  # fmt: skip
    return Sheet("significance", words("table.significance"), words("table.significance.how"), heads, cells)


def _statistic_cell(row: Mapping[str, object]) -> Cell:
    if row["statistic"] == "excess_return":
        return Cell(percent(row["value"], 2), _percent_interval(row))
    decimals = 1 if row["statistic"] == "minimum_track_record" else 2
    return Cell(plain(row["value"], decimals), interval(Measure(None, number(row["low"]), number(row["high"]), 0)))


def differences(data: ReportData, words: Words) -> Sheet:
    """Sharpe ratio differences of the headline book to the baselines other than equal weight, one row each."""
    rows = data.latest("significance")
    own = where(rows, strategy=data.headline())
    found = {(str(row["baseline"]), str(row["statistic"])): row for row in records(own)}
    keys = ("against", "difference", "hac_p", "bootstrap_p", "adjusted_p")
    heads = [Head(words(f"head.{key}"), numeric=place > 0) for place, key in enumerate(keys)]
    cells: list[list[Cell]] = []
    for book in data.strategies():
        bootstrap = found.get((book, "sharpe_difference_bootstrap"))
        if bootstrap is None or book == "equal_weight":
            continue
        others = [found.get((book, f"sharpe_difference_{kind}")) for kind in ("hac", "bootstrap", "adjusted")]
        cells.append(
            [Cell(words(f"book.{book}")), _statistic_cell(bootstrap)]
            + [Cell(UNKNOWN if one is None else probability(one["p_value"])) for one in others]
        )
    return Sheet("differences", words("table.differences"), words("table.differences.how"), heads, cells, folded=True)


def regime_tests(data: ReportData, words: Words) -> Sheet:
    """Kruskal-Wallis and permutation tests per style on filtered labels; hindsight's p beside."""
    keys = ("style", "kruskal", "kruskal_p", "permutation_p", "adjusted_p", "hindsight_p")
    heads = [Head(words(f"head.{key}"), numeric=place > 0) for place, key in enumerate(keys)]
    rows = _ranked(data.latest("regime_tests"), {"labelling": ("filtered", "in_sample"), "style": STYLES})
    hindsight = {row["style"]: row["adjusted_p"] for row in rows if row["labelling"] == "in_sample"}
    cells = [
        [
            Cell(words(f"style.{row['style']}")), Cell(plain(row["kruskal_h"])), Cell(probability(row["kruskal_p"])),
            Cell(probability(row["permutation_p"])), Cell(probability(row["adjusted_p"]), strong=(number(row["adjusted_p"]) or 1.0) < 0.05),
            Cell(probability(hindsight.get(row["style"]))),
        ]
        for row in rows
        if row["labelling"] == "filtered"
    ]  # fmt: skip
    return Sheet("regime_tests", words("table.regime_tests"), words("table.regime_tests.how"), heads, cells)


def regime_evidence(data: ReportData, words: Words) -> Sheet:
    """The numbers behind the regime maps."""
    keys = ("labelling", "style", "regime", "months", "mean_interval", "t", "hit_rate")
    heads = [Head(words(f"head.{key}"), numeric=place > 2) for place, key in enumerate(keys)]
    rows = _ranked(
        data.latest("regime_evidence"), {"labelling": ("filtered", "in_sample"), "style": STYLES, "regime": REGIMES}
    )
    cells = [
        [
            Cell(words(f"labelling.{row['labelling']}")), Cell(words(f"style.{row['style']}")), Cell(words(f"regime.{row['regime']}")),
            Cell(count(row["months"])), Cell(percent(row["mean"], 2), _percent_interval(row)), Cell(plain(row["t_newey_west"])),
            Cell(percent(row["hit_rate"], 0)),
        ]
        for row in rows
    ]  # fmt: skip
    return Sheet(
        "regime_evidence", words("table.regime_evidence"), words("table.regime_evidence.how"), heads, cells, folded=True
    )


def _percent_interval(row: Mapping[str, object]) -> str:
    low, high = number(row["low"]), number(row["high"])
    return "" if low is None or high is None else f"[{plain(100.0 * low)}, {plain(100.0 * high)}]"


SUMMARY_KEYS = (
    "months",
    "mean",
    "t",
    "sharpe",
    "hit_rate",
    "max_drawdown",
    "ic",
    "icir",
    "ic_positive",
    "monotonicity",
)


def factor_summary(data: ReportData, words: Words) -> Sheet:
    """Tear sheet of the five styles."""
    return _summary(data, words, "factor_summary", raw=False)


def raw_summary(data: ReportData, words: Words) -> Sheet:
    """Tear sheet of the raw factors."""
    return _summary(data, words, "raw_summary", raw=True)


def _summary(data: ReportData, words: Words, name: str, *, raw: bool) -> Sheet:
    head = Head(words("head.factor" if raw else "head.style"), numeric=False)
    rows = data.latest("factor_summary")
    others = tuple(name for name in labels(rows, "factor") if name not in STYLES)
    ordered = records(where(rows, factor=others)) if raw else _ranked(where(rows, factor=STYLES), {"factor": STYLES})
    cells = [
        [
            Cell(words.named("style", str(row["factor"]))), Cell(count(row["months"])), Cell(percent(row["mean"], 2)),
            Cell(plain(row["t_newey_west"])), Cell(plain(row["sharpe"])), Cell(percent(row["hit_rate"], 0)),
            Cell(percent(row["max_drawdown"])), Cell(plain(row["ic_mean"], 3)), Cell(plain(row["icir"])),
            Cell(percent(row["ic_positive"], 0)), Cell(plain(row["monotonicity"])),
        ]
        for row in ordered
    ]  # fmt: skip
    heads = [head, *(Head(words(f"head.{key}")) for key in SUMMARY_KEYS)]
    return Sheet(name, words(f"table.{name}"), words(f"table.{name}.how"), heads, cells, folded=raw)


SCORE_KEYS = ("months", "r2", "hit_rate", "rank_correlation", "clark_west", "p", "coverage")


def forecast_scores(data: ReportData, words: Words) -> Sheet:
    """Every forecaster over all styles pooled, the mixture first."""
    rows = data.latest("forecast_scores")
    pooled = where(rows, style="ALL")
    order = sorted(records(pooled), key=lambda row: row["expert"] != "mixture")
    inside = records(where(data.latest("confidence_set"), loss="relative_squared_error", statistic="T_max"))
    sets = {str(row["expert"]): row["p_value"] for row in inside}
    cells = [
        [Cell(words(f"expert.{row['expert']}")), *_scores(row), Cell(probability(sets.get(str(row["expert"]))))]
        for row in order
    ]
    keys = (*SCORE_KEYS, "confidence_set")
    heads = [Head(words("head.expert"), numeric=False), *(Head(words(f"head.{key}")) for key in keys)]
    marked = frozenset(place for place, row in enumerate(order) if row["expert"] == "mixture")
    return Sheet(
        "forecast_scores",
        words("table.forecast_scores"),
        words("table.forecast_scores.how"),
        heads,
        cells,
        marked=marked,
    )


def forecast_styles(data: ReportData, words: Words) -> Sheet:
    """The mixture style by style."""
    rows = data.latest("forecast_scores")
    own = _ranked(where(rows, expert="mixture", style=STYLES), {"style": STYLES})
    cells = [[Cell(words(f"style.{row['style']}")), *_scores(row)] for row in own]
    heads = [Head(words("head.style"), numeric=False), *(Head(words(f"head.{key}")) for key in SCORE_KEYS)]
    return Sheet(
        "forecast_styles", words("table.forecast_styles"), words("table.forecast_styles.how"), heads, cells, folded=True
    )


def _scores(row: Mapping[str, object]) -> list[Cell]:
    return [
        Cell(count(row["months"])), Cell(percent(row["r2_out_of_sample"], 2)), Cell(percent(row["hit_rate"])),
        Cell(plain(row["rank_correlation"], 3)), Cell(plain(row["clark_west_t"])), Cell(probability(row["clark_west_p"])),
        Cell(percent(row["coverage"], 0)),
    ]  # fmt: skip


def costs(data: ReportData, words: Words) -> Sheet:
    """Return and Sharpe ratio of strategy and equal weight at each cost."""
    measures = data.measure_index()
    levels = sorted({cost for (_, sample, cost, name) in measures if sample == "all" and name == "sharpe"})
    rows = [[Cell(f"{plain(level, 0)} bp"), *_pair(data, measures, "all", level)] for level in levels]
    marked = frozenset(place for place, level in enumerate(levels) if level == data.cost_bp)
    heads = [Head(words("head.cost"), numeric=False), *_pair_heads(data, words, "annualised_return")]
    return Sheet("costs", words("table.costs"), words("table.costs.how"), heads, rows, marked=marked)


def cost_kinds(data: ReportData, words: Words) -> Sheet:
    """What each book pays a year for trading between styles and inside the styles' long-short books."""
    rows = data.history("backtest")
    heads = [Head(words("head.book"), numeric=False)]
    heads += [Head(words(f"head.{key}")) for key in ("factor_cost", "book_cost", "all_costs", "months")]
    cells: list[list[Cell]] = []
    for book in data.strategies():
        own = where(rows, strategy=book)
        between, inside = (12.0 * float(floats(own, name).mean()) for name in ("factor_cost", "book_cost"))
        paid = [Cell(percent(cost, 2)) for cost in (between, inside, between + inside)]
        cells.append([Cell(words(f"book.{book}")), *paid, Cell(str(len(own)))])
    name, how = words("table.cost_kinds"), words("table.cost_kinds.how", cost=plain(data.cost_bp, 0))
    return Sheet("cost_kinds", name, how, heads, cells, folded=True, marked=frozenset({0}))


def by_regime(data: ReportData, words: Words) -> Sheet:
    """Strategy and equal weight by the regime known at the close before."""
    names = {f"regime:{name}": words(f"regime.{name}") for name in REGIMES}
    return _by_sample(data, words, "by_regime", "regime", names, "annualised_return")


def by_year(data: ReportData, words: Words) -> Sheet:
    """Strategy and equal weight by calendar year (the year's own return, not annualised)."""
    years = sorted({sample for (_, sample, _, _) in data.measure_index() if sample.startswith("year:")})
    names = {sample: sample.removeprefix("year:") for sample in years}
    return _by_sample(data, words, "by_year", "year", names, "total_return")


def _by_sample(data: ReportData, words: Words, name: str, head: str, samples: Mapping[str, str], measure: str) -> Sheet:
    measures = data.measure_index()
    heads = [Head(words(f"head.{head}"), numeric=False), Head(words("head.months")), *_pair_heads(data, words, measure)]
    rows: list[list[Cell]] = []
    for sample, label in samples.items():
        own = measures.get((data.headline(), sample, data.cost_bp, measure))
        if own is not None:
            rows.append([Cell(label), Cell(str(own.months)), *_pair(data, measures, sample, data.cost_bp, measure)])
    return Sheet(name, words(f"table.{name}"), words(f"table.{name}.how", cost=plain(data.cost_bp, 0)), heads, rows)


def _pair_heads(data: ReportData, words: Words, measure: str) -> list[Head]:
    books = [words(f"book.{book}") for book in (data.headline(), "equal_weight")]
    return [Head(words(key, book=book)) for key in (f"head.{measure}_of", "head.sharpe_of") for book in books]


def _pair(
    data: ReportData,
    measures: Mapping[MeasureKey, Measure],
    sample: str,
    cost: float,
    measure: str = "annualised_return",
) -> list[Cell]:
    return [
        _measure_cell(name, measures.get((book, sample, cost, name)))
        for name in (measure, "sharpe")
        for book in (data.headline(), "equal_weight")
    ]


def quarantine(data: ReportData, words: Words) -> Sheet:
    """Counts by table, rule and severity."""
    rows = data.history("quarantine")
    heads = [Head(words("head.table"), numeric=False), Head(words("head.rule"), numeric=False)]
    heads += [Head(words(f"head.{key}")) for key in ("quarantined", "warnings", "first", "last")]
    cells = [
        [
            Cell(str(table)), Cell(str(rule)), Cell(count((own["severity"] == "quarantined").sum())),
            Cell(count((own["severity"] == "warning").sum())), Cell(month_text(own["month"].min())), Cell(month_text(own["month"].max())),
        ]
        for (table, rule), own in _grouped(rows, "table_name", "rule")
    ]  # fmt: skip
    return Sheet(
        "quarantine",
        words("table.quarantine"),
        words("table.quarantine.how"),
        heads,
        cells,
        empty=words("table.quarantine.none"),
    )


def ingestions(data: ReportData, words: Words) -> Sheet:
    """Rows per source and table."""
    rows = data.history("ingestions")
    heads = [Head(words(f"head.{key}"), numeric=False) for key in ("table", "source", "version")]
    heads += [Head(words(f"head.{key}")) for key in ("first", "last", "months", "rows", "quarantined", "warnings")]
    cells = [
        [
            Cell(str(table)), Cell(str(source)), Cell(str(own["source_version"].iloc[-1])), Cell(month_text(own["month"].min())),
            Cell(month_text(own["month"].max())), Cell(count(own["month"].nunique())), Cell(count(own["rows"].sum())),
            Cell(count(own["quarantined"].sum())), Cell(count(own["warnings"].sum())),
        ]
        for (table, source), own in _grouped(rows, "table_name", "source")
    ]  # fmt: skip
    return Sheet("ingestions", words("table.ingestions"), words("table.ingestions.how"), heads, cells)


def settings(data: ReportData, words: Words) -> Sheet:
    """Every tunable as a dotted path."""
    heads = [Head(words("head.setting"), numeric=False), Head(words("head.setting_value"), numeric=False)]
    rows = [[Cell(path), Cell(value)] for path, value in flattened(data.settings)]
    return Sheet("settings", words("table.settings"), words("table.settings.how"), heads, rows, folded=True)


def versions(data: ReportData, words: Words) -> Sheet:
    """Package versions."""
    heads = [Head(words("head.package"), numeric=False), Head(words("head.version"), numeric=False)]
    rows = [[Cell(name), Cell(version)] for name, version in sorted(data.versions.items())]
    return Sheet("versions", words("table.versions"), words("table.versions.how"), heads, rows, folded=True)


def _grouped(frame: pd.DataFrame, first: str, second: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Rows by the values of two columns, in their order."""
    pairs = sorted(set(zip(labels(frame, first), labels(frame, second), strict=True)))
    return [(pair, where(frame, **{first: pair[0], second: pair[1]})) for pair in pairs]


def _ranked(frame: pd.DataFrame, orders: Mapping[str, Sequence[str]]) -> list[dict[str, object]]:
    """Records in the given order of each column's values, the first column slowest.

    Raises:
        ReportError: a value the order does not know.
    """
    for column, order in orders.items():
        unknown = sorted({str(value) for value in frame[column]} - set(order))
        if unknown:
            raise ReportError(
                f"the report does not know the values {unknown} of column {column}; it knows {', '.join(order)}"
            )
    return sorted(
        records(frame), key=lambda row: tuple(order.index(str(row[column])) for column, order in orders.items())
    )
