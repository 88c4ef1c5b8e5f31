"""The page of the study of US styles: every number computed, every sentence chosen by the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rotation_pipeline.orchestration.study_us_styles import (
    EQUAL,
    FIVE,
    BookQuality,
    Sample,
    Study,
    book_named,
)
from rotation_pipeline.regimes.statistics import benjamini_hochberg
from rotation_pipeline.reporting.line_chart import line_chart_svg

FORECASTER_TITLES = {
    "historical_mean": "expanding mean (the benchmark)",
    "factor_momentum": "factor momentum, mean of all spans",
    "pooled_ridge": "pooled ridge",
    "network_lstm": "multi-task LSTM",
    "network_transformer": "multi-task Transformer",
    "mixture": "mixture",
}
COLOURS = {
    "equal weight": "#7d828a",
    "momentum, sign, 12 months": "#bb86a8",
    "momentum, scaled, 1 month": "#b5842a",
    "LSTM, sign": "#3f6ea3",
    "LSTM, softmax": "#3d8b63",
    "mixture, anchored": "#16243f",
}
_LINES: dict[str, str] = dict(
    zip(
        (EQUAL, "sign_12", "scaled_1", "timed_network_lstm", "softmax_network_lstm", "anchored_mixture"),
        COLOURS,
        strict=True,
    )
)


def forecaster_title(name: str) -> str:
    """What a forecaster is called on the page."""
    if name in FORECASTER_TITLES:
        return FORECASTER_TITLES[name]
    return f"factor momentum, {_months(name)}"


def book_title(name: str) -> str:
    """What a book is called on the page."""
    if name == EQUAL:
        return "equal weight, restored every month"
    kind, _, rest = name.partition("_")
    fixed = {
        "sign": "factor momentum by sign, {}, long-short",
        "scaled": "factor momentum scaled, {}, long-short",
        "winners": "factor momentum, winners of {}, long-only",
        "across": "factor momentum across factors, {}, long-short",
    }
    if kind in fixed:
        return fixed[kind].format(_months(name))
    who = {"historical_mean": "expanding mean", "factor_momentum": "factor momentum"}.get(
        rest, FORECASTER_TITLES.get(rest, rest)
    )
    return {"timed": f"{who}: sign, long-short", "softmax": f"{who}: softmax", "anchored": f"{who}: anchored"}[kind]


def _months(name: str) -> str:
    span = int(name.rpartition("_")[2])
    return f"{span} month" if span == 1 else f"{span} months"


def _number(value: float, decimals: int = 2, sign: bool = False) -> str:
    return "–" if math.isnan(value) else f"{value:{'+' if sign else ''}.{decimals}f}"


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else _number(value, 3)


def _range(low: float, high: float, sign: bool = False) -> str:
    return "–" if math.isnan(low) else f"[{_number(low, 2, sign)}, {_number(high, 2, sign)}]"


def picture(study: Study) -> str:
    """Sums of net returns since the first forecast, every book at equal weight's volatility, as SVG."""
    first = study.line_first
    count = len(study.lines[EQUAL])
    ticks = {
        row: str(year)
        for year in range(first.year + 1, first.year + count // 12 + 1)
        if year % 10 == 0 and (row := (year - first.year) * 12 + 1 - first.month) < count
    }
    return line_chart_svg(
        {_LINES[name]: values.tolist() for name, values in study.lines.items()},
        ticks,
        COLOURS,
        label="Sum of monthly net returns of the books, each scaled to the volatility of equal weight",
    )


def markdown(study: Study, command: str, picture_path: str) -> str:
    """The study as a page."""
    options = study.options
    lines = [
        "# Timing US styles",
        "",
        "Do the forecasters and books of this project time factors of a market with sixty years of data? Published US factor "
        "returns, read from a folder and not part of the project; only statistics of them are shown. Made by",
        "",
        f"```bash\n{command}\n```",
        "",
        f"{study.months} months, {study.data_first} to {study.data_last}, of {len(study.names)} long-short series: "
        f"{', '.join(study.names)} (the five factors of Fama & French 2015, the market among them, and momentum). Percent in "
        f"the files, fractions here. The first forecast is made from {options.train_months} months; every forecast uses what "
        f"was known at the close of its month. Networks ({options.network_seeds} seeds) and ridge are fitted again every "
        f"{options.refit_every} months, the other experts every month; inputs are the past {options.forecasts.lookback} "
        "months of returns and four features of the market's own returns (last return, one-year volatility and mean, "
        "drawdown). There are no regime probabilities, no macroeconomic series and no firm characteristics. Long-short books "
        f"hold Σ|w| = 1, the scaled ones ½ where one leg is empty. Net means {options.cost_bp:g} basis points per ½ Σ|Δw|; the trading inside the factors is unknown and "
        "not charged, for any book. t and p values: Clark-West (one-sided) for forecasts, heteroskedasticity and "
        "autocorrelation robust for Sharpe ratios; intervals are studentised block bootstraps at 95 % (Ledoit & Wolf 2008).",
        "",
        *_findings(study),
        "",
        f"![Sum of monthly net returns, every book at the volatility of equal weight]({picture_path})",
        "",
        f"Sum of monthly net returns since {study.whole.first}; each book is scaled by its own whole-sample volatility to that of "
        "equal weight, for the picture only.",
    ]
    for title, sample in (
        (f"All {_count(study.whole)} months", study.whole),
        (f"The last {_count(study.recent)} months", study.recent),
    ):
        lines += [
            "",
            f"## {title}: {sample.first} to {sample.last}",
            "",
            *_forecast_table(study, sample),
            "",
            *_book_table(sample),
        ]
    lines += ["", *_published(study), ""]
    return "\n".join(lines)


def _count(sample: Sample) -> int:
    return sample.forecasts[0].months


def _findings(study: Study) -> list[str]:
    """What the numbers say, in the order of what they are worth."""
    sample = study.whole
    others = [item for item in sample.books if item.book != EQUAL and not math.isnan(item.judged.difference_p)]
    better = [item for item in others if item.judged.difference > 0]
    sure = [item for item in others if item.judged.difference_low > 0]
    kept = [item for item in others if item.judged.difference > 0 and item.adjusted_p < 0.05]
    worse = [item for item in others if item.judged.difference < 0 and item.adjusted_p < 0.05]
    equal = book_named(sample, EQUAL)
    inside = [item for item in sample.forecasts if item.set_p > 0.1]
    positive = [item for item in sample.forecasts if item.r2 > 0]
    return [
        "## What it says",
        "",
        f"- Equal weight has a net Sharpe ratio of {_number(equal.sharpe)} {_range(equal.low, equal.high)} over all "
        f"{equal.months} months. Of {len(others)} timing books {len(better)} have a higher one, {len(sure)} with an interval of the "
        f"difference above 0; corrected for having looked at {len(others)} books (Benjamini & Hochberg 1995, 5 %) {_named(kept)} "
        f"better and {_named(worse)} worse.",
        f"- Of {len(sample.forecasts) - 1} forecasters besides the expanding mean {_forecasters(positive)} a positive out-of-sample R² against it. The 90 % model "
        f"confidence set (squared error, T_max; Hansen, Lunde & Nason 2011) holds {len(inside)} of {len(sample.forecasts)} forecasters, the "
        f"expanding mean {'among them' if any(item.forecaster == 'historical_mean' for item in inside) else 'not among them'}.",
        _mixture_sentence(study),
        _recent_sentence(study),
        _tests_sentence(study),
        "- The factors are those that later became known because they paid: no walk-forward undoes that choice, and it flatters "
        "equal weight and every timing book alike.",
    ]


def _forecasters(positive: Sequence[object]) -> str:
    return {0: "none has", 1: "1 has"}.get(len(positive), f"{len(positive)} have")


def _named(books: Sequence[BookQuality]) -> str:
    if not books:
        return "none is"
    names = "; ".join(book_title(item.book) for item in books) if len(books) <= 3 else ""
    verb = "is" if len(books) == 1 else "are"
    return f"{len(books)} ({names}) {verb}" if names else f"{len(books)} {verb}"


def _mixture_sentence(study: Study) -> str:
    weights = sorted(study.mixture_weights.items(), key=lambda item: -item[1])
    text = ", ".join(
        f"{'zero tilt' if name == 'zero' else forecaster_title(name)} {weight:.0%}" for name, weight in weights
    )
    return f"- Mean weights in the mixture, by past out-of-sample likelihood: {text}."


def _recent_sentence(study: Study) -> str:
    whole, recent = book_named(study.whole, "anchored_mixture"), book_named(study.recent, "anchored_mixture")
    return (
        f"- The graph's own headline, the anchored book on the mixture, differs from equal weight by {_number(whole.difference, 2, True)} "
        f"{_range(whole.difference_low, whole.difference_high, True)} over all months and by {_number(recent.difference, 2, True)} "
        f"{_range(recent.difference_low, recent.difference_high, True)} over the last {recent.months}."
    )


def _tests_sentence(study: Study) -> str:
    """Which forecasters Clark-West prefers to the mean, over all months, corrected, and over the last ones."""
    parts: list[str] = []
    for text, sample in (("all months", study.whole), (f"the last {_count(study.recent)}", study.recent)):
        tested = [item for item in sample.forecasts if not math.isnan(item.clark_west_p)]
        adjusted = benjamini_hochberg([item.clark_west_p for item in tested])
        names = [forecaster_title(item.forecaster) for item, p in zip(tested, adjusted, strict=True) if p < 0.05]
        parts.append(f"{', '.join(names) or 'none'} over {text}")
    recent = [item for item in study.recent.books if item.book != EQUAL and item.adjusted_p < 0.05]
    better = [item for item in recent if item.judged.difference > 0]
    return (
        f"- By the Clark-West test, corrected for the number of forecasters, better than the expanding mean: {'; '.join(parts)}. That test allows for "
        f"the noise of estimation; R² does not. Over the last {_count(study.recent)} months {_named(better)} better than equal weight after the "
        "correction for the number of books."
    )


def _forecast_table(study: Study, sample: Sample) -> list[str]:
    header = (
        f"| forecaster | R² | {' | '.join(study.names)} | Clark-West t | p | Diebold-Mariano t | right sign | set p |"
    )
    lines = [
        "Out-of-sample R² in percent against the expanding mean (Campbell & Thompson 2008), all factors together and each; set p: "
        "model confidence set.",
        "",
        header,
        f"|---|---|{'---|' * len(study.names)}---|---|---|---|---|",
    ]
    for item in sample.forecasts:
        each = " | ".join(_number(100.0 * value, 2, True) for value in item.by_series)
        lines.append(
            f"| {forecaster_title(item.forecaster)} | {_number(100.0 * item.r2, 2, True)} | {each} | {_number(item.clark_west_t)} | "
            f"{_probability(item.clark_west_p)} | {_number(item.diebold_mariano_t)} | {item.hit_rate:.1%} | {_number(item.set_p, 3)} |"
        )
    return lines


def _book_table(sample: Sample) -> list[str]:
    lines = [
        "Sharpe ratios a year. The difference is net, to equal weight after the same costs.",
        "",
        "| book | gross | net | interval | t | difference | interval | t | adjusted p | turnover a year | volatility |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for item in sample.books:
        one = item.judged
        same = item.book == EQUAL
        lines.append(
            f"| {book_title(item.book)} | {_number(one.sharpe_gross)} | {_number(one.sharpe)} | {_range(one.low, one.high)} | {_number(one.t)} | "
            f"{'–' if same else _number(one.difference, 2, True)} | {_range(one.difference_low, one.difference_high, True)} | "
            f"{_number(one.difference_t, 2, True)} | {_number(item.adjusted_p, 3)} | {_number(one.turnover)} | {one.volatility:.1%} |"
        )
    return lines


def _published(study: Study) -> list[str]:
    """Published figures beside the nearest ones here, and why they differ."""
    whole, recent = study.whole, study.recent
    held, five = book_named(recent, EQUAL), recent.five_equal
    sign, soft, anchored = (book_named(recent, f"{kind}_network_lstm") for kind in ("timed", "softmax", "anchored"))
    scaled, by_sign = book_named(whole, "scaled_1"), book_named(whole, "sign_12")
    mine = study.five_persistence

    def three(values: Sequence[float]) -> str:
        return ", ".join(
            f"{name} {_number(value)}" for name, value in zip(("sign", "softmax", "anchored"), values, strict=True)
        )

    books = (sign, soft, anchored)
    rows = [
        (
            "Deep multi-task timing of five US factors, 384 months: buy-and-hold",
            "0.60",
            f"{_number(five.sharpe_gross)} (the {len(FIVE)} factors), {_number(held.sharpe_gross)} (with momentum), last {held.months} months",
        ),
        ("the same: network, gross", "0.82", f"LSTM {three([one.sharpe_gross for one in books])}"),
        (
            "the same: network, net of 14 bp",
            "0.74",
            f"LSTM {three([one.sharpe for one in books])}, at {study.options.cost_bp:g} bp",
        ),
        ("the same: t of the gain", "2.2", f"t of the net difference: {three([one.difference_t for one in books])}"),
        (
            "Factor momentum on 65 US factors, one month, scaled (Gupta & Kelly 2019, abstract): Sharpe ratio, gross",
            "0.84",
            f"{_number(scaled.sharpe_gross)} {_range(scaled.low, scaled.high)} (interval net), all months",
        ),
        (
            "Mean monthly return after a year of gains and after one of losses (Ehsani & Linnainmaa 2019, abstract)",
            "53 and 1 bp",
            f"{mine.after_gain * 1e4:.0f} and {mine.after_loss * 1e4:.0f} bp, t of the difference {_number(mine.t)} "
            f"({len(FIVE)} factors, {mine.gains} and {mine.losses} observations)",
        ),
        (
            "Factor momentum on A-shares, ten factors, 2001–2019: Sharpe ratio, gross",
            "1.15",
            f"another market; {_number(by_sign.sharpe_gross)} for the sign form of 12 months here, all months",
        ),
    ]
    return [
        "## Beside published figures",
        "",
        "| published | figure | here |",
        "|---|---|---|",
        *(f"| {what} | {figure} | {here} |" for what, figure, here in rows),
        "",
        *_why_they_differ(study),
    ]


def _why_they_differ(study: Study) -> list[str]:
    recent, mine = study.recent, study.five_persistence
    held, sign = book_named(recent, EQUAL), book_named(recent, "timed_network_lstm")
    return [
        "Why they differ:",
        "",
        f"- Other factors and months. Which five factors and which 384 months the published study took was not at hand; the last "
        f"{held.months} of the file stand in. Its buy-and-hold of 0.60 against {_number(recent.five_equal.sharpe_gross)} here says that they are not the same.",
        "- Other inputs. Published networks read macroeconomic and firm-level series; here there are returns alone. A gain that "
        "comes from those cannot appear here.",
        f"- Room to gain. {len(study.names)} factors that offset each other make equal weight hard to beat: momentum of a factor that pays a premium on average means being out of it, or "
        "short, part of the time, and that costs the premium. The published momentum studies have dozens of factors, which spread that cost.",
        f"- The regularity itself is there: returns after years of gains exceed those after losses by {(mine.after_gain - mine.after_loss) * 1e4:.0f} bp a month. "
        "The difference of two conditional means is no portfolio: after losses the mean is about 0, not negative, so the short side earns nothing."
        if abs(mine.after_loss) < 0.001
        else f"- Returns after years of gains and of losses differ by {(mine.after_gain - mine.after_loss) * 1e4:.0f} bp a month here.",
        *(
            [
                f"- The LSTM forecast a positive return of every factor in each of the last {held.months} months, so its sign book is equal weight there."
            ]
            if math.isnan(sign.difference_t)
            else []
        ),
        "- Costs. What the published 14 bp were charged on is not known here.",
        "- Networks here are small on purpose, stop early and start from a forecast of 0, so that they shrink where little is learnt.",
    ]
