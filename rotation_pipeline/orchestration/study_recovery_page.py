"""The recovery study as a page with its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rotation_pipeline.orchestration.reports import replace_text
from rotation_pipeline.orchestration.study import NOMINAL, Summary, Trial, chance_of, cpu_minutes, summarise
from rotation_pipeline.reporting.pictures import Mark, intervals_svg
from rotation_pipeline.settings import Settings

PICTURE = "recovery.svg"
TITLE = "Share of markets whose interval of the Sharpe difference lies above 0"


def write_recovery(page: Path, trials: Sequence[Trial], settings: Settings, command: str) -> list[Path]:
    """Write the page and its picture; their paths."""
    picture = page.parent / "images" / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    replace_text(picture, _picture(summarise(trials)))
    replace_text(page, markdown(trials, settings, command))
    return [page, picture]


def markdown(trials: Sequence[Trial], settings: Settings, command: str) -> str:
    """What was run, whether the size holds, the summary, and every market."""
    lines = [
        "# Recovery study",
        "",
        "Does the pipeline find rotating premia where they are planted, and nothing where there are none? The whole chain, from "
        "simulated prices to the verdict, on many markets; made by",
        "",
        f"```bash\n{command}\n```",
        "",
        *_what_was_run(trials, settings),
        "",
        "## Size",
        "",
        *_size(summarise(trials)),
        "",
        "## Power",
        "",
        *_power(summarise(trials)),
        "",
        "## Every market",
        "",
        "| strength | seed | years | verdict | Sharpe | equal weight | difference | interval | excess a year | t | deflated | of the "
        "excess | active share | balanced accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_market(trial) for trial in sorted(trials, key=lambda one: (one.strength, one.seed, one.years))]
    return "\n".join(lines) + "\n"


def _what_was_run(trials: Sequence[Trial], settings: Settings) -> list[str]:
    markets = {(trial.strength, trial.seed) for trial in trials}
    years = sorted({trial.years for trial in trials})
    networks = [name for name in settings.forecasts.experts if name.startswith("network")]
    forecasts = (
        f"Experts: {', '.join(settings.forecasts.experts)}"
        + (f", {settings.network.seeds} seeds a network, refitted every {settings.forecasts.refit_every} months" if networks else
           "; the networks, most of the time of a run, are left out")
    )  # fmt: skip
    minutes = cpu_minutes(trials)
    return [
        f"{len(markets)} markets ({len({seed for _, seed in markets})} seeds at each strength), each judged after "
        f"{_listed(years)} years from {settings.sample.start} on. {forecasts}. Detector: {settings.regimes.active}. Costs "
        f"{settings.backtest.cost_bp:g} bp. {minutes:.0f} CPU minutes, {len(markets) / max(minutes, 1e-9):.1f} markets a core-minute.",
        "",
        "Nothing looks ahead, so the first years of a long run are the short run, bit for bit: the lengths of a market share its "
        "months and are not independent; markets are. Strengths share their seeds. Sessions after the recorded calendar are "
        "projected. Strength multiplies every planted style premium: 0 is none, 1 is long-short returns of 0.2 to 2 % a month by "
        "regime. Sharpe ratios are annual and after costs; the difference is rotation minus static equal weight.",
    ]


def _size(found: Sequence[Summary]) -> list[str]:
    none = [item for item in found if item.strength == 0.0]
    if not none:
        return ["Not studied: strength 0 was left out."]
    exceeded = [item for item in none if chance_of(max(item.significant, item.claimed), item.markets) < 0.05]
    verdict = (
        "the rate of false claims is at most the nominal one within Monte Carlo error at every length."
        if not exceeded
        else f"**the nominal rate is exceeded** at {_listed([item.years for item in exceeded])} years."
    )
    lines = [
        f"With nothing to find, {verdict} Two claims are counted: the pipeline's own verdict (*beats*: interval of the "
        "difference above 0, and both deflated Sharpe ratios at 0.95 or more), and the interval alone, of which at most "
        f"{NOMINAL:.1%} should lie above 0. In brackets Wilson 95 % intervals; the last column is the chance of so many at the "
        "nominal rate.",
        "",
        "| years | markets | verdict *beats* | interval above 0 | chance |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {item.years} | {item.markets} | {_claimed(item)} | {_significant(item)} | {chance_of(item.significant, item.markets):.2f} |"
        for item in none
    ]


def _missed(found: Sequence[Summary]) -> list[str]:
    """What a verdict other than *beats* is worth, from the most that was planted and the longest sample."""
    most = max(found, key=lambda item: (item.strength, item.years))
    if most.strength == 0.0:
        return []
    told = (
        f"At strength {most.strength:g}, after {most.years} years, the verdict claims the planted edge in {most.claimed} of "
        f"{most.markets} markets, the interval alone in {most.significant}."
    )
    rarely = " That the verdict claims none is therefore little evidence that there is none: it errs on that side."
    return [told + (rarely if 2 * most.claimed < most.markets else ""), ""]


def _power(found: Sequence[Summary]) -> list[str]:
    lines = [
        *_missed(found),
        f"![{TITLE}](images/{PICTURE})",
        "",
        "Balanced accuracy is that of the filtered monthly regime labels against the simulated truth (chance is 0.33).",
        "",
        "| years | strength | markets | verdict *beats* | interval above 0 | mean Sharpe difference ± s.e. | excess a year | active "
        "share | balanced accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {item.years} | {item.strength:g} | {item.markets} | {_claimed(item)} | {_significant(item)} | "
        f"{item.mean_difference:+.3f} ± {item.standard_error:.3f} | {item.mean_excess_per_year:+.2%} | "
        f"{item.mean_active_share:.1%} | {item.mean_balanced_accuracy:.2f} |"
        for item in found
    ]


def _claimed(item: Summary) -> str:
    return f"{item.claimed} ({item.claimed_low:.0%} to {item.claimed_high:.0%})"


def _significant(item: Summary) -> str:
    return f"{item.significant} ({item.significant_low:.0%} to {item.significant_high:.0%})"


def _market(trial: Trial) -> str:
    return (
        f"| {trial.strength:g} | {trial.seed} | {trial.years} | {trial.state} | {trial.sharpe:+.2f} | "
        f"{trial.equal_weight_sharpe:+.2f} | {trial.sharpe_difference:+.3f} | {trial.low:+.2f} to {trial.high:+.2f} | "
        f"{trial.excess_per_year:+.2%} | {trial.excess_t:+.2f} | {trial.deflated_sharpe:.2f} | {trial.deflated_excess:.2f} | "
        f"{trial.active_share:.1%} | {trial.balanced_accuracy:.2f} |"
    )


def _picture(found: Sequence[Summary]) -> str:
    marks = [
        Mark(
            f"{item.years} years, strength {item.strength:g}", item.significant / item.markets, item.significant_low,
            item.significant_high, group=str(item.years), marked=item.strength == 0.0,
        )
        for item in found
    ]  # fmt: skip
    return intervals_svg(
        marks, title=TITLE, axis="share of markets, with Wilson 95 % intervals; dashed: the nominal 2.5 %", reference=NOMINAL,
        percent=True,
    )  # fmt: skip


def _listed(numbers: Sequence[int]) -> str:
    texts = [str(number) for number in numbers]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
