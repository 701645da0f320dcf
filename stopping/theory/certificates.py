r"""T8: what one token's own trace proves about the loss of stopping at each layer.

With `C_v(x)` the worlds consistent with turning point `v` (`stopping.theory.identification`), the
*certificate*

    c(l | x) = sup over consistent v, sup over G in C_v(x), of G[l] - G[v]

bounds the excess of stopping at `l` for this very token.

**Theorem (T8).** If `C_v(x)` is nonempty, `sup_{C_v} (G[l] - G[v])` equals

    0                                                         l = v
    min_{k <= l} x[k] - x[v] + 2 eps_max                      l < v
    min_{m >= l} (x[m] - 2 eps_max (m - l)) - x[v] + 2 eps_max   l > v

*Proof.* Every lower bound on `G[v]` but its own `x[v] - eps_max` is implied by that one's
neighbours moving away from `v` (see T9), and the displayed minimum plus `eps_max` is the least
upper bound of `G[l]`. The world

    G[v] = x[v] - eps_max,    G[l] = (that minimum) + eps_max  for l != v

attains all of them at once; it lies in the closure of `C_v`.  QED

A3 is strict, so for `l > v` the value may be approached and not attained. The certificate is a
supremum: open constraints are treated as closed for the *value* (a nonempty set given by linear
inequalities, some strict, has the supremum of its closure), and as open for *nonemptiness*.

**Corollary (one world per turning point).** That world serves every `l` at once, so for weights
`q` over layers `sup_{C_v} sum_l q[l] (G[l] - G[v]) = sum_l q[l] sup_{C_v} (G[l] - G[v])`: the
hedged minimax program `min_q max_v max_{G in C_v} sum_l q[l] (G[l] - G[v])` is a finite matrix
game. By T9 the adversary has at most two moves, `u` and `w = u + 1`. Let

    A = sup_{C_w} (G[u] - G[w]) = 2 eps_max - (x[w] - min_{k <= u} x[k])               < 2 eps_max
    B = sup_{C_u} (G[w] - G[u]) = min_{m >= w} (x[m] - 2 eps_max (m - w)) - x[u] + 2 eps_max
                                                                                       > 2 eps_max

Layers below `u` cost no less than `u` against both moves, and layers above `w` more than `w`, so
the game is 2 x 2 with a zero diagonal. The deterministic minimax layer is `u`, the *earliest
consistent turning point*, with value `A`. The randomised one takes `u` with probability
`B / (A + B)` and `w` otherwise, with value `A B / (A + B)`; since `A <= 2 eps_max - d` and
`B <= 2 eps_max + d` with `d = x[w] - x[u]`, that is at most `eps_max - d^2 / (4 eps_max)`. If `u`
is alone, both rules stop there and lose nothing.

A token that no admissible world explains has no certificate: its rows are NaN, `explained` is
False, and both rules fall back to the final layer, which is ordinary decoding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.support.results import Result, entries
from stopping.theory.identification import as_noise_levels, as_window, identify
from stopping.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Certificate(Result):
    """Worst-case excess of every layer of every token (T8).

    Attributes
    ----------
    excess : ndarray, shape (n, layers)
        `c(l | x)` in nats; a supremum. NaN for a token that no admissible world explains.
    explained : ndarray of bool, shape (n,)
        Whether some admissible world explains the token at its noise level.
    first, last : ndarray of int, shape (n,)
        Earliest and latest consistent turning point: equal or neighbours. `-1` if unexplained.
    """

    excess: FloatArray
    explained: BoolArray
    first: IntArray
    last: IntArray

    def items(self) -> Iterable[Any]:
        """Tokens."""
        return entries(self, "token", "explained", "first", "last", "excess")


@dataclass(frozen=True)
class Hedge(Result):
    """The randomised minimax rule for every token (T7, T8).

    Attributes
    ----------
    weights : ndarray, shape (n, layers)
        Probability of stopping at each layer; all on the final layer if unexplained.
    value : ndarray, shape (n,)
        Worst-case expected excess in nats, below `eps_max`; NaN if unexplained.
    explained : ndarray of bool, shape (n,)
        Whether some admissible world explains the token.
    """

    weights: FloatArray
    value: FloatArray
    explained: BoolArray

    def items(self) -> Iterable[Any]:
        """Tokens."""
        return entries(self, "token", "explained", "value", "weights")


def certify(x: ArrayLike, eps_max: ArrayLike) -> Certificate:
    """Bound the excess of every layer for each token, from its own trace (T8).

    Parameters
    ----------
    x : array_like, shape (n, layers)
        Observed entropies on the window, in nats, final layer last; two layers or more.
    eps_max : array_like, scalar or shape (n,)
        Noise bound of A2 in nats.

    Raises
    ------
    UserError
        If the window or the noise level is malformed, not finite or negative.
    """
    return _Worlds.of(x, eps_max).certificate()


def minimax_layer(x: ArrayLike, eps_max: ArrayLike) -> IntArray:
    """Choose the layer with the least certificate, `argmin_l c(l | x)`, shape (n,) (T6, T8).

    It is the earliest consistent turning point; the final layer if no world explains the token.
    Parameters and errors as in `certify`.
    """
    worlds = _Worlds.of(x, eps_max)
    return np.where(worlds.explained, worlds.first, worlds.x.shape[1] - 1)


def hedged_weights(x: ArrayLike, eps_max: ArrayLike) -> Hedge:
    """Solve `min_q max_v max_{G in C_v} sum_l q[l] (G[l] - G[v])` for each token (T7, T8).

    Parameters and errors as in `certify`.
    """
    worlds = _Worlds.of(x, eps_max)
    rows = np.arange(len(worlds.x))
    overshoot = worlds.excess_if(worlds.last)[rows, worlds.first]
    tax = worlds.excess_if(worlds.first)[rows, worlds.last]
    alone = worlds.first == worlds.last
    # Where two turning points are consistent the tax exceeds 2 eps_max > 0; elsewhere both vanish.
    total = np.where(alone, 1.0, overshoot + tax)

    weights = np.zeros_like(worlds.x)
    weights[rows, worlds.last] = overshoot / total
    weights[rows, worlds.first] = np.where(alone, 1.0, tax / total)
    weights[~worlds.explained] = 0.0
    weights[~worlds.explained, -1] = 1.0
    value = np.where(worlds.explained, overshoot * tax / total, np.nan)
    return Hedge(weights, value, worlds.explained)


def expected_certificate(weights: ArrayLike, x: ArrayLike, eps_max: ArrayLike) -> FloatArray:
    """Worst-case expected excess of a randomised choice, shape (n,); NaN if unexplained (T8).

    Parameters
    ----------
    weights : array_like, shape (n, layers)
        Probability of stopping at each layer; each row sums to one.
    x, eps_max
        As in `certify`.

    Raises
    ------
    UserError
        As in `certify`, or if a row of `weights` is no probability distribution over the layers.
    """
    worlds = _Worlds.of(x, eps_max)
    q = np.asarray(weights, dtype=np.float64)
    if q.shape != worlds.x.shape:
        raise UserError(f"weights: expected the shape of x, {worlds.x.shape}, got {q.shape}")
    # A sum of `layers` float64 numbers is off by at most a few rounding errors per term.
    off = np.abs(q.sum(axis=1) - 1.0)
    if not ((q >= 0).all() and (off <= 4 * q.shape[1] * np.finfo(np.float64).eps).all()):
        raise UserError("weights: every row must be nonnegative and sum to one")
    if_first: FloatArray = (q * worlds.excess_if(worlds.first)).sum(axis=1)
    if_last: FloatArray = (q * worlds.excess_if(worlds.last)).sum(axis=1)
    return np.maximum(if_first, if_last)


@dataclass(frozen=True)
class _Worlds:
    """The consistent worlds of each token, in the closed form of T8.

    `left[l] = min_{k <= l} x[k]` and `right[l] = min_{m >= l} (x[m] - 2 eps_max (m - l))` are the
    least upper bounds of `G[l]`, minus `eps_max`, on either side of the turning point. `first` and
    `last` are 0 where the token is unexplained.
    """

    x: FloatArray
    eps_max: FloatArray
    first: IntArray
    last: IntArray
    explained: BoolArray
    left: FloatArray
    right: FloatArray

    @classmethod
    def of(cls, x: ArrayLike, eps_max: ArrayLike) -> "_Worlds":
        window = as_window(x)
        n, layers = window.shape
        level = as_noise_levels(eps_max, n)
        consistent = identify(window).consistent(level)
        count: IntArray = consistent.sum(axis=1)
        first = consistent.argmax(axis=1)
        # At most two turning points are consistent, and they are neighbours (T9).
        last = np.maximum(first + count - 1, 0)
        right = window.copy()
        for layer in range(layers - 2, -1, -1):
            np.minimum(right[:, layer], right[:, layer + 1] - 2 * level, out=right[:, layer])
        left = np.minimum.accumulate(window, axis=1)
        return cls(window, level, first, last, count > 0, left, right)

    def excess_if(self, v: IntArray) -> FloatArray:
        """Worst excess of every layer if the turning point is `v`; NaN rows if unexplained."""
        at, layer = v[:, None], np.arange(self.x.shape[1])
        reach = np.where(layer < at, self.left, self.right)
        turning = np.take_along_axis(self.x, at, axis=1)
        excess = reach - turning + 2 * self.eps_max[:, None]
        excess[layer == at] = 0.0
        # Below zero by rounding only: an explained token has nonnegative excess everywhere.
        return np.where(self.explained[:, None], np.maximum(excess, 0.0), np.nan)

    def certificate(self) -> Certificate:
        return Certificate(
            excess=np.maximum(self.excess_if(self.first), self.excess_if(self.last)),
            explained=self.explained,
            first=np.where(self.explained, self.first, -1),
            last=np.where(self.explained, self.last, -1),
        )
