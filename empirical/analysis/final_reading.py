"""The final layer read at a temperature of its own, in the choice alone.

A lens that corrects every layer but the last leaves the final layer's gap: it promises less than
it pays, and a search that compares it with calibrated layers is held at it. Here its entropy is
that of its distribution at the temperature with the least log-loss; what it decodes, and so the
log-loss of staying, are as they were. The decoder does the same with a lens that was fitted with
`stopping lens fit --final-too`.

The temperature of each token is fitted on other clusters of the same traces, so that no token
helps to choose the temperature that it is read at.
"""

from dataclasses import replace

import numpy as np

from empirical.logits.temperatures import (
    INVERSE_TEMPERATURES,
    best_inverse_temperature,
    tempered_entropy,
    weights,
)
from empirical.traces.schema import Traces
from stopping.errors import UserError
from stopping.types import FloatArray, IntArray

READING = "final layer read at its own temperature"
FOLDS = 5
_ROUNDED = 0.02
"""Half precision rounds each column for itself, by no more than this, nats."""


def corrects_final(traces: Traces) -> bool:
    """Whether the lens corrects the final layer: its log-probabilities are not the model's own."""
    own = traces.tempered[:, INVERSE_TEMPERATURES.index(1.0)].astype(np.float64)
    return bool(np.abs(own - traces.log_prob[:, -1]).max() > _ROUNDED)


def own_temperature(
    kept: FloatArray, clusters: IntArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Log-probability and entropy of each token at the temperature best on other clusters, (n,).

    Parameters
    ----------
    kept : (n, 5)
        Log-probabilities of the final layer at `INVERSE_TEMPERATURES`.
    clusters : (n,) int
        Numbers from 0.
    seed : int
        Of the folds.
    """
    fold = np.random.default_rng(seed).permutation(int(clusters.max()) + 1) % FOLDS
    of_token = fold[clusters]
    log_prob, entropy = np.empty(len(kept)), np.empty(len(kept))
    for part in np.unique(of_token):
        here = of_token == part
        inverse = best_inverse_temperature(kept[~here].mean(axis=0))
        log_prob[here] = kept[here] @ weights(inverse)
        entropy[here] = tempered_entropy(kept[here], inverse)
    return log_prob, entropy


def with_own_temperature(traces: Traces, seed: int = 0) -> Traces:
    """Return the traces with the final layer's entropy at its own temperature, all else equal.

    Raises
    ------
    UserError
        If the traces do not keep the final layer at several temperatures, are of the model's own
        text or of a single cluster, or if their lens corrects the final layer already.
    """
    traces.require("final layer at its own temperature", "log_prob", "tempered")
    if traces.provenance.mode == "generated":
        raise UserError(
            "final layer at its own temperature: these are the model's own greedy tokens, to which "
            "no temperature can be fitted; trace reference answers"
        )
    if len(np.unique(traces.clusters)) < 2:
        raise UserError(
            "final layer at its own temperature: it is fitted on other prompts (or groups of them) "
            "than it is used on, and the traces have but one; trace more"
        )
    if corrects_final(traces):
        raise UserError(
            "final layer at its own temperature: the lens of these traces corrects the final layer "
            "already, so that it is read so as it is"
        )
    _, entropy = own_temperature(traces.tempered.astype(np.float64), traces.clusters, seed)
    x = np.column_stack([traces.entropy[:, :-1], entropy.astype(np.float32)])
    lens = f"{traces.provenance.lens}, {READING}"
    return replace(traces, entropy=x, provenance=replace(traces.provenance, lens=lens))
