"""Temperatures between the five that are kept are found from them."""

import numpy as np
import pytest

from empirical.logits.temperatures import (
    GRID,
    INVERSE_TEMPERATURES,
    best_inverse_temperature,
    weights,
)

Z = np.random.default_rng(0).gumbel(size=(400, 50)) * 3
TOKEN = np.random.default_rng(1).integers(0, 50, 400)


def log_prob(inverse: float) -> np.ndarray:
    z = inverse * Z
    return z[np.arange(400), TOKEN] - np.log(np.exp(z).sum(1))


KEPT = np.stack([log_prob(inverse) for inverse in INVERSE_TEMPERATURES], axis=1)


def errors(inverse: float, nodes: slice = slice(None)) -> np.ndarray:
    """Interpolated minus exact log-probabilities; `nodes` are those that are used."""
    if nodes == slice(None):
        return KEPT @ weights(inverse) - log_prob(inverse)
    linear = [np.interp(inverse, INVERSE_TEMPERATURES[nodes], row[nodes]) for row in KEPT]
    return np.array(linear) - log_prob(inverse)


@pytest.mark.parametrize("inverse", GRID[::9])
def test_interpolation_errs_by_two_thousandths_at_most_in_the_mean(inverse: float) -> None:
    """On tokens that the layer does not expect, where its curves bend most."""
    assert np.abs(errors(inverse)).max() < 5e-3
    assert abs(errors(inverse).mean()) < 2e-3


def test_control_a_straight_line_between_two_is_not() -> None:
    assert abs(errors(0.9, slice(1, 3)).mean()) > 2e-3


def test_the_best_temperature_is_that_of_the_exact_curve() -> None:
    # Tokens are drawn from the distribution at inverse temperature 0.8.
    rng = np.random.default_rng(2)
    p = np.exp(0.8 * Z)
    drawn = (rng.random((400, 1)) < np.cumsum(p / p.sum(1, keepdims=True), axis=1)).argmax(1)

    def mean(inverse: float) -> float:
        z = inverse * Z
        return float((z[np.arange(400), drawn] - np.log(np.exp(z).sum(1))).mean())

    kept = np.array([mean(inverse) for inverse in INVERSE_TEMPERATURES])
    best = GRID[int(np.argmax([mean(inverse) for inverse in GRID]))]
    assert best_inverse_temperature(kept) == pytest.approx(best, abs=0.011)
    assert 0.7 < best < 0.95
