"""The chain of books: hand-computed months, limits, and replay equality bit for bit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from rotation_pipeline.allocation.books import AllocationResult, allocate
from rotation_pipeline.allocation.frames import MissingMonthError, month_before
from rotation_pipeline.allocation.inertia import TotalLossError
from rotation_pipeline.allocation.options import AllocationOptions
from rotation_pipeline.allocation.tables import BASELINES, BOOKS, STRATEGIES, WEIGHTS
from rotation_pipeline.factors.styles import STYLES

MONTHS = list(pd.date_range("2019-11-01", periods=30, freq="MS"))


def inputs(seed: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    returns = pd.DataFrame(
        random.normal(0.003, 0.04, (len(MONTHS), 5)), index=pd.Index(MONTHS, name="month"), columns=list(STYLES)
    )
    returns.iloc[0] = np.nan
    returns.iloc[1:5, 0] = np.nan  # momentum needs more history
    forecasts, experts = [], []
    for i, month in enumerate(MONTHS):
        for j, style in enumerate(STYLES):
            mean = 0.0 if i < 8 else float(random.normal(0.0, 0.01))
            volatility = np.nan if i < 6 else float(returns.iloc[max(0, i - 11) : i + 1, j].std())
            forecasts.append((month, style, mean, 0.04, mean - 0.05, mean + 0.05, volatility))
            experts.append((month, "zero", style, 0.0, 0.04))
            experts.append(
                (
                    month,
                    "network_lstm",
                    style,
                    np.nan if i < 10 else float(random.normal(0.0, 0.01)),
                    np.nan if i < 10 else 0.05,
                )
            )
    index = pd.DataFrame(
        {
            "month": MONTHS,
            "trend": random.normal(0, 0.1, len(MONTHS)),
            "volatility": random.uniform(0.1, 0.3, len(MONTHS)),
            "index_return": random.normal(0, 0.05, len(MONTHS)),
        }
    )
    return {
        "forecasts": pd.DataFrame(
            forecasts, columns=["month", "style", "mean", "standard_error", "low", "high", "volatility"]
        ),
        "expert_forecasts": pd.DataFrame(experts, columns=["month", "expert", "style", "mean", "standard_error"]),
        "style_returns": returns,
        "index_features": index,
        "first_month": MONTHS[0],
    }


def run(
    months: list[pd.Timestamp],
    previous: AllocationResult | None = None,
    options: AllocationOptions | None = None,
    **data: Any,
) -> AllocationResult:
    return allocate(
        **(data or inputs()), months=months, options=options or AllocationOptions(),
        previous_weights=None if previous is None else previous.weights, previous_books=None if previous is None else previous.books,
    )  # fmt: skip


def part(result: AllocationResult, months: list[pd.Timestamp]) -> AllocationResult:
    return AllocationResult(
        *(f[f["month"].isin(months)].reset_index(drop=True) for f in (result.weights, result.books, result.selection))
    )


def equal(first: AllocationResult, second: AllocationResult) -> None:
    pd.testing.assert_frame_equal(first.weights, second.weights, check_exact=True)
    pd.testing.assert_frame_equal(first.books, second.books, check_exact=True)
    pd.testing.assert_frame_equal(first.selection, second.selection, check_exact=True)


def until(data: dict[str, Any], month: pd.Timestamp) -> dict[str, Any]:
    cut = {
        name: f[f["month"] <= month]
        for name, f in data.items()
        if name in ("forecasts", "expert_forecasts", "index_features")
    }
    return {**data, **cut, "style_returns": data["style_returns"].loc[:month]}


@pytest.fixture(scope="module")
def full() -> AllocationResult:
    return run(MONTHS)


def test_tables_are_what_the_contract_says(full: AllocationResult) -> None:
    for frame, table in ((full.weights, WEIGHTS), (full.books, BOOKS)):
        assert list(frame.columns) == table.stored_names
        keys = list(table.key)
        pd.testing.assert_frame_equal(frame, frame.sort_values(keys, ignore_index=True))
        assert not frame.duplicated(keys).any()
        for column in table.columns:
            values = frame[column.name]
            assert column.nullable or values.notna().all(), column.name
            assert column.minimum is None or (values.dropna() >= column.minimum).all()
            assert column.maximum is None or (values.dropna() <= column.maximum).all()
            assert not column.allowed or set(values) <= set(column.allowed)
    assert len(full.weights) == len(MONTHS) * len((*STRATEGIES, *BASELINES)) * len(STYLES)


def test_one_month_alone_equals_the_backfill(full: AllocationResult) -> None:
    for month in (*MONTHS[1:3], *MONTHS[8:12], MONTHS[-1]):
        before = part(full, [m for m in MONTHS if m < month])
        equal(run([month], before), part(full, [month]))


def test_later_data_and_other_months_change_nothing(full: AllocationResult) -> None:
    data = inputs()
    for month in (MONTHS[0], MONTHS[9], MONTHS[20]):
        known = [m for m in MONTHS if m <= month]
        equal(run(known, **until(data, month)), part(full, known))
    middle = MONTHS[12:20]
    equal(run(middle[::-1], part(full, MONTHS[:12])), part(full, middle))
    # a later stored row is not read either
    equal(run(middle, full), part(full, middle))


def test_order_of_rows_does_not_matter(full: AllocationResult) -> None:
    data = inputs()
    shuffled = {n: f.sample(frac=1.0, random_state=1) if isinstance(f, pd.DataFrame) else f for n, f in data.items()}
    equal(run(MONTHS, **shuffled), full)


def test_units_of_time_stamps_do_not_matter(full: AllocationResult) -> None:
    data = inputs()
    coarse = {
        n: f.assign(month=f["month"].astype("datetime64[us]"))
        for n, f in data.items()
        if isinstance(f, pd.DataFrame) and "month" in f
    }
    wide_returns = data["style_returns"].set_axis(data["style_returns"].index.astype("datetime64[us]"))
    before = AllocationResult(
        *(f.assign(month=f["month"].astype("datetime64[us]")) for f in (full.weights, full.books, full.selection))
    )
    equal(run(MONTHS[12:14], before, **{**data, **coarse, "style_returns": wide_returns}), part(full, MONTHS[12:14]))


def test_first_month_is_equal_weight_without_trading(full: AllocationResult) -> None:
    first = part(full, MONTHS[:1])
    strategies = first.weights[first.weights["strategy"].isin(STRATEGIES)]
    assert (strategies["weight"] == 0.2).all()
    assert first.weights["drifted"].isna().all()
    assert (first.books["turnover"] == 0.0).all()


def test_missing_months_are_named(full: AllocationResult) -> None:
    with pytest.raises(MissingMonthError, match=r"marts\.weights has no rows for 2020-11, .*2020-12"):
        run([MONTHS[13]])
    gap = part(full, [m for m in MONTHS if m != MONTHS[12]])
    with pytest.raises(MissingMonthError, match=r"marts\.weights has no rows for 2020-11"):
        run([MONTHS[13]], gap)
    with pytest.raises(MissingMonthError, match=r"marts\.books .*2020-11"):
        run([MONTHS[13]], AllocationResult(full.weights, gap.books, full.selection))
    some = full.weights[~((full.weights["month"] == MONTHS[12]) & (full.weights["strategy"] == "risk_parity"))]
    with pytest.raises(MissingMonthError, match="risk_parity"):
        run([MONTHS[13]], AllocationResult(some, full.books, full.selection))
    data = inputs()
    with pytest.raises(MissingMonthError, match=r"marts\.forecasts has no rows for 2021-01"):
        run(MONTHS, **{**data, "forecasts": data["forecasts"][data["forecasts"]["month"] != MONTHS[14]]})
    with pytest.raises(MissingMonthError, match=r"marts\.factor_longshort has no rows for 2022-04"):
        run(MONTHS, **{**data, "style_returns": data["style_returns"].iloc[:-1]})
    with pytest.raises(MissingMonthError, match=r"intermediate\.index_features has no rows for 2022-04"):
        run(MONTHS, **{**data, "index_features": data["index_features"].iloc[:-1]})
    with pytest.raises(ValueError, match=r"2018-01 is before the store's first"):
        run([pd.Timestamp("2018-01-01")])
    with pytest.raises(ValueError, match="first day"):
        run([pd.Timestamp("2020-01-02")])


def wide(result: AllocationResult, book: str, column: str) -> np.ndarray:
    rows = result.weights[result.weights["strategy"] == book]
    return rows.pivot(index="month", columns="style", values=column)[list(STYLES)].to_numpy()


def test_weights_sum_to_one_and_tilts_stay_in_their_cap(full: AllocationResult) -> None:
    for book in (*STRATEGIES, *BASELINES):
        weights = wide(full, book, "weight")
        total = np.abs(weights).sum(axis=1) if book == "factor_momentum" else weights.sum(axis=1)
        np.testing.assert_allclose(total, 1.0, atol=1e-12)
    target = wide(full, "rotation", "target")
    assert np.abs(target - 0.2).max() <= 0.12 + 1e-12
    assert np.abs(target[10:] - 0.2).max() > 0.02  # and there are tilts to cap


def test_slow_reference_of_the_softmax_book(full: AllocationResult) -> None:
    data, options = inputs(), AllocationOptions()
    held = np.full(5, 0.2)
    for i, month in enumerate(MONTHS):
        if i:
            rows = data["forecasts"][data["forecasts"]["month"] == month]
            grown = [
                w * (1.0 + (0.0 if np.isnan(r) else r))
                for w, r in zip(held, data["style_returns"].loc[month], strict=True)
            ]
            drifted = np.array(grown) / sum(grown)
            scores = rows["mean"].to_numpy() / rows["volatility"].to_numpy()
            spread = scores.std()
            z = np.zeros(5) if not spread > 0 else (scores - scores.mean()) / spread
            target = np.exp(z) / np.exp(z).sum()
            held = options.inertia * drifted + (1 - options.inertia) * target
            np.testing.assert_allclose(wide(full, "softmax_mixture", "drifted")[i], drifted, atol=1e-12)
            np.testing.assert_allclose(wide(full, "softmax_mixture", "target")[i], target, atol=1e-12)
        np.testing.assert_allclose(wide(full, "softmax_mixture", "weight")[i], held, atol=1e-12)


def test_slow_reference_of_the_anchored_book(full: AllocationResult) -> None:
    options, data = AllocationOptions(), inputs()
    weight, drifted, target = (wide(full, "rotation", c) for c in ("weight", "drifted", "target"))
    traded = 0
    for i in range(1, len(MONTHS)):
        rows = data["forecasts"][data["forecasts"]["month"] == MONTHS[i]]
        mean = rows["mean"].to_numpy()
        if np.abs(mean).max() == 0.0:
            assert (target[i] == 0.2).all()
        else:
            ratio = mean / rows["volatility"].to_numpy()
            z = (ratio - ratio.mean()) / ratio.std()
            tilt = options.tilt_scale * z * np.maximum(0.0, 1.0 - options.shrinkage * 0.04 / np.abs(mean))
            demeaned = tilt - tilt.mean()
            if np.abs(demeaned).max() <= options.tilt_cap:
                np.testing.assert_allclose(target[i], 0.2 + demeaned, atol=1e-12)
        trade = np.abs(target[i] - drifted[i]).max() > options.no_trade_band
        traded += trade
        np.testing.assert_allclose(weight[i], target[i] if trade else drifted[i], atol=1e-12)
    assert 5 < traded < len(MONTHS) - 1


def test_network_book_is_equal_weight_until_the_network_speaks(full: AllocationResult) -> None:
    weights, scores = wide(full, "softmax_network", "weight"), wide(full, "softmax_network", "score")
    assert (weights[:10] == 0.2).all()
    assert np.isnan(scores[:10]).all()
    assert np.abs(weights[10:] - 0.2).max() > 0.05
    data = inputs()
    absent = run(MONTHS[:5], **{**data, "expert_forecasts": data["expert_forecasts"].iloc[:0]})
    assert (wide(absent, "softmax_network", "weight") == 0.2).all()


def test_headline_book_is_the_option() -> None:
    result = run(MONTHS, options=AllocationOptions(book="softmax"))
    np.testing.assert_array_equal(wide(result, "rotation", "weight"), wide(result, "softmax_mixture", "weight"))


@pytest.mark.parametrize("start", ["drifted", "undrifted"])
def test_limits_hold_along_the_chain(start: Any) -> None:
    options = AllocationOptions(book="softmax", floor=0.05, cap=0.35, inertia_from=start, temperature=0.3)
    weights = wide(run(MONTHS, options=options), "softmax_network", "weight")
    assert weights.min() >= 0.05 - 1e-12
    assert weights.max() <= 0.35 + 1e-12
    assert weights.max() > 0.349
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    capped = run(MONTHS, options=replace(options, turnover_cap=0.03))
    books = capped.books[capped.books["strategy"].isin(STRATEGIES[:2])]
    assert books["turnover"].max() <= 0.03 + 1e-12
    assert np.isclose(books["turnover"], 0.03).any()


def test_volatility_target_leaves_cash_and_replays() -> None:
    options = AllocationOptions(volatility_target=0.02)
    result = run(MONTHS, options=options)
    total = wide(result, "rotation", "weight").sum(axis=1)
    assert (total[20:] < 0.9).all()
    np.testing.assert_allclose(total[:10], 1.0)
    equal(run(MONTHS[20:], part(result, MONTHS[:20]), options), part(result, MONTHS[20:]))


def test_turnover_active_share_and_clone(full: AllocationResult) -> None:
    data = inputs()
    zero = data["forecasts"].assign(mean=0.0)
    result = run(MONTHS, options=AllocationOptions(no_trade_band=0.0), **{**data, "forecasts": zero})
    books = result.books.set_index(["month", "strategy"])
    assert books.xs("equal_weight", level="strategy")["is_equal_weight_clone"].all()
    assert books.xs("rotation", level="strategy")["is_equal_weight_clone"].all()
    assert not books.xs("only_MOM", level="strategy")["is_equal_weight_clone"].any()
    np.testing.assert_allclose(books.xs("only_MOM", level="strategy")["active_share"], 0.8)
    assert (books.xs("only_MOM", level="strategy")["turnover"] == 0.0).all()
    for book, (weight, drifted) in itertools.product(["rotation", "factor_momentum"], [("weight", "drifted")]):
        expected = 0.5 * np.abs(wide(full, book, weight)[1:] - wide(full, book, drifted)[1:]).sum(axis=1)
        found = full.books[full.books["strategy"] == book]["turnover"].to_numpy()[1:]
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_total_loss_names_book_and_month() -> None:
    data = inputs()
    data["style_returns"].iloc[15, STYLES.index("SIZE")] = -1.0
    with pytest.raises(TotalLossError, match="only_SIZE in 2021-02"):
        run(MONTHS, **data)


def test_options_are_bounded_and_closed() -> None:
    adapter = TypeAdapter(AllocationOptions)
    assert adapter.validate_python({}) == AllocationOptions()
    for wrong in ({"temperature": 0.0}, {"inertia": 1.0}, {"book": "other"}, {"floor": -0.1}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_month_before_crosses_the_year() -> None:
    assert month_before(pd.Timestamp("2020-01-01")) == pd.Timestamp("2019-12-01")
    assert month_before(pd.Timestamp("2020-12-01")) == pd.Timestamp("2020-11-01")
