"""Rules on tensors are those of `stopping.rules`, ties and near ties included."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from empirical.serving.scan import SERVED, draw, steps_back
from stopping.rules import (
    AbstractRule,
    Final,
    Guarded,
    Hedged,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
)
from stopping.testing import entropies

RULES: tuple[AbstractRule, ...] = (
    Final(),
    *(Search(K, p) for K in (0, 1, 3, 50) for p in (0.0, 0.3, 1.0)),
    *(Shifted(shift, K) for shift in (-9, -1, 1, 9) for K in (0, 4, 50)),
    *(Tolerance(tau, K) for tau in (0.0, 0.25, 1.0) for K in (2, 50)),
    *(Patience(m, K) for m in (0, 1, 3) for K in (2, 50)),
    *(Guarded(guard, K) for guard in (0.0, 0.125, 1.0) for K in (2, 50)),
    *(Hedged(eps, K) for eps in (0.0, 0.125, 1.0) for K in (2, 50)),
    *(WindowMinimum(K) for K in (0, 2, 50)),
)


def given_by(rule: AbstractRule, x: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Layers back that the rule itself chooses, row by row with a generator's first number."""

    class Fixed:
        def __init__(self, value: float) -> None:
            self.value = value

        def random(self, n: int) -> np.ndarray:
            return np.full(n, self.value)

    found = [rule.choose(row[None], Fixed(u))[0] for row, u in zip(x, draws, strict=True)]
    return x.shape[1] - 1 - np.array(found)


def backwards(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x[:, ::-1].copy())


def test_every_served_rule_is_tried():
    assert {type(rule) for rule in RULES} == set(SERVED)


@given(x=entropies(), seed=st.integers(0, 99))
def test_it_chooses_as_the_rule_does(x, seed):
    draws = np.random.default_rng(seed).random(len(x))
    for rule in RULES:
        found = steps_back(rule, backwards(x), torch.from_numpy(draws))
        assert (found.numpy() == given_by(rule, x, draws)).all(), rule


def test_a_scan_that_goes_on_at_ties_is_noticed():
    x = np.array([[1.0, 2.0, 2.0]])
    assert given_by(Search(2), x, np.zeros(1)) == steps_back(Search(2), backwards(x)).numpy() == 0
    wrong = (backwards(x)[:, 1:] <= backwards(x)[:, :-1]).long().cumprod(1).sum(1)
    assert wrong.numpy() != given_by(Search(2), x, np.zeros(1))


@given(
    seed=st.integers(0, 2**64 - 1),
    position=st.integers(0, 2**31 - 1),
    token=st.integers(-1, 2**31 - 2),
)
def test_draws_are_those_of_the_decoder(seed, position, token):
    generator = np.random.Generator(
        np.random.Philox(key=seed, counter=[0, position + 1, token + 1, 0])
    )
    assert draw(seed, torch.tensor([position]), torch.tensor([token])).item() == generator.random()


def test_draws_differ_from_place_to_place():
    position, token = torch.arange(1000), torch.zeros(1000, dtype=torch.long)
    draws = draw(0, position, token)
    assert len(draws.unique()) == 1000
    assert abs(draws.mean() - 0.5) < 5 * (1 / 12 / 1000) ** 0.5  # five standard errors
    assert (draw(1, position, token) != draws).all()
