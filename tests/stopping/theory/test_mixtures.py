"""M1 and M2 on arbitrary distributions of tokens."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.theory.mixtures import pool_bound, pool_loss

LOSSES = st.floats(0, 50)
WEIGHTS = st.floats(1e-3, 1)


@given(LOSSES, LOSSES, WEIGHTS)
def test_m1_both_bounds(final: float, chosen: float, weight: float) -> None:
    pooled = float(pool_loss(final, chosen, weight))
    assert pooled <= final + pool_bound(weight) + 1e-9
    assert pooled <= weight * final + (1 - weight) * chosen + 1e-9
    assert pooled >= min(final, chosen) - 1e-9


@given(WEIGHTS)
def test_m1_is_attained(weight: float) -> None:
    assert float(pool_loss(1.0, math.inf, weight)) == pytest.approx(1.0 + pool_bound(weight))
    assert float(pool_loss(1.0, 1.0, weight)) == pytest.approx(1.0)


def test_m1_is_the_probability_of_the_pool() -> None:
    p = np.array([0.2, 0.7])
    found = pool_loss(-math.log(p[0]), -math.log(p[1]), 0.75)
    assert float(found) == pytest.approx(-math.log(0.75 * p[0] + 0.25 * p[1]))


@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_m2_log_linear_pool(size: int, seed: int, weight: float) -> None:
    rng = np.random.default_rng(seed)
    final, chosen = rng.dirichlet(np.full(size, 0.3), 2) + 1e-12
    raw = final**weight * chosen ** (1 - weight)
    randomised = -weight * np.log(final) - (1 - weight) * np.log(chosen)
    assert (-np.log(raw / raw.sum()) <= randomised + 1e-9).all()


def test_control_m2_has_not_the_first_bound() -> None:
    """A layer that gives the token nothing takes all of it away in a log-linear pool."""
    final, chosen = np.array([0.5, 0.5]), np.array([1e-30, 1.0])
    raw = np.sqrt(final * chosen)
    assert -math.log(raw[0] / raw.sum()) > -math.log(final[0]) + pool_bound(0.5)


def test_plain_decoding_is_plain() -> None:
    assert pool_loss([1.0, 2.0], [math.inf, 0.0], 1.0).tolist() == [1.0, 2.0]
    assert pool_bound(1.0) == 0.0


@pytest.mark.parametrize("weight", [0.0, -0.1, 1.1, math.nan])
def test_no_weight(weight: float) -> None:
    with pytest.raises(UserError, match="weight"):
        pool_loss(1.0, 1.0, weight)
