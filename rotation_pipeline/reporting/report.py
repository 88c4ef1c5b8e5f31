"""The report: one HTML page that asks nothing of the network, with the verdict first.

The page carries one copy of a partial plotly bundle, its figures as JSON and its own style and script; a content
security policy in its head forbids every request. The same data give the same bytes.
"""

from __future__ import annotations

import json
from importlib.resources import files

from rotation_pipeline.reporting import attribution, charts, sheets
from rotation_pipeline.reporting import sensitivity as cells
from rotation_pipeline.reporting.blocks import (
    Block,
    Chart,
    Note,
    Section,
    Side,
    Table,
    chart,
    now,
    sample_text,
    showcases,
    table,
)
from rotation_pipeline.reporting.data import ReportData
from rotation_pipeline.reporting.formats import month_text
from rotation_pipeline.reporting.frames import where
from rotation_pipeline.reporting.palette import DARK
from rotation_pipeline.reporting.stock_level import stock_level, stock_significance
from rotation_pipeline.reporting.trials import trials
from rotation_pipeline.reporting.words import Words

BUNDLE = "plotly-cartesian.min.js"


def render_report(data: ReportData, language: str = "en") -> str:
    """The whole report as the text of one HTML file.

    Args:
        data: stored tables up to the report's month, with their provenance and the computed verdict.
        language: ``en`` or ``zh``.

    Raises:
        LanguageError: another language.
        ReportError: a table lacks columns, the backtest has no headline book, or a text cites an unknown fact.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    words = Words(language)
    headline = data.headline()
    parts = sections(data, words)
    environment = Environment(
        loader=PackageLoader("rotation_pipeline.reporting", "templates"),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    shared = {"dark": DARK, "words": {key: words(f"action.{key}") for key in ("copy", "copied")}}
    own = data.history("backtest")
    return environment.get_template("report.html.j2").render(
        words=words,
        data=data,
        month=month_text(data.month),
        verdict=list(data.verdict.sentences(words.language)),
        sample=sample_text(where(own, strategy=headline), words),
        sections=parts,
        style=Markup(_asset("templates", "report.css")),
        script=Markup(_asset("templates", "report.js")),
        bundle=Markup(_asset("assets", BUNDLE)),
        shared=Markup(json.dumps(shared, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")),
        as_markup=Markup,
    )


def _asset(folder: str, name: str) -> str:
    text = files("rotation_pipeline.reporting").joinpath(folder, name).read_text(encoding="utf-8")
    if "</script" in text.lower() or "</style" in text.lower():
        raise ValueError(f"{folder}/{name} would end its own element on the page; vendor it without closing tags")
    return text


def sections(data: ReportData, words: Words) -> list[Section]:
    """The page's parts in order, the verdict first."""
    built: list[tuple[str, list[Block]]] = [
        ("verdict", _verdict(data, words)),
        ("now", [chart(data, words, charts.weights_now, "weights", newest=True), *now(data, words)]),
        ("performance", _performance(data, words)),
        (
            "weights",
            [chart(data, words, charts.weights_history, "weights"), chart(data, words, charts.turnover, "books")],
        ),
        ("regimes", _regimes(data, words)),
        ("styles", _styles(data, words)),
        ("forecasts", _forecasts(data, words)),
        ("costs", _costs(data, words)),
        ("attribution", _attribution(data, words)),
        ("sensitivity", _sensitivity(data, words)),
        ("showcase", showcases(data, words)),
        ("coverage", _coverage(data, words)),
        (
            "settings",
            [
                Table(sheets.settings(data, words)),
                Table(sheets.versions(data, words)),
                table(data, words, trials, "trials"),
            ],
        ),
    ]
    return [Section(name, words(f"section.{name}"), words(f"nav.{name}"), blocks) for name, blocks in built]


def _side(*blocks: Chart | Table | Note) -> Side:
    return Side(blocks)


def _verdict(data: ReportData, words: Words) -> list[Block]:
    blocks: list[Block] = [table(data, words, sheets.headline, "measures")]
    active = sheets.forecast_months(data, words)
    if active.rows:
        blocks.append(Table(active))
    blocks.append(chart(data, words, charts.sharpe_intervals, "backtest", "measures"))
    blocks.append(table(data, words, sheets.significance, "significance"))
    blocks.append(table(data, words, sheets.differences, "significance"))
    return blocks


def _performance(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.net_value, "backtest", log_toggle=True, cost_toggle=True),
        chart(data, words, charts.drawdown, "backtest"),
        chart(data, words, charts.rolling_sharpe, "backtest"),
        table(data, words, stock_level, "stock_measures"),
        table(data, words, stock_significance, "stock_significance"),
    ]


def _regimes(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.regime_index, "index", "regimes"),
        _side(
            chart(data, words, charts.regime_heatmap_filtered, "longshort", "regime_evidence"),
            chart(data, words, charts.regime_heatmap_in_sample, "longshort", "regime_evidence"),
        ),
        table(data, words, sheets.regime_evidence, "regime_evidence"),
        _side(
            chart(data, words, charts.transition_matrix, "regimes", "regime_transitions"),
            table(data, words, sheets.regime_tests, "regime_tests"),
        ),
    ]


def _styles(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.style_cumulative, "longshort", log_toggle=True),
        chart(data, words, charts.quantile_bars, "groups"),
        table(data, words, sheets.factor_summary, "factor_summary"),
        chart(data, words, charts.ic_decay, "decay"),
        table(data, words, sheets.raw_summary, "factor_summary"),
    ]


def _forecasts(data: ReportData, words: Words) -> list[Block]:
    pairs = ("forecasts", "longshort")
    return [
        table(data, words, sheets.forecast_scores, "forecast_scores"),
        table(data, words, sheets.forecast_styles, "forecast_scores"),
        chart(data, words, charts.forecast_outcomes, *pairs, sample=charts.spoken_pairs),
        chart(data, words, charts.forecast_calibration, *pairs, sample=charts.spoken_pairs),
        _side(
            chart(data, words, charts.forecast_hit_rate, *pairs, sample=charts.spoken_pairs),
            chart(data, words, charts.forecast_coverage, *pairs, sample=charts.interval_pairs),
        ),
        chart(data, words, charts.expert_weights, "expert_weights"),
    ]


def _costs(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.cost_sensitivity, "backtest", "measures"),
        table(data, words, sheets.costs, "measures"),
        table(data, words, sheets.cost_kinds, "backtest"),
        table(data, words, sheets.by_regime, "measures"),
        chart(data, words, charts.yearly_excess, "backtest", "measures"),
        table(data, words, sheets.by_year, "measures"),
    ]


def _attribution(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.attribution_paths, "attribution"),
        table(data, words, attribution.by_decision, "attribution"),
        table(data, words, attribution.by_regime, "attribution"),
    ]


def _sensitivity(data: ReportData, words: Words) -> list[Block]:
    """The study of these results, or how to run it."""
    if data.history("sensitivity").empty:
        return [Note(words("sensitivity.none"))]
    return [
        # every cell is judged on the months of the backtest, though its row stands in the last one
        chart(data, words, charts.sensitivity_intervals, "sensitivity", sample=lambda own: own.history("backtest")),
        table(data, words, cells.sensitivity, "sensitivity"),
    ]


def _coverage(data: ReportData, words: Words) -> list[Block]:
    return [
        chart(data, words, charts.data_coverage, "ingestions"),
        table(data, words, sheets.ingestions, "ingestions"),
        Table(sheets.quarantine(data, words)),
    ]
