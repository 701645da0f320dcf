r"""Calibration given the reading (C2): what a layer pays where it reads less than the final one.

A rule chooses by what it reads, so what protects it is not A0 but C2, here net of the final layer:

    E[gap[l] - gap_L | x] <= kappa  wherever x[l] < x_L,        gap = log-loss - entropy.

Then no rule that only steps to lower entropies loses more than `kappa` nats against the final
layer.

No finite sample shows a conditional mean at every reading of a whole window. What it can show: of
each layer, the tokens on which it reads less than the final one are cut into bins of equal size by
that layer's reading, and `kappa` is the largest mean net gap of a cell (layer, bin). Two numbers:

- *cross-fitted*: the worst cell is chosen on one half of the prompts, its net gap is measured on
  the other half, and the other way round. So choosing costs nothing, and an interval that lies
  above the materiality refutes the calibration.
- *at most*: the largest upper end of all the cells' intervals, at a level adjusted for their number
  (Bonferroni). If it lies within the materiality, no cell is worse.

Cells are coarser than `x`: a small `kappa` here is needed for C2 and not enough. What a rule
itself pays is measured directly, by its own gap (C1, `empirical.analysis.validate`).
"""

import math
from dataclasses import dataclass

import numpy as np

from empirical.analysis.audit.verdicts import OWN_TEXT, Status, Verdict
from empirical.intervals import Ratio, bonferroni, mean
from empirical.traces.window import Sample
from stopping.support.statistics import Interval
from stopping.types import BoolArray, FloatArray

BINS = 4
"""Bins of equal size into which a layer's entropies are cut, where there are prompts enough."""
LEAST_PROMPTS = 10
"""Prompts to each bin; a layer with fewer in all is left out, and nothing is settled."""


@dataclass(frozen=True)
class Cell:
    """Tokens on which one layer reads from `low` to `high` nats, less than the final layer.

    `net_gap` is their mean gap minus the final layer's, nats, at the level adjusted for all cells.
    """

    layer: int
    low: float
    high: float
    tokens: int
    net_gap: Interval


@dataclass(frozen=True)
class GivenReading:
    """What layers pay beyond their entropies, where those are lower than the final layer's.

    Attributes
    ----------
    materiality : float
        A gap of at most this many nats is called calibrated.
    kappa : Interval
        Net gap of the worst cell, chosen on other prompts than it is measured on, 95 %, nats.
    at_most : float
        No cell's net gap is larger, at 95 % for all of them together; NaN where a cell has too few
        prompts for an interval.
    cells : tuple of Cell
        Layers ascending, entropies ascending.
    left_out : tuple of int
        Layers that read less than the final one, but on too few prompts to say anything.
    verdict : Verdict
        FAILS if `kappa` lies above the materiality, HOLDS if `at_most` does not.
    """

    materiality: float
    kappa: Interval
    at_most: float
    cells: tuple[Cell, ...]
    left_out: tuple[int, ...]
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class _Place:
    """A cell before it is measured: its column of the window, and its tokens, shape (n,)."""

    column: int
    inside: BoolArray


def audit_given_reading(sample: Sample, materiality: float) -> GivenReading:
    """Measure `kappa` in `BINS` bins of each layer's entropies."""
    gap = sample.log_loss - sample.x
    net = gap - gap[:, -1:]
    places, left_out = _places(sample)
    level = bonferroni(len(places))
    found = sample.intervals(
        {str(i): mean(net[:, p.column], p.inside, level) for i, p in enumerate(places)}
        | {"kappa": _crossfit(sample, net, places)}
    )
    cells = tuple(
        Cell(
            layer=int(sample.layers[place.column]),
            low=float(sample.x[place.inside, place.column].min()),
            high=float(sample.x[place.inside, place.column].max()),
            tokens=int(place.inside.sum()),
            net_gap=found[str(i)],
        )
        for i, place in enumerate(places)
    )
    kappa, at_most = found["kappa"], float(np.max([0.0, *(cell.net_gap.high for cell in cells)]))
    if left_out:
        at_most = math.nan
    elif not cells:  # no layer ever reads less than the final one, and no such rule moves
        kappa = Interval(0.0, 0.0, 0.0)
    if sample.own_text:
        status, sentence = Status.UNDECIDED, OWN_TEXT
    else:
        status = Status.HOLDS if at_most <= materiality else Status.UNDECIDED
        status = Status.FAILS if kappa.low > materiality else status
        sentence = _sentence(kappa, at_most, len(cells), materiality)
    verdict = Verdict("C2", "calibration given the reading", status, sentence)
    return GivenReading(materiality, kappa, at_most, cells, left_out, verdict)


def _sentence(kappa: Interval, at_most: float, cells: int, materiality: float) -> str:
    bound = "too few to bound all" if math.isnan(at_most) else f"in each at most {at_most:.2f}"
    return (
        "where a layer reads less than the final one, its log-loss exceeds entropy by "
        f"{kappa.estimate:+.2f} nats [{kappa.low:+.2f}, {kappa.high:+.2f}] more than the final "
        f"layer's, in the worst of {cells} bins of entropies, chosen on other prompts ({bound}; "
        f"calibrated: up to {materiality:g})"
    )


def _places(sample: Sample) -> tuple[tuple[_Place, ...], tuple[int, ...]]:
    """Cells, equal entropies in one bin, and layers with too few prompts for any."""
    found: list[_Place] = []
    left_out = []
    for column, layer in enumerate(sample.layers[:-1]):
        x = sample.x[:, column]
        lower = x < sample.x[:, -1]
        prompts = len(np.unique(sample.traces.prompt[lower]))
        parts = min(BINS, prompts // LEAST_PROMPTS)
        if parts == 0:
            left_out += [int(layer)] if prompts else []
            continue
        edges = np.quantile(x[lower], np.arange(1, parts) / parts)
        member = np.searchsorted(edges, x, side="right")
        every = (_Place(column, lower & (member == number)) for number in range(parts))
        found += [place for place in every if place.inside.any()]
    return tuple(found), tuple(left_out)


def _crossfit(sample: Sample, net: FloatArray, places: tuple[_Place, ...]) -> Ratio:
    """Net gap of the worst cell, each token in a cell that was chosen on the other half."""
    names, prompt = np.unique(sample.traces.prompt, return_inverse=True)
    half = (np.random.default_rng(sample.seed).permutation(len(names)) % 2)[prompt]
    values, chosen = np.zeros(len(net)), np.zeros(len(net), dtype=np.bool_)
    for fold in (0, 1):
        seen = [place for place in places if (place.inside & (half != fold)).any()]
        if not seen:
            continue
        worst = max(seen, key=lambda p: float(net[p.inside & (half != fold), p.column].mean()))
        held_out = worst.inside & (half == fold)
        values[held_out] = net[held_out, worst.column]
        chosen |= held_out
    return mean(values, chosen)
