"""S2: martingales by regression, without nested simulation (Rogers 2002; Belomestny, Bender,
Schoenmakers 2009).

Where the next observation is a function of the history and a normal vector `z`, every sum of

    phi_j(F[t]) H_k(z),      H_k one of z_1, .., z_d, z_1**2 - 1, .., z_d**2 - 1,

has conditional mean zero whatever the coefficients: it is a martingale increment by construction.
Least squares chooses the coefficients that explain most of what a step reveals. Taken off the
regression's target, the increment is a control variate: the continuation value is then fitted to
what chance has left, which is little.

The design has many columns, so normal equations are summed up block by block and it never stands
in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from stopping.optimal.bases import Fitted
from stopping.types import FloatArray

_BLOCK = 4096
_RIDGE = 1e-9
"""Of the columns' mean square: at `t = 0` most columns are constant, so collinear."""


@dataclass(frozen=True, eq=False)
class Control:
    """The martingale increment of one step.

    Attributes
    ----------
    fitted : Fitted
        Basis `phi` at time `t`.
    weights : ndarray, shape (columns, 2 d)
        Coefficients of `phi_j H_k`.
    """

    fitted: Fitted
    weights: FloatArray

    def __call__(self, features: FloatArray, normal: FloatArray) -> FloatArray:
        """Increment given features at `t`, `(n, p)`, and the step's normal numbers `(n, d)`."""
        increment: FloatArray = ((self.fitted(features) @ self.weights) * hermite(normal)).sum(1)
        return increment


def hermite(normal: FloatArray) -> FloatArray:
    """`z_k` and `(z_k**2 - 1) / sqrt(2)`: orthonormal functions of mean 0, shape (n, 2 d)."""
    return np.column_stack([normal, (normal**2 - 1) / np.sqrt(2)])


def fit_control(
    fitted: Fitted, features: FloatArray, normal: FloatArray, around: FloatArray, target: FloatArray
) -> Control:
    """Regress `target` on `phi_j H_k` beside `around`, columns that are known at `t`."""

    def design(rows: slice) -> FloatArray:
        phi, moments = fitted(features[rows]), hermite(normal[rows])
        products = (phi[:, :, None] * moments[:, None, :]).reshape(len(phi), -1)
        return np.column_stack([around[rows], products])

    solution = streamed_least_squares(design, target)
    return Control(fitted, solution[around.shape[1] :].reshape(-1, 2 * normal.shape[1]))


def streamed_least_squares(design: Callable[[slice], FloatArray], target: FloatArray) -> FloatArray:
    """Ridge regression, nearly without a ridge, of a design that is made row block by row block."""
    width = design(slice(0, 1)).shape[1]
    gram, moment = np.zeros((width, width)), np.zeros(width)
    for start in range(0, len(target), _BLOCK):
        rows = slice(start, start + _BLOCK)
        columns = design(rows)
        gram += columns.T @ columns
        moment += columns.T @ target[rows]
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    gram /= scale[:, None] * scale
    gram[np.diag_indices(width)] += _RIDGE
    solution: FloatArray = solve(gram, moment / scale, assume_a="pos") / scale
    return solution
