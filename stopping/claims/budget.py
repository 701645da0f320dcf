"""Claims C1-C4: what calibration a rule needs for a lower entropy to be a lower log-loss."""

from dataclasses import dataclass

import numpy as np

from stopping.claims.claim import Claim, Control
from stopping.claims.deterministic import ROUNDING
from stopping.claims.worlds import LAYERS, adversarial_worlds
from stopping.rules import Search
from stopping.simulation.montecarlo import Relation
from stopping.theory.calibration_budget import (
    curse_bound,
    curse_world,
    final_layer_budget,
    log_loss_change,
    net_budget,
    turning_point_budget,
)
from stopping.types import FloatArray

KAPPA = 0.1
WORLD = curse_world()
KINDS = 6
"""Kinds of token in the random finite worlds of C1 and C4, equally likely."""


def _finite_worlds(
    rng: np.random.Generator, n: int, layers: int = 3
) -> tuple[FloatArray, FloatArray]:
    """Readings and mean losses given them, `(n, kinds, layers)`; each layer's mean gap is zero."""
    x = rng.exponential(1.0, (n, KINDS, layers))
    gap = rng.standard_normal((n, KINDS, layers)) * 10.0 ** rng.uniform(-1, 1, (n, 1, layers))
    gap -= gap.mean(axis=1, keepdims=True)
    return x, x + gap


def _taken(values: FloatArray, layer: FloatArray) -> FloatArray:
    """Values at the chosen layer, `(n, kinds)`."""
    return np.take_along_axis(values, layer[..., None].astype(np.intp), axis=-1)[..., 0]


def _search(x: FloatArray) -> FloatArray:
    """Layer of the search for each kind of token, `(n, kinds)`."""
    n, kinds, layers = x.shape
    chosen = Search(layers - 1).choose(x.reshape(-1, layers)).reshape(n, kinds)
    return chosen.astype(np.float64)


@dataclass(frozen=True)
class IdentityGap:
    """`|E[loss_V - loss_L]|` less what C1 makes of drop and gaps, exact in random finite worlds.

    `averaged` replaces the gap where the rule stops by the mean gap of the layers it chooses.
    """

    averaged: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        x, loss = _finite_worlds(rng, n)
        layer, gap = _search(x), loss - x
        own = _taken(gap, layer)
        if self.averaged:
            own = _taken(np.broadcast_to(gap.mean(axis=1, keepdims=True), gap.shape), layer)
        drop = (x[..., -1] - _taken(x, layer)).mean(axis=1)
        found = (_taken(loss, layer) - loss[..., -1]).mean(axis=1)
        said = log_loss_change(drop, own.mean(axis=1), gap[..., -1].mean(axis=1))
        return np.asarray(np.abs(found - said))


@dataclass(frozen=True)
class BudgetedLoss:
    """`loss_V - loss_L + x_L - x_V` of the search where losses are as bad as `kappa` allows.

    Given the entropies the chosen layer pays `kappa` too much and the final one `kappa` too little.
    `net` lets all be off by 3 nats alike, and layers that are not chosen by anything.
    `on_average` keeps A0 alone: the world of the winner's curse.
    """

    on_average: bool = False
    net: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        if self.on_average:
            kind = rng.integers(0, 2, n)
            x, loss = WORLD.x[kind], WORLD.loss[kind]
        else:
            x = rng.exponential(1.0, (n, 4))
            loss = x + KAPPA * np.array([1.0, 1.0, 1.0, -1.0])
            if self.net:
                lower = x[:, :-1] < x[:, -1:]
                loss = x + 3.0
                loss[:, :-1] += np.where(lower, KAPPA, rng.normal(0.0, 5.0, lower.shape))
        rows, layer = np.arange(n), Search(x.shape[1] - 1).choose(x)
        paid = loss[rows, layer] - loss[:, -1] + x[:, -1] - x[rows, layer]
        return np.where(layer < x.shape[1] - 1, paid, 0.0)


@dataclass(frozen=True)
class LatentBudget:
    """`E[loss_V - loss_{V*} | G, eps]` of the search, losses off `G` by `factor` times `kappa`."""

    factor: float = 1.0

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        paths = adversarial_worlds(rng, n)
        layer = Search(LAYERS - 1).choose(paths.x)
        return paths.excess(layer) + np.where(
            layer != paths.turning, 2.0 * self.factor * KAPPA, 0.0
        )


