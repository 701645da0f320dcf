"""T17: the adaptive guard against its definition, its theorem, and as a rule with streams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.claims.worlds import independent_worlds
from stopping.errors import UserError
from stopping.rules import Adaptive, Guarded, Search, choose_streams, parse_rule
from stopping.theory.adaptive_guard import overshoot_with_guard, running_guard
from stopping.theory.identification import identify


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_it_is_the_guarded_search_at_the_running_maximum(seed: int, n: int) -> None:
    x = np.random.default_rng(seed).exponential(1.0, (n, 5))
    K = 3
    level, expected = 0.0, []
    for token in x:
        level = max(level, float(identify(token[None, 1:]).least_eps_max[0]))
        expected.append(int(Guarded(level, K).choose(token[None])[0]))
    rule = Adaptive(K=K)
    assert rule.choose(x).tolist() == expected
    assert rule.after(x).guard == level
    # Reading in two pieces is reading at once.
    cut = n // 2
    pieces = [*rule.choose(x[:cut]), *rule.after(x[:cut]).choose(x[cut:])]
    assert pieces == expected


@given(st.integers(0, 10**6))
def test_safe_in_admissible_worlds_and_closer_than_the_search(seed: int) -> None:
    paths = independent_worlds(np.random.default_rng(seed), 400)
    guard = running_guard(paths.x)
    assert (guard <= 1 + 1e-9).all()
    rule = Adaptive(K=paths.K)
    chosen = rule.choose(paths.x)
    search = Search(paths.K).choose(paths.x)
    assert (paths.excess(chosen) <= paths.excess(search) + 1e-9).all()
    known = guard > 1e-6
    overshot = (paths.turning - chosen)[known]
    # Observed entropies round; a guard may lie above 1 by that.
    assert (overshot < overshoot_with_guard(1.0, np.minimum(guard[known], 1.0)) + 1e-9).all()


def test_a_larger_guard_is_not_safe() -> None:
    """The negative control: 1.2 times the guard loses more than the search somewhere."""
    from stopping.theory.guarded import guarded_search

    paths = independent_worlds(np.random.default_rng(0), 20_000)
    guarded = guarded_search(paths.x, 1.2 * running_guard(paths.x))
    search = Search(paths.K).choose(paths.x)
    assert (paths.excess(guarded) > paths.excess(search) + 1e-6).any()


def test_each_stream_begins_anew() -> None:
    rng = np.random.default_rng(2)
    x, stream = rng.exponential(1.0, (60, 5)), rng.integers(0, 3, 60)
    rule = Adaptive(K=4)
    found = choose_streams(rule, x, stream)
    for one in range(3):
        assert found[stream == one].tolist() == rule.choose(x[stream == one]).tolist()
    assert found.tolist() != rule.choose(x).tolist()
    forgetful = Search(4)
    assert choose_streams(forgetful, x, stream).tolist() == forgetful.choose(x).tolist()
    assert forgetful.after(x) is forgetful


def test_text_projections_and_errors() -> None:
    rule = Adaptive(0.25, 4)
    assert parse_rule(rule.spec()) == rule
    assert parse_rule("adaptive", 6) == Adaptive(K=6)
    assert rule.projections(np.zeros((2, 9))).tolist() == [4, 4]
    assert rule.choose(np.zeros((2, 1))).tolist() == [0, 0]
    assert rule.after(np.zeros((2, 1))) == rule
    assert Adaptive().name != rule.name
    with pytest.raises(UserError, match="guard must be"):
        Adaptive(np.inf)
    with pytest.raises(UserError, match="seen"):
        running_guard([[1.0, 2.0]], -1.0)
    with pytest.raises(UserError, match="0 < guard <= eps_max"):
        overshoot_with_guard(0.1, 0.2)
    with pytest.raises(UserError, match="one for each"):
        choose_streams(rule, np.zeros((2, 3)), [0])
