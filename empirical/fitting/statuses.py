"""What of a fit may be read: statuses that have heard the evidence and all tests of misfit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stopping.changepoint.estimate import Estimate
from stopping.changepoint.evidence import Evidence, heard
from stopping.changepoint.inference import (
    Parameter,
    Status,
    Uncertainty,
    delta_errors,
    interval_of,
)
from stopping.changepoint.layer_profile import final_excess
from stopping.changepoint.misfit import Misfit, score_tests
from stopping.changepoint.profile_likelihood import profiled
from stopping.support.statistics import Interval
from stopping.types import FloatArray, IntArray

LEAST_READABLE = (
    *(Status.MISFIT, Status.NOT_IDENTIFIED, Status.FEW_TOKENS, Status.AT_BOUND),
    *(Status.MAY_BE_ZERO, Status.IDENTIFIED),
)
"""Statuses, the one that says least first."""
PREDICTIONS = "predictions"


def judged(
    whole: Estimate,
    errors: Uncertainty,
    evidence: Evidence,
    predictions: float,
    x: FloatArray,
    prompt: IntArray,
) -> tuple[tuple[Parameter, ...], Misfit]:
    """Parameters whose statuses listen to the evidence and to all tests of misfit together.

    `predictions` is the p-value of the predictions; `whole` was fitted to `x`, (n, w), nats.
    """
    misfit = Misfit.of({PREDICTIONS: predictions, **score_tests(whole, x, prompt)})
    parameters = heard(whole, errors, evidence, x)
    if not misfit.found:
        return profiled(whole, errors, parameters, x), misfit
    parameters = tuple(
        replace(p, status=Status.MISFIT) if p.status is Status.IDENTIFIED else p for p in parameters
    )
    return parameters, misfit


@dataclass(frozen=True)
class Excess:
    """Latent excess of the final layer over `V*`, `E[G[L] - G[V*]]`, nats, and whether to read it.

    The interval is that of the error over prompts.
    """

    final: Interval
    status: Status


def latent_excess(whole: Estimate, errors: Uncertainty) -> Interval:
    """Return `E[G[L] - G[V*]]` in nats, from the error over prompts by the delta method."""
    layout = whole.layout
    (error,) = delta_errors(
        whole, errors.by_prompts, lambda theta: np.array([final_excess(layout.model(theta))])
    )
    return interval_of(final_excess(whole.model), float(error), "mean", freedom=errors.prompts - 1)


def excess_status(evidence: Evidence, misfit: Misfit, parameters: Sequence[Parameter]) -> Status:
    """Whether a latent excess may be read: by the rule of the turning points that it rests on.

    Of a model that was refuted it is a number of that. Without evidence, or a turning point before
    the final layer that is sure, it is what the optimiser stopped at: it may be zero.
    """
    if misfit.found:
        return Status.MISFIT
    turning = [p for p in parameters if p.name == "turning"]
    last = max((p.index for p in turning), default=0)
    sure = any(p.status is Status.IDENTIFIED and p.index < last for p in turning)
    return Status.IDENTIFIED if evidence.turns and sure else Status.NOT_IDENTIFIED
