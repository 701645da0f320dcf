r"""A0: is the entropy of a layer's lens distribution the log-loss that it will suffer?

    gap[l] = mean( -log p_l(token) ) - mean( x[l] )        nats

A calibrated layer has gap 0; a positive gap means over-confidence (entropy promises less loss than
comes). A layer with a large gap looks refined and is not.

What the gap can and cannot show: a gap away from 0 refutes A0. Gap 0 at every layer says nothing of
a rule that chooses its layer by what it reads: it may take each layer on those tokens on which it
is over-confident. What such a rule pays is its own gap, at the layers that it chooses (C1; the
`optimism` of `empirical.analysis.validate`). The reference tokens must not be
the model's own greedy choices: the greedy token's log-loss lies below the entropy by construction
(`-log max p <= H(p)`), and A0 is then left undecided.
"""

from dataclasses import dataclass

from empirical.analysis.audit.verdicts import OWN_TEXT, Status, Verdict, within
from empirical.intervals import bonferroni, mean
from empirical.traces.window import Sample
from stopping.support.statistics import Interval

MATERIALITY = 0.05
"""A gap of at most this many nats is called calibrated."""


@dataclass(frozen=True)
class LayerCalibration:
    """Calibration at one layer, 95 % intervals over clusters; `layer` counts from 1."""

    layer: int
    in_window: bool
    entropy: Interval
    log_loss: Interval
    gap: Interval
    status: Status


@dataclass(frozen=True)
class GroupCalibration:
    """Gap at the final layer, and averaged over the window, for tokens of one difficulty."""

    difficulty: int
    tokens: int
    final_gap: Interval
    window_gap: Interval


@dataclass(frozen=True)
class Calibration:
    """A0 at every traced layer.

    Attributes
    ----------
    layers : tuple of LayerCalibration
        Each with its own 95 % interval. Statuses are judged by Student's interval over clusters,
        which keeps its level where those are few.
    window_gap : Interval
        Gap averaged over the layers of the window.
    by_difficulty : tuple of GroupCalibration
        Empty if no difficulty is known.
    verdict : Verdict
        FAILS if some window layer's gap lies beyond the materiality at a level adjusted for the
        number of layers (Bonferroni); HOLDS if every one lies within it.
    """

    materiality: float
    layers: tuple[LayerCalibration, ...]
    window_gap: Interval
    by_difficulty: tuple[GroupCalibration, ...]
    verdict: Verdict


def audit_calibration(sample: Sample, materiality: float = MATERIALITY) -> Calibration:
    """Compare entropy and log-loss, layer by layer and by difficulty."""
    traces = sample.traces
    entropy, log_loss = traces.entropy.astype(float), -traces.log_prob.astype(float)
    gap = log_loss - entropy
    window = gap[:, -len(sample.layers) :]
    numbers = [int(layer) for layer in traces.layers]
    in_window = [layer in sample.layers for layer in numbers]
    judged = {
        layer: sample.mean_that_decides(mean(gap[:, column]))
        for column, layer in enumerate(numbers)
    }
    level = bonferroni(len(sample.layers))
    adjusted = [sample.mean_that_decides(mean(column, level=level)) for column in window.T]

    ratios = {"window": mean(window.mean(axis=1))}
    for column, layer in enumerate(numbers):
        ratios[f"entropy {layer}"] = mean(entropy[:, column])
        ratios[f"log-loss {layer}"] = mean(log_loss[:, column])
        ratios[f"gap {layer}"] = mean(gap[:, column])
    for difficulty, mask in sample.groups().items():
        ratios[f"final, difficulty {difficulty}"] = mean(gap[:, -1], mask)
        ratios[f"window, difficulty {difficulty}"] = mean(window.mean(axis=1), mask)
    found = sample.intervals(ratios)

    layers = tuple(
        LayerCalibration(
            layer=layer,
            in_window=inside,
            entropy=found[f"entropy {layer}"],
            log_loss=found[f"log-loss {layer}"],
            gap=found[f"gap {layer}"],
            status=Status.UNDECIDED if sample.own_text else within(judged[layer], materiality),
        )
        for layer, inside in zip(numbers, in_window, strict=True)
    )
    return Calibration(
        materiality=materiality,
        layers=layers,
        window_gap=found["window"],
        by_difficulty=tuple(
            GroupCalibration(
                difficulty=difficulty,
                tokens=int(mask.sum()),
                final_gap=found[f"final, difficulty {difficulty}"],
                window_gap=found[f"window, difficulty {difficulty}"],
            )
            for difficulty, mask in sample.groups().items()
        ),
        verdict=_verdict(
            [layer for layer in layers if layer.in_window],
            [within(one, materiality) for one in adjusted],
            materiality,
            sample.own_text,
        ),
    )


def _verdict(
    window: list[LayerCalibration], adjusted: list[Status], materiality: float, own_text: bool
) -> Verdict:
    if own_text:
        return Verdict(
            "A0",
            "calibration",
            Status.UNDECIDED,
            OWN_TEXT,
        )
    if Status.FAILS in adjusted:
        status = Status.FAILS
    elif all(layer.status is Status.HOLDS for layer in window):
        status = Status.HOLDS
    else:
        status = Status.UNDECIDED
    final, worst = window[-1], max(window, key=lambda layer: abs(layer.gap.estimate))
    off = adjusted.count(Status.FAILS)
    at = f"{final.gap.estimate:+.2f} nats at layer {final.layer} (final"
    if worst is final:
        at += ", and worst of the window)"
    else:
        at += f") and {worst.gap.estimate:+.2f} at layer {worst.layer} (worst of the window)"
    return Verdict(
        "A0",
        "calibration",
        status,
        f"log-loss minus entropy is {at}; it is beyond ±{materiality:g} at {off} of {len(window)} "
        "layers",
    )
