r"""Uncertainty of an estimate, and which of its parameters the data say anything about.

Three covariances of the estimate, in increasing order of trust:

- *information*: the inverse of the observed information `I` (Louis 1982), right if the model is
  true and tokens are independent;
- *prompts*: the sandwich `I^-1 (sum over prompts of S S') I^-1` with `S` the sum of a prompt's
  scores, right for large samples of dependent tokens and a wrong model;
- *bootstrap*: refits on resampled prompts, from the estimate (`bootstrap`).

A parameter is reported with a status. Where it is not `identified`, the number beside it is what
the optimiser stopped at and no more:

================  ================================================================================
identified        the data say where it is
may be zero       a spread whose interval reaches the floor: only its upper end means anything
at bound          a mean at zero (the data would have it negative) or a probability at zero
few tokens        fewer than `FEW` tokens, in expectation, take part in the step or the class
not identified    its standard error exceeds what is worth calling an estimate
by convention     no token says anything about it (the final layer's noise)
does not fit      the model was refuted (`misfit`): a number of it, not of what made the data
================  ================================================================================

Parameters at a bound are held there when the others' errors are computed, as is usual; intervals
are then conditional on the bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax, stdtrit

from stopping.changepoint.estimate import Estimate
from stopping.changepoint.layer_profile import profile
from stopping.changepoint.layout import SD_FLOOR, Layout, held
from stopping.changepoint.objective import Objective
from stopping.changepoint.posterior import log_joint
from stopping.changepoint.scores import information, inverse_root
from stopping.errors import UserError
from stopping.model.windows import as_batch
from stopping.support.statistics import Interval
from stopping.support.threads import one_thread
from stopping.types import FloatArray

LEVEL = 0.95
FEW = 30
_STEP = 1e-5


class Status(StrEnum):
    """Whether a number may be read as an estimate."""

    IDENTIFIED = "identified"
    MAY_BE_ZERO = "may be zero"
    AT_BOUND = "at bound"
    FEW_TOKENS = "few tokens"
    NOT_IDENTIFIED = "not identified"
    CONVENTION = "by convention"
    MISFIT = "model does not fit"


@dataclass(frozen=True)
class Parameter:
    """One parameter of one class.

    Attributes
    ----------
    group : int
        The class.
    name, index
        As in `Component`; `index` counts from 0, a step onto column `l` having `l - 1`.
    estimate : float
        On the model's scale; a probability for `turning` and `weight`.
    by_information, by_prompts : float
        Standard errors; NaN at a bound and by convention.
    interval : Interval
        From the error by prompts: on the logarithm of spreads, the logit of probabilities.
    tokens : float
        Expected number of tokens that take part.
    """

    group: int
    name: str
    index: int
    estimate: float
    by_information: float
    by_prompts: float
    interval: Interval
    tokens: float
    status: Status


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Covariances of the parameter vector, zero where it is held, and the parameters with both.

    `positive` says whether the observed information is positive definite, as it is at a strict
    maximum; if not, the flat directions are left out of the covariances. `prompts` is their number.
    """

    parameters: tuple[Parameter, ...]
    by_information: FloatArray
    by_prompts: FloatArray
    positive: bool
    prompts: int

    def count(self, status: Status) -> int:
        """Number of parameters with this status."""
        return sum(parameter.status is status for parameter in self.parameters)


@one_thread()
def uncertainty(estimate: Estimate, x: ArrayLike, prompt: ArrayLike) -> Uncertainty:
    """Standard errors and statuses.

    Parameters
    ----------
    x, prompt : array_like
        What the estimate was fitted to.

    Raises
    ------
    UserError
        If there are fewer than two prompts.
    """
    layout, theta = estimate.layout, estimate.theta
    observed = as_batch(x, "x")
    objective = Objective.of(layout, observed)
    names, index = np.unique(np.asarray(prompt), return_inverse=True)
    if len(names) < 2:
        raise UserError(
            f"fit: {len(names)} prompt(s); errors over prompts need at least two, trace more"
        )
    found = information(objective, theta)
    free = ~held(layout, theta)
    root, positive = inverse_root(found.observed[np.ix_(free, free)])
    sums = np.zeros((len(names), int(free.sum())))
    np.add.at(sums, index, found.scores[:, free])
    # Scores of a fit at a bound do not sum to zero there; around their mean they vary as they do.
    sums -= sums.mean(axis=0)
    bread = root @ root.T
    correction = len(names) / (len(names) - 1)
    covariances = np.zeros((2, len(theta), len(theta)))
    covariances[0][np.ix_(free, free)] = bread
    covariances[1][np.ix_(free, free)] = correction * bread @ (sums.T @ sums) @ bread
    joint = log_joint(estimate.model, observed)
    beliefs = np.exp(joint - np.logaddexp.reduce(joint, axis=(1, 2), keepdims=True)).sum(axis=0)
    return Uncertainty(
        parameters=tuple(_parameters(layout, theta, covariances, beliefs, len(names) - 1)),
        by_information=covariances[0],
        by_prompts=covariances[1],
        positive=positive,
        prompts=len(names),
    )


