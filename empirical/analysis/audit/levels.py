r"""A3 at one noise level for all tokens: what explains them, and what T2 then guarantees.

At any common noise level T9 parts the tokens by what explains them:

==============  ==================================================================================
noise alone     `V* = L` is possible: nothing late needs to have happened
late rise       `V* < L` is needed and possible: the rise is too large to be noise, and every late
                step may dominate it
too gentle      the rise is too large to be noise, too gentle for every step to exceed
                `2 eps_max`: A3 is refuted on this token at this level
too noisy       entropy rises by more than `2 eps_max` at or below the valley of the search: A1
                with A2 is refuted
==============  ==================================================================================

A3 is put to the test by the tokens of the two middle rows alone: on the others there need be no
late layer. A single step `r = x[l] - x[l-1]` above the valley has `delta` in `[r - 2 eps,
r + 2 eps]`: dominance is certain for `r > 4 eps` and impossible only for `r <= 0`, which a step
above the valley excludes; `r > 2 eps` is what noise alone cannot make. Because the search may
overshoot (`V^ <= V*`), some of these steps belong to the refinement and need not dominate anything.

**Guarantee.** T2 bounds the excess by `2 eps_max`. Ordinary decoding has the trivial bound
`excess(L) <= G[L]`, since entropies are not negative; a guarantee that is no smaller than the mean
final-layer entropy therefore promises no more than not searching at all. It is called *vacuous*.
"""

import math
from dataclasses import dataclass

import numpy as np

from empirical.intervals import Ratio, mean
from empirical.traces.window import Sample
from stopping.rules import Search
from stopping.support.statistics import Interval
from stopping.theory.identification import Identification, identify
from stopping.types import BoolArray, FloatArray


@dataclass(frozen=True)
class NoiseLevel:
    """One common noise level: what explains the tokens there, and what T2 then guarantees.

    Attributes
    ----------
    eps_max : float
        The level, nats; `origin` says where it comes from.
    noise_alone, late_rise, too_gentle, too_noisy : Interval
        The partition of all tokens (module docstring); the estimates add up to one.
    steps_above_noise, steps_certain : Interval
        Share of the steps above the valley with `r > 2 eps_max` (not noise alone), and with
        `r > 4 eps_max` (dominance certain); NaN if the search never leaves the final layer.
    bound : float
        T2's `2 eps_max`, nats.
    bound_to_entropy, bound_to_log_loss : float
        The bound relative to the mean entropy and the mean log-loss of the final layer.
    vacuous : bool
        Whether the bound is no smaller than the mean entropy of the final layer.
    """

    eps_max: float
    origin: str
    noise_alone: Interval
    late_rise: Interval
    too_gentle: Interval
    too_noisy: Interval
    steps_above_noise: Interval
    steps_certain: Interval
    bound: float
    bound_to_entropy: float
    bound_to_log_loss: float
    vacuous: bool


@dataclass(frozen=True, eq=False)
class Scan:
    """Per token: T9, the largest rise up to the valley, and the observed late steps."""

    identified: Identification
    rise: FloatArray
    steps: FloatArray
    """Steps `x[l] - x[l-1]`, shape (n, K); column `l - 1` belongs to the step onto `l`."""
    late: BoolArray


def scan_tokens(x: FloatArray) -> Scan:
    """Ask T9 of every window, shape (n, K + 1), and look at the search's steps."""
    last = x.shape[1] - 1
    valley = Search(last).choose(x)
    rises = np.maximum.accumulate(x - np.minimum.accumulate(x, axis=1), axis=1)
    return Scan(
        identified=identify(x),
        rise=np.take_along_axis(rises, valley[:, None], axis=1)[:, 0],
        steps=np.diff(x, axis=1),
        late=np.arange(1, last + 1) > valley[:, None],
    )


def partition(scan: Scan, eps_max: float) -> dict[str, BoolArray]:
    """Tokens by what explains them at one noise level; the four classes are disjoint."""
    consistent = scan.identified.consistent(eps_max)
    noise_alone, late_rise = consistent[:, -1], consistent[:, :-1].any(axis=1)
    # Halved before comparing, as in the lower ends of T9, so that rounding cannot part the two.
    noisy = scan.rise / 2 > eps_max
    return {
        "noise_alone": noise_alone,
        "late_rise": late_rise & ~noise_alone,
        "too_gentle": ~noise_alone & ~late_rise & ~noisy,
        "too_noisy": noisy,
    }


def noise_level(sample: Sample, scan: Scan, eps_max: float, origin: str) -> NoiseLevel:
    """Describe one noise level."""
    late = scan.late.sum(axis=1).astype(np.float64)
    above = {m: (scan.late & (scan.steps > m * eps_max)).sum(axis=1) * 1.0 for m in (2, 4)}
    shares: dict[str, Ratio] = {k: mean(mask) for k, mask in partition(scan, eps_max).items()}
    shares |= {"above": Ratio(above[2], late), "certain": Ratio(above[4], late)}
    found = sample.intervals(shares)
    entropy, log_loss = float(sample.x[:, -1].mean()), float(sample.log_loss[:, -1].mean())
    bound = 2 * eps_max
    return NoiseLevel(
        eps_max=eps_max,
        origin=origin,
        noise_alone=found["noise_alone"],
        late_rise=found["late_rise"],
        too_gentle=found["too_gentle"],
        too_noisy=found["too_noisy"],
        steps_above_noise=found["above"],
        steps_certain=found["certain"],
        bound=bound,
        bound_to_entropy=bound / entropy if entropy else math.inf,
        bound_to_log_loss=bound / log_loss if log_loss else math.inf,
        vacuous=bound >= entropy,
    )
