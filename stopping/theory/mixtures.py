"""M1, M2: pools of the final layer with the chosen one, instead of a draw between the two.

A randomised rule decodes the layer `V` that a rule chooses with probability `1 - weight`, else the
final layer `L`. A pool decodes one distribution made of both. With `weight` in (0, 1]:

**M1, linear pool** `q = weight p_L + (1 - weight) p_V`. For every token

    loss(q) <= loss(L) + log(1 / weight)          since q >= weight p_L,
    loss(q) <= weight loss(L) + (1 - weight) loss(V)      by Jensen: -log is convex.

So the pool is never worse than the randomised rule of the same weight, and loses a known number of
nats at most, whatever the model, the lens or the rule. The first bound is approached as `p_V` goes
to 0; the second holds with equality where both layers give the token the same probability.

**M2, log-linear pool** `q` proportional to `p_L^weight p_V^(1 - weight)`, with the normaliser
`Z <= 1` (Hoelder): `loss(q) = weight loss(L) + (1 - weight) loss(V) + log Z`. The second bound
holds, the first does not: a layer that gives the token next to nothing takes all of it away.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.types import FloatArray


def require_weight(weight: float) -> None:
    """Raise a UserError unless `weight`, the final layer's share of a pool, lies in (0, 1]."""
    if not 0 < weight <= 1:
        raise UserError(f"weight: the final layer's share must lie in (0, 1], got {weight}")


def pool_loss(final: ArrayLike, chosen: ArrayLike, weight: float) -> FloatArray:
    """Log-loss of the linear pool.

    Parameters
    ----------
    final, chosen : array_like, any equal shape
        Log-loss of the same token at the final layer and at the chosen one, nats.
    weight : float
        The final layer's share.

    Raises
    ------
    UserError
        If the weight lies outside (0, 1].
    """
    require_weight(weight)
    final, chosen = np.asarray(final, np.float64), np.asarray(chosen, np.float64)
    if weight == 1:
        return final.copy()
    pooled: FloatArray = -np.logaddexp(math.log(weight) - final, math.log1p(-weight) - chosen)
    return pooled


def pool_bound(weight: float) -> float:
    """Most that a token's log-loss can exceed the final layer's, nats (M1)."""
    require_weight(weight)
    return math.log(1 / weight)