def interval_of(
    estimate: float,
    stderr: float,
    kind: str,
    level: float = LEVEL,
    low: float = -np.inf,
    freedom: float = np.inf,
) -> Interval:
    """Student's interval with `freedom` degrees of freedom, infinite for a normal one.

    It is taken on the logarithm for `kind="sd"`, on the logit for `kind="probability"`. A spread
    whose error is as large as itself has no logarithm worth the name: its interval is plain, from
    zero.
    """
    reach = float(stdtrit(freedom, (1 + level) / 2)) * stderr
    if not np.isfinite(reach):
        return Interval(estimate, float("nan"), float("nan"), level)
    if kind == "sd" and reach < 2 * estimate:
        grown = float(np.exp(reach / estimate))
        return Interval(estimate, estimate / grown, estimate * grown, level)
    if kind == "probability" and 0 < estimate < 1:
        centre, step = np.log(estimate / (1 - estimate)), reach / (estimate * (1 - estimate))
        ends = 1 / (1 + np.exp(-np.clip([centre - step, centre + step], -50, 50)))
        return Interval(estimate, float(ends[0]), float(ends[1]), level)
    if kind == "sd":
        low = 0.0
    return Interval(estimate, max(estimate - reach, low), estimate + reach, level)


def delta_errors(
    estimate: Estimate, covariance: FloatArray, function: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Standard errors of a function of the parameter vector, by the delta method."""
    theta = estimate.theta
    base = function(theta)
    moving = np.flatnonzero(np.diag(covariance) > 0)
    slopes = np.zeros((len(base), len(moving)))
    for column, k in enumerate(moving):
        moved = theta.copy()
        moved[k] += _STEP
        slopes[:, column] = (function(moved) - base) / _STEP
    inner = covariance[np.ix_(moving, moving)]
    variance = np.einsum("ij,jk,ik->i", slopes, inner, slopes)
    errors: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    return errors


def profile_errors(estimate: Estimate, covariance: FloatArray) -> FloatArray:
    """Standard errors of `Profile.flat()`."""
    layout = estimate.layout
    return delta_errors(estimate, covariance, lambda t: profile(layout.model(t)).flat())


def _parameters(
    layout: Layout,
    theta: FloatArray,
    covariances: FloatArray,
    beliefs: FloatArray,
    freedom: int,
) -> list[Parameter]:
    """Every parameter with its errors; `beliefs` are expected tokens of each class and `V*`."""
    fixed = held(layout, theta)
    members = beliefs.sum(axis=1)
    refining = beliefs[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    found = []
    for position, (c, name, i) in enumerate(layout.names()):
        taking_part = {
            "drift_mean": refining[c],
            "drift_sd": refining[c],
            "rise_mean": members[c] - refining[c],
            "rise_sd": members[c] - refining[c],
        }.get(name)
        tokens = float(members[c] if taking_part is None else taking_part[i])
        errors = [float(np.sqrt(cov[position, position])) for cov in covariances]
        if name in ("turning", "weight"):
            group = layout.logit_groups[-1 if name == "weight" else c]
            law = softmax(theta[group])
            slope = law[i if name == "turning" else c] * (np.eye(len(law)) - law)
            row = slope[i if name == "turning" else c]
            value = float(law[i if name == "turning" else c])
            errors = [float(np.sqrt(max(row @ cov[group, group] @ row, 0))) for cov in covariances]
            bound = bool(fixed[position]) and value < 1e-4
            kind = "probability"
        else:
            value, bound = float(theta[position]), bool(fixed[position])
            kind = "sd" if name.endswith("_sd") else "mean"
        if bound:
            errors = [float("nan")] * 2
        low = 0.0 if name in ("drift_mean", "rise_mean") else -np.inf
        interval = interval_of(value, errors[1], kind, low=low, freedom=freedom)
        status = _status(layout, kind, interval, errors[1], bound, tokens)
        found.append(Parameter(c, name, i, value, errors[0], errors[1], interval, tokens, status))
    if layout.noisy:
        nothing = Interval(0.0, float("nan"), float("nan"), LEVEL)
        for c in range(layout.classes):
            value = float(layout.noise_sd(theta, c)[-1])
            unknown = (float("nan"), float("nan"), nothing, float(members[c]), Status.CONVENTION)
            found.append(Parameter(c, "noise_sd", layout.w - 1, value, *unknown))
    return found


def _status(
    layout: Layout, kind: str, interval: Interval, stderr: float, bound: bool, tokens: float
) -> Status:
    estimate = interval.estimate
    if tokens < FEW:
        return Status.FEW_TOKENS
    if kind == "sd" and (bound or estimate - 1.96 * stderr <= SD_FLOOR * layout.spread):
        return Status.MAY_BE_ZERO
    if bound:
        return Status.AT_BOUND
    wide = {"mean": layout.spread, "sd": estimate, "probability": 0.25}[kind]
    return Status.NOT_IDENTIFIED if not stderr < wide else Status.IDENTIFIED
