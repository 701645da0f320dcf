r"""T15: what A3 buys. The game under A2 alone, its value, and the rule that attains it.

Let nothing be known but `|x[l] - G[l]| <= eps_max` on a window of `K + 1` layers: no refinement, no
dominance, no turning point. A rule is charged against the best layer of the window,
`max over m of (G[l] - G[m])`.

**Theorem (values).** Over deterministic rules the value is `2 eps_max`, attained by the window
minimum; over randomised rules it is `2 eps_max K / (K + 1)`. Under A1-A4 it is `eps_max` for every
`K` (T7): that is what dominance buys.
*Proof.* With `q[l]` the probability of stopping at `l` and `y = x - min x`, the adversary that
makes `m` the best layer sets `G[m] = x[m] - eps_max`, all others to `x + eps_max`: the loss is

    worst(q) = max over m of [ sum_l q[l] y[l] - y[m] - 2 eps_max q[m] ] + 2 eps_max.        (*)

A deterministic rule at the minimum has `y[l] = 0` and loses `2 eps_max` at most; for `x` constant
every layer loses that. Against weights `p` on `m`, (*) is at most, averaged over the same weights
on `l`, `2 eps_max (1 - sum p^2) <= 2 eps_max K / (K + 1)`: by the minimax theorem the value for any
`x` is at most that, and for `x` constant and `p` uniform every `q` loses as much.  QED

**Theorem (the rule).** Let `c` be the smaller of: the level at which the masses
`q[m] = (c - y[m])+ / (2 eps_max)` add up to 1; and the first of the sorted `y` at which their
running sum exceeds `2 eps_max`. The *hedged minimum* takes these masses, the rest of 1 on the
minimum.
It attains the least (*) for every `x`.
*Proof.* Write `c` for the least of `y[m] + 2 eps_max q[m]`. Given `c` every mass is at least
`(c - y[m])+ / (2 eps_max)`; with these, and the rest where `y = 0`, (*) is
`sum y (c - y)+ / (2 eps_max) - c + 2 eps_max`, convex in `c`, with slope
`(sum of the y below c) / (2 eps_max) - 1`. It falls until that sum exceeds `2 eps_max`.  QED

Stopping at the full level always, the projection of `-x / (2 eps_max)` on the simplex (sparsemax),
loses more wherever the second case is the smaller.
"""

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.identification import as_noise_levels, as_window
from stopping.types import FloatArray


def hedged_minimum(x: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Probability of stopping at each layer under the hedged minimum, shape (n, layers) (T15).

    Parameters
    ----------
    x : array_like, shape (n, layers)
        Observed entropies on the window, in nats, final layer last; two layers or more.
    eps_max : array_like, scalar or shape (n,)
        Noise bound of A2 in nats. Without noise the deepest of the least entropies is certain.

    Raises
    ------
    UserError
        If the window or the noise level is malformed, not finite or negative.
    """
    window = as_window(x)
    n, layers = window.shape
    budget = 2.0 * as_noise_levels(eps_max, n)
    y: FloatArray = window - window.min(axis=1, keepdims=True)
    ordered = np.sort(y, axis=1)
    sums = np.cumsum(ordered, axis=1)
    # The mass at level c is the largest of (k c - sum of the k least y) over k.
    full = ((budget[:, None] + sums) / np.arange(1, layers + 1)).min(axis=1)
    stop = np.where(sums > budget[:, None], ordered, np.inf).min(axis=1)
    mass = np.maximum(np.minimum(full, stop)[:, None] - y, 0.0)
    weights: FloatArray = np.divide(
        mass, budget[:, None], out=np.zeros_like(mass), where=budget[:, None] > 0
    )
    deepest = layers - 1 - window[:, ::-1].argmin(axis=1)
    rest = np.maximum(1.0 - weights.sum(axis=1), 0.0)
    weights[np.arange(n), deepest] += rest
    return weights


def worst_window_loss(weights: ArrayLike, x: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Largest expected `G[l] - min G` over all worlds with A2, equation (*), shape (n,).

    Parameters
    ----------
    weights : array_like, shape (n, layers)
        Probabilities of stopping.
    x, eps_max
        As in `hedged_minimum`.

    Raises
    ------
    UserError
        If the weights do not fit the window or are no probabilities.
    """
    window = as_window(x)
    level = as_noise_levels(eps_max, len(window))
    q = np.asarray(weights, dtype=np.float64)
    if q.shape != window.shape or not ((q >= 0).all() and np.allclose(q.sum(axis=1), 1.0)):
        raise UserError(f"weights: expected probabilities of shape {window.shape}, got {q.shape}")
    y = window - window.min(axis=1, keepdims=True)
    reach = (y + 2.0 * level[:, None] * q).min(axis=1)
    loss: FloatArray = (q * y).sum(axis=1) - reach + 2.0 * level
    return loss


def window_game_value(eps_max: float, K: int, randomised: bool = True) -> float:
    """T15: `2 eps_max K / (K + 1)` over randomised rules, `2 eps_max` over deterministic ones.

    Raises
    ------
    UserError
        If `eps_max` is negative or not finite, or `K < 1`.
    """
    if not (np.isfinite(eps_max) and eps_max >= 0) or K < 1:
        raise UserError(f"needs eps_max >= 0 and K >= 1, got {eps_max} and {K}")
    return 2.0 * eps_max * (K / (K + 1) if randomised else 1.0)
