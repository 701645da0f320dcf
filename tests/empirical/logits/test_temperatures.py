"""Temperatures between the five that are kept are as good as kept."""

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


@pytest.mark.parametrize("inverse", GRID[::9])
def test_interpolation_is_exact_to_a_thousandth(inverse: float) -> None:
    error = np.abs(KEPT @ weights(inverse) - log_prob(inverse))
    assert error.max() < 2e-3
    assert abs((KEPT @ weights(inverse) - log_prob(inverse)).mean()) < 1e-4


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
