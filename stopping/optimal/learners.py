"""What turns columns of a basis into a function: least squares, or boosted trees.

A learner is fed block by block. Least squares keep sums alone, so their memory does not depend on
the number of paths; trees keep all columns.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.linalg import solve

from stopping.support.threads import one_thread
from stopping.types import FloatArray

RIDGE = 1e-9
"""Of the columns' mean square: at `t = 0` most columns are constant, so collinear."""


class Solution(Protocol):
    """Maps columns `(n, m)` to predictions `(n,)`."""

    def __call__(self, columns: FloatArray) -> FloatArray:
        """Predictions."""
        ...


class Learner(Protocol):
    """Is fed columns `(n, m)` and targets `(n,)`, and then solved."""

    def add(self, columns: FloatArray, target: FloatArray) -> None:
        """Learn one block."""
        ...

    def solve(self) -> Solution:
        """Return what was learned."""
        ...


@dataclass(frozen=True, eq=False)
class Weights:
    """A linear function of the columns: coefficients, shape (m,)."""

    values: FloatArray

    def __call__(self, columns: FloatArray) -> FloatArray:
        """Predictions."""
        predicted: FloatArray = columns @ self.values
        return predicted


class LeastSquares:
    """Ridge regression, nearly without a ridge, by normal equations that are summed up."""

    def __init__(self, ridge: float = RIDGE) -> None:
        self._ridge, self._gram, self._moment = ridge, np.zeros((0, 0)), np.zeros(0)

    def add(self, columns: FloatArray, target: FloatArray) -> None:
        """Sum up products; nothing of the columns is kept."""
        if not self._moment.size:
            width = columns.shape[1]
            self._gram, self._moment = np.zeros((width, width)), np.zeros(width)
        self._gram += columns.T @ columns
        self._moment += columns.T @ target

    def solve(self) -> Weights:
        """Least solution; at least one block must have been added."""
        scale = np.sqrt(np.diag(self._gram))
        scale[scale == 0] = 1.0
        gram = self._gram / scale[:, None] / scale
        gram[np.diag_indices(len(scale))] += self._ridge
        return Weights(solve(gram, self._moment / scale, assume_a="pos") / scale)


@dataclass(frozen=True, eq=False)
class Forest:
    """Boosted trees that were fitted."""

    model: Any

    def __call__(self, columns: FloatArray) -> FloatArray:
        """Predictions."""
        with one_thread():
            predicted: FloatArray = self.model.predict(columns)
        return predicted


class Boosting:
    """Gradient-boosted regression trees of scikit-learn, each level of a histogram's bins."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._columns: list[FloatArray] = []
        self._target: list[FloatArray] = []

    def add(self, columns: FloatArray, target: FloatArray) -> None:
        """Keep them: trees are grown on all at once."""
        self._columns.append(columns)
        self._target.append(target)

    def solve(self) -> Forest:
        """Grow the trees, on one thread."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(early_stopping=False, **self._settings)
        with one_thread():
            model.fit(np.concatenate(self._columns), np.concatenate(self._target))
        return Forest(model)