@dataclass(frozen=True)
class Curse:
    """`E gap_V` beyond C4's bound, exact in random finite worlds, the rule as bad as it can be.

    It takes the layer of the largest gap given the entropies, or one at random. `variance` takes
    `p (1 - p)` for its root.
    """

    variance: bool = False

    def __call__(self, rng: np.random.Generator, n: int) -> FloatArray:
        x, loss = _finite_worlds(rng, n)
        gap = loss - x
        # Half of the worlds have one gap and its negative: there the bound is attained.
        half = n // 2
        sign = np.where(np.arange(KINDS) % 2, 1.0, -1.0)
        gap[:half] = 0.0
        gap[:half, :, 0] = sign * rng.uniform(0.1, 2.0, (half, 1))
        layer = gap.argmax(axis=-1)
        layer[:half] = np.where(sign > 0, 0, 2)
        share = np.stack([(layer == number).mean(axis=1) for number in range(3)], axis=1)
        spread = gap.std(axis=1)
        if self.variance:
            bound = (spread * share * (1.0 - share)).sum(axis=1)
        else:
            bound = curse_bound(share, spread)
        beyond: FloatArray = _taken(gap, layer.astype(np.float64)).mean(axis=1) - bound
        return beyond


def curse_loss(rng: np.random.Generator, n: int) -> FloatArray:
    """`loss_V - loss_L` of the search in the world of the winner's curse."""
    kind = rng.integers(0, 2, n)
    layer = Search(1).choose(WORLD.x[kind])
    paid: FloatArray = WORLD.loss[kind, layer] - WORLD.loss[kind, 1]
    return paid


def calibrated_loss(rng: np.random.Generator, n: int) -> FloatArray:
    """The same entropies, each layer paying what it reads."""
    kind = rng.integers(0, 2, n)
    layer = Search(1).choose(WORLD.x[kind])
    paid: FloatArray = WORLD.x[kind, layer] - WORLD.x[kind, 1]
    return paid


CLAIMS = (
    Claim(
        "C1.identity",
        "change of log-loss = -fall of entropy + gap where the rule stops - gap of the final layer",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        IdentityGap(),
        Control("mean gaps of the layers, not of the choices", IdentityGap(averaged=True)),
        draws=1 << 14,
    ),
    Claim(
        "C2.final",
        "calibrated given x to kappa: at most 2 kappa minus the fall of entropy is lost",
        Relation.ALWAYS_AT_MOST,
        float(final_layer_budget(KAPPA)) + ROUNDING,
        BudgetedLoss(),
        Control("calibrated on average only", BudgetedLoss(on_average=True)),
        attained=0.99 * float(final_layer_budget(KAPPA)),
        tex=(
            r"calibrated given $x$ to $\kappa$: at most $2\kappa$ minus the fall of "
            r"entropy is lost"
        ),
    ),
    Claim(
        "C2.net",
        "net of the final layer's gap, where a layer reads less: at most kappa is lost",
        Relation.ALWAYS_AT_MOST,
        float(net_budget(KAPPA)) + ROUNDING,
        BudgetedLoss(net=True),
        Control("calibrated on average only", BudgetedLoss(on_average=True)),
        attained=0.99 * float(net_budget(KAPPA)),
        tex=(
            r"net of the final layer's gap, where a layer reads less: at most " r"$\kappa$ is lost"
        ),
    ),
    Claim(
        "C3.turning",
        "losses within kappa of G: the search pays at most 2 eps_max + 2 kappa above V*",
        Relation.ALWAYS_AT_MOST,
        float(turning_point_budget(1.0, KAPPA)) + ROUNDING,
        LatentBudget(),
        Control("losses within 2 kappa", LatentBudget(2.0)),
        attained=0.99 * float(turning_point_budget(1.0, KAPPA)),
        tex=(
            r"losses within $\kappa$ of $G$: the search pays at most "
            r"$2\varepsilon_{\max} + 2\kappa$ above $V^*$"
        ),
    ),
    Claim(
        "C4.curse",
        "calibrated on average: the gap where a rule stops is at most sum s sqrt(p (1 - p))",
        Relation.ALWAYS_AT_MOST,
        ROUNDING,
        Curse(),
        Control("p (1 - p) for its root", Curse(variance=True)),
        attained=-ROUNDING,
        draws=1 << 14,
        tex=(
            r"calibrated on average: the gap where a rule stops is at most $\sum "
            r"s\sqrt{p(1 - p)}$"
        ),
    ),
    Claim(
        "C4.search",
        "a world with A0-A4 in which the search loses 0.4 nats of log-loss",
        Relation.MEAN_EQUALS,
        0.4,
        curse_loss,
        Control("layers that pay what they read", calibrated_loss),
        tolerance=0.02,
    ),
)
