"""The randomised rules: they draw from the weights that the theory solves for."""

import numpy as np
import pytest

from stopping.errors import UserError
from stopping.rules import Hedged, HedgedMinimax, Minimax, parse_rule
from stopping.theory.certificates import hedged_weights
from stopping.theory.guarded import hedged_search

EPS_MAX = 0.5
TOKENS = {
    "hedged": np.array([2.0, 1.0, 1.4]),
    "certain": np.array([2.0, 1.0, 3.5]),
    "falling": np.array([3.0, 2.0, 1.0]),
    "unexplained": np.array([1.0, 3.0, 2.5]),
}
N = 20_000


@pytest.mark.parametrize("token", TOKENS)
def test_frequencies_are_the_weights(token: str) -> None:
    x = np.tile(TOKENS[token], (N, 1))
    for rule, weights in (
        (Hedged(EPS_MAX), hedged_search(x[:1], EPS_MAX)[0]),
        (HedgedMinimax(EPS_MAX), hedged_weights(x[:1], EPS_MAX).weights[0]),
    ):
        chosen = rule.choose(x, np.random.default_rng(3))
        found = np.bincount(chosen, minlength=3) / N
        # five standard errors: a false alarm once in a million
        assert (np.abs(found - weights) <= 5 * np.sqrt(weights * (1 - weights) / N)).all()


def test_an_unexplained_token_stays_at_the_final_layer() -> None:
    x = TOKENS["unexplained"][None]
    assert HedgedMinimax(EPS_MAX).choose(x, np.random.default_rng(0)).tolist() == [2]
    assert Minimax(EPS_MAX).choose(x).tolist() == [2]


def test_text_form_projections_and_errors() -> None:
    rule = HedgedMinimax(0.25, 4)
    assert parse_rule(rule.spec()) == rule
    assert rule.projections(np.zeros((2, 9))).tolist() == [4, 4]
    assert rule.choose(np.zeros((2, 1))).tolist() == [0, 0]
    with pytest.raises(UserError, match="rng"):
        rule.choose(np.zeros((1, 3)))
    with pytest.raises(UserError, match="eps_max must be"):
        HedgedMinimax(-1.0)
