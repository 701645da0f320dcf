"""The bootstrap over prompts: refits from the estimate, each a few Newton steps long."""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from stopping.changepoint.ascent import higher
from stopping.changepoint.estimate import Estimate
from stopping.changepoint.inference import Uncertainty
from stopping.changepoint.objective import Objective
from stopping.changepoint.scores import reweighted
from stopping.errors import UserError
from stopping.support.parallel import Workers, in_order
from stopping.support.statistics import multiplicities
from stopping.support.threads import one_thread
from stopping.types import FloatArray, IntArray

REFIT = 12
_SETTLED = 0.02


@one_thread()
def bootstrap(
    estimate: Estimate,
    errors: Uncertainty,
    x: ArrayLike,
    prompt: ArrayLike,
    seed: int,
    replicates: int,
    jobs: int = 1,
) -> FloatArray:
    """Refit on resampled prompts; return the parameter vectors, (replicates, size).

    Each refit starts from the estimate and takes up to `REFIT` Newton steps with the observed
    information of all tokens, halved until the likelihood rises; what is held there stays held. So
    the replicates stay at the same local maximum: they measure its spread, not that of the choice
    among maxima. The result does not depend on `jobs`.
    """
    layout = estimate.layout
    names, index = np.unique(np.asarray(prompt), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"fit: {len(names)} prompt(s); a bootstrap over prompts needs at least two")
    objective = Objective.of(layout, x)
    drawn = multiplicities(np.random.default_rng(seed), len(names), replicates)
    chunks = np.array_split(drawn, min(jobs, max(replicates, 1)))
    refits = partial(_refits, objective, estimate.theta, errors.by_information, index)
    parts = list(in_order((partial(refits, chunk) for chunk in chunks), Workers(jobs)))
    return np.concatenate(parts) if replicates else np.empty((0, layout.size))


def _refits(
    objective: Objective,
    theta: FloatArray,
    inverse: FloatArray,
    index: IntArray,
    drawn: IntArray,
) -> FloatArray:
    weights = (counts[index].astype(np.float64) for counts in drawn)
    found = [_newton(reweighted(objective, weight), theta, inverse) for weight in weights]
    return np.array(found).reshape(-1, len(theta))


def _newton(objective: Objective, theta: FloatArray, inverse: FloatArray) -> FloatArray:
    """Optimise from `theta` with a fixed inverse information, within the bounds."""
    value, gradient = objective.value_and_gradient(theta)
    for _ in range(REFIT):
        risen = higher(objective, theta, value, inverse @ gradient * objective.total)
        if risen is None:
            break
        before, (theta, value, gradient) = value, risen
        if (value - before) * objective.total < _SETTLED:
            break
    return theta
