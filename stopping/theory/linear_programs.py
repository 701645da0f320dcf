r"""The consistent worlds as linear programs: the second algorithm beside the closed forms of T8.

Nothing here uses the closed forms; only which turning points are consistent comes from T9, as a
linear program cannot see a strict inequality. Programs are slow, for one token at a time, and made
for checking and for the games of `stopping.theory.games`. Constraints are closed: see T8 on
suprema.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from stopping.errors import UserError
from stopping.theory.identification import as_noise_levels, as_window, identify
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True)
class ScaledToken:
    """One explained token in units of its noise bound: the solver's tolerances are absolute.

    Attributes
    ----------
    x : ndarray, shape (layers,)
        `(observation - origin) / unit`, with least value 0.
    eps_max : float
        1, or 0 if the noise bound is 0.
    unit, origin : float
        The noise bound (1 if it is 0) and the least observed entropy, in nats.
    turning_points : ndarray of int
        The consistent turning points, by T9: one or two.
    """

    x: FloatArray
    eps_max: float
    unit: float
    origin: float
    turning_points: IntArray

    @classmethod
    def of(cls, x: ArrayLike, eps_max: float) -> "ScaledToken":
        """Scale one token, shape (layers,), or say why there is nothing to solve."""
        if np.ndim(x) != 1:
            raise UserError(f"x: expected one token, shape (layers,), got shape {np.shape(x)}")
        window = as_window(np.asarray(x)[None])
        level = float(as_noise_levels(eps_max, 1)[0])
        found = identify(window)
        places = np.flatnonzero(found.consistent(level)[0])
        if len(places) == 0:
            raise UserError(
                f"x: no admissible world explains the token at eps_max = {level:g}; "
                f"the least that does is {found.least_eps_max[0]:g}"
            )
        unit, origin = level or 1.0, float(window.min())
        return cls((window[0] - origin) / unit, level / unit, unit, origin, places)


def constraints(x: FloatArray, eps_max: float, v: int) -> tuple[FloatArray, FloatArray]:
    """Return `D, h` with `{G : D G <= h}` the closure of `C_v(x)`; `x` has shape (layers,)."""
    layers = len(x)
    rise = np.diff(np.eye(layers), axis=0)
    after = np.arange(1, layers) > v
    D = np.vstack([np.eye(layers), -np.eye(layers), np.where(after[:, None], -rise, rise)])
    h = np.concatenate([x + eps_max, eps_max - x, np.where(after, -2.0 * eps_max, 0.0)])
    return D, h


def worst_excess(weights: ArrayLike, x: ArrayLike, eps_max: float) -> float:
    """Largest expected excess of `weights` over the consistent worlds, one program for each `v`.

    Parameters
    ----------
    weights, x : array_like, shape (layers,)
        Probabilities of stopping, and the observation in nats.
    eps_max : float
        Noise bound in nats.

    Raises
    ------
    UserError
        If the input is malformed or no admissible world explains the token.
    """
    token = ScaledToken.of(x, eps_max)
    q = np.asarray(weights, dtype=np.float64)
    if q.shape != token.x.shape:
        raise UserError(f"weights: expected shape {token.x.shape}, got {q.shape}")
    losses = []
    for v in token.turning_points:
        D, h = constraints(token.x, token.eps_max, int(v))
        gain = q - np.eye(len(q))[v]
        losses.append(float(gain @ solve(-gain, D, h)))
    return max(losses) * token.unit


def solve(
    cost: FloatArray,
    A_ub: FloatArray,
    b_ub: FloatArray,
    A_eq: FloatArray | None = None,
    b_eq: FloatArray | None = None,
    bounds: Sequence[tuple[float | None, float | None]] = ((None, None),),
) -> FloatArray:
    """Return a minimiser of `cost . z` with `A_ub z <= b_ub`, `A_eq z = b_eq` within `bounds`."""
    found = optimize.linprog(cost, A_ub, b_ub, A_eq, b_eq, bounds, method="highs")
    if found.x is None:
        raise ArithmeticError(f"linear program failed: {found.message}")
    return found.x
