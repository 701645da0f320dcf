r"""Whether anything turns: what must be shown before turning points and rises may be read.

A mixture always finds a second regime. Two questions come before its parameters.

*On held-out prompts* the change point must predict better than the noisy walk, which is the same
model with `V* = L` and drifts of any sign. If the interval of the gain does not lie above zero,
nothing that distinguishes the two is identified: turning probabilities, rises, and falls, which are
those of tokens that do not turn.

*Zero is tested for.* The logit interval of a probability never holds zero. For each `v` the model
is fitted again with `turning[v] = 0`; the likelihood ratio is compared with the 95 % point of a
chi-square with as many degrees of freedom as parameters lose their meaning (the probability, and
the rise that only tokens with `V* = v` may take part in: two more), after division by the design
effect, the ratio of the parameter's variance over prompts to that over tokens. Where it is below,
the probability *may be zero*, and its interval begins there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri

from stopping.changepoint.ascent import optimise
from stopping.changepoint.estimate import Estimate, random_start, restricted
from stopping.changepoint.inference import LEVEL, Parameter, Status, Uncertainty
from stopping.changepoint.layout import LOGIT_BOUND, Layout
from stopping.changepoint.model import ChangePointModel
from stopping.changepoint.objective import Objective
from stopping.changepoint.posterior import log_likelihood
from stopping.changepoint.profile_likelihood import Held
from stopping.support.statistics import Interval, student_ratio
from stopping.support.threads import one_thread
from stopping.types import FloatArray, IntArray

NEEDS_TURNS = ("turning", "rise_mean", "rise_sd", "drift_mean", "drift_sd")
"""Parameters that mean nothing unless the change point beats the noisy walk."""
FREEDOM = 3
NEVER = -LOGIT_BOUND
"""Logit of a turning probability that is zero."""
_ITERATIONS = 200


@dataclass(frozen=True)
class Evidence:
    """What was shown.

    Attributes
    ----------
    gain : Interval
        Held-out log-density of the change point minus the noisy walk's, nats per token.
    turns : bool
        Whether that interval lies above zero.
    """

    gain: Interval

    @property
    def turns(self) -> bool:
        """Whether the change point beats the noisy walk on prompts that neither has seen."""
        return self.gain.low > 0


@one_thread()
def walk_of(estimate: Estimate, x: ArrayLike, seed: int = 0) -> ChangePointModel:
    """Fit the noisy walk to the tokens `x`, (n, w), nats, that `estimate` was fitted to.

    From two starts: a random one, and the estimate with its steps averaged over turning points.
    """
    full = estimate.layout
    layout = restricted(full, turns=False)
    objective = Objective.of(layout, x)
    starts = [
        without_turning(layout, full, random_start(full, objective.z, np.random.default_rng(seed))),
        _averaged(layout, full, estimate.theta),
    ]
    ends = [optimise(objective, start, _ITERATIONS) for start in starts]
    return layout.model(max(ends, key=lambda end: end[0])[1])


def without_turning(layout: Layout, full: Layout, theta: FloatArray) -> FloatArray:
    """Keep the entries that a walk has."""
    kept = np.empty(layout.size)
    for c in range(layout.classes):
        for name in layout.sizes:
            layout.part(kept, c, name)[:] = full.part(theta, c, name)[: layout.sizes[name]]
    layout.weight_logits(kept)[:] = full.weight_logits(theta)
    return kept


def _averaged(layout: Layout, full: Layout, theta: FloatArray) -> FloatArray:
    kept = without_turning(layout, full, theta)
    for c, component in enumerate(full.model(theta).components):
        risen = component.turning.cumsum()[:-1]
        fall, rise = component.drift_mean, component.rise_mean
        own = (1 - risen) * component.drift_sd**2 + risen * component.rise_sd**2
        layout.part(kept, c, "drift_mean")[:] = (1 - risen) * fall - risen * rise
        between = risen * (1 - risen) * (fall + rise) ** 2
        layout.part(kept, c, "drift_sd")[:] = np.sqrt(own + between)
    return kept


def held_out_gain(
    turning: ChangePointModel, walk: ChangePointModel, x: FloatArray, prompt: IntArray
) -> Evidence:
    """Compare two models on prompts that neither has seen; Student's interval over prompts."""
    difference = log_likelihood(turning, x) - log_likelihood(walk, x)
    index = np.unique(prompt, return_inverse=True)[1].ravel()
    return Evidence(student_ratio(np.bincount(index, difference), np.bincount(index), LEVEL))


@one_thread()
def heard(
    estimate: Estimate, errors: Uncertainty, evidence: Evidence, x: ArrayLike
) -> tuple[Parameter, ...]:
    """Statuses that listen to the evidence; numbers and errors stay as they are.

    Parameters
    ----------
    x : array_like, shape (n, w)
        What the estimate was fitted to, nats.
    """
    if not evidence.turns:
        return tuple(_without_evidence(parameter) for parameter in errors.parameters)
    objective = Objective.of(estimate.layout, x)
    found = []
    for parameter in errors.parameters:
        if parameter.name == "turning" and parameter.status is Status.IDENTIFIED:
            if not parameter.by_information > 0:  # at a bound, where the likelihood is flat
                found.append(replace(parameter, status=Status.NOT_IDENTIFIED))
                continue
            lost = Held(objective, estimate.theta, errors.by_information, parameter).lost(NEVER)
            design = max(1.0, (parameter.by_prompts / parameter.by_information) ** 2)
            if 2 * lost / design < chdtri(FREEDOM, 1 - LEVEL):
                parameter = replace(
                    parameter,
                    status=Status.MAY_BE_ZERO,
                    interval=replace(parameter.interval, low=0.0),
                )
        found.append(parameter)
    return tuple(_in_company(found))


def _without_evidence(parameter: Parameter) -> Parameter:
    status = parameter.status
    if parameter.name in NEEDS_TURNS and status is not Status.FEW_TOKENS:
        status = Status.NOT_IDENTIFIED
    return replace(parameter, status=status)


def _in_company(parameters: Sequence[Parameter]) -> list[Parameter]:
    """A rise of which no turning point is sure is not identified either."""
    found = []
    for parameter in parameters:
        sure = any(
            p.status is Status.IDENTIFIED and p.index <= parameter.index
            for p in parameters
            if p.name == "turning" and p.group == parameter.group
        )
        rise = parameter.name in ("rise_mean", "rise_sd")
        if rise and not sure and parameter.status is Status.IDENTIFIED:
            parameter = replace(parameter, status=Status.NOT_IDENTIFIED)
        found.append(parameter)
    return found
