"""The report in a real browser without network: nothing asked for, nothing thrown, every chart drawn, no text cut off.

Skips where no Chromium is installed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from reporting_browser import Browser, Tab, browser_path
from reporting_frames import build
from test_reporting_page import FIXED_CHARTS

from rotation_pipeline.reporting.report import render_report
from rotation_pipeline.reporting.words import LANGUAGES, Words

pytestmark = pytest.mark.skipif(browser_path() is None, reason="no chromium on this machine")

CHARTS = len(FIXED_CHARTS) + 2 * 3
"""With market and weights of the three showcase periods."""
PHONE, DESK, PAPER = 390, 1280, 695
"""Widths in CSS pixels; PAPER is A4 less the margins of ``@page``."""
LAYOUTS = [
    (width, media, theme) for width, media in ((PHONE, ""), (DESK, ""), (PAPER, "print")) for theme in ("light", "dark")
]
MISFITS = """
(() => {
  const found = [], page = document.documentElement, edge = page.clientWidth;
  const tell = (what, text, rect, limit) =>
    found.push(`${what}: "${text.trim().slice(0, 60)}" ${Math.round(rect.left)}…${Math.round(rect.right)} of ${Math.round(limit.left)}…${Math.round(limit.right)}`);
  if (page.scrollWidth > edge) found.push(`the page is ${page.scrollWidth} wide in a window of ${edge}`);
  const whole = { left: 0, right: edge };
  const outside = (rect, limit) => rect.width > 0 && (rect.left < limit.left - 1 || rect.right > limit.right + 1);
  const scrolls = element => element && getComputedStyle(element).overflowX !== "visible";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (!node.data.trim() || holder.closest("script, style, noscript, svg, .hoverlayer")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = holder.closest(".scroll");
    if (scrolls(box)) continue;
    for (const rect of range.getClientRects()) if (outside(rect, whole)) tell("text outside the page", node.data, rect, whole);
  }
  for (const box of document.querySelectorAll(".scroll, .plot, .texts dl")) {
    const rect = box.getBoundingClientRect();
    if (outside(rect, whole)) tell("box outside the page", box.id || box.className, rect, whole);
  }
  for (const cell of document.querySelectorAll("td, th"))
    if (cell.scrollWidth > cell.clientWidth + 1) tell("text wider than its cell", cell.textContent, cell.getBoundingClientRect(), cell.getBoundingClientRect());
  for (const plot of document.querySelectorAll(".plot")) {
    const limit = plot.getBoundingClientRect();
    for (const text of plot.querySelectorAll("svg text"))
      if (outside(text.getBoundingClientRect(), limit)) tell("text outside " + plot.id, text.textContent, text.getBoundingClientRect(), limit);
    for (const axis of [".xtick", ".x2tick", ".ytick", ".y2tick", ".heatmap-label", ".annotation"]) {
      const ticks = [...plot.querySelectorAll(axis + " text")].filter(text => getComputedStyle(text).opacity !== "0" && text.getBoundingClientRect().width > 0);
      const boxes = ticks.map(text => [text.getBoundingClientRect(), text.textContent]);
      boxes.forEach(([a, name], i) => boxes.slice(i + 1).forEach(([b, other]) => {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left), down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 3) tell("labels over each other in " + plot.id, name + " / " + other, a, b);
      }));
    }
  }
  return found;
})()
"""
FAINT = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(parse(getComputedStyle(document.body).backgroundColor));
  const found = new Set();
  for (const element of document.querySelectorAll("p, h1, h2, h3, h4, td, th, dd, dt, a, button, figcaption span, .plot svg text")) {
    if (!element.textContent.trim() || element.closest(".heatmap-label, .heatmaplayer, noscript")) continue;
    const style = getComputedStyle(element), own = light(parse(element.closest("svg") ? style.fill : style.color));
    const ratio = (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
    if (ratio < 3) found.add(`${element.tagName} "${element.textContent.trim().slice(0, 40)}" ${ratio.toFixed(1)}`);
  }
  return [...found];
})()
"""
CATCH_FILES = """
(() => {
  window.caught = [];
  URL.createObjectURL = blob => { window.caught.push(blob); return "#caught"; };
  return true;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Generator[Browser]:
    started = Browser.start(tmp_path_factory.mktemp("browser") / "profile")
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    data = build(121, "2014-01-01")
    found = {language: folder / f"report_{language}.html" for language in LANGUAGES}
    for language, path in found.items():
        path.write_text(render_report(data, language), encoding="utf-8")
    return found


@pytest.fixture(scope="module", params=LANGUAGES)
def tab(request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]) -> Generator[Tab]:
    """The page of one language, open, its folded tables too."""
    with browser.tab() as opened:
        opened.resize(DESK)
        opened.open(pages[request.param].as_uri(), f"document.documentElement.dataset.charts === '{CHARTS}'")
        opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        opened.evaluate(f"window.language = '{request.param}'")
        yield opened


def test_no_request_no_error_and_every_chart(tab: Tab) -> None:
    assert len(tab.requests()) == 1, "only the page itself"
    assert tab.requests()[0].startswith("file://")
    marks = ".cartesianlayer .trace path, .cartesianlayer .hm image"
    drawn = tab.evaluate(f"[...document.querySelectorAll('.plot')].filter(one => one.querySelector('{marks}')).length")
    assert drawn == CHARTS
    assert tab.complaints() == []


@pytest.mark.parametrize(("width", "media", "theme"), LAYOUTS)
def test_no_text_is_cut_off(tab: Tab, width: int, media: str, theme: str) -> None:
    tab.resize(width, media=media, theme=theme)
    printing = media == "print"
    if printing:
        tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tab.settle()
    try:
        assert tab.evaluate(MISFITS) == []
        assert tab.evaluate(FAINT) == []
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        light = theme == "light" or printing
        assert (sum(int(part) for part in paper[4:-1].split(",")) > 3 * 200) == light
    finally:
        if printing:
            tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.complaints() == []


def test_the_measures_see_what_does_not_fit(tab: Tab) -> None:
    tab.resize(PHONE)
    spoil = "document.querySelector('.how').textContent = 'x'.repeat(300); document.querySelector('.how').style.color = '#eee'"
    tab.evaluate(f"window.kept = document.querySelector('.how').outerHTML; {spoil}")
    tab.evaluate("document.querySelector('td').style.maxWidth = '10px'")
    ticks = "[...document.querySelectorAll('#chart-drawdown .ytick text')]"
    tab.evaluate(
        f"{ticks}[0].setAttribute('y', {ticks}[1].getAttribute('y'));{ticks}[0].setAttribute('transform', {ticks}[1].getAttribute('transform'))"
    )
    found = "\n".join([*tab.evaluate(MISFITS), *tab.evaluate(FAINT)])
    for complaint in ("the page is", "text outside the page", "labels over each other in chart-drawdown", 'P "xxx'):
        assert complaint in found
    tab.evaluate(
        "document.querySelector('.how').outerHTML = window.kept; document.querySelector('td').style.maxWidth = ''"
    )


def test_the_data_of_every_chart_and_table_can_be_taken_away(tab: Tab) -> None:
    tab.resize(DESK)
    tab.evaluate(CATCH_FILES)
    for kind, count in (("csv", CHARTS), ("table-csv", tab.evaluate("document.querySelectorAll('table').length"))):
        texts: Sequence[str] = tab.evaluate(
            f"window.caught = []; document.querySelectorAll('[data-{kind}]').forEach(one => {{ one.removeAttribute('download'); one.click(); }});"
            "Promise.all(window.caught.map(one => one.text()))"
        )
        assert len(texts) == count
        for text in texts:
            rows = list(csv.reader(io.StringIO(text.removeprefix("﻿"))))
            assert len(rows) > 1, rows
            assert len({len(row) for row in rows}) == 1


def test_a_table_can_be_copied(tab: Tab) -> None:
    words = Words(tab.evaluate("window.language"))
    tab.evaluate("document.execCommand = () => { window.taken = document.activeElement.value; return true; }")
    tab.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    tab.evaluate("document.querySelector('[data-copy=\"table-headline\"]').click()")
    assert tab.evaluate("document.querySelector('[data-copy=\"table-headline\"]').textContent") == words(
        "action.copied"
    )
    lines = tab.evaluate("window.taken").splitlines()
    assert lines[0].split("\t")[0] == words("head.book")
    assert lines[1].split("\t")[0].startswith(words("book.rotation"))
    assert {len(line.split("\t")) for line in lines} == {9}


def test_net_value_has_an_edition_before_costs_and_a_linear_axis(tab: Tab) -> None:
    def drawn() -> dict[str, Any]:
        return tab.evaluate(
            "(() => { const plot = document.getElementById('chart-net_value');"
            " return { names: plot.data.filter(t => t.visible === true).map(t => t.name), scale: plot.layout.yaxis.type,"
            " title: plot.layout.yaxis.title.text }; })()"
        )

    words = Words(tab.evaluate("window.language"))
    tab.resize(DESK)
    gross = words("series.gross", book=words("book.equal_weight"))
    before = drawn()
    assert words("book.equal_weight") in before["names"]
    assert gross not in before["names"]
    assert before["scale"] == "log"
    tab.evaluate("document.querySelector('[data-gross]').click()")
    tab.evaluate("document.querySelector('[data-log=\"chart-net_value\"]').click()")
    after = drawn()
    assert gross in after["names"]
    assert words("book.equal_weight") not in after["names"]
    assert (after["scale"], after["title"]) == ("linear", words("axis.growth"))
    tab.evaluate("document.querySelector('[data-gross]').click()")
    tab.evaluate("document.querySelector('[data-log=\"chart-net_value\"]').click()")
    assert drawn() == before


def test_a_mark_in_the_text_opens_the_fact_it_states(tab: Tab) -> None:
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false; })")
    tab.evaluate("document.querySelector('.narrative sup a').click()")
    assert tab.evaluate("document.getElementById('fold-facts').open")
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
