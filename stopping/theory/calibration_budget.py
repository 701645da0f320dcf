r"""C1-C4: from entropy to log-loss. What calibration a rule needs, and what it pays without.

For a token let `gap[l] = loss[l] - x[l]`, log-loss minus observed entropy, and `V` the layer that a
rule chooses from the observed entropies `x` (and random draws of its own).

**C1, an identity**, for any rule:

    E[loss_V - loss_L] = -E[x_L - x_V] + E gap_V - E gap_L.

A0, `E gap[l] = 0` at every layer, bounds none of this: a rule conditions on `x`, and A0 does not.

**C2.** If `|E[gap[l] | x]| <= kappa` for all `l`, a rule that only steps to lower entropies has

    E loss_V <= E loss_L + 2 kappa - E[x_L - x_V] <= E loss_L + 2 kappa.

*Proof.* `V` is a function of `x` and its draws, so `E gap_V <= kappa` and `E gap_L >= -kappa`; C1.
No noise level enters.  QED

**C2, net.** It is enough that `E[gap[l] - gap_L | x] <= kappa` wherever `x[l] < x_L`: then
`E loss_V <= E loss_L + kappa - E[x_L - x_V]`. What all layers are off by alike cancels, and where a
layer reads no less than the final one it is not chosen. *Proof.* `gap_V - gap_L` is 0 where
`V = L`, and elsewhere `x_V < x_L`; C1.  QED

**C3.** If `|E[loss[l] - G[l] | G, eps]| <= kappa` for all `l`: under A2-A4 the search has
`E loss_V <= E loss_{V*} + 2 eps_max + 2 kappa`; under A2 alone
`E loss_V <= E loss_L + 2 eps_max + 2 kappa`.
*Proof.* `V` and `V*` are functions of `G` and `eps`; T2 and T4 bound `E[G_V - G_{V*}]` and
`E[G_V - G_L]`.  QED

**C4, the winner's curse.** Under A0, with `p[l] = P(V = l)` and `s[l]` the standard deviation of
`E[gap[l] | x]`,

    E gap_V <= sum over l of s[l] sqrt(p[l] (1 - p[l])).

*Proof.* `E gap_V = sum Cov(E[gap[l] | x], 1{V = l})`, the means being zero; Cauchy and Schwarz.
QED. `curse_world` attains it: every one of A0 to A4 holds there, and the search loses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.theory.bounds import as_non_negative
from stopping.types import FloatArray


def log_loss_change(drop: ArrayLike, chosen_gap: ArrayLike, final_gap: ArrayLike) -> FloatArray:
    """C1: `E[loss_V - loss_L]` from `E[x_L - x_V]`, `E gap_V` and `E gap_L`, nats."""
    gaps = np.subtract(np.asarray(chosen_gap, float), np.asarray(final_gap, float))
    return np.asarray(gaps - np.asarray(drop, float))


def final_layer_budget(kappa: ArrayLike, drop: ArrayLike = 0.0) -> FloatArray:
    """C2: `E loss_V - E loss_L <= 2 kappa - E[x_L - x_V]`, rules that step to lower entropies only.

    Parameters
    ----------
    kappa : array_like
        Bound on `|E[gap[l] | x]|` over the layers, nats.
    drop : array_like
        `E[x_L - x_V] >= 0`, the fall of entropy that the rule promises.
    """
    return 2.0 * as_non_negative(kappa, "kappa") - as_non_negative(drop, "drop")


def net_budget(kappa: ArrayLike, drop: ArrayLike = 0.0) -> FloatArray:
    """C2, net: `E loss_V - E loss_L <= kappa - E[x_L - x_V]`.

    Parameters
    ----------
    kappa : array_like
        Bound `>= 0` on `E[gap[l] - gap_L | x]` where `x[l] < x_L`, nats.
    drop : array_like
        As in `final_layer_budget`.
    """
    return as_non_negative(kappa, "kappa") - as_non_negative(drop, "drop")


def turning_point_budget(eps_max: ArrayLike, kappa: ArrayLike) -> FloatArray:
    """C3: `E loss_V - E loss_{V*} <= 2 eps_max + 2 kappa` under A2-A4, the search.

    Against the final layer in the place of `V*` it needs A2 alone.
    """
    return 2.0 * as_non_negative(eps_max, "eps_max") + 2.0 * as_non_negative(kappa, "kappa")


def curse_bound(share: ArrayLike, spread: ArrayLike) -> FloatArray:
    """C4: `E gap_V <= sum s[l] sqrt(p[l] (1 - p[l]))` under A0.

    Parameters
    ----------
    share : array_like, shape (..., layers)
        `p[l] = P(V = l)`.
    spread : array_like, shape (..., layers)
        `s[l]`, standard deviation of `E[gap[l] | x]`, nats.

    Raises
    ------
    UserError
        If the shares are no probabilities or a spread is negative.
    """
    p, s = np.broadcast_arrays(as_non_negative(share, "share"), as_non_negative(spread, "spread"))
    if not np.allclose(p.sum(axis=-1), 1.0):
        raise UserError("share: the probabilities of the layers must sum to 1")
    bound: FloatArray = (s * np.sqrt(np.clip(p * (1.0 - p), 0.0, None))).sum(axis=-1)
    return bound


@dataclass(frozen=True)
class CurseWorld:
    """Two equally likely kinds of token: entropies, and what the layers pay on average, nats.

    Attributes
    ----------
    x, loss : ndarray, shape (2, 2)
        By kind and layer, the final one last.
    """

    x: FloatArray
    loss: FloatArray


def curse_world(level: float = 1.0, spread: float = 0.8) -> CurseWorld:
    """A0-A4 hold and the search loses `spread / 2` nats against the final layer: C4 with equality.

    The final layer reads and pays `level`. The layer before reads `level - spread` or
    `level + spread`, and pays `level + spread` and `level - spread`: both layers are calibrated on
    average, and the search takes the other layer just where it is over-confident.

    Raises
    ------
    UserError
        Unless `0 < spread <= level`.
    """
    if not 0 < spread <= level < np.inf:
        raise UserError(f"needs 0 < spread <= level, got {spread} and {level}")
    low, high = level - spread, level + spread
    return CurseWorld(
        x=np.array([[low, level], [high, level]]), loss=np.array([[high, level], [low, level]])
    )
