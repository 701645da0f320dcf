r"""What the paper's mixing probability `p` is worth in the worst case: next to nothing.

With probability `p` the rule takes the search's layer `V^`, otherwise the final layer, whatever
the trace. Let `T` be a cap on the total tax, `G[L] - G[V*] <= T` (an entropy lies between 0 and
the logarithm of the vocabulary, so `T` is at most about 12 nats; A3 needs `T > 2 eps_max`).

**Theorem (mixing).** Over all worlds with A1-A4 and tax at most `T > 2 eps_max`, the supremum of
the expected excess `p excess(V^) + (1 - p) excess(L)` is

    max( 2 eps_max p, (1 - p) T )       K = 1
    2 eps_max p + (1 - p) T             K >= 2

*Proof.* `V* = L` costs `p excess(V^) < 2 eps_max p`, approached by T2. `V* < L` costs
`p excess(V^) + (1 - p) (G[L] - G[V*])`. If `K = 1`, then `V* = l_min` and T1 makes the first term
vanish. If `K >= 2`, take `V* = L - 1` with `G[L] - G[V*] = T`, and below it the world of T2 that
overshoots by one layer and loses nearly `2 eps_max`: both terms at once.  QED

*Consequences.* (i) Rises are not bounded above by A1-A4: with `T = inf` every `p < 1` has an
infinite worst case, for every `K >= 1`. (ii) For `K >= 2` the worst case falls with `p`, so
`p = 1` is best, whatever the cap. (iii) Only for `K = 1` with a finite cap does a constant `p < 1`
help: `p = T / (2 eps_max + T)` gives `2 eps_max T / (2 eps_max + T)`, which tends to `eps_max` as
`T` falls to `2 eps_max` and to `2 eps_max` as `T` grows. (iv) So the mixing probability is *not*
the hedge of T7. Given the observation, the tax of stopping at `L` *is* bounded, by a number the
stopper sees (T8); the hedged search lets its probability grow with the observed rise and gets
`eps_max` for every `K`. A constant `p` cannot.

For a given observation the worst case of the mixing probability is
`certificates.expected_certificate` of its two weights.
"""

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.games import deterministic_value
from stopping.types import FloatArray


def mixing_worst_case(p: ArrayLike, eps_max: float, K: int, tax_max: float = np.inf) -> FloatArray:
    """Worst-case expected excess of the paper's rule as a function of `p`, shape of `p`.

    Parameters
    ----------
    p : array_like
        Probability of taking the search's layer, in [0, 1].
    eps_max : float
        Noise bound in nats.
    K : int
        Steps back that the window allows, at least 1.
    tax_max : float
        Cap `T` on `G[L] - G[V*]` in nats; infinite by default, as A1-A4 leave it. At or below
        `2 eps_max` no perturbed token is admissible and only overshooting costs.

    Raises
    ------
    UserError
        If `p` is outside [0, 1], `K < 1`, `tax_max < 0`, or `eps_max` is not finite and `>= 0`.
    """
    mixing = np.asarray(p, dtype=np.float64)
    if not ((mixing >= 0) & (mixing <= 1)).all():
        raise UserError(f"p: needs probabilities in [0, 1], got {p!r}")
    overshoot = _check(eps_max, K, tax_max) * mixing
    if tax_max <= deterministic_value(eps_max):
        return overshoot
    # Infinity times zero: at p = 1 the final layer is never taken and its tax is not paid.
    tax = np.multiply(1 - mixing, tax_max, where=mixing < 1, out=np.zeros_like(mixing))
    return np.maximum(overshoot, tax) if K == 1 else overshoot + tax


def best_mixing_probability(eps_max: float, K: int, tax_max: float = np.inf) -> float:
    """Return the constant `p` with the least worst case; parameters as in `mixing_worst_case`."""
    overshoot = _check(eps_max, K, tax_max)
    if tax_max <= overshoot:
        return 0.0
    if K >= 2 or np.isinf(tax_max):
        return 1.0
    return float(tax_max / (overshoot + tax_max))


def _check(eps_max: float, K: int, tax_max: float) -> float:
    """Return `2 eps_max` once the parameters make sense."""
    if K < 1 or not tax_max >= 0:
        raise UserError(f"need K >= 1 and tax_max >= 0, got K = {K}, tax_max = {tax_max}")
    return deterministic_value(eps_max)
