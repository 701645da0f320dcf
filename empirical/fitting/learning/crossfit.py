"""Training on some prompts, choosing on others.

The prompts are dealt into folds, those of one group (a template, a document, a user) together. For
each fold the regression is trained on all the others; the *margin*, by which a layer's predicted
log-loss must beat the final layer's before the rule moves, is chosen on these too, by an inner
split, as the one that loses least there. No choice is ever made
by a regression or a margin that saw the prompt.

The least of several noisy predictions is too low on average (a winner's curse): the gain that the
rule promises itself exceeds the one it makes. The margin is what guards against it, and both gains
are reported.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from empirical.fitting.learning.observations import Observations
from empirical.fitting.learning.regressors import CLIP, Regressor
from stopping.errors import UserError
from stopping.support.parallel import Workers, in_order
from stopping.types import BoolArray, FloatArray, IntArray

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, np.inf)
"""Nats; an infinite one never moves."""
FOLDS = 5


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What a regression predicts and chooses for tokens of prompts that it has not seen.

    Attributes
    ----------
    predicted : ndarray, shape (n, K)
        Log-loss of each layer below `L` less that of `L`.
    margin : ndarray, shape (n,)
        The margin chosen for the token's fold.
    """

    predicted: FloatArray
    margin: FloatArray

    def explained(self, gain: FloatArray) -> FloatArray:
        """Share of each layer's variance explained, of clipped differences, shape (K,).

        NaN for a layer whose differences are all the same: it has no variance to explain.
        """
        clipped = np.clip(gain, -CLIP, CLIP)
        residual = ((clipped - self.predicted) ** 2).sum(axis=0)
        total = ((clipped - clipped.mean(axis=0)) ** 2).sum(axis=0)
        left = np.full(total.shape, np.nan)
        np.divide(residual, total, out=left, where=total > 0)
        return 1 - left

    def choice(self, margin: FloatArray | float | None = None) -> IntArray:
        """Window column of each token, shape (n,); by another margin if one is given."""
        return choose(self.predicted, self.margin if margin is None else margin)


def choose(predicted: FloatArray, margin: FloatArray | float) -> IntArray:
    """Column of least predicted log-loss if it beats the last by `margin`, else the last column."""
    K = predicted.shape[1]
    deepest: IntArray = K - 1 - predicted[:, ::-1].argmin(axis=1)
    moves = predicted[np.arange(len(predicted)), deepest] < -np.asarray(margin)
    return np.where(moves, deepest, K)


def deal(clusters: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Number of the fold of each token, whole prompts together, or whole groups of prompts.

    Raises
    ------
    UserError
        If there are fewer than two clusters for each fold.
    """
    names, index = np.unique(clusters, return_inverse=True)
    if len(names) < 2 * folds:
        raise UserError(
            f"{len(names)} prompt(s) or groups of prompts: {folds} folds need at least "
            f"{2 * folds}; trace more"
        )
    dealt: IntArray = rng.permutation(len(names))[index] % folds
    return dealt


def crossfit(
    observations: Observations,
    regressor: Regressor,
    seed: int = 0,
    folds: int = FOLDS,
    workers: Workers | None = None,
    fraction: float = 1.0,
) -> CrossFit:
    """Train and choose on every fold; results do not depend on the workers.

    With a `fraction` below 1 only that share of each fold's training prompts is used.
    """
    X, gain, clusters = observations.features, observations.gain, observations.clusters
    fold = deal(clusters, folds, np.random.default_rng(seed))
    predicted, margin = np.empty_like(gain), np.empty(len(gain))
    jobs = (
        partial(_fold, regressor, X, gain, clusters, fold == number, seed, fraction)
        for number in range(folds)
    )
    for number, (found, chosen) in enumerate(in_order(jobs, workers)):
        predicted[fold == number] = found
        margin[fold == number] = chosen
    return CrossFit(predicted, margin)


def _fold(
    regressor: Regressor,
    X: FloatArray,
    gain: FloatArray,
    clusters: IntArray,
    test: BoolArray,
    seed: int,
    fraction: float,
) -> tuple[FloatArray, float]:
    train = np.flatnonzero(~test)
    if fraction < 1:
        names = np.random.default_rng(seed + 2).permutation(np.unique(clusters[train]))
        kept = names[: max(4, round(fraction * len(names)))]
        train = train[np.isin(clusters[train], kept)]
    halves = deal(clusters[train], 2, np.random.default_rng(seed + 1))
    learn, judge = train[halves == 0], train[halves == 1]
    (found,) = regressor.fit_predict(X[learn], gain[learn], X[judge])
    losses = np.array([realised(gain[judge], choose(found, m)).mean() for m in MARGINS])
    # Of equal margins the largest: it moves least.
    margin = MARGINS[len(MARGINS) - 1 - int(losses[::-1].argmin())]
    (predicted,) = regressor.fit_predict(X[train], gain[train], X[test])
    return predicted, margin


def realised(gain: FloatArray, choice: IntArray) -> FloatArray:
    """Change of log-loss by decoding `choice` in place of `L`, shape (n,)."""
    with_last = np.column_stack([gain, np.zeros(len(gain))])
    found: FloatArray = with_last[np.arange(len(gain)), choice]
    return found
