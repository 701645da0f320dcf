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

The maximisers are found over the exact distribution (`worst_drifts`): each `C_J` reported is a
lower bound of `C`. That no drifts do much better is proved from the other side: exactly for uniform
noise (`uniform_average`), by an adversary who sees more than he may for other laws
(`adaptive_average`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

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
from stopping.theory.exact import scan_masses
from stopping.theory.uniform_average import uniform_average
from stopping.theory.worst_drifts import WorstDrifts, worst_drifts
from stopping.types import FloatArray


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
    excess_bound, excess_gap : float or None
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
    excess_bound: float | None
    excess_gap: float | None
    tail_bound: float | None
    tail_gap: float | None
    difference_bound: float
    difference_gap: float
    contained: bool


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
    most = 2.0 if bounded else None
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
        excess_bound=most,
        excess_gap=None if most is None else most - constant,
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
