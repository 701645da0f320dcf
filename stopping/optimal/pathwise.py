"""S2: the martingale that the bound itself chooses (Desai, Farias and Moallemi 2012; Belomestny
2013), by least squares and without nested simulation.

The regression of `stopping.optimal.control` explains each step by itself; the bound asks that

    D = min_t (loss[t] - M[t])

be high, and the same on every path: for the best martingale it is the value, without noise. Here

    M[t] = sum_{s < t} a_s(F[s]) N[s+1],     a_s linear in the features at s,

where `N` are the increments of the regression, so each term has conditional mean zero whatever
`a`; `a = 1` is the regression's own martingale. On paths of their own the sum of

    (goal - D)^2,     goal: a standard deviation of D above the mean loss of the rule,

weighs the mean of `D` against its variance. With the times of the minima held fixed it is a problem
of least squares in all coefficients together; it is solved, half of the step is taken, and the
times are found anew. Fresh paths then make a bound of it, as of any martingale.
"""

from dataclasses import dataclass, replace

import numpy as np

from stopping.optimal.bases import Fitted, Polynomial
from stopping.optimal.control import Increment
from stopping.optimal.learners import LeastSquares
from stopping.optimal.regression import Policy
from stopping.support.threads import one_thread
from stopping.types import FloatArray

BASIS = Polynomial(1, 1)
"""Of the factors `a_s`."""
_ROUNDS, _STEP, _RIDGE = 5, 0.5, 1e-3
_PER_COLUMN = 10
"""Paths for each coefficient, at least; fewer are fitted to their own noise."""
_CELLS = 1 << 25
"""Numbers held at most, 256 MiB."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """The martingale increment of one step: a linear function of the features times a control.

    Attributes
    ----------
    control : Increment
    fitted : Fitted
        Basis of the factor.
    weights : ndarray, shape (columns,)
    """

    control: Increment
    fitted: Fitted
    weights: FloatArray

    def __call__(self, features: FloatArray, moments: FloatArray) -> FloatArray:
        """Increment given features at `t`, `(n, p)`, and the step's `h_k`, `(n, m)`."""
        factor: FloatArray = self.fitted(features) @ self.weights
        return factor * self.control(features, moments)


@one_thread()
def optimised(policy: Policy, rng: np.random.Generator, n: int) -> Policy | None:
    """Policy with its martingale chosen on `n` paths at most; None if they are too few.

    The rule is the same. The policy must have a control.
    """
    problem, stages = policy.problem, policy.stages
    x = problem.sample(rng, 2)
    widths = [
        BASIS.fit(problem.look(x[:, : t + 1]).features).centre.size + 1 for t in range(len(stages))
    ]
    n = min(n, _CELLS // max(sum(widths), 1))
    if not stages or n < _PER_COLUMN * sum(widths):
        return None
    x = problem.sample(rng, n)
    view = problem.look(x[:, :1])
    start = stages[0].envelope(view)
    fitted, columns, losses = [], [], [view.loss]
    for t in range(len(stages)):
        history = x[:, : t + 2]
        before, view = view, problem.look(history)
        fitted.append(BASIS.fit(before.features))
        step = policy.increment(t, before, view, history)
        columns.append(fitted[t](before.features) * step[:, None])
        losses.append(view.loss)
    centred = np.column_stack(losses) - (start - start.mean())[:, None]
    weights = _least_squares(columns, centred, float(policy.run(x)[1].mean()))
    return replace(
        policy,
        stages=tuple(
            replace(stage, control=Scaled(stage.control, basis, a))
            for stage, basis, a in zip(stages, fitted, weights, strict=True)
            if stage.control is not None
        ),
    )


def _least_squares(columns: list[FloatArray], losses: FloatArray, value: float) -> list[FloatArray]:
    """Coefficients of each step's columns `(n, q)`, given losses `(n, T + 1)`."""
    ends = np.cumsum([step.shape[1] for step in columns])
    a = np.zeros(ends[-1])
    a[np.concatenate([[0], ends[:-1]])] = 1.0
    goal = None
    for _ in range(_ROUNDS):
        steps = [c @ part for c, part in zip(columns, np.split(a, ends[:-1]), strict=True)]
        martingale = np.cumsum(np.column_stack([np.zeros(len(losses)), *steps]), axis=1)
        left = losses - martingale
        time, least = left.argmin(axis=1), left.min(axis=1)
        goal = value + float(least.std()) if goal is None else goal
        design = np.column_stack([c * (time > t)[:, None] for t, c in enumerate(columns)])
        squares = LeastSquares(_RIDGE)
        squares.add(design, least - goal)
        a = a + _STEP * squares.solve().values
    return np.split(a, ends[:-1])
