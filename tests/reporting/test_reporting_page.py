"""The page: self-contained, complete, escaped, the verdict first, the same bytes for the same data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from reporting_frames import build
from reporting_rows import HOSTILE

from rotation_pipeline.reporting.data import REQUIRED, ReportData, ReportError
from rotation_pipeline.reporting.palette import DARK
from rotation_pipeline.reporting.report import render_report
from rotation_pipeline.reporting.words import LANGUAGES, LanguageError

FIXED_CHARTS = {
    "sharpe_intervals", "weights_now", "net_value", "drawdown", "rolling_sharpe", "weights_history", "turnover", "regime_index",
    "regime_heatmap_filtered", "regime_heatmap_in_sample", "transition_matrix", "style_cumulative", "quantile_bars",
    "forecast_outcomes", "forecast_calibration", "forecast_hit_rate", "forecast_coverage", "ic_decay", "expert_weights",
    "cost_sensitivity", "yearly_excess", "attribution_paths", "data_coverage",
}  # fmt: skip
SECTIONS = [
    "verdict",
    "now",
    "performance",
    "weights",
    "regimes",
    "styles",
    "forecasts",
    "costs",
    "attribution",
    "sensitivity",
    "showcase",
    "coverage",
    "settings",
]


class _Page(HTMLParser):
    """Elements with their attributes, and the text of each kind of script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.figures: dict[str, str] = {}
        self._figure = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {name: value or "" for name, value in attrs}
        self.elements.append((tag, own))
        self._figure = own.get("data-figure", "")

    def handle_endtag(self, tag: str) -> None:
        self._figure = ""

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures[self._figure.removeprefix("chart-")] = data

    def having(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [
            own
            for name, own in self.elements
            if name == tag and all(own.get(key) == value for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def data() -> ReportData:
    return build()


@pytest.fixture(scope="module")
def texts(data: ReportData) -> dict[str, str]:
    return {language: render_report(data, language) for language in LANGUAGES}


@pytest.fixture(params=LANGUAGES)
def text(request: pytest.FixtureRequest, texts: dict[str, str]) -> str:
    return texts[request.param]


def test_all_charts_and_sections_in_order(text: str) -> None:
    page = _Page(text)
    periods = {f"showcase_{part}_{name}" for part in ("market", "weights") for name in ("bubble", "decline")}
    assert set(page.figures) == FIXED_CHARTS | periods
    assert [own["id"] for own in page.having("section")] == SECTIONS
    for name, figure in page.figures.items():
        points = sum(len(trace["x"]) for trace in json.loads(figure)["data"])
        assert points > 0, f"{name} is empty"


def test_nothing_is_asked_of_the_network(text: str) -> None:
    page = _Page(text)
    for tag, own in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "ping"):
            assert own.get(name, "#").startswith(("#", "data:")), f"{tag} {name}={own[name]}"
    policy = page.having("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "connect-src" not in policy
    style = text[text.index("<style>") : text.index("</style>")]
    own_script = text[text.rindex("<script>") :]
    for part in (style, own_script):
        assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", part)


def test_the_bundle_is_there_once(text: str) -> None:
    assert text.count("plotly.js (cartesian - minified)") == 1


def test_ten_years_stay_below_three_megabytes() -> None:
    page = render_report(build(121, "2014-01-01"), "zh")
    assert len(page.encode()) <= 3_000_000
    assert len(_Page(page).figures) == len(FIXED_CHARTS) + 6


def test_verdict_stands_before_table_and_charts(data: ReportData, texts: dict[str, str]) -> None:
    for language, text in texts.items():
        last_sentence = text.index(data.verdict.sentences(language)[-1])
        assert last_sentence < text.index('id="table-headline"') < text.index("data-figure=")


@pytest.mark.parametrize(("kind", "badge"), [("simulated", "SIMULATED DATA"), ("real", "REAL DATA")])
def test_badge_on_top_and_on_every_chart(kind: str, badge: str, data: ReportData, texts: dict[str, str]) -> None:
    text = texts["en"] if kind == data.source_kind else render_report(replace(data, source_kind=kind), "en")
    other = {"SIMULATED DATA": "REAL DATA", "REAL DATA": "SIMULATED DATA"}[badge]
    assert other not in text
    assert text.index(badge) < text.index("<main>")
    captions = re.findall(r"<figcaption>.*?</figcaption>", text, re.DOTALL)
    figures = _Page(text).figures
    assert len(captions) == len(figures)
    assert all(badge in caption for caption in captions)
    assert all(badge in figure for figure in figures.values())


@pytest.mark.parametrize("kind", ["simulated", "real"])
def test_simulated_months_are_not_given_the_history_of_real_ones(
    data: ReportData, texts: dict[str, str], kind: str
) -> None:
    text = texts["en"] if kind == data.source_kind else render_report(replace(data, source_kind=kind), "en")
    assert ("named after what the real market went through" in text) == (kind == "simulated")


def test_untrusted_text_is_escaped(data: ReportData) -> None:
    text = render_report(
        replace(data, source_name=HOSTILE, ingestions=data.ingestions.assign(table_name=HOSTILE)), "en"
    )
    page = _Page(text)
    assert not page.having("img")
    assert not [own for _, own in page.elements if "onerror" in own]
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_same_data_same_bytes(data: ReportData, texts: dict[str, str]) -> None:
    assert render_report(data, "zh") == texts["zh"]
    assert render_report(build(), "en") == texts["en"]


def test_months_after_the_report_are_not_shown(data: ReportData) -> None:
    earlier = data.month - pd.DateOffset(months=20)
    cut = {
        field.name: getattr(data, field.name)[getattr(data, field.name)["month"] <= earlier]
        for field in fields(data)
        if field.name in REQUIRED
    }
    shown = render_report(replace(data, month=earlier), "en")
    assert shown == render_report(replace(data, month=earlier, **cut), "en")
    assert f"{data.month:%Y-%m}" not in re.sub(r"<script>.*?</script>", "", shown, flags=re.DOTALL)


def test_an_empty_table_is_said_to_be_empty(data: ReportData) -> None:
    text = render_report(replace(data, groups=data.groups.iloc[:0], trials=data.trials.iloc[:0]), "en")
    assert "Nothing to show: groups has no rows up to 2019-12." in text
    assert "quantile_bars" not in _Page(text).figures
    assert len(_Page(text).figures) == len(FIXED_CHARTS) + 4 - 1


@pytest.mark.parametrize(
    ("emptied", "charts"),
    [
        (set(REQUIRED) - {"backtest"}, 3),
        ({"regimes", "narratives"}, len(FIXED_CHARTS) + 4 - 2),
        ({"measures", "significance"}, len(FIXED_CHARTS) + 4 - 3),
    ],
)
def test_every_other_table_may_be_empty(data: ReportData, emptied: set[str], charts: int) -> None:
    text = render_report(replace(data, **{name: getattr(data, name).iloc[:0] for name in emptied}), "en")
    assert len(_Page(text).figures) == charts
    assert text.count("Nothing to show: ") >= len(emptied) - 3


def test_a_report_needs_the_headline_book(data: ReportData) -> None:
    with pytest.raises(ReportError, match="backtest"):
        render_report(replace(data, backtest=data.backtest.iloc[:0]), "en")


def test_a_sample_too_short_for_a_chart_is_said_to_be(data: ReportData) -> None:
    text = render_report(build(20, "2015-01-01"), "en")
    assert "Sharpe ratio of the last 36 months: too few months up to 2016-08." in text
    assert "rolling_sharpe" not in _Page(text).figures
    assert "yearly_excess" in _Page(text).figures


def test_periods_outside_the_sample_are_named(text: str) -> None:
    assert re.search(r"2020-01 (–|至) 2020-04", text)
    assert 'id="period-bubble"' in text
    assert 'id="period-outbreak"' not in text


def test_a_period_cut_by_the_sample_says_so() -> None:
    text = render_report(build(40, "2015-06-01"), "en")
    assert "(only 4 of 6 months in the sample)" in text


def test_narrative_marks_lead_to_their_facts(texts: dict[str, str]) -> None:
    page = _Page(texts["en"])
    targets = {own["id"] for own in page.having("tr") if own.get("id", "").startswith("fact-")}
    marks = [own for own in page.having("a") if own.get("href", "").startswith("#fact-")]
    assert {own["href"].removeprefix("#") for own in marks} == targets == {f"fact-f0{n}" for n in (1, 2, 3, 4, 5, 8)}
    regime = next(own for own in marks if own["href"] == "#fact-f02")
    assert regime["title"] == "Market · filtered probability of the regime: 83% (marts.regimes.p_bear, 2019-12)"


def test_a_text_that_cites_an_unknown_fact_is_refused(data: ReportData) -> None:
    facts = data.facts[data.facts["fact_id"] != "f03"]
    with pytest.raises(ReportError, match="'f03'"):
        render_report(replace(data, facts=facts), "en")


def test_every_colour_has_a_dark_twin(text: str) -> None:
    for name, figure in _Page(text).figures.items():
        for colour in re.findall(r'"(#[0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?"', figure):
            assert colour in DARK, f"{name} uses {colour}"


def test_unknown_language_and_kind_and_missing_column_are_refused(data: ReportData) -> None:
    with pytest.raises(LanguageError, match="'fr'"):
        render_report(data, "fr")
    with pytest.raises(ReportError, match="source_kind is 'made up'"):
        replace(data, source_kind="made up")
    with pytest.raises(ReportError, match=r"measures lacks the columns \['low'\]"):
        replace(data, measures=data.measures.drop(columns="low"))
    with pytest.raises(ReportError, match="does not know the values"):
        render_report(replace(data, regime_tests=data.regime_tests.assign(style="ODD")), "en")


def test_a_browser_draws_every_chart(tmp_path: Path, texts: dict[str, str]) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    page = tmp_path / "report.html"
    page.write_text(texts["zh"], encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ]
    flags += [
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000",
    ]
    done = subprocess.run(
        [browser, *flags, "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert f'data-charts="{len(FIXED_CHARTS) + 4}"' in done.stdout
    assert len(re.findall(r'class="plot js-plotly-plot"', done.stdout)) == len(FIXED_CHARTS) + 4
    assert "Uncaught" not in done.stderr
    assert "Content Security Policy" not in done.stderr


def test_the_methods_of_the_tests_are_told_in_the_language_of_the_page(data: ReportData) -> None:
    english, chinese = (render_report(data, language) for language in LANGUAGES)
    assert "studentised circular block bootstrap, block 6" in english
    assert "学生化循环分块自助法，块长 6" in chinese
    assert "95% 置信度所需年数" in chinese
    assert "annualised</td>" not in chinese
    assert "studentised" not in chinese
    wrong = replace(data, significance=data.significance.assign(detail="a method of a later version"))
    with pytest.raises(ValueError, match="'a method of a later version' is the text of no known method"):
        render_report(wrong, "zh")
