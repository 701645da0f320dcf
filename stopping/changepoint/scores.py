r"""Scores of tokens, and the two information matrices that standard errors rest on.

With `a = S^-1 (z - mean)` in a cell `(c, v)` and `A[k]` its sum over the layers from `k` on, the
derivatives of the cell's log-density are `+-A[k]` by the mean of the step onto `k`,
`(A[k]^2 - h' S^-1 h) / 2` by its variance (`h` the indicator of the layers from `k` on) and
`(a[l]^2 - S^-1[l, l]) / 2` by the noise variance of layer `l`. The token's score is their average
over cells, weighted by responsibilities (Fisher's identity), and its observed information is that
of the complete data minus what not knowing the cell takes away (Louis 1982):

    I = -Q'' - sum over tokens of (sum_cv r_cv s_cv s_cv' - s s').
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.special import softmax

from stopping.changepoint.layout import Layout
from stopping.changepoint.objective import Cells, Objective, cells
from stopping.types import FloatArray, IntArray

_BLOCK = 8192
_STEP = 1e-5


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
    size = objective.layout.size
    scores, complete = np.empty((len(objective.z), size)), np.zeros((size, size))
    for rows, laws, joint in _blocks(objective, theta):
        scores[rows] = 0.0
        for m, columns, own in _cell_scores(objective, theta, laws, rows):
            belief = joint[:, m, None]
            scores[rows, columns] += belief * own
            weighted = own * (belief * objective.weight[rows, None])
            complete[np.ix_(columns, columns)] += weighted.T @ own
    missing = complete - (scores * objective.weight[:, None]).T @ scores
    return Information(scores, -_complete_hessian(objective, theta) - missing)


def _blocks(objective: Objective, theta: FloatArray) -> Iterator[tuple[slice, Cells, FloatArray]]:
    """Rows in blocks, each with the responsibilities of its tokens."""
    laws = cells(objective.layout, theta)
    coefficients = objective.coefficients(laws)
    for start in range(0, len(objective.z), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, laws, softmax(objective.features[rows] @ coefficients, axis=1)


def _cell_scores(
    objective: Objective, theta: FloatArray, laws: Cells, rows: slice
) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """Complete-data scores of each cell: its number, the columns of `theta`, and the values."""
    layout = objective.layout
    z, w, classes = objective.z[rows], layout.w, layout.classes
    turning = range(w) if layout.turns else range(w - 1, w)
    weights = softmax(layout.weight_logits(theta))
    weight_columns = classes * layout.per_class + np.arange(classes)
    for c in range(classes):
        columns = np.concatenate(
            [c * layout.per_class + np.arange(layout.per_class), weight_columns]
        )
        for i, v in enumerate(turning):
            m = c * len(turning) + i
            own = np.zeros((len(z), len(columns)))
            _fill(layout, theta, c, v, laws.precision[m], z - laws.mean[m], own)
            own[:, layout.per_class :] = (np.arange(classes) == c) - weights
            yield m, columns, own


def _fill(
    layout: Layout,
    theta: FloatArray,
    c: int,
    v: int,
    precision: FloatArray,
    residual: FloatArray,
    out: FloatArray,
) -> None:
    """Write the scores of one cell into the columns of its class."""
    w = layout.w
    at = layout.slices
    a = residual @ precision
    A = a[:, ::-1].cumsum(axis=1)[:, ::-1]
    reach = np.diagonal(precision[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1])
    by_variance = (A**2 - reach) / 2
    out[:, at["start_mean"]] = A[:, :1]
    out[:, at["start_sd"]] = by_variance[:, :1]
    out[:, at["drift_mean"]][:, :v] = -A[:, 1 : v + 1]
    out[:, at["drift_sd"]][:, :v] = by_variance[:, 1 : v + 1]
    if layout.turns:
        out[:, at["rise_mean"]][:, v:] = A[:, v + 1 :]
        out[:, at["rise_sd"]][:, v:] = by_variance[:, v + 1 :]
        out[:, at["turning"]] = (np.arange(w) == v) - softmax(layout.part(theta, c, "turning"))
    if layout.noisy:
        by_noise = (a**2 - np.diagonal(precision)) / 2
        if layout.final_noise == "tied":
            by_noise[:, -2] += by_noise[:, -1]
        out[:, at["noise_sd"]] = by_noise[:, :-1]
    for kind in range(1, int(layout.types.max()) + 1):
        of_kind = layout.types == kind
        shared = precision[np.ix_(of_kind, of_kind)].sum()
        out[:, at["jump_sd"]][:, kind - 1] = (a[:, of_kind].sum(axis=1) ** 2 - shared) / 2
    for name in ("start_sd", "drift_sd", "rise_sd", "noise_sd", "jump_sd"):
        out[:, at[name]] *= 2 * layout.part(theta, c, name)


def _complete_hessian(objective: Objective, theta: FloatArray) -> FloatArray:
    """Second derivatives of the expected complete log-likelihood, by differences of its gradient.

    The responsibilities stay as they are at `theta`, so each difference costs nothing that grows
    with the number of tokens. With them fixed, neither a class nor the weights of the classes know
    of the parameters of another: one difference serves the same parameter of all classes.
    """
    layout = objective.layout
    sums = np.zeros((objective.features.shape[1], len(cells(layout, theta).log_prior)))
    for rows, _, joint in _blocks(objective, theta):
        sums += objective.features[rows].T @ (joint * objective.weight[rows, None])
    of_classes = layout.classes * layout.per_class
    together = [slice(k, of_classes, layout.per_class) for k in range(layout.per_class)]
    owner = np.minimum(np.arange(layout.size) // layout.per_class, layout.classes)
    steps = _STEP * np.maximum(1.0, np.abs(theta))
    hessian = np.zeros((layout.size, layout.size))
    for moved in (*together, *(slice(k, k + 1) for k in range(of_classes, layout.size))):
        step = np.zeros(layout.size)
        step[moved] = steps[moved]
        up, down = (
            objective.pull_back(end, cells(layout, end), sums)
            for end in (theta + step, theta - step)
        )
        for k in range(layout.size)[moved]:
            own = owner == owner[k]
            hessian[k, own] = (up - down)[own] / (2 * steps[k])
    return (hessian + hessian.T) / 2


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
