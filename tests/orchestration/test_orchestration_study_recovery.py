"""The recovery study: lengths are prefixes, finished markets are kept, rates and their chances are what textbooks say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import small_settings
from scipy import stats

from rotation_pipeline.orchestration import study
from rotation_pipeline.orchestration.study import (
    StudyError,
    Trial,
    chance_of,
    fingerprint,
    read_trials,
    run_market,
    run_study,
    summarise,
    wilson,
)
from rotation_pipeline.orchestration.study_recovery_page import write_recovery
from rotation_pipeline.settings import Settings


def tiny(folder: Path, **changes: dict[str, object]) -> Settings:
    base: dict[str, dict[str, object]] = {
        "sample": {"start": "2014-01", "end": "2014-01", "history_months": 31, "style_history_months": 6},
        "simulation": {"start_month": "2011-05"},
        "forecasts": {"experts": ["zero", "historical_mean"], "min_train_months": 12},
        "regimes": {"detectors": ["hmm"], "bootstrap_resamples": 100, "permutations": 99},
    }
    for name, values in changes.items():
        base[name] = {**base.get(name, {}), **values}
    return small_settings(folder, **base)


def trial(strength: float, seed: int, years: int, **changes: Any) -> Trial:
    base = Trial(
        strength, seed, years, "no better", 0.2, 0.1, 0.1, -0.1, 0.3, 0.001, 0.5, 0.6, 0.5, 0.02, 0.5, 12.0, "s", "c"
    )
    return replace(base, **changes)


def without_time(trials: list[Trial]) -> list[Trial]:
    return [replace(one, cpu_seconds=0.0) for one in trials]


def test_the_first_year_of_a_long_run_is_the_short_run_and_the_calendar_may_end(tmp_path: Path) -> None:
    """Two years that end after the recorded sessions, against one that ends where they do."""
    settings = tiny(tmp_path, sample={"start": "2026-01", "end": "2026-01"}, simulation={"start_month": "2023-05"})
    both = run_market(settings.model_dump_json(), 1.0, 3, [2, 1])
    alone = run_market(settings.model_dump_json(), 1.0, 3, [1])
    assert [one.years for one in both] == [1, 2]
    assert without_time(both[:1]) == without_time(alone)
    assert both[0].sharpe != both[1].sharpe
    assert both[0].cpu_seconds > 0.0
    assert 0.0 <= both[1].balanced_accuracy <= 1.0


def test_a_market_that_fails_is_named(tmp_path: Path) -> None:
    settings = tiny(tmp_path, sample={"start": "2010-01"})
    with pytest.raises(StudyError, match=r"strength 0\.5, seed 9: "):
        run_market(settings.model_dump_json(), 0.5, 9, [1])


class Pool:
    """Runs a task at once, in this process."""

    asked: list[tuple[float, int]] = []  # noqa: RUF012  # one list for all pools of a test

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def shutdown(self, **_: object) -> None: ...

    def submit(self, _run: object, _text: str, strength: float, seed: int, years: list[int]) -> Any:
        from concurrent.futures import Future

        self.asked.append((strength, seed))
        future: Future[list[Trial]] = Future()
        if seed == 13:
            future.set_exception(StudyError("strength 0, seed 13: broken"))
        else:
            code = study.code_fingerprint()
            future.set_result([trial(strength, seed, years_, settings=MARK[0], code=code) for years_ in sorted(years)])
        return future


MARK = [""]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Pool]:
    monkeypatch.setattr(study, "ProcessPoolExecutor", Pool)
    Pool.asked.clear()
    MARK[0] = fingerprint(tiny(tmp_path))
    return Pool


def test_finished_markets_are_kept_and_others_told_of(
    pool: type[Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, path = tiny(tmp_path), tmp_path / "study" / "markets.csv"
    found = run_study(settings, [0.0, 1.0], [1, 2], [5, 10], path)
    assert len(found) == 8
    assert len(pool.asked) == 4
    assert run_study(settings, [0.0, 1.0], [1, 2], [5, 10], path) == found
    assert len(pool.asked) == 4
    run_study(settings, [0.0], [1, 3], [5], path)
    assert pool.asked[4:] == [(0.0, 3)]
    run_study(settings, [0.0], [1], [5, 20], path)
    assert pool.asked[5:] == [(0.0, 1)]
    assert run_study(settings, [0.0, 1.0], [1, 2], [5, 10], path)[0].years == 5
    monkeypatch.setattr(study, "code_fingerprint", lambda: "other")
    told: list[str] = []
    run_study(settings, [0.0], [1], [5], path, notice=told.append)
    assert pool.asked[6:] == [(0.0, 1)]
    assert len(told) == 1
    assert "11 rows are of other settings or code" in told[0]


def test_more_markets_than_a_process_takes_are_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "TASKS_PER_PROCESS", 1)
    assert sorted(study.as_finished(divmod, [(number, 3) for number in range(5)], 2)) == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1),
    ]  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        list(study.as_finished(divmod, [(1, 0)], 1))


def test_a_failure_keeps_what_is_finished(pool: type[Pool], tmp_path: Path) -> None:
    path = tmp_path / "markets.csv"
    run_study(tiny(tmp_path), [0.0], [1], [5], path)
    with pytest.raises(StudyError, match="seed 13"):
        run_study(tiny(tmp_path), [0.0], [13], [5], path)
    assert [one.seed for one in read_trials(path)] == [1]


def test_a_line_cut_off_is_run_again_and_leaves_the_others(pool: type[Pool], tmp_path: Path) -> None:
    settings, path = tiny(tmp_path), tmp_path / "markets.csv"
    found = run_study(settings, [0.0], [1, 2], [5], path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    (kept,) = read_trials(path)  # markets are stored as they end, in any order
    assert kept in found
    assert run_study(settings, [0.0], [1, 2], [5], path) == found
    assert pool.asked[2:] == [(0.0, 3 - kept.seed)]
    assert path.read_bytes() == whole
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match="move it away"):
        read_trials(path)


def test_what_shapes_no_row_is_no_other_study(tmp_path: Path) -> None:
    own = tiny(tmp_path)
    for other in (
        tiny(tmp_path, network={"workers": 7}), tiny(tmp_path, sample={"end": "2014-09"}),
        tiny(tmp_path, simulation={"seed": 99, "premium_strength": 0.5}), own.model_copy(update={"threads": 9}),
    ):  # fmt: skip
        assert fingerprint(other) == fingerprint(own)
    assert fingerprint(tiny(tmp_path, backtest={"cost_bp": 1.0})) != fingerprint(own)


def test_rates_and_chances_are_those_of_scipy() -> None:
    for hits, count in ((0, 40), (1, 40), (7, 20), (20, 20)):
        expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert chance_of(hits, count) == pytest.approx(stats.binom.sf(hits - 1, count, 0.025), abs=1e-12)


def test_a_size_above_nominal_is_said_in_bold(tmp_path: Path) -> None:
    settings = tiny(tmp_path)
    honest = [trial(0.0, seed, 5) for seed in range(20)] + [trial(1.0, s, 5, low=0.1, state="beats") for s in range(20)]
    found = summarise(honest)
    assert [(item.strength, item.claimed, item.significant) for item in found] == [(0.0, 0, 0), (1.0, 20, 20)]
    page, picture = write_recovery(tmp_path / "docs.md", honest, settings, "rotation study recovery")
    said = page.read_text(encoding="utf-8")
    assert "at most the nominal one within Monte Carlo error" in said
    assert "the planted edge in 20 of 20 markets" in said
    assert "little evidence" not in said
    assert "5 years, strength 1" in picture.read_text(encoding="utf-8")
    flattering = [trial(0.0, seed, 5, low=0.1 if seed < 4 else -0.1) for seed in range(20)]
    write_recovery(page, flattering, settings, "rotation study recovery")
    assert "**the nominal rate is exceeded** at 5 years" in page.read_text(encoding="utf-8")
    weak = [trial(0.0, seed, 5) for seed in range(20)] + [
        trial(0.5, s, 5, low=0.1 if s < 3 else -0.1) for s in range(20)
    ]
    write_recovery(page, weak, settings, "rotation study recovery")
    said = page.read_text(encoding="utf-8")
    assert (
        "At strength 0.5, after 5 years, the verdict claims the planted edge in 0 of 20 markets, the interval alone in 3"
        in said
    )
    assert "little evidence that there is none" in said
