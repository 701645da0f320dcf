r"""T9: which noise levels and which turning points one observed token admits.

A window `x` of observed entropies is *explained* by the turning point `v` at noise level `eps_max`
when the set of worlds

    C_v(x) = { G : |G - x| <= eps_max,  G non-increasing on [l_min, v],
                   G[l] - G[l-1] > 2 eps_max for every l > v }

is not empty (A1-A4 for this token). The window is the whole row; cut it before the call.

**Theorem (T9).** `C_v(x)` is nonempty exactly when `x` rises strictly on `[v, L]` and
`a_v <= eps_max < b_v`, where

    a_v = max_{i < j <= v} (x[j] - x[i])_+ / 2                          (0 without a pair)
    b_v = min_{v <= i, j - i >= 2} (x[j] - x[i]) / (2 (j - i - 1))      (inf without a pair)

*Proof.* `C_v` is a system of difference constraints between the `G[l]` and the constant 0. Such a
system is solvable iff no cycle of its graph has negative weight, nor weight zero with a strict
constraint on it. `G[v]` is the least value of `G`: lower bounds travel away from `v` and upper
bounds travel towards it, hence a cycle through the constant never crosses `v`. Left of `v` the
cycles say `x[j] - eps_max <= x[i] + eps_max` for `i < j <= v`, with no strict constraint on them:
the lower end is closed. Right of `v` they say `x[i] - eps_max + 2 eps_max (j - i) < x[j] + eps_max`
for `v <= i < j`, all strict: the upper end is open. With `j - i = 1` that is `x[i] < x[j]`, which
no `eps_max` can repair; with `j - i >= 2` it is `eps_max < b_v`.  QED

**Corollary (at most two).** At every noise level at most two turning points explain a token, and
two are neighbours. Both `a_v` and `b_v` grow with `v`, so the consistent `v` are consecutive; if
`v` and `v + 2` were consistent, `C_v` would need `x[v+2] - x[v] > 2 eps_max` and `C_{v+2}` would
need `x[v+2] - x[v] <= 2 eps_max`.

**Corollary (refutation needs a ceiling).** `v = L` has `b_L = inf`, so *every* token is explained
by `a_L` and above. No token refutes A1-A4 by itself; it refutes them together with a ceiling on
`eps_max`. The least noise level that explains a token is attained, since the lower end is closed.

All comparisons are exact in floating point: a world built with noise of exactly `+-eps_max` may
miss its own interval by a rounding error; allow for it in `eps_max`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.model.windows import as_batch
from stopping.support.results import Result, entries
from stopping.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Identification(Result):
    """The noise levels `[lower, upper)` at which each turning point explains each token (T9).

    Attributes
    ----------
    lower, upper : ndarray, shape (n, layers)
        `a_v` and `b_v` in nats; `upper` may be `inf`. Both are NaN where no noise level lets the
        turning point explain the token: `x` fails to rise strictly on `[v, L]`, or `a_v >= b_v`.
    least_eps_max : ndarray, shape (n,)
        The least noise level that explains the token; always finite.
    turning_point : ndarray of int, shape (n,)
        The turning point that attains it, the earliest if two do.
    """

    lower: FloatArray
    upper: FloatArray
    least_eps_max: FloatArray
    turning_point: IntArray

    def items(self) -> Iterable[Any]:
        """Tokens."""
        return entries(self, "token", "least_eps_max", "turning_point", "lower", "upper")

    def consistent(self, eps_max: ArrayLike) -> BoolArray:
        """Which turning points explain each token at this noise level, shape (n, layers).

        At most two in each row, and neighbours. `eps_max` is a scalar or one value per token.
        """
        level = as_noise_levels(eps_max, len(self.least_eps_max))[:, None]
        # Comparisons with NaN are false, which is what an impossible turning point asks for.
        return (self.lower <= level) & (level < self.upper)

    def refuted(self, ceiling: float) -> BoolArray:
        """Whether no noise level up to and including `ceiling` explains the token, shape (n,)."""
        return self.least_eps_max > as_noise_levels(ceiling, len(self.least_eps_max))


def identify(x: ArrayLike) -> Identification:
    """Find the noise levels that explain each token (T9).

    Time is `O(n layers^2)` in `O(layers)` vector operations, memory `O(n layers)`.

    Parameters
    ----------
    x : array_like, shape (n, layers)
        Observed entropies on the window, in nats, final layer last; two layers or more.

    Raises
    ------
    UserError
        If the batch is malformed, not finite, or has fewer than two layers.
    """
    window = as_window(x)
    layers = window.shape[1]

    rise_above_minimum = (window - np.minimum.accumulate(window, axis=1)) / 2
    lower = np.maximum.accumulate(rise_above_minimum, axis=1)

    upper = np.full_like(window, np.inf)
    for gap in range(2, layers):
        bound = (window[:, gap:] - window[:, :-gap]) / (2 * (gap - 1))
        np.minimum(upper[:, :-gap], bound, out=upper[:, :-gap])
    upper = np.minimum.accumulate(upper[:, ::-1], axis=1)[:, ::-1]

    rises = np.ones(window.shape, dtype=np.bool_)
    rises[:, :-1] = window[:, :-1] < window[:, 1:]
    rises_to_last = np.logical_and.accumulate(rises[:, ::-1], axis=1)[:, ::-1]

    possible = rises_to_last & (lower < upper)
    # `lower` never falls along a row, so the earliest possible turning point needs least noise.
    turning_point = possible.argmax(axis=1)
    return Identification(
        lower=np.where(possible, lower, np.nan),
        upper=np.where(possible, upper, np.nan),
        least_eps_max=np.take_along_axis(lower, turning_point[:, None], axis=1)[:, 0],
        turning_point=turning_point,
    )


def as_window(x: ArrayLike) -> FloatArray:
    """Return `x` as a float64 batch `(n, layers)` of at least two layers, or say why it is none."""
    window = as_batch(x, "x")
    if window.shape[1] < 2:
        raise UserError("x: one layer leaves nothing to choose; give a window of two or more")
    return window


def as_noise_levels(eps_max: ArrayLike, n: int) -> FloatArray:
    """Return `eps_max` as one finite noise level `>= 0` per token, shape (n,)."""
    given = np.asarray(eps_max)
    if given.dtype.kind not in "fiu" or given.shape not in ((), (n,)):
        raise UserError(
            f"eps_max: expected a number or one per token, shape ({n},), got shape {given.shape} "
            f"and dtype {given.dtype}"
        )
    levels = given.astype(np.float64)
    if not (np.isfinite(levels) & (levels >= 0)).all():
        raise UserError("eps_max: the noise bound is a finite number of nats, zero or above")
    return np.broadcast_to(levels, (n,))
