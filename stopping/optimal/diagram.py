"""The price of conservatism: the paper's search against the optimum as the world varies.

The paper's rule knows nothing of the world and stops at the first layer that does not fall. A point
of the phase diagram is a world, and what is measured there is what that ignorance costs in it:

- `eps_max`: how noisy the lens is, in units of the mean rise, so that A3 asks for less than 1/2.
  The noise is Gaussian with the variance of uniform noise on `[-eps_max, eps_max]`, since the Bayes
  rule is in closed form for Gaussian noise.
- `perturbed`: the share of tokens with `V* < L`.
- `cost` of a projection, in units of the mean rise.

Everything else is that of one component, `reference()` by default: falls of 0.3 and rises of 1,
with little spread, so that A1 and A3 hold on nearly every token when the noise is small. The
optimum is with recall. At no cost it is the Bayes rule (exact but for the sample), else that of
least-squares Monte Carlo, hence an upper bound of the value: the ratios are lower bounds, and the
paper's rule may be a little further from the optimum than they say.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from stopping.changepoint import ChangePointModel, Component
from stopping.errors import UserError
from stopping.optimal.bases import Polynomial
from stopping.optimal.filtering import ScanFilter
from stopping.optimal.layers import LayerProblem
from stopping.optimal.regression import fit_policy
from stopping.optimal.rules import Bayes, Snell
from stopping.rules import AbstractRule, Final, Search
from stopping.simulation.grid import measure, product
from stopping.simulation.montecarlo import stream
from stopping.support.documents import plain
from stopping.support.parallel import Workers
from stopping.support.store import Journal
from stopping.types import FloatArray

Grid: TypeAlias = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
EPS_MAX = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
PERTURBED = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
COSTS = (0.0, 0.02, 0.1)
NEAR = 0.05
"""The paper's rule is near the optimum if its loss is at most this share above it."""


@dataclass(frozen=True)
class Point:
    """A world of the diagram; see the module."""

    eps_max: float
    perturbed: float
    cost: float

    def __str__(self) -> str:
        return f"eps_max={self.eps_max!r}, perturbed={self.perturbed!r}, cost={self.cost!r}"


@dataclass(frozen=True)
class Optimality(Point):
    """What the rules lose in one world.

    Attributes
    ----------
    optimum, search, final : float
        Mean loss of the optimal rule, the paper's search and the final layer.
    gap, gap_stderr : float
        Of the search, paired.
    near, near_stderr : float
        `gap - NEAR |optimum|` and its standard error, paired: the search is within 5 % of optimal
        if this is not positive.
    projections_optimum, projections_search : float
    paths : int
    """

    optimum: float
    search: float
    final: float
    gap: float
    gap_stderr: float
    near: float
    near_stderr: float
    projections_optimum: float
    projections_search: float
    paths: int

    @property
    def won(self) -> float:
        """Share of what the optimum wins over the final layer that the search wins; NaN if none."""
        winnable = self.final - self.optimum
        return (self.final - self.search) / winnable if winnable > 0 else math.nan


def is_near(cell: Optimality, worlds: int) -> bool | None:
    """Whether the search is within `NEAR` of the optimum; None where the tokens leave it open.

    Wrong anywhere in `worlds` cells with probability 5 % at most (Bonferroni, normal limit).
    """
    reach = NormalDist().inv_cdf(1.0 - 0.025 / worlds) * cell.near_stderr
    if cell.near + reach <= 0:
        return True
    return False if cell.near - reach > 0 else None


def reference(K: int = 6) -> Component:
    """The component that the diagrams vary: a window of `K` steps, unit rises."""
    return Component(
        start_mean=3.0,
        start_sd=1.0,
        drift_mean=np.full(K, 0.3),
        drift_sd=np.full(K, 0.05),
        rise_mean=np.full(K, 1.0),
        rise_sd=np.full(K, 0.2),
        noise_sd=np.full(K + 1, 0.1),
        turning=np.append(np.full(K, 0.5 / K), 0.5),
    )


def world(component: Component, eps_max: float, perturbed: float) -> ChangePointModel:
    """`component` with this noise, in units of its mean rise, and share of perturbed tokens.

    Raises
    ------
    UserError
        If `eps_max` is negative, `perturbed` no probability, or there is nothing to vary.
    """
    if not (eps_max >= 0 and 0 <= perturbed <= 1):
        raise UserError(f"world: need eps_max >= 0 and a share, got {eps_max}, {perturbed}")
    law = component.turning[:-1]
    if law.sum() <= 0:
        raise UserError("world: the component perturbs no token, so its onsets have no law")
    noise = eps_max * float(component.rise_mean.mean()) / math.sqrt(3.0)
    turning = np.append(law / law.sum() * perturbed, 1 - perturbed)
    varied = replace(component, noise_sd=np.full(component.w, noise), turning=turning)
    return ChangePointModel((varied,), np.ones(1))


def compute(at: Point, component: Component, seed: int, paths: int) -> Optimality:
    """Solve one world and measure the search in it."""
    model = world(component, at.eps_max, at.perturbed)
    paid = at.cost * float(component.rise_mean.mean())
    name = f"{at.eps_max:g} {at.perturbed:g} {at.cost:g}"
    best: AbstractRule = Bayes(model)
    if paid > 0:
        problem = LayerProblem(model, paid)
        best = Snell(fit_policy(problem, Polynomial(2), stream(seed, f"fit {name}", 0), paths))
    x = model.sample(stream(seed, f"cell {name}", 0), paths).x
    excess = ScanFilter(model).known(x[:, ::-1]).excess
    rows = np.arange(paths)
    losses, projections = [], []
    for rule in (best, Search(model.K), Final()):
        # At no cost it does not matter how many projections the Bayes rule makes.
        projections.append(rule.projections(x).astype(np.float64))
        losses.append(excess[rows, rule.choose(x)] + paid * projections[-1])
    optimum, search, final = losses
    gap, gap_stderr = _mean(search - optimum)
    allowed = NEAR * np.sign(optimum.mean()) * optimum
    near, near_stderr = _mean(search - optimum - allowed)
    return Optimality(
        at.eps_max,
        at.perturbed,
        at.cost,
        _mean(optimum)[0],
        _mean(search)[0],
        _mean(final)[0],
        gap,
        gap_stderr,
        near,
        near_stderr,
        _mean(projections[0])[0],
        _mean(projections[1])[0],
        paths,
    )


def _mean(values: FloatArray) -> tuple[float, float]:
    """Mean and standard error, to six digits: more would be noise in a file of results."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(f"{values.mean():.6g}"), float(f"{error:.6g}")


def diagram(
    component: Component,
    seed: int = 0,
    paths: int = 10_000,
    *,
    grid: Grid = (EPS_MAX, PERTURBED, COSTS),
    workers: Workers | None = None,
    journal: Journal | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Optimality, ...]:
    """Measure every point of the grid (`eps_max`, `perturbed`, `cost`).

    `workers`, `journal` and `advance` are those of `stopping.simulation.grid.measure`; `settings`
    says what a journal of such points depends on.
    """
    job = partial(compute, component=component, seed=seed, paths=paths)
    points = product(Point, *grid)
    return measure(points, job, Optimality, workers=workers, journal=journal, advance=advance)


def settings(component: Component, seed: int, paths: int) -> dict[str, object]:
    """What all points of a diagram have in common, for `Journal.open`."""
    return {"component": plain(component), "seed": seed, "paths": paths}
