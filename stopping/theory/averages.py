"""T13: the average case. The largest expected excess that any drifts can bring about.

T2 charges the search `2 eps_max` in the worst world and under the worst noise. Here the world is
still the worst but the noise is random, i.i.d. with a known law: with falls
`gamma[j] = G[L-j] - G[L-j+1] >= 0` below the turning point, j = 1..J, what is

    C_J = sup over gamma >= 0 of E[excess(V^); V^ <= V*]?

**It is enough to take V* = L.** The excess of a token that stops below `V*` is the sum of the falls
it has passed, so `E[excess; V^ <= V*] = sum_j gamma[j] P(the scan reaches V* - j)`. Layers above
`V*` only keep some tokens from reaching it (`s_{V*} <= f_{V*}` in T12, and the recursion is
monotone in `s`). If the noise is bounded and A3 holds they keep none (T1): `V^ <= V*` surely, the
law below `V*` is that of `V* = L`, and `C_J` is about the whole expectation. For unbounded noise
A3 cannot hold, and `C_J` is about the part `V^ <= V*`, the one that T10 bounds.

**The window of truth.** A further layer with fall 0 changes nothing, so `C_J` does not decrease in
`J`; from a maximiser, a further layer with a small fall gains its fall times a positive
probability, so `C_J` increases strictly and its limit `C` is a supremum that no finite window
attains. What more layers can add is bounded: an excess above `t` needs the scan to read less at
the first layer whose excess passes `t` than it did at `V*`, so `P(excess > t) <= P(eps - eps' > t)`
for any i.i.d. noise; and to gain from layers beyond `J` it must overshoot by more than `J`. Hence

    C_J <= C <= C_J + integral over t > 0 of min(P(eps - eps' > t), 1 / (J+2)!) dt,

and, with `J = 0`, integrating the tail alone, **C <= E (eps - eps')+** (the *difference bound*),
half of Gini's mean difference. It is `eps_max / 3` for uniform and `sigma / sqrt(pi)` for normal
noise, `pi` times better than T10's `sigma sqrt(pi)`, needs no sub-Gaussian parameter, and is at
most `min(eps_max / 2, sigma / sqrt(3))` for every law (`adaptive_average.distribution_free_bound`).
None of this needs a continuous law: ties only stop the search earlier.

One step alone with uniform noise costs `gamma (2 eps_max - gamma)^2 / (8 eps_max^2)`, which is
largest at `gamma = 2/3 eps_max`: `C_1 = 4/27 eps_max` exactly.

The maximisers are found by local optimisation from several starts over the exact distribution: each
`C_J` reported is attained by its drifts to the quadrature's error, a lower bound of `C`. That no
drifts do much better is proved from the other side: exactly for uniform noise (`uniform_average`),
by an adversary who sees more than he may for other laws (`adaptive_average`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import Bounds, minimize

from stopping.errors import UserError
from stopping.model.densities import (
    LAWS,
    Density,
    Law,
    Unit,
    mean_positive_difference,
    standard_deviation,
)
from stopping.support.parallel import Workers, in_order
from stopping.support.results import Result
from stopping.theory.adaptive_average import adaptive_bound, distribution_free_bound
from stopping.theory.exact import scan_masses, stopping_distribution
from stopping.theory.uniform_average import uniform_average
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


@dataclass(frozen=True)
class AverageCase(Result):
    """T13 for one law; all constants in its unit. Fields are plain values, ready for JSON.

    Attributes
    ----------
    law, unit : str
    deviation : float
        Standard deviation of the noise.
    worst : tuple of WorstDrifts
        For `J = 1, 2, ...`.
    constant : float
        The last `C_J`: a lower bound of the supremum `C` over all windows.
    upper : float
        `C` is at most this: proved, over all drifts and windows, every error bounded.
    any_distribution_bound : float
        `min(eps_max / 2, sigma / sqrt 3)` at this law's scales: what no distribution exceeds.
    remainder : float
        `C <= constant + remainder` if the last `C_J` is the maximum over its drifts: whether more
        layers are worth their time.
    regret_bound, regret_gap : float or None
        T2's `2 eps_max` and how far the constant stays below it; None for unbounded noise.
    tail_bound, tail_gap : float or None
        T10's `sigma sqrt(pi)` and the gap; None for a law that is not sub-Gaussian.
    difference_bound, difference_gap : float
        `E (eps - eps')+` and the gap.
    contained : bool
        Whether A3 makes `V^ <= V*` sure, so that the constant bounds the whole expected excess;
        otherwise it bounds `E[excess; V^ <= V*]`.
    """

    law: str
    unit: Unit
    deviation: float
    worst: tuple[WorstDrifts, ...]
    constant: float
    upper: float
    any_distribution_bound: float
    remainder: float
    regret_bound: float | None
    regret_gap: float | None
    tail_bound: float | None
    tail_gap: float | None
    difference_bound: float
    difference_gap: float
    contained: bool


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


def average_case(
    law: Law,
    rng: np.random.Generator,
    max_layers: int = 8,
    tolerance: float = 1e-9,
    starts: int = 3,
) -> AverageCase:
    """T13 for one law: `C_1, C_2, ...` until the remainder is within `tolerance`.

    Parameters
    ----------
    law : Law
    rng : numpy.random.Generator
    max_layers : int
        Largest `J`.
    tolerance : float
        Remainder, in the law's unit, at which more layers are not worth their time.
    starts : int
        Random starts for each `J`, besides the best falls for `J - 1`.
    """
    if max_layers < 1:
        raise UserError(f"max_layers: must be at least 1, got {max_layers}")
    tail = _difference_tail(law.density)
    worst: list[WorstDrifts] = []
    remainder = math.inf
    while len(worst) < max_layers and remainder > tolerance:
        warm = worst[-1].drifts if worst else ()
        worst.append(worst_drifts(law.density, len(worst) + 1, rng, starts, warm))
        remainder = _remainder(tail, 1.0 / math.factorial(len(worst) + 2))
    constant = worst[-1].constant
    bounded = law.unit == "eps_max"
    regret = 2.0 if bounded else None
    tails = None if law.sub_gaussian is None else law.sub_gaussian * math.sqrt(math.pi)
    difference = mean_positive_difference(law.density)
    deviation = standard_deviation(law.density)
    return AverageCase(
        law=law.name,
        unit=law.unit,
        deviation=deviation,
        worst=tuple(worst),
        constant=constant,
        upper=proved_bound(law),
        any_distribution_bound=distribution_free_bound(deviation, 1.0 if bounded else math.inf),
        remainder=remainder,
        regret_bound=regret,
        regret_gap=None if regret is None else regret - constant,
        tail_bound=tails,
        tail_gap=None if tails is None else tails - constant,
        difference_bound=difference,
        difference_gap=difference - constant,
        contained=bounded,
    )


def proved_bound(law: Law, cells: int = 2000) -> float:
    """Bound `C` from above with every error bounded: exactly for uniform noise, else by `cells`.

    Raises
    ------
    UserError
        If the law's density is not symmetric about 0 and falling from there.
    """
    if law.flat:
        # The next float above the fraction, so that the bound stays one.
        return math.nextafter(float(uniform_average().upper), math.inf)
    return adaptive_bound(law.density, cells)


def average_table(
    rng: np.random.Generator,
    laws: Sequence[Law] = LAWS,
    max_layers: int = 8,
    starts: int = 3,
    workers: Workers | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[AverageCase, ...]:
    """T13 for several laws; seconds per law, so callers keep the result.

    Each law's starts have a stream of their own, spawned from `rng`: the table does not depend on
    `workers` (default: this process). `advance` is called with the number of laws done.
    """
    work = (
        partial(average_case, law, stream, max_layers, starts=starts)
        for law, stream in zip(laws, rng.spawn(len(laws)), strict=True)
    )
    cases = []
    for case in in_order(work, workers):
        cases.append(case)
        advance(1)
    return tuple(cases)


def _centre(drifts: FloatArray) -> FloatArray:
    """`G` of the layers `L-J .. L`, zero at `L`."""
    return np.append(np.cumsum(drifts)[::-1], 0.0)


def _difference_tail(density: Density, points: int = 400) -> tuple[FloatArray, float]:
    """`P(eps - eps' > t)` on a grid of `t >= 0` up to the width of the support, and its step.

    It is the probability of one step back where `G` falls by `t`.
    """
    step = (density.edges[-1] - density.edges[0]) / points
    tail = [scan_masses(np.array([k * step, 0.0]), (density,) * 2)[1][0] for k in range(points)]
    return np.array(tail), step


def _remainder(tail: tuple[FloatArray, float], deepest: float) -> float:
    """Upper sum of the integral of `min(P(eps - eps' > t), deepest)`: the tail decreases."""
    values, step = tail
    return float(np.minimum(values, deepest).sum() * step)
