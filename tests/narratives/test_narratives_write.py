"""Narratives as a table, where their facts come from, and how they are shown."""

from __future__ import annotations

import json
import time

import pandas as pd
import pytest
from narratives_cases import market

from rotation_pipeline.narratives.draft import Draft, DraftSentence, Provenance, RejectedDraft
from rotation_pipeline.narratives.explain import NoNarrative, explain, trace
from rotation_pipeline.narratives.fact import Facts, FactTableError, facts_hash
from rotation_pipeline.narratives.facts import fact_table
from rotation_pipeline.narratives.options import Language, NarrativeOptions
from rotation_pipeline.narratives.tables import NARRATIVES
from rotation_pipeline.narratives.template import TemplateWriter
from rotation_pipeline.narratives.write import NarrativeRejected, narrate

OPTIONS = NarrativeOptions()
MONTHS = pd.date_range("2014-01-01", periods=30, freq="MS")
FACTS = fact_table(market(3, 30), MONTHS, OPTIONS)
TABLE = narrate(FACTS, MONTHS, OPTIONS)
MONTH = pd.Timestamp("2016-03-01")


def test_table_is_as_declared() -> None:
    assert list(TABLE.columns) == NARRATIVES.stored_names
    assert TABLE[["month", "period", "language"]].equals(
        TABLE.sort_values(["month", "period", "language"], ignore_index=True)[["month", "period", "language"]]
    )
    assert TABLE["period"].value_counts().to_dict() == {"month": 60, "quarter": 12}
    assert set(TABLE["source"]) == {"template"}
    assert set(TABLE["reason"]) == {"no_endpoint"}
    for name in ("model", "input_tokens", "output_tokens", "latency", "cost"):
        assert TABLE[name].isna().all()  # unknown, never 0
    assert set(TABLE["attempts"]) == {0}
    assert set(TABLE["rejected"]) == {"[]"}
    assert TABLE["prompt_hash"].str.fullmatch("[0-9a-f]{64}").all()
    for row in TABLE.itertuples():
        sentences = json.loads(row.sentences)
        assert 3 <= len(sentences) <= 5
        assert row.text == ("" if row.language == "zh" else " ").join(item["text"] for item in sentences)
        assert row.facts_hash == facts_hash(FACTS[(FACTS["month"] == row.month) & (FACTS["period"] == row.period)])


def test_languages_follow_the_options() -> None:
    only = narrate(FACTS, [MONTH], NarrativeOptions(languages=("en",)))
    assert only["language"].tolist() == ["en", "en"]
    assert only["period"].tolist() == ["month", "quarter"]
    assert only["text"].tolist() == TABLE[(TABLE["month"] == MONTH) & (TABLE["language"] == "en")]["text"].tolist()


def test_two_runs_are_equal() -> None:
    pd.testing.assert_frame_equal(TABLE, narrate(FACTS, MONTHS, OPTIONS))


class Careless:
    """A writer whose last sentence says more than the facts."""

    def write(self, facts: Facts, language: Language, options: NarrativeOptions) -> Draft:
        good = TemplateWriter().write(facts, language, options)
        *rest, last = good.sentences
        stop = "。" if language == "zh" else "."
        worse = DraftSentence(
            last.text[:-1] + ("，走势稳健" if language == "zh" else ", a fine month") + stop, last.fact_ids
        )
        return Draft((*rest, worse), Provenance("llm", "p1", "h", model="m"))


class Careful:
    """A writer whose draft is good at the second attempt."""

    def write(self, facts: Facts, language: Language, options: NarrativeOptions) -> Draft:
        good = TemplateWriter().write(facts, language, options)
        rejected = (RejectedDraft("x", ("has no slot",)),)
        source = Provenance(
            "llm", "p1", "h", model="m", attempts=2, rejected=rejected, input_tokens=10, output_tokens=5, latency=0.5
        )
        return Draft(good.sentences, source)


def test_what_any_writer_hands_over_is_checked() -> None:
    with pytest.raises(NarrativeRejected, match="llm narrative of the month 2016-03 in en: "):
        narrate(FACTS, [MONTH], OPTIONS, Careless())


def test_provenance_of_a_writer_is_kept() -> None:
    row = narrate(FACTS, [MONTH], OPTIONS, Careful()).iloc[0]
    assert (row["source"], row["model"], row["attempts"], row["input_tokens"]) == ("llm", "m", 2, 10)
    assert row["reason"] is None
    assert pd.isna(row["cost"])
    assert json.loads(row["rejected"]) == [{"text": "x", "reasons": ["has no slot"]}]


def test_months_without_facts_are_named() -> None:
    with pytest.raises(FactTableError, match="no facts of 2020-01"):
        narrate(FACTS, [pd.Timestamp("2020-01-01")], OPTIONS)
    with pytest.raises(FactTableError, match="either a value or a label"):
        narrate(FACTS.assign(label="x"), [MONTH], OPTIONS)
    with pytest.raises(FactTableError, match="lacks measure"):
        narrate(FACTS.drop(columns="measure"), [MONTH], OPTIONS)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_sentence_can_be_traced(language: Language) -> None:
    for month in MONTHS:
        found = trace(TABLE, FACTS, month, language)
        row = TABLE[(TABLE["month"] == month) & (TABLE["language"] == language)].iloc[0]
        sentences = json.loads(row["sentences"])
        assert {item.sentence for item in found} == {item["text"] for item in sentences}
        assert all(item.source_column.count(".") == 2 and item.source_month <= month for item in found)


def test_broken_trace_is_an_error() -> None:
    with pytest.raises(NoNarrative, match="which the narrative states"):
        trace(TABLE, FACTS[FACTS["kind"] != "return"], MONTH, "zh")
    with pytest.raises(NoNarrative, match="0 rows of 2031-01 in zh; stored are 2014-01 to 2016-06"):
        trace(TABLE, FACTS, pd.Timestamp("2031-01-01"), "zh")


def test_explain_shows_text_and_sources() -> None:
    short = explain(TABLE, FACTS, MONTH.date(), "zh", with_facts=False)
    row = TABLE[(TABLE["month"] == MONTH) & (TABLE["language"] == "zh")].iloc[0]
    assert short == f"2016-03 [zh, template (no_endpoint)]\n{row['text']}"
    full = explain(TABLE, FACTS, MONTH, "zh", with_facts=True)
    assert full.startswith(short)
    ids = {item.fact_id for item in trace(TABLE, FACTS, MONTH, "zh")}
    assert {line.split()[0] for line in full.splitlines()[4:]} == ids
    assert "intermediate.index_features.volatility" in full


def test_121_months_take_less_than_three_seconds() -> None:
    months = pd.date_range("2014-01-01", periods=121, freq="MS")
    inputs = market(11, 121)
    begun = time.process_time()
    facts = fact_table(inputs, months, OPTIONS)
    narratives = narrate(facts, months, OPTIONS)
    spent = time.process_time() - begun
    assert narratives["period"].value_counts().to_dict() == {"month": 242, "quarter": 72}
    assert spent < 3.0
