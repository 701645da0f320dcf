r"""The guarded search and its hedge: the scan that T9 proves, and the strategy that attains T7.

The paper's search goes on while `x[l-1]` lies below the *reference* `x[l]`. The **guarded search**
with guard `g >= 0` changes one line of it: as it steps down, the reference becomes

    r_L = x[L],      r_l = min( x[l], r_{l+1} - 2 g ),      go on to l - 1 while x[l-1] < r_l.

Late layers that rise by more than `2 eps_max` each leave `x[j] - x[i] > 2 eps_max (j - i - 1)`;
the guard stops the scan where the trace can no longer be such a rise. `g = 0` *is* the paper's
search. It reads one layer beyond the one it returns, as that one does. In each statement A1-A4
hold with noise bound `eps_max` and `V_g` is the layer returned.

**Theorem (containment and order).** For `0 <= g <= h <= eps_max`: `V_g <= V_h <= V*`.
*Proof.* The condition to step down tightens as `g` grows, and unrolled it says `x[j] - x[i] >
2 g (j - i - 1)` for all pairs `i < j` scanned, which A2 and A3 give for every `i >= V*`.  QED

**Corollary (dominance).** By A1 `excess(V_h) <= excess(V_g)`: in every admissible world the
guarded search loses no more than the paper's search, and a guard that understates the noise is
safe. No drift assumption enters.

**Theorem (overshoot).** `0 < g <= eps_max` gives `V* - V_g < 1 + eps_max / g`: with `g = eps_max`
the search stops at `V*` or `V* - 1`. If it overshoots by `k >= 1` layers, its excess is below
`2 eps_max - 2 g (k - 1)`.
*Proof.* Overshooting by `k` means `2 g (k - 1) < x[V*] - x[V_g]`, while A2 gives
`x[V*] - x[V_g] <= 2 eps_max - excess(V_g)`, and the excess is not negative.  QED

T3 needs a drift `gamma` for such a statement about the paper's search, and without drift that one
can overshoot to `l_min`.

**Theorem (T7 for every K).** Let `u` be the guarded search's layer with `g = eps_max > 0`, and for
`u < L` let `d = x[u+1] - x[u] > 0`. The **hedged search** stops at `u` with probability
`min(1, 1/2 + d / (4 eps_max))`, else at `u + 1`. In every admissible world its expected excess is
at most `max(0, eps_max - d^2 / (4 eps_max)) < eps_max`.
*Proof.* `V*` is `u` or `u + 1` by the overshoot theorem. If `V* = u + 1`, stopping at `u` costs at
most `2 eps_max - d` by A2. If `V* = u`, stopping at `u + 1` costs at most `2 eps_max + d`. For
`d <= 2 eps_max` both expectations are at most `(2 eps_max + d)(2 eps_max - d) / (4 eps_max)`; for
`d > 2 eps_max` the first case is impossible and the second is charged with probability zero.  QED

No rule does better over all worlds (`stopping.theory.games`): the value is `eps_max` for every `K
>= 1`, approached as `d` tends to 0 and not attained. At `L` the hedged search is certain, loss
zero.

Under A2 alone, for any token at all, each layer these rules return has `x[l] <= x[L]`, so T4's
`G[l] <= G[L] + 2 eps_max` holds for them: they need no fallback.
"""

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.identification import as_noise_levels, as_window
from stopping.types import FloatArray, IntArray


def guarded_search(x: ArrayLike, guard: ArrayLike) -> IntArray:
    """Return the layer where the guarded search stops, shape (n,).

    Parameters
    ----------
    x : array_like, shape (n, layers)
        Observed entropies on the window, in nats, final layer last; two layers or more.
    guard : array_like, scalar or shape (n,)
        The guard `g` in nats: `eps_max`, or a lower bound on it. 0 gives the paper's search.

    Raises
    ------
    UserError
        If the window or the guard is malformed, not finite or negative.
    """
    window = as_window(x)
    n, layers = window.shape
    fall = 2 * as_noise_levels(guard, n)
    chosen = np.full(n, layers - 1, dtype=np.intp)
    reference = window[:, -1]
    for layer in range(layers - 2, -1, -1):
        goes_on = (chosen == layer + 1) & (window[:, layer] < reference)
        chosen[goes_on] = layer
        reference = np.minimum(window[:, layer], reference - fall)
    return chosen


def hedge_probability(rise: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Probability `min(1, 1/2 + d / (4 eps_max))` of going on across a rise `d` (T7).

    Parameters
    ----------
    rise : array_like
        `d = x[l] - x[l-1]` in nats; without a rise there is nothing to hedge, and it is 0.
    eps_max : array_like, broadcast against `rise`
        Noise bound in nats. Without noise every rise is real: probability 1.

    Raises
    ------
    UserError
        If a value is not finite, or `eps_max` is negative.
    """
    d, level = np.asarray(rise, dtype=np.float64), np.asarray(eps_max, dtype=np.float64)
    if not (np.isfinite(d).all() and np.isfinite(level).all() and (level >= 0).all()):
        raise UserError("hedge_probability: needs finite rises and eps_max >= 0, in nats")
    d, level = np.broadcast_arrays(d, level)
    certain = d >= 2 * level
    hedged = 0.5 + d / np.where(certain, 1.0, 4 * level)
    return np.where(d <= 0, 0.0, np.where(certain, 1.0, hedged))


def hedged_search(x: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Probability of stopping at each layer under the hedged search, shape (n, layers) (T7).

    `eps_max` is the noise bound of A2 in nats; shapes and errors are those of `guarded_search`.
    """
    window = as_window(x)
    level = as_noise_levels(eps_max, len(window))
    u = guarded_search(window, level)
    above = np.minimum(u + 1, window.shape[1] - 1)
    rows = np.arange(len(window))
    goes_on = hedge_probability(window[rows, above] - window[rows, u], level)
    goes_on[above == u] = 1.0
    weights = np.zeros_like(window)
    weights[rows, above] = 1.0 - goes_on
    weights[rows, u] = goes_on
    return weights


def hedged_search_bound(rise: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Bound `max(0, eps_max - d^2 / (4 eps_max))` on the hedged search's expected excess (T7).

    Parameters and errors as in `hedge_probability`; without a rise the search is certain and the
    bound is 0. For `K = 1` it is the exact minimax value at the observed rise `d`.
    """
    goes_on = hedge_probability(rise, eps_max)
    d, level = np.asarray(rise, dtype=np.float64), np.asarray(eps_max, dtype=np.float64)
    return np.where(d > 0, np.maximum(goes_on * (2 * level - d), 0.0), 0.0)
