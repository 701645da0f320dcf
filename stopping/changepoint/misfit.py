r"""What the noise is not: score tests against noise that neighbours share and against heavy tails.

The model takes the noise of a token's layers for independent and normal. Two departures leave the
means and variances of single layers alone, so that no histogram of a layer shows them, and move the
parameters: noise correlated between neighbouring layers goes over to the steps, and heavy tails
widen whatever has room. Each is a direction in which the density of a cell could be differentiated:
with `a = P (z - mean)`, `P = S^-1`,

    shared by neighbours   sum over k < l of   RHO^(l - k) (a_k a_l - P_kl),
    heavy tails            sum over l of       He4(a_l),    He4(t) = t^4 - 6 t^2 + 3,

averaged over cells by responsibility (Fisher's identity), with each `a_l` divided by its standard
deviation `sqrt P_ll`. The first is the direction of an AR(1) along the layers below the final one,
with the correlation that noise of real lenses has, 0.5 to 0.9 between neighbours; neighbours alone
would not do, since the steps of a walk imitate what they share. Under the model both have mean zero
whatever the parameters; what the estimate takes up of them is projected out on the scores of the
parameters (Rao's test in its outer-product form), and sums over prompts are compared with Student's
distribution: tokens of a prompt may be dependent.

`He4` is the derivative of the density by the fourth cumulant; a few tokens would rule it, so the
standardised values are clipped at `CLIP`, and its mean under the normal law is that of the clipped.

Source: Rao, C. R. (1948), Large sample tests of statistical hypotheses concerning several
parameters, *Proc. Cambridge Phil. Soc.* 44; Holm, S. (1979), A simple sequentially rejective
multiple test procedure, *Scand. J. Statist.* 6.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, softmax, stdtr

from stopping.changepoint.estimate import Estimate
from stopping.changepoint.layout import held
from stopping.changepoint.objective import Objective, cells
from stopping.changepoint.scores import information
from stopping.support.threads import one_thread
from stopping.types import FloatArray

LEVEL = 0.05
"""Probability, at most, with which a model that is right is said not to fit."""
SHARED, TAILS = "noise that neighbours share", "heavy tails"
RHO, CLIP = 0.7, 4.0


@dataclass(frozen=True)
class Misfit:
    """All tests of the model together, at `level`.

    Attributes
    ----------
    p_values : mapping of str to float
        Of each test.
    named : tuple of str
        Tests that reject, by Holm's step-down: none, with probability `1 - level` at least, if the
        model is right.
    """

    p_values: Mapping[str, float]
    named: tuple[str, ...]
    level: float

    @property
    def found(self) -> bool:
        """Whether the model does not fit."""
        return bool(self.named)

    @classmethod
    def of(cls, p_values: Mapping[str, float], level: float = LEVEL) -> "Misfit":
        """Judge all tests together."""
        names = list(p_values)
        rejected = holm([p_values[name] for name in names], level)
        named = tuple(name for name, no in zip(names, rejected, strict=True) if no)
        return cls(dict(p_values), named, level)


def holm(p_values: Sequence[float], level: float = LEVEL) -> tuple[bool, ...]:
    """Which hypotheses Holm's step-down rejects, with a family-wise error of `level` at most."""
    order = np.argsort(p_values)
    bars = level / np.arange(len(order), 0, -1)
    below = np.asarray(p_values, dtype=np.float64)[order] <= bars
    many = len(below) if below.all() else int(np.argmin(below))
    rejected = set(order[:many].tolist())
    return tuple(i in rejected for i in range(len(order)))


@one_thread()
def score_tests(estimate: Estimate, x: ArrayLike, prompt: ArrayLike) -> dict[str, float]:
    """Two-sided p-values of the directions above; of heavy tails, one-sided.

    Parameters
    ----------
    x, prompt : array_like, shapes (n, w) and (n,)
        What the estimate was fitted to; entropies in nats.
    """
    layout, theta = estimate.layout, estimate.theta
    objective = Objective.of(layout, x)
    free = ~held(layout, theta)
    scores = information(objective, theta).scores[:, free]
    directions = _directions(objective, theta)
    rest = directions - scores @ np.linalg.lstsq(scores, directions, rcond=None)[0]
    index = np.unique(np.asarray(prompt), return_inverse=True)[1].ravel()
    sums = np.array([np.bincount(index, column) for column in rest.T])
    n = sums.shape[1]
    error = sums.std(axis=1, ddof=1) * np.sqrt(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(error > 0, sums.sum(axis=1) / error, 0.0)
    return {
        SHARED: float(2 * stdtr(n - 1, -abs(found[0]))),
        TAILS: float(stdtr(n - 1, -found[1])),
    }


def _directions(objective: Objective, theta: FloatArray) -> FloatArray:
    """Derivatives of each token's log-density in both directions, (n, 2)."""
    laws = cells(objective.layout, theta)
    belief = softmax(objective.features @ objective.coefficients(laws), axis=1)
    normal = _mean_fourth()
    layers = np.arange(objective.layout.w - 1)
    pattern = np.triu(RHO ** np.abs(layers[:, None] - layers), 1)
    found = np.zeros((len(objective.z), 2))
    for m, (mean, P) in enumerate(zip(laws.mean, laws.precision, strict=True)):
        size = np.sqrt(np.diag(P))
        a = (objective.z - mean) @ P / size
        # The final layer has no noise of its own to share.
        own = (P / np.outer(size, size))[:-1, :-1]
        shared = np.einsum("nk,kl,nl->n", a[:, :-1], pattern, a[:, :-1]) - (pattern * own).sum()
        t = np.clip(a[:, :-1], -CLIP, CLIP)
        fourth = t**4 - 6 * t**2 - normal
        found[:, 0] += belief[:, m] * shared
        found[:, 1] += belief[:, m] * fourth.sum(axis=1)
    return found


def _mean_fourth() -> float:
    """`E (t^4 - 6 t^2)` of a standard normal `t` clipped at `CLIP`."""
    tail, density = ndtr(-CLIP), math.exp(-(CLIP**2) / 2) / math.sqrt(2 * math.pi)
    square = 1 - 2 * tail - 2 * CLIP * density
    fourth = 3 * square - 2 * CLIP**3 * density
    return float(fourth - 6 * square + 2 * tail * (CLIP**4 - 6 * CLIP**2))
