"""Facts → verified narratives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date

import pandas as pd

from rotation_pipeline.narratives.draft import Draft, Writer
from rotation_pipeline.narratives.fact import Facts, FactTableError, facts_by_month, facts_hash, period_of
from rotation_pipeline.narratives.history import timestamp
from rotation_pipeline.narratives.options import PERIODS, Language, NarrativeOptions, Period
from rotation_pipeline.narratives.slots import render
from rotation_pipeline.narratives.tables import FACTS, NARRATIVES
from rotation_pipeline.narratives.template import TemplateWriter
from rotation_pipeline.narratives.verify import check_slots, check_text, joined
from rotation_pipeline.narratives.wording import wording

Page = tuple[pd.Timestamp, Period, Language]
"""What one text is about, and its language."""


class NarrativeRejected(ValueError):
    """A draft that a check refuses; the message lists every error."""


def rendered(draft: Draft, facts: Facts, language: Language, options: NarrativeOptions) -> list[str]:
    """The draft's sentences with their slots filled in."""
    words = wording(language, options, period_of(facts))
    return [render(sentence.text, facts, words) for sentence in draft.sentences]


def verify(draft: Draft, facts: Facts, language: Language, options: NarrativeOptions) -> list[str]:
    """Errors of both checks, the slots first; a draft whose slots are wrong is not rendered."""
    return _checked(draft, facts, language, options)[0]


def _checked(draft: Draft, facts: Facts, language: Language, options: NarrativeOptions) -> tuple[list[str], list[str]]:
    """Errors of both checks, and the rendered sentences (none when the slots are wrong)."""
    errors = check_slots(draft, facts, language, options)
    if errors:
        return errors, []
    texts = rendered(draft, facts, language, options)
    pairs = [(text, sentence.fact_ids) for text, sentence in zip(texts, draft.sentences, strict=True)]
    return check_text(joined(texts, language), pairs, facts, language, options), texts


def narrate(
    facts: pd.DataFrame,
    months: Iterable[pd.Timestamp | date],
    options: NarrativeOptions,
    writer: Writer | None = None,
    *,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Narratives of the months, and of the quarters that end with them, in every language of the options, as table NARRATIVES
    (without run_id), sorted by its key.

    ``facts`` are rows of table FACTS, of these months at least; a quarter is told where it has facts. Without a writer the template writes and the reason is
    ``no_endpoint``. With ``workers`` > 1 so many narratives are written at the same time; rows and their order are the same.
    ``on_progress`` is told (done, total). Every text has passed both checks. Raises :class:`FactTableError` for a month
    without facts and :class:`NarrativeRejected` when a draft, the template's included, fails a check.
    """
    author = TemplateWriter() if writer is None else writer
    found = {period: facts_by_month(facts, period) for period in PERIODS}
    wanted = sorted({timestamp(month) for month in months})
    for month in wanted:
        if month not in found["month"]:
            raise FactTableError(f"{FACTS.full_name} has no facts of {month:%Y-%m}; build them first")
    fingerprints: dict[tuple[pd.Timestamp, Period], str] = {}
    for period in PERIODS:
        own = pd.DataFrame(facts[facts["period"] == period])
        for stamp, own_rows in own.groupby("month"):
            fingerprints[timestamp(stamp), period] = facts_hash(own_rows)
    pages: list[Page] = [
        (month, period, language)
        for month in wanted
        for period in PERIODS
        if month in found[period]
        for language in sorted(set(options.languages))
    ]

    def written(page: Page) -> tuple[object, ...]:
        month, period, _ = page
        return _row(page, found[period][month], fingerprints[month, period], author, options)

    rows: list[tuple[object, ...]] = []
    for row in _in_order(pages, written, workers):
        rows.append(row)
        if on_progress is not None:
            on_progress(len(rows), len(pages))
    frame = pd.DataFrame(rows, columns=pd.Index(NARRATIVES.stored_names))
    frame["month"] = pd.to_datetime(frame["month"]).astype("datetime64[ns]")
    for name in ("attempts", "input_tokens", "output_tokens"):
        frame[name] = frame[name].astype("Int32")
    for name in ("latency", "cost"):
        frame[name] = frame[name].astype("float64")
    return frame


def _in_order(
    pages: Sequence[Page],
    written: Callable[[Page], tuple[object, ...]],
    workers: int,
) -> Iterator[tuple[object, ...]]:
    """Rows in the order of the pages; after an error or an interruption no further page is begun."""
    if workers == 1:
        yield from map(written, pages)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="narratives")
    try:
        yield from pool.map(written, pages)
    finally:
        pool.shutdown(cancel_futures=True)


def _row(page: Page, facts: Facts, fingerprint: str, author: Writer, options: NarrativeOptions) -> tuple[object, ...]:
    month, period, language = page
    draft = author.write(facts, language, options)
    errors, texts = _checked(draft, facts, language, options)
    source = draft.provenance
    if errors:
        raise NarrativeRejected(
            f"{source.source} narrative of the {period} {month:%Y-%m} in {language}: {'; '.join(errors)}"
        )
    sentences = [
        {"text": text, "fact_ids": list(sentence.fact_ids)}
        for text, sentence in zip(texts, draft.sentences, strict=True)
    ]
    rejected = [asdict(refused) for refused in source.rejected]
    return (
        month, period, language, joined(texts, language), json.dumps(sentences, ensure_ascii=False), source.source, source.reason,
        source.model, source.prompt_version, source.prompt_hash, source.attempts, json.dumps(rejected, ensure_ascii=False),
        source.input_tokens, source.output_tokens, source.latency, source.cost, fingerprint,
    )  # fmt: skip
