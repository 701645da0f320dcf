r"""Guess, refine, perturb: the phases of the layers, read off what each layer writes.

Layer `l` adds `h[l] - h[l-1]` to the residual stream. Two numbers say how much it changes there:

    contribution norm  |h[l] - h[l-1]| / |h[l-1]|,        cosine of h[l] and h[l-1].

The paper describes three phases: the first layers rewrite the state (*guess*), the middle ones
make small updates that keep its direction (*refine*), and the last ones write large updates again
(*perturb*). Here a layer counts as *large* by a criterion that the profile itself sets. With `m`
the median and `s` the median absolute deviation of the log of the mean norm over the middle layers
(the central half of the stack), the *band* is

    exp( m ± max( log 1.5, 3 * 1.4826 * s ) ),

1.4826 making `s` a standard deviation where the middle layers scatter normally. The guess phase is
the run of layers from layer 1 that lie above the band, the perturb phase the run that ends at
layer L, and everything between is the refine phase; either run may be empty. A large layer in the
middle stays where it is and is listed as an outlier.

The criterion sees sizes alone. It does not say that what a final layer writes is harmful, nor that
layers within the band help: a model may perturb its tokens with updates of ordinary size.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from empirical.intervals import LEVEL
from empirical.traces.files import Traces
from stopping.errors import UserError
from stopping.support.statistics import cluster_bootstrap
from stopping.types import BoolArray, FloatArray

FACTOR = 1.5
DEVIATIONS = 3.0
_NORMAL = 1.4826
LEAST_LAYERS = 4
PUBLISHED_DEPTH = 40
"""Depth of the mixture-of-experts model whose profile the paper gives."""


class Phase(StrEnum):
    """What the layers of a run do to the residual stream."""

    GUESS = "guess"
    REFINE = "refine"
    PERTURB = "perturb"


@dataclass(frozen=True)
class PublishedRange:
    """What the paper gives for a part of its model's stack, as ranges (low, high)."""

    where: str
    phase: Phase
    norm: tuple[float, float]
    cosine: tuple[float, float]


PUBLISHED = (
    PublishedRange("layer 1", Phase.GUESS, (1.6, 1.6), (0.67, 0.67)),
    PublishedRange("middle", Phase.REFINE, (0.23, 0.57), (0.91, 0.97)),
    # "Two to three times the middle's": of the centre of the range above.
    PublishedRange("final layer", Phase.PERTURB, (0.80, 1.20), (0.69, 0.69)),
)


@dataclass(frozen=True)
class Spread:
    """Mean over tokens with its 95 % interval over prompts, and quartiles of the tokens."""

    mean: float
    low: float
    high: float
    lower_quartile: float
    median: float
    upper_quartile: float


@dataclass(frozen=True)
class LayerProfile:
    """What one layer writes; `outlier` marks a large layer inside the refine phase."""

    layer: int
    phase: Phase
    outlier: bool
    norm: Spread
    cosine: Spread


@dataclass(frozen=True)
class Boundaries:
    """Where the phases lie, in layer numbers.

    Attributes
    ----------
    guess_end : int
        Last layer of the guess phase, 0 if there is none.
    refine_end : int
        Last layer of the refine phase, `L` if there is no perturb phase.
    """

    guess_end: int
    refine_end: int


@dataclass(frozen=True)
class Phases:
    """The profile of one model and its phases.

    Attributes
    ----------
    band : (float, float)
        Norms that count as ordinary for the middle layers.
    stability : float
        Share of resamples of the prompts in which both boundaries are the same.
    """

    model: str
    prompts: int
    tokens: int
    depth: int
    layers: tuple[LayerProfile, ...]
    boundaries: Boundaries
    band: tuple[float, float]
    stability: float

    def of(self, phase: Phase) -> tuple[LayerProfile, ...]:
        """Layers of a phase, none if it is empty."""
        return tuple(layer for layer in self.layers if layer.phase is phase)

    @property
    def middle_norm(self) -> float:
        """Median over the refine phase of the mean norm."""
        return float(np.median([layer.norm.mean for layer in self.of(Phase.REFINE)]))


def find_phases(traces: Traces, seed: int = 0, replicates: int = 1000) -> Phases:
    """Profile the layers of traces and mark the phases.

    Raises
    ------
    UserError
        If the model has fewer than four layers, or there are fewer than two prompts.
    """
    depth = traces.provenance.layers
    if depth < LEAST_LAYERS:
        raise UserError(
            f"phases: {depth} layer(s), and a middle between two ends needs at least {LEAST_LAYERS}"
        )
    traces.require("phases", "residual_norm", "residual_cosine")
    values = np.concatenate([traces.residual_norm, traces.residual_cosine], axis=1)
    means = cluster_bootstrap(
        values,
        traces.prompt,
        seed,
        replicates,
    )
    norms = means.estimate[:depth]
    boundaries, band = mark(norms)
    same = np.mean([mark(row[:depth])[0] == boundaries for row in means.replicates])
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(means.replicates, [tail, 1.0 - tail], axis=0)
    spreads = _spreads(means.estimate, low, high, values)
    layers = tuple(
        LayerProfile(
            layer=layer,
            phase=(phase := phase_of(layer, boundaries)),
            outlier=phase is Phase.REFINE and bool(norms[layer - 1] > band[1]),
            norm=spreads[layer - 1],
            cosine=spreads[depth + layer - 1],
        )
        for layer in range(1, depth + 1)
    )
    return Phases(
        model=traces.provenance.model,
        prompts=len(np.unique(traces.prompt)),
        tokens=len(traces),
        depth=depth,
        layers=layers,
        boundaries=boundaries,
        band=band,
        stability=float(same),
    )


def mark(norms: FloatArray) -> tuple[Boundaries, tuple[float, float]]:
    """Find the phases of a profile of mean norms, (L,), and the band that decided."""
    depth = len(norms)
    logs = np.log(np.maximum(norms, np.finfo(np.float64).tiny))
    middle = logs[depth // 4 : depth - depth // 4]
    centre = float(np.median(middle))
    deviation = _NORMAL * float(np.median(np.abs(middle - centre)))
    width = max(math.log(FACTOR), DEVIATIONS * deviation)
    large: BoolArray = logs > centre + width
    # The median of the middle lies in the band, so the two runs never meet.
    boundaries = Boundaries(guess_end=_run(large), refine_end=depth - _run(large[::-1]))
    return boundaries, (math.exp(centre - width), math.exp(centre + width))


def phase_of(layer: int, boundaries: Boundaries) -> Phase:
    """Phase of a layer number."""
    if layer <= boundaries.guess_end:
        return Phase.GUESS
    return Phase.REFINE if layer <= boundaries.refine_end else Phase.PERTURB


def _run(large: BoolArray) -> int:
    """Length of the run of true values at the beginning; some value is false."""
    return int(np.argmin(large))


def _spreads(
    mean: FloatArray, low: FloatArray, high: FloatArray, values: NDArray[np.float32]
) -> list[Spread]:
    quartiles = np.quantile(values.astype(np.float64), [0.25, 0.5, 0.75], axis=0)
    rows = np.vstack([mean, low, high, quartiles]).T
    return [Spread(*map(float, row)) for row in rows]
