"""Tables of the narrative stage."""

from __future__ import annotations

from rotation_pipeline.factors.styles import STYLES
from rotation_pipeline.market.schema import MONTH, Column, Table, reading
from rotation_pipeline.narratives.options import PERIODS
from rotation_pipeline.regimes.names import REGIMES

FACT_KINDS = (
    "regime",
    "probability",
    "count",
    "return",
    "volatility",
    "percentile",
    "drawdown",
    "weight",
    "weight_change",
    "rank",
    "style",
    "forecast",
    "turnover",
    "cost",
    "comparison",
    "hint",
)
"""Kinds of fact, in the order in which fact ids are given out."""
SUBJECTS = ("market", "index", "strategy", *STYLES)
"""What a fact can be about. ``market`` holds the regime, the sample sizes and hints that concern the market."""
PERIOD = Column(
    "period", "VARCHAR", "category", "what it is about: the month, or the quarter that ends with it", allowed=PERIODS
)
_NUMBERS = (
    "marts.weights.weight",
    "marts.weights.drifted",
    "marts.books.turnover",
    "marts.books.active_share",
    "marts.forecasts.mean",
    "marts.factor_longshort.long_short",
    *(f"marts.regimes.p_{name}" for name in REGIMES),
    "marts.regimes.months_in_regime",
    "marts.backtest.net_return",
    "marts.backtest.drawdown",
    "marts.backtest.factor_cost",
    "marts.backtest.book_cost",
    "intermediate.index_monthly.ret",
    "intermediate.index_features.volatility",
    "intermediate.index_features.drawdown",
    "intermediate.index_features.trend",
)
_LABELS = (
    "marts.regimes.regime",
    "marts.regimes.months_in_regime",
    *(f"marts.regimes.p_{name}" for name in REGIMES),
    "marts.weights.weight",
    "marts.weights.drifted",
    "marts.books.active_share",
    "marts.books.is_equal_weight_clone",
    "marts.books.turnover",
    "marts.forecasts.mean",
    "marts.factor_longshort.long_short",
    "marts.backtest.drawdown",
    "intermediate.index_features.trend",
    "intermediate.index_features.drawdown",
    "intermediate.index_features.volatility",
)
FACTS = Table(
    "marts",
    "narrative_facts",
    "everything a sentence about the month, or the quarter that ends with it, may say, computed before any is written",
    ("month", "period", "fact_id"),
    (
        MONTH,
        PERIOD,
        Column("fact_id", "VARCHAR", "identifier", "opaque name used in slots"),
        Column("kind", "VARCHAR", "category", "kind of fact", allowed=FACT_KINDS),
        Column(
            "subject", "VARCHAR", "category", "what it is about: market, index, strategy, or a style", allowed=SUBJECTS
        ),
        Column(
            "measure",
            "VARCHAR",
            "category",
            "what is measured; unique with the subject within a month and period (a style has returns over 1, 3 and 12 months)",
        ),
        Column(
            "value",
            "DOUBLE",
            "by unit",
            "numeric value; points are percentage points, percentiles 0–100",
            "the fact is a label",
            reads=_NUMBERS,
        ),
        Column(
            "label",
            "VARCHAR",
            "category",
            "value of a fact that is a label (regime, style, name of the hint)",
            "the fact is a number",
            reads=_LABELS,
        ),
        Column(
            "unit",
            "VARCHAR",
            "category",
            "unit of the value",
            allowed=("fraction", "fraction_per_year", "points", "rank", "months", "percentile", "label"),
        ),
        Column("precision", "INTEGER", "digits", "decimals shown", minimum=0.0, maximum=6.0),
        Column("as_of", "DATE", "date", "day the value was known"),
        Column("source_column", "VARCHAR", "text", "schema.table.column it was read from"),
        Column("source_month", "DATE", "date", "partition it was read from"),
    ),
    minimum_rows=1,
)
NARRATIVES = Table(
    "marts",
    "narratives",
    "the verified text about the month, and about the quarter that ends with it, one row per language",
    ("month", "period", "language"),
    reading(
        (
            MONTH,
            PERIOD,
            Column("language", "VARCHAR", "category", "language", allowed=("zh", "en")),
            Column("text", "VARCHAR", "text", "the narrative"),
            Column("sentences", "VARCHAR", "JSON", "sentences with the facts each one states"),
            # how a text came about is up to the endpoint of the day; what it says, and from which facts, is not
            Column(
                "source",
                "VARCHAR",
                "category",
                "who wrote it",
                allowed=("llm", "cache", "template"),
                volatile=True,
            ),
            Column(
                "reason",
                "VARCHAR",
                "category",
                "why the template wrote it: no_endpoint, not_cached, timeout, deadline, connection, http_<status>, refusal, length, "
                "rejected, malformed, no_choices, client; with 0 attempts, why earlier requests had failed",
                "a model wrote it",
                volatile=True,
            ),
            Column("model", "VARCHAR", "text", "model", "no endpoint is set", volatile=True),
            Column("prompt_version", "VARCHAR", "text", "version of the prompt or template it was written by"),
            Column("prompt_hash", "VARCHAR", "hex", "hash of the prompt or template it was written by"),
            Column("attempts", "INTEGER", "count", "drafts asked for", minimum=0.0, volatile=True),
            Column(
                "rejected", "VARCHAR", "JSON", "rejected drafts, of the model or the cache, with reasons", volatile=True
            ),
            Column(
                "input_tokens", "INTEGER", "count", "tokens read", "unknown or no answer", minimum=0.0, volatile=True
            ),
            Column(
                "output_tokens",
                "INTEGER",
                "count",
                "tokens written",
                "unknown or no answer",
                minimum=0.0,
                volatile=True,
            ),
            Column(
                "latency", "DOUBLE", "seconds", "time spent asking", "no model was asked", minimum=0.0, volatile=True
            ),
            Column("cost", "DOUBLE", "USD", "price of the tokens", "unknown or no answer", minimum=0.0, volatile=True),
            Column("facts_hash", "VARCHAR", "hex", "hash of the fact table it was written from"),
        ),
        "marts.narrative_facts.value",
        "marts.narrative_facts.label",
    ),
    minimum_rows=2,
)
TABLES: tuple[Table, ...] = (FACTS, NARRATIVES)
