r"""T17: the guarded search when `eps_max` is unknown: a guard that the tokens themselves prove.

Each token has a least noise level that explains it (T9), and under A1-A4 that is at most `eps_max`.
Let `g_n` be the largest of the least levels of the first `n` tokens, the `n`-th included.

**Theorem.** If A1-A4 hold for all tokens with one `eps_max`, then `g_n <= eps_max` for every `n`.
So the guarded search with guard `g_n` loses no more than the paper's search on every token (T6's
corollary), and overshoots by less than `1 + eps_max / g_n` layers where `g_n > 0`.
*Proof.* The world that made the token is one that explains it at `eps_max`, so its least level is
at most that. Both statements about the guarded search hold for each guard up to `eps_max`, token by
token, so they hold for one that depends on the observed entropies.  QED

Nothing is estimated and nothing asked of the order of the tokens: after any tokens of the same
model, of other prompts too, the guard stays safe. It never sinks. The least levels need the whole
window of every token, so a lazy reader saves nothing.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.identification import identify
from stopping.types import FloatArray


def running_guard(x: ArrayLike, seen: float = 0.0) -> FloatArray:
    """`g_n` for tokens in their order, shape (n,), nats.

    Parameters
    ----------
    x : array_like, shape (n, layers)
        Observed entropies on the window, in nats, final layer last; two layers or more.
    seen : float
        The guard after all earlier tokens.

    Raises
    ------
    UserError
        If the window is malformed, or `seen` is no level.
    """
    if not 0 <= seen < math.inf:
        raise UserError(f"seen: a guard is a finite number of nats >= 0, got {seen}")
    guard: FloatArray = np.maximum.accumulate(np.maximum(identify(x).least_eps_max, seen))
    return guard


def overshoot_with_guard(eps_max: ArrayLike, guard: ArrayLike) -> FloatArray:
    """T17: `V* - V^ < 1 + eps_max / g` layers for a guard `0 < g <= eps_max`.

    Raises
    ------
    UserError
        If a guard is not positive or above `eps_max`.
    """
    level, g = np.broadcast_arrays(np.asarray(eps_max, float), np.asarray(guard, float))
    if not ((g > 0) & (g <= level) & np.isfinite(level)).all():
        raise UserError(f"guard: needs 0 < guard <= eps_max, got {guard!r} and {eps_max!r}")
    bound: FloatArray = 1.0 + level / g
    return bound
