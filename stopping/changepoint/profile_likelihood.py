r"""Intervals where the likelihood is no parabola: flat, or with two tops.

A standard error is the curvature at the estimate. Whether the likelihood falls as that says is seen
by the profile likelihood of a parameter, the maximum over all others with the parameter held at a
value,

    D(value) = 2 (log-likelihood at the estimate - profile at the value) / design effect,

which for a parabola reaches the square of Student's quantile at the ends of the interval. Where it
has not yet, the end moves outwards until it has; where it does not within `FAR` half-widths (the
likelihood is flat), or has fallen again at twice the distance (there is another top), or is
negative (the other top is higher), the parameter is not identified. No interval gets shorter. The
design effect, the ratio of the variance over prompts to that over tokens, makes up for tokens of
a prompt that are dependent.

Probabilities are held on the logit, spreads on the logarithm, as their intervals are.

Source: Venzon, D. J. and Moolgavkar, S. H. (1988), A method for computing profile-likelihood-based
confidence intervals, *Appl. Statist.* 37.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax, stdtrit

from stopping.changepoint.estimate import Estimate
from stopping.changepoint.inference import LEVEL, Parameter, Status, Uncertainty
from stopping.changepoint.layout import Layout
from stopping.changepoint.objective import Objective
from stopping.support.threads import one_thread
from stopping.types import FloatArray

FAR = 6.0
"""Half-widths of the interval beyond which a likelihood that has not fallen is called flat."""
_NEAR = 0.85
"""Share of the fall at which an end counts as reached."""
_ITERATIONS, _HALVINGS, _SETTLED = 25, 8, 0.02
_MOVES = 5


@one_thread()
def profiled(
    estimate: Estimate,
    errors: Uncertainty,
    parameters: Iterable[Parameter],
    x: ArrayLike,
) -> tuple[Parameter, ...]:
    """Hold every identified parameter at the ends of its interval, and widen or withdraw it.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those of `errors`, with statuses that have heard the evidence.
    x : array_like, shape (n, w)
        What the estimate was fitted to, nats.
    """
    objective = Objective.of(estimate.layout, x)
    needed = float(stdtrit(errors.prompts - 1, (1 + LEVEL) / 2)) ** 2
    return tuple(
        _widened(Held(objective, estimate.theta, errors.by_information, p), p, needed)
        if p.status is Status.IDENTIFIED and p.by_information > 0
        else p
        for p in parameters
    )


class Held:
    """One parameter, on the scale of its interval, held at a value while all others move."""

    def __init__(
        self, objective: Objective, theta: FloatArray, covariance: FloatArray, parameter: Parameter
    ) -> None:
        self.objective, self.theta = objective, theta
        self.place, self.of_law = _place(objective.layout, parameter)
        self.log = parameter.name.endswith("_sd")
        self.low, self.high = objective.layout.bounds()
        slope = self._slope()
        self.along = covariance @ slope
        self.variance = float(slope @ self.along)
        self.inverse = covariance - np.outer(self.along, self.along) / self.variance
        self.value = objective.value_and_gradient(theta)[0]

    def working(self, value: float) -> float:
        """Return the value of a parameter on the scale on which it is held."""
        with np.errstate(divide="ignore"):
            if self.of_law is not None:
                return float(np.log(value) - np.log1p(-value))
            return float(np.log(value)) if self.log else value

    def reported(self, value: float) -> float:
        """Undo `working`."""
        if self.of_law is not None:
            return float(1 / (1 + np.exp(-value)))
        return float(np.exp(value)) if self.log else value

    def lost(self, value: float) -> float:
        """Log-likelihood over all tokens below the estimate's, at a value on the working scale."""
        shift = value - self.working(self.reported_at(self.theta))
        along = self._at(self.theta + self.along * (shift / self.variance), value)
        theta = max(along, self._at(self.theta, value), key=self._height)
        height, gradient = self.objective.value_and_gradient(theta)
        for _ in range(_ITERATIONS):
            step = self.inverse @ gradient * self.objective.total
            for _ in range(_HALVINGS):
                moved = self._at(theta + step, value)
                risen, slope = self.objective.value_and_gradient(moved)
                if risen > height:
                    break
                step = step / 2
            else:
                break
            gained = (risen - height) * self.objective.total
            theta, height, gradient = moved, risen, slope
            if gained < _SETTLED:
                break
        return (self.value - height) * self.objective.total

    def reported_at(self, theta: FloatArray) -> float:
        """Return the parameter's value in a vector."""
        if self.of_law is None:
            return float(theta[self.place])
        return float(softmax(theta[self.of_law])[self.place - self.of_law.start])

    def _height(self, theta: FloatArray) -> float:
        return self.objective.value_and_gradient(theta)[0]

    def _at(self, theta: FloatArray, value: float) -> FloatArray:
        """Return the vector within the bounds, with the parameter at the value."""
        moved = np.clip(theta, self.low, self.high)
        if self.of_law is None:
            moved[self.place] = self.reported(value)
        else:
            others = np.delete(moved[self.of_law], self.place - self.of_law.start)
            moved[self.place] = value + logsumexp(others)
        return moved

    def _slope(self) -> FloatArray:
        """Derivative of the parameter on the working scale by the vector."""
        slope = np.zeros(len(self.theta))
        if self.of_law is not None:
            mine = self.place - self.of_law.start
            law = softmax(self.theta[self.of_law])
            slope[self.of_law] = -law / (1 - law[mine])
        slope[self.place] = 1 / self.theta[self.place] if self.log else 1.0
        return slope


def _place(layout: Layout, parameter: Parameter) -> tuple[int, slice | None]:
    """Entry of the vector, and the logits that it is one of if it is a probability."""
    if parameter.name == "weight":
        weights = layout.logit_groups[-1]
        return weights.start + parameter.group, weights
    start = layout.own(parameter.group).start + layout.slices[parameter.name].start
    law = layout.logit_groups[parameter.group] if parameter.name == "turning" else None
    return start + parameter.index, law


def _widened(held: Held, parameter: Parameter, needed: float) -> Parameter:
    design = max(1.0, (parameter.by_prompts / parameter.by_information) ** 2)
    centre, ends = held.working(parameter.estimate), []
    for end in (parameter.interval.low, parameter.interval.high):
        working = held.working(end)
        if not np.isfinite(working) or end == parameter.estimate:  # at a bound: nothing beyond it
            ends.append(end)
            continue
        moved = reached(held.lost, centre, working, needed * design / 2)
        if moved is None:
            return replace(parameter, status=Status.NOT_IDENTIFIED)
        ends.append(end if moved == working else held.reported(moved))
    low = max(ends[0], 0.0) if parameter.name in ("drift_mean", "rise_mean") else ends[0]
    return replace(parameter, interval=replace(parameter.interval, low=low, high=ends[1]))


def reached(
    lost: Callable[[float], float], centre: float, end: float, needed: float
) -> float | None:
    """Where a profile has fallen by `needed`, from `end` outwards; None if it does not stay so.

    Parameters
    ----------
    lost : callable
        How far the profile lies below the estimate's, at a value.
    centre : float
        The estimate, where nothing is lost.
    """
    half = end - centre
    for _ in range(_MOVES):
        fallen = lost(end)
        if fallen < 0 or abs(end - centre) > FAR * abs(half):
            return None
        if fallen >= _NEAR * needed:
            return end if lost(2 * end - centre) >= _NEAR * needed else None
        further = float(np.clip(np.sqrt(needed / max(fallen, 1e-9)), 1.02, 2.0))
        end = centre + (end - centre) * further
    return None
