r"""Does a lens's calibration transfer from reference text to what the model writes itself?

The tokens of the model's own greedy text are the most probable ones, so their log-loss says
nothing of calibration. What can be asked of both texts alike is whether a layer promises what it
would pay *if the final layer's distribution were the truth*,

    gap[l] = E[ H(p_L, p_l) ] - E[ H(p_l) ] = H(p_L) + KL(p_L || p_l) - H(p_l),        nats,

positive where the layer is over-confident. A lens that was calibrated on one kind of text and has
another gap on the other was calibrated on that kind of text alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from empirical.analysis.audit.calibration import MATERIALITY
from empirical.analysis.audit.verdicts import Status, within
from empirical.lenses.calibrated import Correction
from empirical.lenses.evaluation import read_lenses
from empirical.lenses.states import States
from empirical.model.anatomy import Anatomy
from stopping.support.results import Report, Result
from stopping.support.statistics import Interval, cluster_bootstrap, percentile_interval
from stopping.types import FloatArray

_REPLICATES = 2000


@dataclass(frozen=True)
class LayerTransfer:
    """Gap of one layer on both texts, nats, 95 % intervals over prompts; `change` is paired."""

    layer: int
    reference: Interval
    own: Interval
    change: Interval


@dataclass(frozen=True)
class Transfer(Result):
    """Gaps of a lens on reference text and on the model's own, by layer."""

    lens: str
    prompts: int
    reference_tokens: int
    own_tokens: int
    layers: tuple[LayerTransfer, ...]

    def items(self) -> tuple[LayerTransfer, ...]:
        """Layers."""
        return self.layers

    def report(self) -> Report:
        """A table and a sentence."""
        from stopping.support.tables import count, estimate, table

        rows = table(
            f"{self.lens}: gap to the final layer's distribution, nats",
            *("layer", "reference text", "own text", "change"),
            caption=f"{self.reference_tokens:,} and {self.own_tokens:,} tokens of "
            f"{count(self.prompts, 'prompt')}; above 0 a layer is over-confident; 95% intervals "
            "over prompts, of each layer alone",
        )
        for row in self.layers:
            gaps = (row.reference, row.own, row.change)
            rows.add_row(str(row.layer), *(estimate(gap, "+.2f") for gap in gaps))
        yield rows
        off = sum(within(row.change, MATERIALITY) is Status.FAILS for row in self.layers)
        worst = max(self.layers, key=lambda row: abs(row.change.estimate))
        yield (
            f"From reference text to the model's own the gap changes by more than {MATERIALITY:g} "
            f"nats at {off} of {count(len(self.layers), 'layer')}; the most is "
            f"{estimate(worst.change, '+.2f')}, at layer {worst.layer}. "
            + ("The calibration does not transfer." if off else "No layer contradicts transfer.")
        )


def transfer(
    anatomy: Anatomy,
    corrections: Mapping[int, Correction],
    reference: States,
    own: States,
    lens: str,
    seed: int,
) -> Transfer:
    """Measure the gap of every corrected layer on both texts of the same prompts.

    Raises
    ------
    UserError
        If there are fewer than two prompts.
    """
    rows = (reference, own)
    gaps = [_gaps(anatomy, corrections, states) for states in rows]
    prompt = np.concatenate([states.prompt for states in rows])
    first = np.arange(len(prompt)) < len(reference)
    found = []
    for column, layer in enumerate(corrections):
        gap = np.concatenate([part[:, column] for part in gaps])
        sums = np.column_stack([gap * first, first, gap * ~first, ~first])
        means = cluster_bootstrap(sums, prompt, seed, _REPLICATES)
        replicates = means.replicates[(means.replicates[:, [1, 3]] > 0).all(axis=1)]
        change = percentile_interval(
            float(_change(means.estimate[None])[0]), _change(replicates), means.level
        )
        found.append(LayerTransfer(layer, means.ratio(0, 1), means.ratio(2, 3), change))
    return Transfer(lens, len(np.unique(prompt)), len(reference), len(own), tuple(found))


def _change(means: FloatArray) -> FloatArray:
    found: FloatArray = means[:, 2] / means[:, 3] - means[:, 0] / means[:, 1]
    return found


def _gaps(anatomy: Anatomy, corrections: Mapping[int, Correction], states: States) -> FloatArray:
    """Gap of each token at each corrected layer, (n, layers)."""
    read = read_lenses(anatomy, {"": corrections}, states)
    columns = [read["", layer] for layer in corrections]
    return np.column_stack([column["expected"] - column["entropy"] for column in columns])
