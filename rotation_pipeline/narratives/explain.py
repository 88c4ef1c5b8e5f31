"""Stored narratives for people: the text, and where each of its facts came from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from rotation_pipeline.narratives.history import timestamp
from rotation_pipeline.narratives.options import Language, Period
from rotation_pipeline.narratives.tables import FACTS, NARRATIVES

SHOWN = 300
"""Characters of a refused draft that are shown; the table has all of it."""


class NoNarrative(LookupError):
    """No narrative of this month or quarter and language is stored, or a fact it states is missing."""


def named(month: pd.Timestamp, period: Period) -> str:
    """``2015-06``, or of a quarter that ends then ``2015Q2``."""
    return f"{month:%Y-%m}" if period == "month" else f"{month.year}Q{month.quarter}"


@dataclass(frozen=True, slots=True)
class Traced:
    """A fact a sentence states, and the column and partition it was read from."""

    sentence: str
    fact_id: str
    source_column: str
    source_month: pd.Timestamp


def _stored(narratives: pd.DataFrame, month: pd.Timestamp, language: Language, period: Period) -> dict[str, Any]:
    own = pd.DataFrame(narratives[narratives["period"] == period])
    rows = pd.DataFrame(own[(pd.to_datetime(own["month"]) == month) & (own["language"] == language)])
    if len(rows) != 1:
        known = sorted({named(timestamp(stamp), period) for stamp in pd.to_datetime(own["month"])})
        span = f"stored are {known[0]} to {known[-1]}" if known else "none is stored"
        raise NoNarrative(
            f"{NARRATIVES.full_name} has {len(rows)} rows of {named(month, period)} in {language}; {span}"
        )
    return {str(name): value for name, value in rows.iloc[0].items()}


def _facts(facts: pd.DataFrame, month: pd.Timestamp, period: Period) -> dict[str, dict[str, Any]]:
    rows = facts[(pd.to_datetime(facts["month"]) == month) & (facts["period"] == period)]
    names = [str(name) for name in rows.columns]
    records = (dict(zip(names, values, strict=True)) for values in rows.itertuples(index=False, name=None))
    return {str(record["fact_id"]): record for record in records}


def trace(
    narratives: pd.DataFrame,
    facts: pd.DataFrame,
    month: pd.Timestamp | date,
    language: Language,
    period: Period = "month",
) -> list[Traced]:
    """Every fact of every sentence in order, with its source. Raises :class:`NoNarrative` when one cannot be traced."""
    stamp = timestamp(month)
    known = _facts(facts, stamp, period)
    found: list[Traced] = []
    for sentence in json.loads(_stored(narratives, stamp, language, period)["sentences"]):
        for fact_id in sentence["fact_ids"]:
            if fact_id not in known:
                raise NoNarrative(
                    f"{FACTS.full_name} has no {fact_id} of {named(stamp, period)}, which the narrative states"
                )
            fact = known[fact_id]
            found.append(Traced(sentence["text"], fact_id, str(fact["source_column"]), timestamp(fact["source_month"])))
    return found


def _shown(fact: dict[str, Any]) -> str:
    return str(fact["label"]) if pd.isna(fact["value"]) else f"{fact['value']:.6g} {fact['unit']}"


def _known(value: Any) -> bool:  # any value of a cell
    return value is not None and value is not pd.NA and value == value


def _count(value: Any) -> str:
    return f"{int(value):,}" if _known(value) else "?"


def _asking(row: dict[str, Any]) -> list[str]:
    """How a model, where one was set, came to the text or failed to: attempts, tokens, cost, time, refused drafts with reasons."""
    if not _known(row["model"]):
        return []
    parts = [f"model {row['model']}", f"{row['attempts']} attempts"]
    if row["attempts"]:
        parts.append(f"tokens {_count(row['input_tokens'])} read, {_count(row['output_tokens'])} written")
        parts.append(f"cost {row['cost']:.6f} USD" if _known(row["cost"]) else "cost unknown")
    if _known(row["latency"]):
        parts.append(f"{row['latency']:.1f} s")
    lines = ["", ", ".join(parts)]
    for place, refused in enumerate(json.loads(row["rejected"]), start=1):
        lines.append(f"refused {place}: {' '.join(refused['text'].split())[:SHOWN]}")
        lines += [f"  - {reason}" for reason in refused["reasons"]]
    return lines


def writing(narratives: pd.DataFrame) -> list[dict[str, str]]:
    """Who wrote each text and what it took, a row a text in the order of the table: text, language, source, reason, attempts,
    refused, read, written (tokens), seconds, usd. What is unknown is a question mark, what was not asked for is empty."""
    rows: list[dict[str, str]] = []
    for record in narratives.sort_values(["month", "period", "language"]).to_dict("records"):
        row: dict[str, Any] = {str(name): value for name, value in record.items()}
        asked = row["attempts"] > 0
        rows.append(
            {
                "text": named(timestamp(row["month"]), row["period"]),
                "language": str(row["language"]),
                "source": str(row["source"]),
                "reason": str(row["reason"]) if _known(row["reason"]) else "",
                "attempts": str(row["attempts"]),
                "refused": str(len(json.loads(row["rejected"]))),
                "read": _count(row["input_tokens"]) if asked else "",
                "written": _count(row["output_tokens"]) if asked else "",
                "seconds": f"{row['latency']:.1f}" if _known(row["latency"]) else "",
                "usd": (f"{row['cost']:.6f}" if _known(row["cost"]) else "?") if asked else "",
            }
        )
    return rows


def usage(narratives: pd.DataFrame) -> str:
    """Who wrote the narratives, why not a model, and what asking took, in one line. Sums leave out what is unknown and say so."""
    rows: list[dict[str, Any]] = [
        {str(key): cell for key, cell in row.items()} for row in narratives.to_dict("records")
    ]
    sources = Counter(str(row["source"]) for row in rows)
    reasons = Counter(str(row["reason"]) for row in rows if row["source"] == "template")
    told = ", ".join(f"{count} by {name}" for name, count in sorted(sources.items()))
    why = f" ({', '.join(f'{name} {count}' for name, count in sorted(reasons.items()))})" if reasons else ""
    asked = [row for row in rows if row["attempts"] > 0]
    if not asked:
        return f"narratives: {told}{why}; no request"

    def total(name: str) -> tuple[float, str]:
        known = [row[name] for row in asked if _known(row[name])]
        return sum(known), "" if len(known) == len(asked) else f" (unknown of {len(asked) - len(known)})"

    read, written, cost = total("input_tokens"), total("output_tokens"), total("cost")
    return (
        f"narratives: {told}{why}; {sum(row['attempts'] for row in asked)} requests, {read[0]:,.0f} tokens read{read[1]}, "
        f"{written[0]:,.0f} written{written[1]}, cost {cost[0]:.4f} USD{cost[1]}"
    )


def explain(
    narratives: pd.DataFrame,
    facts: pd.DataFrame,
    month: pd.Timestamp | date,
    language: Language,
    with_facts: bool,
    period: Period = "month",
    kind: str | None = None,
) -> str:
    """The narrative as text, with what asking a model took where one was set; with facts, a table of every fact it states
    (id, subject, measure, value, source) below it. ``kind`` (simulated or real) heads it where it is given: a text names the
    index as if it were the real one.

    Raises :class:`NoNarrative` when the month, or the quarter that ends with it, has none in the language.
    """
    stamp = timestamp(month)
    row = _stored(narratives, stamp, language, period)
    origin = str(row["source"]) + ("" if pd.isna(row["reason"]) else f" ({row['reason']})")
    badge = "" if kind is None else f"{kind.upper()} DATA  "
    lines = [f"{badge}{named(stamp, period)} [{language}, {origin}]", str(row["text"]), *_asking(row)]
    if with_facts:
        known = _facts(facts, stamp, period)
        table = [("fact", "subject", "measure", "value", "source", "month")]
        for item in dict.fromkeys(traced.fact_id for traced in trace(narratives, facts, stamp, language, period)):
            fact = known[item]
            source = (str(fact["source_column"]), f"{timestamp(fact['source_month']):%Y-%m}")
            table.append((item, str(fact["subject"]), str(fact["measure"]), _shown(fact), *source))
        widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
        lines.append("")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        ]
    return "\n".join(lines)
