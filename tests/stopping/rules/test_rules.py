"""Rules against loops written from their definitions, and their interface's promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.rules import (
    AbstractRule,
    Final,
    FixedOffset,
    ForwardExit,
    Guarded,
    Hedged,
    Minimax,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
    parse_rule,
    printed_formula,
    zoo,
)
from stopping.testing import entropies


def algorithm_1(x: np.ndarray, K: int, tau: float = 0.0) -> tuple[int, int]:
    """The paper's loop for one token: chosen layer and projections beyond the final layer's."""
    last = len(x) - 1
    l_min = max(0, last - K)
    layer, projections = last, 0
    while layer > l_min:
        projections += 1
        if not x[layer - 1] < x[layer] - tau:
            break
        layer -= 1
    return layer, projections


def patient_loop(x: np.ndarray, K: int, m: int) -> tuple[int, int]:
    last = len(x) - 1
    best, failures, projections = last, 0, 0
    for layer in range(last - 1, max(0, last - K) - 1, -1):
        projections += 1
        if x[layer] < x[best]:
            best, failures = layer, 0
        else:
            failures += 1
            if failures > m:
                break
    return best, projections


@given(entropies(), st.integers(0, 13), st.sampled_from((0.0, 0.25, 1.0)))
def test_search_and_tolerance_are_algorithm_1(x: np.ndarray, K: int, tau: float) -> None:
    rule = Tolerance(tau, K) if tau else Search(K)
    expected = [algorithm_1(row, K, tau) for row in x]
    assert rule.choose(x).tolist() == [layer for layer, _ in expected]
    assert rule.projections(x).tolist() == [projections for _, projections in expected]


@given(entropies(), st.integers(0, 13), st.integers(0, 3))
def test_patience_is_its_loop(x: np.ndarray, K: int, m: int) -> None:
    expected = [patient_loop(row, K, m) for row in x]
    rule = Patience(m, K)
    assert rule.choose(x).tolist() == [layer for layer, _ in expected]
    assert rule.projections(x).tolist() == [projections for _, projections in expected]


@given(entropies(), st.integers(0, 13))
def test_without_patience_or_tolerance_or_shift_it_is_the_search(x: np.ndarray, K: int) -> None:
    search = Search(K)
    for same in (Patience(0, K), Tolerance(0.0, K), Shifted(0, K)):
        assert np.array_equal(same.choose(x), search.choose(x))
        assert np.array_equal(same.projections(x), search.projections(x))


@given(entropies(), st.integers(0, 13), st.sampled_from((-2, -1, 1, 2)))
def test_shift_moves_the_search_within_the_window(x: np.ndarray, K: int, shift: int) -> None:
    last = x.shape[1] - 1
    for row, layer in zip(x, Shifted(shift, K).choose(x), strict=True):
        moved = algorithm_1(row, K)[0] + shift
        assert layer == min(max(moved, max(0, last - K)), last)


@given(entropies(), st.integers(0, 13))
def test_window_minimum_takes_the_deepest_of_the_least(x: np.ndarray, K: int) -> None:
    l_min = max(0, x.shape[1] - 1 - K)
    for row, layer in zip(x, WindowMinimum(K).choose(x), strict=True):
        window = row[l_min:]
        assert layer == l_min + np.flatnonzero(window == window.min())[-1]


@given(entropies(), st.integers(0, 13), st.floats(0, 3))
def test_forward_exit_takes_the_first_confident_layer(
    x: np.ndarray, K: int, threshold: float
) -> None:
    last = x.shape[1] - 1
    l_min = max(0, last - K)
    rule = ForwardExit(threshold, K)
    for row, layer, projections in zip(x, rule.choose(x), rule.projections(x), strict=True):
        confident = [i for i in range(l_min, last) if row[i] <= threshold]
        assert layer == (confident[0] if confident else last)
        # projections made: l_min .. layer; ordinary decoding makes one
        assert projections == (layer - l_min + 1) - 1


@given(entropies())
def test_fixed_layers(x: np.ndarray) -> None:
    last = x.shape[1] - 1
    assert (Final().choose(x) == last).all()
    assert (FixedOffset(2).choose(x) == max(0, last - 2)).all()
    assert (Final().projections(x) == 0).all()


@given(entropies(min_layers=2), st.randoms(use_true_random=False))
def test_a_row_never_depends_on_the_others(x: np.ndarray, random: object) -> None:
    for rule in zoo(5):
        together = rule.choose(x)
        assert together.dtype == np.intp
        alone = [rule.choose(row[None])[0] for row in x]
        assert together.tolist() == alone


@given(entropies())
def test_rules_leave_their_input_alone(x: np.ndarray) -> None:
    before = x.copy()
    x.setflags(write=False)
    for rule in zoo(5):
        rule.choose(x)
        rule.projections(x)
    assert np.array_equal(x, before)


def test_the_printed_formula_contradicts_the_algorithm_only_at_the_final_layer() -> None:
    falling = np.array([[3.0, 2.0, 1.0]])
    assert Search().choose(falling).tolist() == [2]
    assert printed_formula(falling).tolist() == [1]
    rising_end = np.array([[3.0, 1.0, 2.0]])
    assert Search().choose(rising_end).tolist() == printed_formula(rising_end).tolist() == [1]


@given(entropies(min_layers=2), st.integers(1, 13))
def test_printed_formula_is_its_definition(x: np.ndarray, K: int) -> None:
    last = x.shape[1] - 1
    l_min = max(0, last - K)
    for row, layer in zip(x, printed_formula(x, K), strict=True):
        stops = [i for i in range(l_min, last) if i == l_min or row[i - 1] >= row[i]]
        assert layer == max(stops)


def guarded_loop(x: np.ndarray, K: int, guard: float) -> int:
    last = len(x) - 1
    layer, reference = last, x[last]
    while layer > max(0, last - K) and x[layer - 1] < reference:
        layer -= 1
        reference = min(x[layer], reference - 2 * guard)
    return layer


@given(entropies(), st.integers(0, 13), st.sampled_from((0.0, 0.25, 1.0)))
def test_guarded_search_is_its_loop(x: np.ndarray, K: int, guard: float) -> None:
    expected = [guarded_loop(row, K, guard) for row in x]
    assert Guarded(guard, K).choose(x).tolist() == expected
    assert Guarded(0.0, K).choose(x).tolist() == Search(K).choose(x).tolist()


@given(entropies(min_layers=2), st.integers(1, 13))
def test_minimax_is_guarded_or_final(x: np.ndarray, K: int) -> None:
    chosen, guarded = Minimax(0.4, K).choose(x), Guarded(0.4, K).choose(x)
    assert ((chosen == guarded) | (chosen == x.shape[1] - 1)).all()


def test_the_hedge_mixes_two_neighbours_at_its_probability() -> None:
    eps_max, rise, n = 0.5, 0.4, 20_000
    x = np.tile([2.0, 1.0, 1.0 + rise], (n, 1))
    chosen = Hedged(eps_max).choose(x, np.random.default_rng(2))
    goes_on = 0.5 + rise / (4 * eps_max)
    assert abs((chosen == 1).mean() - goes_on) < 4 * np.sqrt(goes_on * (1 - goes_on) / n)
    assert set(chosen) == {1, 2}
    with pytest.raises(UserError, match="rng"):
        Hedged(eps_max).choose(x)


def test_ties_stop_the_search() -> None:
    assert Search().choose(np.array([[1.0, 1.0, 2.0]])).tolist() == [1]
    assert Search().choose(np.array([[1.0, 1.0]])).tolist() == [1]


def test_p_is_the_probability_of_the_search() -> None:
    x = np.tile([1.0, 2.0], (20_000, 1))
    rng = np.random.default_rng(5)
    moved = (Search(p=0.3).choose(x, rng) == 0).mean()
    assert abs(moved - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(x))
    assert (Search(p=0.0).choose(x) == 1).all()
    assert (Search(p=1.0).choose(x) == 0).all()
    with pytest.raises(UserError, match="rng"):
        Search(p=0.5).choose(x)


def test_every_rule_survives_its_text_form() -> None:
    for rule in (*zoo(7), Hedged(0.25, 3), Minimax(0.5, 4), Search(5, 0.25)):
        assert parse_rule(rule.spec()) == rule
    assert len({rule.name for rule in zoo()}) == len(zoo())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serach", "unknown kind"),
        ("search:Q=3", "cannot read"),
        ("search:K", "cannot read"),
        ("search:K=three", "needs a number"),
        ("search:K=2.5", "needs a number"),
        ("search:K=-1", "K must be >= 0"),
        ("search:p=1.5", r"p must be in \[0, 1\]"),
        ("tolerance", "tau"),
        ("tolerance:tau=-1", "tau must be"),
        ("tolerance:tau=nan", "tau must be"),
        ("forward:threshold=-1", "threshold must be"),
        ("patience:m=-1", "m must be"),
        ("offset:k=-2", "k must be"),
        ("guarded:guard=-1", "guard must be"),
        ("hedged:eps_max=inf", "eps_max must be"),
        ("minimax:eps_max=0.1,K=-1", "minimax: K must be"),
        ("minimum:K=-2", "K must be"),
        ("shifted:K=-2,shift=1", "K must be"),
    ],
)
def test_a_bad_rule_says_why(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_rule(text)


@pytest.mark.parametrize(
    ("entropy", "message"),
    [
        ([[1.0, float("nan")]], "NaN or infinite.*token 0, layer index 1"),
        ([[float("inf"), 1.0]], "NaN or infinite"),
        ([1.0, 2.0], "shape"),
        ([[]], "at least one layer"),
        ([["a", "b"]], "real numbers"),
        ([[1j, 2.0]], "real numbers"),
    ],
)
def test_bad_entropies_say_why(entropy: object, message: str) -> None:
    for rule in (Search(), Final(), WindowMinimum()):
        with pytest.raises(UserError, match=message):
            rule.choose(entropy)  # type: ignore[arg-type]


def test_one_layer_is_always_chosen_and_nothing_is_probed() -> None:
    x = np.array([[0.5], [2.0]])
    for rule in zoo():
        assert rule.choose(x).tolist() == [0, 0]
        assert rule.projections(x).tolist() == [0, 0]


@given(entropies(min_layers=2))
def test_projections_suffice_to_decide(x: np.ndarray) -> None:
    """A backward rule never reads deeper than it says: what lies below cannot change its choice."""
    rules: tuple[AbstractRule, ...] = (
        Search(6),
        Tolerance(0.3, 6),
        Patience(1, 6),
        Guarded(0.2, 6),
    )
    for rule in rules:
        choice, projections = rule.choose(x), rule.projections(x)
        for row in range(len(x)):
            changed = x[row : row + 1].copy()
            changed[:, : x.shape[1] - 1 - projections[row]] = -5.0
            assert rule.choose(changed)[0] == choice[row]
