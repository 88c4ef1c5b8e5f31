"""Tunables of the narrative stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
Period = Literal["month", "quarter"]
PERIODS: tuple[Period, ...] = ("month", "quarter")
"""What a fact table and its text are about. A quarter's are kept under its last month."""
HOW_ASKED: tuple[str, ...] = (
    "base_url", "attempts", "timeout", "deadline", "backoff", "input_price", "output_price", "parallel_requests",
    "failures_before_pause", "pause",
)  # fmt: skip
"""Members of :class:`LlmOptions` that say where and how a model is asked, not what."""


@dataclass(frozen=True)
class NarrativeOptions:
    """Languages, display precision, and the thresholds of the rule-based hints."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    languages: Annotated[tuple[Language, ...], MinLen(1)] = LANGUAGES
    """Languages written, each a row of its own; the readers are Chinese and international researchers."""
    index_name_zh: Annotated[str, MinLen(1)] = "上证50"
    """Chinese name of the benchmark index as it stands in a sentence; may contain digits."""
    index_name_en: Annotated[str, MinLen(1)] = "the SSE 50"
    """English name of the benchmark index, with its article; may contain digits."""

    return_decimals: Annotated[int, Ge(0), Le(4)] = 2
    """Decimals of a monthly return in percent: one basis point, the accuracy to which monthly returns are quoted."""
    weight_decimals: Annotated[int, Ge(0), Le(4)] = 1
    """Decimals of weights, changes (percentage points) and turnover: the no-trade band is 2 points, so 0.1 resolves it."""
    volatility_decimals: Annotated[int, Ge(0), Le(4)] = 1
    """Decimals of annualised volatility in percent; from 21 days its standard error is about 15 % of itself."""
    probability_decimals: Annotated[int, Ge(0), Le(4)] = 0
    """Decimals of a regime probability in percent; the filter is not calibrated below a percent."""

    change_points: Annotated[float, Gt(0.0), Le(50.0)] = 2.0
    """Percentage points of a weight that must be traded to count as a decision: the allocation's no-trade band."""
    conviction_points: Annotated[float, Gt(0.0), Le(50.0)] = 2.0
    """Percentage points by which trading must change active share to count as more or less conviction: the same band."""
    equal_weight_active_share: Annotated[float, Gt(0.0), Lt(1.0)] = 0.01
    """Active share (fraction) under which weights are called equal: the allocation chapter's clone threshold."""
    trend_margin: Annotated[float, Ge(0.0), Lt(1.0)] = 0.0
    """Distance of the index from its 244-session mean (fraction) that counts as a trend; 0 as in Faber (2007)."""
    index_drawdown: Annotated[float, Gt(0.0), Lt(1.0)] = 0.10
    """Fall of the index from its 244-session high (fraction) called a drawdown: the usual definition of a correction."""
    strategy_drawdown: Annotated[float, Gt(0.0), Lt(1.0)] = 0.10
    """Fall of the strategy from its high (fraction) called deep: about two years of a 5 % a year style premium."""
    high_turnover: Annotated[float, Gt(0.0), Le(5.0)] = 0.20
    """One-way monthly turnover (fraction) called high, of a quarter its monthly mean: the whole equal share of one of five styles."""
    high_percentile: Annotated[float, Gt(50.0), Le(100.0)] = 80.0
    """12-month percentile of volatility from which it is called high: the top fifth."""
    low_percentile: Annotated[float, Ge(0.0), Lt(50.0)] = 20.0
    """12-month percentile of volatility up to which it is called low: the bottom fifth."""
    sure_probability: Annotated[float, Gt(0.0), Lt(1.0)] = 0.60
    """Filtered probability (fraction) under which the regime is called uncertain: with three regimes 1/3 is ignorance."""


@dataclass(frozen=True)
class LlmOptions:
    """The model that may write narratives, at any endpoint that speaks the chat completions protocol.

    No key stands here: it is read from the environment alone (``ROTATION_LLM_API_KEY``, else ``OPENAI_API_KEY``).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    base_url: str | None = None
    """Address of the endpoint up to its version, as http://localhost:8000/v1; none: the template writes."""
    model: str | None = None
    """Name of the model as the endpoint knows it; needed with base_url, and there is no default because none suits all."""
    attempts: Annotated[int, Ge(1), Le(3)] = 3
    """Drafts asked for at most, those lost to an error included: three as in the specification."""
    timeout: Annotated[float, Gt(0.0), Le(600.0)] = 60.0
    """Seconds one request may take: some 300 tokens at 5 a second, a slow local model."""
    deadline: Annotated[float, Gt(0.0), Le(3600.0)] = 120.0
    """Seconds all attempts at one narrative may take together, waiting included: two slow requests."""
    backoff: Annotated[float, Gt(0.0), Le(60.0)] = 0.5
    """Seconds before the second attempt after an error, doubled before the third; Retry-After counts instead if sent."""
    temperature: Annotated[float, Ge(0.0), Le(2.0)] | None = 0.0
    """Sampling temperature; 0 because a report should not vary. None: not sent. Left out where the endpoint refuses it."""
    seed: Annotated[int, Ge(0)] | None = None
    """Seed of the endpoint's sampling; None: not sent. Left out where the endpoint refuses it."""
    max_output_tokens: Annotated[int, Ge(100), Le(1_000_000)] | None = None
    """Tokens an answer may have; None: the endpoint's own limit, because models that reason need thousands unseen."""
    input_price: Annotated[float, Ge(0.0)] | None = None
    """USD per million tokens read; None: unknown, and so is the cost."""
    output_price: Annotated[float, Ge(0.0)] | None = None
    """USD per million tokens written; None: unknown, and so is the cost."""
    parallel_requests: Annotated[int, Ge(1), Le(32)] = 4
    """Requests under way at the same time: few enough for the usual rate limits and for one graphics card."""
    failures_before_pause: Annotated[int, Ge(1), Le(100)] = 3
    """Narratives in a row that may fail by timeout, 429 or 5xx before no more is asked; a refused connection counts at once."""
    pause: Annotated[float, Gt(0.0), Le(3600.0)] = 60.0
    """Seconds nothing is asked after that; then one request tries again."""
