"""S2: martingales by regression, without nested simulation (Rogers 2002; Belomestny, Bender,
Schoenmakers 2009).

Where functions `h_k` of a step are known whose mean given the past is 0 (Hermite polynomials of the
normal number that drives it, changes of a posterior mean), every sum of

    phi_j(F[t]) h_k(step)

has conditional mean zero whatever the coefficients: it is a martingale increment by construction.
Least squares chooses the coefficients that explain most of what a step reveals. Taken off the
regression's target, the increment is a control variate: the continuation value is then fitted to
what chance has left, which is little.

The design has many columns, so it is made block by block and never stands in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stopping.optimal.bases import Fitted
from stopping.optimal.learners import LeastSquares
from stopping.types import FloatArray

_BLOCK = 4096
RIDGE = 1e-4
"""Of the columns' mean square. Posterior means of neighbouring layers move nearly together: without
a ridge their coefficients are thousands that cancel on the paths of the fit, and on a rare fresh
one do not."""


class Increment(Protocol):
    """A martingale increment of one step, as a function of what is known and of the step."""

    def __call__(self, features: FloatArray, moments: FloatArray) -> FloatArray:
        """Increment given features at `t`, `(n, p)`, and the step's `h_k`, `(n, m)`."""
        ...


@dataclass(frozen=True, eq=False)
class Control:
    """The martingale increment of one step.

    Attributes
    ----------
    fitted : Fitted
        Basis `phi` at time `t`.
    weights : ndarray, shape (columns, m)
        Coefficients of `phi_j h_k`.
    """

    fitted: Fitted
    weights: FloatArray

    def __call__(self, features: FloatArray, moments: FloatArray) -> FloatArray:
        """Increment given features at `t`, `(n, p)`, and the step's `h_k`, `(n, m)`."""
        increment: FloatArray = ((self.fitted(features) @ self.weights) * moments).sum(axis=1)
        return increment


class ControlFit:
    """Regresses a target on `phi_j h_k` beside columns that are known at `t`."""

    def __init__(self, fitted: Fitted) -> None:
        self._fitted, self._sums, self._moments = fitted, LeastSquares(RIDGE), 0

    def add(
        self, features: FloatArray, moments: FloatArray, around: FloatArray, target: FloatArray
    ) -> None:
        """Sum up one block of paths."""
        self._moments = moments.shape[1]
        for rows in _slices(len(target)):
            phi = self._fitted(features[rows])
            products = (phi[:, :, None] * moments[rows, None, :]).reshape(len(phi), -1)
            self._sums.add(np.column_stack([products, around[rows]]), target[rows])

    def solve(self) -> Control:
        """Best coefficients."""
        found = self._sums.solve().values
        columns = len(self._fitted(np.zeros((1, len(self._fitted.centre))))[0])
        weights = found[: columns * self._moments].reshape(columns, self._moments)
        return Control(self._fitted, weights)


def _slices(n: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, n, _BLOCK))
