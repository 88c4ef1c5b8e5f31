"""The naming rule, exhaustively over small grids."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from rotation_pipeline.regimes.names import REGIMES, name_states


def test_the_three_regimes_of_the_specification():
    assert name_states([0.012, -0.025, 0.0], [0.16, 0.32, 0.15]) == ("slow_bull", "bear", "range")


@pytest.mark.parametrize("states", [2, 3, 4])
def test_every_case_on_a_grid_is_named(states: int):
    for mean in product((-0.02, 0.0, 0.02), repeat=states):
        for risk in product((0.1, 0.2, 0.3), repeat=states):
            names = name_states(mean, risk)
            assert len(names) == states
            assert set(names) <= set(REGIMES)
            bears = [k for k in range(states) if names[k] == "bear"]
            bulls = [k for k in range(states) if names[k] == "slow_bull"]
            assert bears
            if states == 3:
                assert sorted(names) == sorted(REGIMES)
            # no state is both no worse a return and calmer than a bear, and yet the only bear is the first
            if len(bears) == 1:
                assert not any(mean[k] < mean[bears[0]] and risk[k] > risk[bears[0]] for k in range(states))
            for k in range(states):
                if names[k] == "range" and bulls:
                    assert mean[k] <= max(mean[b] for b in bulls)


@pytest.mark.parametrize("states", [2, 3, 4])
def test_names_follow_the_states_not_their_order(states: int):
    mean, risk = (0.012, -0.025, 0.001, -0.006)[:states], (0.16, 0.32, 0.15, 0.28)[:states]
    expected = name_states(mean, risk)
    for order in permutations(range(states)):
        found = name_states([mean[k] for k in order], [risk[k] for k in order])
        assert found == tuple(expected[k] for k in order)


def test_two_and_four_states():
    assert name_states([0.01, -0.02], [0.15, 0.3]) == ("slow_bull", "bear")
    assert name_states([-0.001, -0.02], [0.15, 0.3]) == ("range", "bear")
    assert name_states([0.012, -0.025, 0.001, -0.01], [0.16, 0.32, 0.15, 0.30]) == (
        "slow_bull",
        "bear",
        "range",
        "bear",
    )
    assert name_states([0.012, -0.025, 0.001, 0.010], [0.16, 0.32, 0.15, 0.30])[3] == "slow_bull"
    assert name_states([0.012, -0.025, 0.001, 0.003], [0.16, 0.32, 0.15, 0.30])[3] == "range"


def test_equal_states_are_named_in_order():
    assert name_states([0.01, 0.01, 0.01], [0.2, 0.2, 0.2]) == ("bear", "slow_bull", "range")


def test_what_cannot_be_named_is_refused():
    with pytest.raises(ValueError, match="2 to 4 states"):
        name_states([0.0], [0.1])
    with pytest.raises(ValueError, match="2 to 4 states"):
        name_states([0.0, 0.1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="finite"):
        name_states([0.0, float("nan")], [0.1, 0.2])
