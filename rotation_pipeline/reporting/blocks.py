"""What a section of the page is made of: charts with their captions, tables, notes, the text of a month, a period."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from rotation_pipeline.reporting import charts
from rotation_pipeline.reporting.data import ReportData, ReportError
from rotation_pipeline.reporting.formats import day_text, fact_value, month_text, percent
from rotation_pipeline.reporting.frames import between, months_of, number, records, stamp, where
from rotation_pipeline.reporting.palette import REGIME_COLOURS
from rotation_pipeline.reporting.sheets import Cell, Head, Sheet
from rotation_pipeline.reporting.words import Words

if TYPE_CHECKING:
    import plotly.graph_objects as go

ChartFunction = Callable[[ReportData, Words], "go.Figure"]


@dataclass(frozen=True)
class Chart:
    """A figure with the sentence that says how to read it and its sample."""

    name: str
    title: str
    how: str
    sample: str
    figure: str
    """JSON, safe inside a script element."""
    height: int
    log_toggle: bool = False
    cost_toggle: bool = False
    """The figure has an edition before costs: traces marked ``edition`` ``net`` and ``gross``."""
    kind: str = "chart"


@dataclass(frozen=True)
class Table:
    """A sheet in its place on the page."""

    sheet: Sheet
    kind: str = "table"


@dataclass(frozen=True)
class Side:
    """Blocks side by side where the page is wide enough."""

    blocks: Sequence[Chart | Table | Note]
    kind: str = "side"


@dataclass(frozen=True)
class Note:
    """A remark, such as that a table is empty."""

    text: str
    kind: str = "note"


@dataclass(frozen=True)
class Sentence:
    """One sentence with the facts it states: (anchor number, fact id, what a pointer shows)."""

    text: str
    marks: Sequence[tuple[int, str, str]]


@dataclass(frozen=True)
class Now:
    """The newest month: regime, text, the facts the text states, and all facts."""

    regime: str
    probabilities: Sequence[tuple[str, str, str, float]]
    """(name, text, colour, share)."""
    sentences: Sequence[Sentence]
    written_by: str
    facts: Sheet
    all_facts: Sheet
    kind: str = "now"


@dataclass(frozen=True)
class Period:
    """A showcase period: market, weights and the text of each month."""

    name: str
    heading: str
    title: str
    remark: str
    market: Chart
    weights: Chart
    texts: Sequence[tuple[str, str]]
    kind: str = "period"


Block = Chart | Table | Side | Note | Now | Period


@dataclass(frozen=True)
class Section:
    """A numbered part of the page."""

    name: str
    title: str
    short: str
    blocks: Sequence[Block] = field(default_factory=list[Block])


@dataclass(frozen=True)
class ShowcasePeriod:
    """A stretch of market history worth looking at month by month."""

    name: str
    start: pd.Timestamp
    end: pd.Timestamp


SHOWCASES = (
    ShowcasePeriod("bubble", stamp("2015-04-01"), stamp("2015-09-01")),
    ShowcasePeriod("decline", stamp("2018-01-01"), stamp("2018-12-01")),
    ShowcasePeriod("outbreak", stamp("2020-01-01"), stamp("2020-04-01")),
)


def chart(
    data: ReportData,
    words: Words,
    draw: ChartFunction,
    *needs: str,
    log_toggle: bool = False,
    cost_toggle: bool = False,
    newest: bool = False,
    sample: Callable[[ReportData], pd.DataFrame] | None = None,
) -> Chart | Note:
    """Draw a chart, or say which of the tables it needs has no rows.

    Its sample is the months of its first table (``newest``: the last one), or of what ``sample`` makes of the data.
    """
    for table in needs:
        if data.history(table).empty:
            return empty_note(data, words, table)
    name = draw.__name__
    figure = draw(data, words)
    if _is_blank(figure):
        return Note(words("page.too_short", chart=words(f"chart.{name}"), month=month_text(data.month)))
    whole = data.latest if newest else data.history
    shown = whole(needs[0]) if sample is None else sample(data)
    made = _finished(name, words(f"chart.{name}"), words(f"chart.{name}.how"), shown, figure, words)
    return replace(made, log_toggle=log_toggle, cost_toggle=cost_toggle)


def table(data: ReportData, words: Words, make: Callable[[ReportData, Words], Sheet], *needs: str) -> Table | Note:
    """Make a table, or say which of the stored tables it needs has no rows."""
    for name in needs:
        if data.history(name).empty:
            return empty_note(data, words, name)
    return Table(make(data, words))


def empty_note(data: ReportData, words: Words, name: str) -> Note:
    """The remark that stands where a stored table has no rows."""
    return Note(words("page.empty", table=name, month=month_text(data.month)))


def sample_text(frame: pd.DataFrame, words: Words) -> str:
    """First and last month of a frame and how many months it holds; a single month by itself."""
    months = months_of(frame)
    if len(months) == 1:
        return month_text(months[0])
    return words("sample", start=month_text(months[0]), end=month_text(months[-1]), months=len(months))


def _is_blank(figure: go.Figure) -> bool:
    """No trace has a point: the sample is too short for what the chart shows."""
    traces: list[dict[str, Any]] = figure.to_dict()["data"]
    for trace in traces:
        cells = [cell for line in trace["z"] for cell in line] if trace["type"] == "heatmap" else trace.get("y") or ()
        if any(cell is not None for cell in cells):
            return False
    return True


def _finished(name: str, title: str, how: str, sample: pd.DataFrame, figure: go.Figure, words: Words) -> Chart:
    # inside a script element only "<" can end it or open a comment
    text = str(figure.to_json()).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Chart(
        name,
        title,
        how,
        words("sample.source", sample=sample_text(sample, words)),
        text,
        int(figure.layout.height),
    )


def now(data: ReportData, words: Words) -> list[Block]:
    """The newest month in words: regime, text with its facts."""
    blocks: list[Block] = []
    regimes = data.latest("regimes")
    if regimes.empty:
        return [empty_note(data, words, "regimes")]
    state = charts.main_detector(regimes).iloc[-1]
    shares = [(name, number(state[f"p_{name}"]) or 0.0) for name in REGIME_COLOURS]
    regime = words(
        "now.regime_text", regime=words(f"regime.{state['regime']}"), months=int(state["months_in_regime"]),
        probability=percent(state[f"p_{state['regime']}"], 0),
    )  # fmt: skip
    probabilities = [
        (words(f"regime.{name}"), percent(share, 0), REGIME_COLOURS[name], round(100.0 * share, 2))
        for name, share in shares
    ]
    facts = records(data.latest("facts"))
    told = _text_of(data, words, data.month)
    if told is None:
        blocks.append(Note(words("now.no_narrative", month=month_text(data.month))))
        sentences, written_by = [], ""
    else:
        sentences, written_by = _sentences(told, facts, words), words(f"now.written_by.{told['source']}")
    used = list(dict.fromkeys(fact for sentence in sentences for _, fact, _ in sentence.marks))
    order = {fact: place for place, fact in enumerate(used, start=1)}
    stated = sorted(
        (fact for fact in facts if str(fact["fact_id"]) in order), key=lambda fact: order[str(fact["fact_id"])]
    )
    blocks.insert(0, Now(
        regime, probabilities, sentences, written_by,
        _fact_sheet("facts", words("now.facts", count=len(stated)), stated, order, words),
        _fact_sheet("all_facts", words("now.all_facts", count=len(facts)), facts, order, words),
    ))  # fmt: skip
    quarters = where(data.history("quarters"), language=words.language)
    if not quarters.empty:
        last = quarters.iloc[-1]
        name = f"{pd.Timestamp(last['month']).year}Q{pd.Timestamp(last['month']).quarter}"
        blocks.append(Note(words("now.quarter", quarter=name, text=str(last["text"]))))
    return blocks


def _text_of(data: ReportData, words: Words, month: pd.Timestamp) -> dict[str, object] | None:
    own = where(data.history("narratives"), language=words.language, month=month)
    return None if own.empty else records(own)[-1]


def _sentences(told: dict[str, object], facts: Sequence[dict[str, object]], words: Words) -> list[Sentence]:
    known = {str(fact["fact_id"]): fact for fact in facts}
    place: dict[str, int] = {}
    sentences: list[Sentence] = []
    for item in json.loads(str(told["sentences"])):
        marks: list[tuple[int, str, str]] = []
        for fact_id in item["fact_ids"]:
            if fact_id not in known:
                raise ReportError(
                    f"narratives {month_text(told['month'])} ({words.language}) cites fact {fact_id!r}, which the table facts lacks; write the month again"
                )
            place.setdefault(fact_id, len(place) + 1)
            fact = known[fact_id]
            shown = f"{_subject(fact, words)} · {words.named('fact', str(fact['measure']))}: {fact_value(fact, words)} ({fact['source_column']}, {month_text(fact['source_month'])})"
            marks.append((place[fact_id], str(fact_id), shown))
        sentences.append(Sentence(str(item["text"]), marks))
    return sentences


def _subject(fact: dict[str, object], words: Words) -> str:
    subject = str(fact["subject"])
    return words.named("style", subject) if words.has(f"style.{subject}") else words.named("subject", subject)


def _fact_sheet(
    name: str, title: str, facts: Sequence[dict[str, object]], order: dict[str, int], words: Words
) -> Sheet:
    keys = ("fact", "subject", "measure", "fact_value", "as_of", "read_from")
    heads = [Head(words(f"head.{key}"), numeric=key == "fact_value") for key in keys]
    rows = [
        [
            Cell(str(fact["fact_id"]), str(order.get(str(fact["fact_id"]), ""))), Cell(_subject(fact, words)),
            Cell(words.named("fact" if fact["kind"] != "hint" else "hint", str(fact["measure"]))), Cell(fact_value(fact, words)),
            Cell(day_text(fact["as_of"])), Cell(str(fact["source_column"]), month_text(fact["source_month"])),
        ]
        for fact in facts
    ]  # fmt: skip
    return Sheet(name, title, words("table.facts.how"), heads, rows, folded=True)


def showcases(data: ReportData, words: Words) -> list[Block]:
    """The showcase periods that lie in the sample; a remark names those that do not."""
    held = where(data.history("weights"), strategy=data.headline())
    blocks: list[Block] = []
    outside: list[str] = []
    for one in SHOWCASES:
        span = words("showcase.heading", start=month_text(one.start), end=month_text(one.end))
        own = between(held, one.start, one.end)
        if own.empty:
            outside.append(span)
            continue
        blocks.append(_period(data, words, one, span, own))
    if blocks and data.source_kind == "simulated":
        blocks.insert(0, Note(words("showcase.simulated")))
    if outside:
        blocks.append(Note(words("showcase.outside", periods=words("list.join").join(outside))))
    return blocks


def _period(data: ReportData, words: Words, one: ShowcasePeriod, span: str, own: pd.DataFrame) -> Period:
    months = pd.date_range(one.start, one.end, freq="MS")
    present = len(months_of(own))
    title = words(f"showcase.{one.name}")
    drawn = {
        part: _finished(
            f"showcase_{part}_{one.name}", words(f"showcase.{part}"), words(f"chart.showcase_{part}.how"), own,
            draw(data, words, one.start, one.end), words,
        )
        for part, draw in (("market", charts.showcase_market), ("weights", charts.showcase_weights))
    }  # fmt: skip
    told = ((month_text(month), _text_of(data, words, month)) for month in months)
    texts = [(month, str(row["text"])) for month, row in told if row is not None]
    remark = "" if present == len(months) else words("showcase.partial", months=present, all=len(months))
    return Period(one.name, span, title, remark, drawn["market"], drawn["weights"], texts)
