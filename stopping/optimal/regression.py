"""S2: least-squares Monte Carlo (Longstaff and Schwartz 2001), for losses.

Going back from the horizon, the loss that the rule found so far will meet is regressed on functions
of what is known at time `t`; the fit estimates the continuation value `C[t]`, and the rule stops
where the loss of stopping is at most that. Any such rule is a stopping time, so on *fresh* paths
its mean loss is an upper bound of the value (for a reward, a lower bound), up to a standard error
and however poor the regression. `stopping.optimal.dual` bounds the value from the other side.
"""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.optimal.bases import AbstractBasis, Fitted
from stopping.optimal.control import Control, fit_control
from stopping.optimal.problem import AbstractGaussianProblem, AbstractProblem, View
from stopping.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Stage:
    """The regressions of one time `t < T`.

    Attributes
    ----------
    fitted : Fitted
        Basis.
    decision : ndarray, shape (columns,)
        Continuation value above the anchor where stopping is eligible: what the rule compares with.
    value : ndarray, shape (columns,)
        The same everywhere, for the dual bound.
    control : Control, optional
        Martingale increment of the step that follows.
    """

    fitted: Fitted
    decision: FloatArray
    value: FloatArray
    control: Control | None = None

    def stops(self, view: View) -> BoolArray:
        """Whether the rule stops, shape (n,)."""
        ahead = view.anchor + self.fitted(view.features) @ self.decision
        return view.eligible & (view.loss <= ahead)

    def envelope(self, view: View) -> FloatArray:
        """Approximate value `min(loss, C)`, shape (n,)."""
        return np.minimum(view.loss, view.anchor + self.fitted(view.features) @ self.value)


@dataclass(frozen=True, eq=False)
class Policy:
    """An approximately optimal rule for a problem; one stage for each `t < T`."""

    problem: AbstractProblem
    stages: tuple[Stage, ...]

    def run(self, x: FloatArray) -> tuple[IntArray, FloatArray]:
        """Stopping time and loss met on whole histories `(n, T + 1, ..)`."""
        time, loss, _ = self._follow(x, controlled=False)
        return time, loss

    def draw(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Losses met on `n` fresh paths: their mean bounds the value from above.

        Less the control's martingale at the stopping time, where there is one: that has mean 0
        and takes most of the noise with it.
        """
        _, loss, martingale = self._follow(self.problem.sample(rng, n), controlled=True)
        return loss - martingale

    def increment(self, t: int, features: FloatArray, history: FloatArray) -> FloatArray:
        """Increment of the control's martingale at the last step of histories `(n, t + 2, ..)`."""
        control = self.stages[t].control
        if control is None or not isinstance(self.problem, AbstractGaussianProblem):
            return np.zeros(len(history))
        return control(features, self.problem.innovation(history))

    def _follow(
        self, x: FloatArray, *, controlled: bool
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Stopping time, loss met and martingale at the stopping time."""
        n = len(x)
        time, loss, martingale = np.full(n, self.problem.horizon), np.empty(n), np.zeros(n)
        running = np.arange(n)
        for t, stage in enumerate(self.stages):
            view = self.problem.look(x[running, : t + 1])
            halt = stage.stops(view)
            time[running[halt]], loss[running[halt]] = t, view.loss[halt]
            running = running[~halt]
            if not running.size:
                return time, loss, martingale
            if controlled:
                history = x[running, : t + 2]
                martingale[running] += self.increment(t, view.features[~halt], history)
        loss[running] = self.problem.look(x[running]).loss
        return time, loss, martingale


def fit_policy(
    problem: AbstractProblem,
    basis: AbstractBasis,
    rng: np.random.Generator,
    n: int,
    control: AbstractBasis | None = None,
) -> Policy:
    """Regress backwards on `n` paths.

    With a basis for the `control`, what the normal numbers of a step explain is taken off before
    the step before it is regressed, and kept for the dual bound.

    Raises
    ------
    UserError
        If there are fewer than ten paths for each column of the regression, or a control is asked
        for where steps are not Gaussian.
    """
    if control is not None and not isinstance(problem, AbstractGaussianProblem):
        raise UserError(
            f"control: {type(problem).__name__} is not driven by normal numbers; leave it out"
        )
    x = problem.sample(rng, n)
    met = problem.look(x).loss
    stages: list[Stage] = []
    for t in range(problem.horizon - 1, -1, -1):
        view = problem.look(x[:, : t + 1])
        fitted = basis.fit(view.features)
        columns = fitted(view.features)
        if n < 10 * columns.shape[1]:
            raise UserError(
                f"regression: {columns.shape[1]} columns need at least {10 * columns.shape[1]} "
                f"paths, got {n}; draw more paths or choose a smaller basis"
            )
        increment = None
        if control is not None and isinstance(problem, AbstractGaussianProblem):
            normal = problem.innovation(x[:, : t + 2])
            increment = fit_control(
                control.fit(view.features), view.features, normal, columns, met - view.anchor
            )
            met = met - increment(view.features, normal)
        target = met - view.anchor
        value = _least_squares(columns, target)
        chosen = view.eligible
        enough = np.count_nonzero(chosen) >= 10 * columns.shape[1]
        decision = value
        if enough and not chosen.all():
            decision = _least_squares(columns[chosen], target[chosen])
        stage = Stage(fitted, decision, value, increment)
        met = np.where(stage.stops(view), view.loss, met)
        stages.append(stage)
    return Policy(problem, tuple(stages[::-1]))


def _least_squares(columns: FloatArray, target: FloatArray) -> FloatArray:
    # Features may be collinear (at t = 0 some are constant): the least solution is as good as any.
    scale = np.sqrt((columns**2).mean(axis=0))
    scale[scale == 0] = 1.0
    solution: FloatArray = np.linalg.lstsq(columns / scale, target, rcond=1e-9)[0]
    rescaled: FloatArray = solution / scale
    return rescaled
