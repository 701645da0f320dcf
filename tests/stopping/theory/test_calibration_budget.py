"""C1-C4 in exact finite worlds; the world in which A0 to A4 hold and the search loses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stopping.errors import UserError
from stopping.model import assumptions
from stopping.model.paths import Paths
from stopping.rules import Search, Tolerance
from stopping.theory.calibration_budget import (
    curse_bound,
    curse_world,
    final_layer_budget,
    log_loss_change,
    net_budget,
    turning_point_budget,
)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_C1_C2_for_rules_that_step_to_lower_entropies(seed: int, kappa: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.exponential(1.0, (40, 5))
    gap = kappa * rng.uniform(-1, 1, x.shape)
    loss, rows = x + gap, np.arange(len(x))
    for rule in (Search(4), Tolerance(0.3, 4)):
        layer = rule.choose(x)
        drop = (x[:, -1] - x[rows, layer]).mean()
        change = (loss[rows, layer] - loss[:, -1]).mean()
        exact = log_loss_change(drop, gap[rows, layer].mean(), gap[:, -1].mean())
        assert change == pytest.approx(float(exact), abs=1e-12)
        assert change <= final_layer_budget(kappa, drop) + 1e-12
        assert change <= final_layer_budget(kappa) + 1e-12
        net = np.where(x < x[:, -1:], gap - gap[:, -1:], 0.0)
        assert change <= net_budget(max(net.max(), 0.0), drop) + 1e-12


@given(st.integers(0, 10**6), st.floats(0.01, 2), st.floats(0, 1))
def test_C3_under_A2_alone(seed: int, eps_max: float, kappa: float) -> None:
    rng = np.random.default_rng(seed)
    G = rng.normal(0, 1, (40, 5))
    x = G + eps_max * rng.uniform(-1, 1, G.shape)
    loss, rows = G + kappa * rng.uniform(-1, 1, G.shape), np.arange(len(G))
    change = loss[rows, Search(4).choose(x)] - loss[:, -1]
    assert change.max() <= turning_point_budget(eps_max, kappa) + 1e-12


@given(st.integers(0, 10**6), st.integers(2, 5))
def test_C4_bounds_every_rule_under_A0(seed: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    gap = rng.standard_normal((12, layers)) * rng.uniform(0, 2, layers)
    gap -= gap.mean(axis=0)  # A0
    for layer in (gap.argmax(axis=1), rng.integers(0, layers, 12)):
        share = np.bincount(layer, minlength=layers) / 12
        own = gap[np.arange(12), layer].mean()
        assert own <= curse_bound(share, gap.std(axis=0)) + 1e-12


def test_A0_to_A4_hold_and_the_search_loses() -> None:
    """What "under A0 an excess of entropy is an excess of log-loss" would forbid."""
    world = curse_world()
    assert assumptions.calibrated(world.x, world.loss, 1e-12).all()
    # Without noise x is G: each kind falls or rises as it is read.
    turning = world.x.argmin(axis=1)
    paths = Paths.from_latent(world.x, np.zeros_like(world.x), turning)
    for predicate in (assumptions.refinement, assumptions.window):
        assert predicate(paths).all()
    for predicate in (assumptions.bounded_noise, assumptions.dominance):
        assert predicate(paths, 1e-3).all()
    layer = Search(1).choose(world.x)
    assert paths.excess(layer).max() == 0.0
    loss = (world.loss[[0, 1], layer] - world.loss[:, 1]).mean()
    assert loss == pytest.approx(0.4)
    gap = world.loss - world.x
    share = np.bincount(layer, minlength=2) / 2
    # C4 with equality, and its negative control: 10 % less is exceeded.
    bound = curse_bound(share, gap.std(axis=0))
    own = gap[[0, 1], layer].mean()
    assert own == pytest.approx(float(bound))
    assert own > 0.9 * bound
    # Given x the layer is off by 1.6 nats: C2 allows what is lost.
    assert loss <= final_layer_budget(1.6)


def test_bad_input() -> None:
    for call, what in (
        (lambda: final_layer_budget(-1.0), "kappa"),
        (lambda: final_layer_budget(1.0, -0.1), "drop"),
        (lambda: turning_point_budget(np.nan, 0.1), "eps_max"),
        (lambda: curse_bound([0.5, 0.4], [1.0, 1.0]), "sum to 1"),
        (lambda: curse_bound([0.5, 0.5], [-1.0, 1.0]), "spread"),
        (lambda: curse_world(1.0, 1.5), "spread"),
    ):
        with pytest.raises(UserError, match=what):
            call()
