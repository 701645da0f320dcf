r"""Scores of tokens, and the two information matrices that standard errors rest on.

Given the cell `(c, v)`, with `P` and `E` as in `stopping.changepoint.complete` and
`a = E' P (z - mean)`, the derivatives of a token's log-density are `a` by the means and
`(a^2 - diag(E' P E)) / 2` by the variances. The token's score is their average over cells, weighted
by responsibilities (Fisher's identity), and its observed information is that of the complete data
minus what not knowing the cell takes away (Louis 1982):

    I = -Q'' - sum over tokens of (sum_cv r_cv s_cv s_cv' - s s').
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.special import softmax

from stopping.changepoint.layout import Layout
from stopping.changepoint.objective import Cells, Objective, cells
from stopping.types import FloatArray

_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Information:
    """Everything that standard errors need, at one parameter vector of `size` entries.

    Attributes
    ----------
    scores : ndarray, shape (n, size)
        Score of each token, unweighted.
    observed : ndarray, shape (size, size)
        Observed information of all tokens.
    """

    scores: FloatArray
    observed: FloatArray


def information(objective: Objective, theta: FloatArray) -> Information:
    """Scores of all tokens and their observed information."""
    layout, laws = objective.layout, cells(objective.layout, theta)
    coefficients = objective.coefficients(laws)
    turns, _, per_class = layout.incidence.shape
    classes, weights = range(layout.classes), layout.logit_groups[-1]
    scores = np.zeros((len(objective.z), layout.size))
    squares, sums = np.zeros((layout.size, layout.size)), np.zeros(coefficients.shape)
    onto = [_onto(layout, theta, c) for c in classes]
    columns = [np.r_[layout.own(c), weights] for c in classes]
    for start in range(0, len(objective.z), _BLOCK):
        rows = slice(start, start + _BLOCK)
        joint = softmax(objective.features[rows] @ coefficients, axis=1)
        counted = joint * objective.weight[rows, None]
        sums += objective.features[rows].T @ counted
        for c in classes:
            mine = slice(c * turns, (c + 1) * turns)
            own = _by_moments(objective, laws, mine, rows)
            known = ((joint[:, mine].T[:, :, None] * own) @ onto[c]).sum(axis=0)
            scores[rows, layout.own(c)] = known[:, :per_class]
            scores[rows, weights] += known[:, per_class:]
            own_squares = own.transpose(0, 2, 1) @ (counted[:, mine].T[:, :, None] * own)
            squares[np.ix_(columns[c], columns[c])] += (
                onto[c].transpose(0, 2, 1) @ own_squares @ onto[c]
            ).sum(axis=0)
    missing = squares - (scores * objective.weight[:, None]).T @ scores
    return Information(scores, -objective.complete(theta, laws, sums).hessian - missing)


def _by_moments(objective: Objective, laws: Cells, mine: slice, rows: slice) -> FloatArray:
    """Scores in cells by their means and variances (`Layout.incidence`), and ones, (v, n, .)."""
    w, reach = objective.layout.w, objective.layout.reach
    weighed = laws.precision[mine] @ reach
    a = (objective.z[rows] - laws.mean[mine, None]) @ weighed
    by_variance = (a**2 - (reach * weighed).sum(axis=1)[:, None]) / 2
    return np.concatenate([a[:, :, :w], by_variance, np.ones((*a.shape[:2], 1))], axis=2)


def _onto(layout: Layout, theta: FloatArray, c: int) -> FloatArray:
    """From scores by moments to those by the entries of class `c` and by the class weights."""
    *laws, weights = (softmax(theta[group]) for group in layout.logit_groups)
    turns, rows, per_class = layout.incidence.shape
    found = np.zeros((turns, rows + 1, per_class + layout.classes))
    found[:, :-1, :per_class] = layout.incidence * layout.slope(theta)[c]
    found[:, -1, per_class:] = (np.arange(layout.classes) == c) - weights
    if layout.turns:
        found[:, -1, layout.slices["turning"]] = np.eye(turns) - laws[c]
    return found


def reweighted(objective: Objective, weight: FloatArray) -> Objective:
    """The same tokens counted differently; their features are computed once."""
    other = replace(objective, weight=weight)
    other.__dict__.update(centre=objective.centre, features=objective.features)
    return other


def inverse_root(matrix: FloatArray) -> tuple[FloatArray, bool]:
    """`R` with `R R'` the inverse of a symmetric matrix, and whether that is positive definite.

    A negative curvature counts by its size, which turns a Newton step there uphill; directions that
    are flat to rounding are left out.
    """
    scale = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    values, vectors = eigh(matrix / np.outer(scale, scale))
    size = np.abs(values)
    usable = size > 1e-9
    inverse = np.where(usable, size, 1.0) ** -0.5 * usable
    root: FloatArray = vectors * inverse / scale[:, None]
    return root, bool((values > 1e-9).all())
