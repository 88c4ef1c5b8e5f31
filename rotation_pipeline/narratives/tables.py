"""Tables of the narrative stage."""

from __future__ import annotations

from rotation_pipeline.market.schema import MONTH, Column, Table, reading

FACT_KINDS = ("return", "volatility", "weight", "weight_change", "regime", "probability", "rank", "comparison", "hint", "count", "percentile", "style", "direction")
FACTS = Table(
    "marts", "narrative_facts", "everything a sentence about the month may say, computed before any sentence is written", ("month", "fact_id"),
    (
        MONTH,
        Column("fact_id", "VARCHAR", "identifier", "opaque name used in slots"),
        Column("kind", "VARCHAR", "category", "kind of fact", allowed=FACT_KINDS),
        Column("subject", "VARCHAR", "category", "what it is about: index, market, strategy, or a style"),
        Column("value", "DOUBLE", "by unit", "numeric value", "the fact is a label",
               reads=("marts.weights.weight", "marts.forecasts.mean", "marts.factor_longshort.long_short", "marts.regimes.p_slow_bull", "marts.regimes.p_bear", "marts.regimes.p_range", "marts.backtest.net_return", "marts.backtest.drawdown", "marts.books.turnover", "intermediate.index_features.index_return", "intermediate.index_features.volatility")),
        Column("label", "VARCHAR", "category", "value of a fact that is a label (regime, style, direction, hint)", "the fact is a number",
               reads=("marts.regimes.regime", "marts.weights.weight", "marts.forecasts.mean")),
        Column("unit", "VARCHAR", "category", "unit of the value", allowed=("fraction", "fraction_per_year", "points", "rank", "months", "percentile", "label")),
        Column("precision", "INTEGER", "digits", "decimals shown", minimum=0.0, maximum=6.0),
        Column("as_of", "DATE", "date", "day the value was known"),
        Column("source_column", "VARCHAR", "text", "schema.table.column it was read from"),
        Column("source_month", "DATE", "date", "partition it was read from"),
    ),
    minimum_rows=1,
)
NARRATIVES = Table(
    "marts", "narratives", "the verified text about the month, one row per language", ("month", "language"),
    reading(
        (
            MONTH,
            Column("language", "VARCHAR", "category", "language", allowed=("zh", "en")),
            Column("text", "VARCHAR", "text", "the narrative"),
            Column("sentences", "VARCHAR", "JSON", "sentences with the facts each one states"),
            Column("source", "VARCHAR", "category", "who wrote it", allowed=("llm", "cache", "template")),
            Column("reason", "VARCHAR", "category", "why the template wrote it", "a model wrote it"),
            Column("model", "VARCHAR", "text", "model", "no model was asked"),
            Column("prompt_version", "VARCHAR", "text", "version of the prompt or template"),
            Column("prompt_hash", "VARCHAR", "hex", "hash of the prompt or template"),
            Column("attempts", "INTEGER", "count", "drafts asked for", minimum=0.0),
            Column("rejected", "VARCHAR", "JSON", "rejected drafts with reasons"),
            Column("input_tokens", "INTEGER", "count", "tokens read", "unknown or no model", minimum=0.0),
            Column("output_tokens", "INTEGER", "count", "tokens written", "unknown or no model", minimum=0.0),
            Column("latency", "DOUBLE", "seconds", "time spent asking", "no model was asked", minimum=0.0, volatile=True),
            Column("cost", "DOUBLE", "USD", "price of the tokens", "unknown or no model", minimum=0.0),
            Column("facts_hash", "VARCHAR", "hex", "hash of the fact table it was written from"),
        ),
        "marts.narrative_facts.value", "marts.narrative_facts.label",
    ),
    minimum_rows=2,
)
TABLES: tuple[Table, ...] = (FACTS, NARRATIVES)
