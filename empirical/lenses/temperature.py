r"""One temperature per layer, by maximum likelihood.

With inverse temperature `beta = 1 / T`, logits `z` and a target distribution `q` per token (the
final layer's, or the reference token), the mean cross-entropy is

    f(beta) = mean( log sum exp(beta z) - beta E_q[z] ),

smooth and *convex in* `beta`, with `f' = mean( E_beta[z] - E_q[z] )` and `f'' = mean Var_beta[z]`.
The minimum is found by Newton steps inside a bracket; each step is one pass over the states, and
no more logits exist at a time than those of one chunk.

**Stationarity is A0 at that layer.** At the minimum, `f' = 0` says `mean E_beta[z] = mean E_q[z]`,
and therefore

    mean entropy = mean( log Z - beta E_beta[z] )
                 = mean( log Z - beta E_q[z] ) = mean cross-entropy:

on the tokens of the fit the calibration gap is zero, exactly, and no other temperature does it
(`f` is strictly convex unless all logits are equal). For `q` the reference token this is A0.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from empirical.lenses.calibrated import Correction
from empirical.lenses.states import States, Target, expected_logit, finite_logits
from empirical.model.anatomy import Anatomy

Chunks = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Yields logits (m, vocabulary) and the mean logit under the target, (m,), anew at every call."""

_WIDEST = math.log(100.0)
# Newton converges quadratically: a step this small leaves an error of about its square.
_STEP = 1e-3
# Blocks that stay in the processor's cache take a fifth of the time of whole chunks.
_BLOCK_BYTES = 1 << 20
_SCOUTS = 512


def fit_temperature(
    anatomy: Anatomy,
    states: States,
    layer: int,
    target: Target,
    correction: Correction | None = None,
) -> float:
    """Best temperature of one layer behind the translation of `correction` (default: none).

    Returns
    -------
    float
        Within [1/100, 100].
    """
    base = correction or Correction()

    def over(tokens: States) -> Chunks:
        known: list[Tensor] = []

        def chunks() -> Iterator[tuple[Tensor, Tensor]]:
            for i, part in enumerate(tokens.chunks(anatomy.vocabulary_size)):
                z = finite_logits(base.read(anatomy, part.layers[layer][None]))
                if i == len(known):  # one number per token, the same at every temperature
                    known.append(expected_logit(anatomy, part, target, z))
                yield z, known[i]

        return chunks

    with torch.no_grad():
        # A few tokens tell roughly where the minimum is, so that passes over all of them are few.
        scouts = torch.linspace(0, len(states) - 1, min(_SCOUTS, len(states))).long()
        start = best_temperature(over(states.rows(scouts)))
        return base.temperature * best_temperature(over(states), start)


def best_temperature(chunks: Chunks, start: float = 1.0) -> float:
    """Minimise the mean cross-entropy of `softmax(z / T)` over `T` within [1/100, 100]."""
    low, high = -_WIDEST, _WIDEST
    place = -math.log(start)
    for _ in range(60):
        beta = math.exp(place)
        slope, curvature = _derivatives(chunks, beta)
        if slope > 0:
            high = place
        else:
            low = place
        # Newton's step in beta, expressed in log beta, where temperatures are evenly spread.
        step = -slope / (beta * curvature) if curvature > 0 else math.copysign(math.inf, -slope)
        proposed = place + max(-1.0, min(1.0, step))
        previous, place = place, proposed if low < proposed < high else (low + high) / 2
        if abs(place - previous) < _STEP:
            break
    return math.exp(-place)


def _derivatives(chunks: Chunks, beta: float) -> tuple[float, float]:
    """Return `f'` and `f''` at `beta`, summed in double precision over tokens."""
    slope = curvature = 0.0
    count = 0
    for z, target in chunks():
        size = max(1, _BLOCK_BYTES // (4 * z.shape[1])) if z.device.type == "cpu" else len(z)
        for first in range(0, len(z), size):
            rows = slice(first, first + size)
            largest = z[rows].amax(dim=1)
            below = z[rows] - largest[:, None]
            weights = (beta * below).exp_()
            mass = weights.sum(dim=1)
            weights *= below
            mean = weights.sum(dim=1) / mass
            square = torch.linalg.vecdot(weights, below) / mass
            slope += float((mean - (target[rows] - largest)).double().sum())
            curvature += float((square - mean.square()).double().sum())
        count += len(z)
    return slope / count, curvature / count
