"""The drifts that cost the search most on average, over so many layers below `V*` (T13).

They are found by local optimisation from several starts over the exact distribution (T12): the
`C_J` reported is attained by its drifts to the quadrature's error, a lower bound of the supremum
that `stopping.theory.averages` asks for.

One step alone with uniform noise costs `gamma (2 eps_max - gamma)^2 / (8 eps_max^2)`, which is
largest at `gamma = 2/3 eps_max`: `C_1 = 4/27 eps_max` exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize

from stopping.errors import UserError
from stopping.model.densities import Density, standard_deviation
from stopping.theory.exact import scan_masses, stopping_distribution
from stopping.types import FloatArray

ONE_STEP_UNIFORM = 4.0 / 27.0
"""`C_1 / eps_max` for uniform noise."""
STATIONARY = 1e-6
"""Gradient (value per unit of fall) below which a maximiser counts as found."""


@dataclass(frozen=True)
class WorstDrifts:
    """The worst falls over `J` layers below `V*`.

    Attributes
    ----------
    layers_below : int
        `J`.
    constant : float
        `C_J` in the law's unit.
    drifts : tuple of float
        The falls, in the law's unit, the step from `V*` first. Those far below `V*` hardly move
        the value (the scan gets there with probability `1/(j+1)!` at most) and are loose.
    error : float
        Estimated error of the quadrature in `constant`.
    gradient : float
        Largest component of the gradient at the drifts: moving the falls by `d` in all
        can gain about `gradient d` at most.
    converged : bool
        Whether the gradient is below `STATIONARY` and the quadrature converged.
    starts, agreeing : int
        Number of starts, and of those that ended within 1e-8 of the best.
    message : str
        What the optimiser said of the best one.
    """

    layers_below: int
    constant: float
    drifts: tuple[float, ...]
    error: float
    gradient: float
    converged: bool
    starts: int
    agreeing: int
    message: str


def drift_excess(drifts: FloatArray, density: Density) -> float:
    """`E[excess(V^)]` for `V* = L` and the falls `drifts` below it, the step from `L` first."""
    centre = _centre(drifts)
    _, reached, _ = scan_masses(centre, (density,) * len(centre))
    return float(reached[-2::-1] @ drifts)


def worst_drifts(
    density: Density,
    layers_below: int,
    rng: np.random.Generator,
    starts: int = 3,
    warm: Sequence[float] = (),
) -> WorstDrifts:
    """`C_J`: maximise the expected excess over `layers_below` falls `>= 0`.

    Parameters
    ----------
    density : Density
        Law of the i.i.d. noise.
    layers_below : int
        `J >= 1`.
    rng : numpy.random.Generator
        Draws the starts.
    starts : int
        Number of random starts.
    warm : sequence of float
        Known good falls over fewer layers, one more start.
    """
    if layers_below < 1 or starts < 1 or len(warm) > layers_below:
        raise UserError(
            f"need at least one layer below V*, one start and no more warm falls than layers; got "
            f"{layers_below}, {starts}, {len(warm)}"
        )
    span = density.edges[-1] - density.edges[0]
    deviation = standard_deviation(density)
    # Deep layers are rarely reached, so falls of all sizes have to be tried there.
    first = [
        deviation * rng.uniform(0.3, 2.0) * rng.uniform(0.5, 1.0) ** np.arange(layers_below)
        for _ in range(starts)
    ]
    if warm:
        last = 0.5 * warm[-1]
        first.append(np.append(warm, last * 0.5 ** np.arange(layers_below - len(warm))))

    def loss(drifts: FloatArray) -> float:
        return -drift_excess(drifts, density)

    box = Bounds(np.zeros(layers_below), np.full(layers_below, span))
    found = [
        minimize(
            loss,
            start,
            method="L-BFGS-B",
            bounds=box,
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 500},
        )
        for start in first
    ]
    best = min(found, key=lambda result: float(result.fun))
    drifts = np.asarray(best.x, dtype=np.float64)
    # The maximum lies inside the box (the window of truth), so its gradient must vanish.
    gradient = float(np.abs(best.jac).max())
    law = stopping_distribution(_centre(drifts), (density,) * (layers_below + 1), layers_below)
    return WorstDrifts(
        layers_below=layers_below,
        constant=law.expected_excess(layers_below),
        drifts=tuple(float(fall) for fall in drifts),
        error=law.error * float(drifts.sum()),
        gradient=gradient,
        converged=law.converged and gradient <= STATIONARY,
        starts=len(first),
        agreeing=sum(float(result.fun) <= float(best.fun) + 1e-8 for result in found),
        message=str(best.message),
    )


def _centre(drifts: FloatArray) -> FloatArray:
    """`G` of the layers `L-J .. L`, zero at `L`."""
    return np.append(np.cumsum(drifts)[::-1], 0.0)
