"""What the window shows of a token before its reference is known, as columns of a regression.

Entropies and their logarithms, the probability of each layer's own top-1 token, whether a layer and
the next one, and a layer and the last one, agree on it, how many different top-1 tokens there are,
how large the residual updates are, and the token's position. With a second trace file of the same
tokens through another lens (raw beside calibrated) all of its columns join.

The reference token, hence log-loss and difficulty, is never among them.
"""

from dataclasses import dataclass

import numpy as np

from empirical.traces.files import Traces
from empirical.traces.window import Sample, take_sample
from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray, IntArray

NEEDED = ("log_prob", "top1", "top1_prob", "residual_norm", "residual_cosine", "token")
"""Columns beside the entropies."""
_LEAST = 1e-3
"""Nats added before a logarithm: entropies are stored to about this precision."""

NEEDED = (
    *("log_prob", "top1", "top1_prob", "token"),
    *("residual_norm", "residual_cosine"),
)
"""Columns of the traces besides entropies."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Tokens of one trace file, cut to the window, with their features.

    Attributes
    ----------
    sample : Sample
        The window: entropies, log-losses, top-1 tokens.
    features : ndarray, shape (n, p)
    names : tuple of str
        Of the features.
    """

    sample: Sample
    features: FloatArray
    names: tuple[str, ...]

    @property
    def prompt(self) -> IntArray:
        """Prompt of each token, shape (n,)."""
        return self.sample.traces.prompt.astype(np.intp)

    @property
    def clusters(self) -> IntArray:
        """What is dealt into folds whole: the group of each token, or its prompt, shape (n,)."""
        return self.sample.clusters

    @property
    def gain(self) -> FloatArray:
        """Log-loss of the layers below `L` minus that of `L`, shape (n, K): what is learned."""
        difference: FloatArray = self.sample.log_loss[:, :-1] - self.sample.log_loss[:, -1:]
        return difference

    @property
    def right(self) -> BoolArray:
        """Whether each layer's top-1 token is the reference, shape (n, K + 1)."""
        hits: BoolArray = self.sample.top1 == self.sample.traces.token[:, None]
        return hits


def observe(
    traces: Traces,
    other: Traces | None = None,
    K: int = 10,
    seed: int = 0,
    replicates: int = 1000,
) -> Observations:
    """Cut traces to the window and build the features.

    Parameters
    ----------
    traces : Traces
        Tokens whose layers may be decoded.
    other : Traces, optional
        The same model and text through another lens; only tokens that both hold are kept.

    Raises
    ------
    UserError
        As `take_sample`; if the two files share no tokens, or are of different models or texts.
    """
    for each in filter(None, (traces, other)):
        each.require("learn", *NEEDED)
    if other is not None:
        traces, other = _common(traces, other)
    sample = take_sample(traces, K, seed, replicates)
    columns = _columns(sample, "")
    columns["log position"] = np.log1p(traces.position.astype(np.float64))
    if other is not None:
        columns |= _columns(take_sample(other, K, seed, replicates), f"{_lens(other)} ")
    return Observations(sample, np.column_stack(list(columns.values())), tuple(columns))


def _columns(sample: Sample, prefix: str) -> dict[str, FloatArray]:
    top1, traces, last = sample.top1, sample.traces, sample.x.shape[1] - 1
    columns: dict[str, FloatArray] = {}
    for column in range(last + 1):
        name = f"{prefix}{column - last}"
        columns[f"entropy {name}"] = sample.x[:, column]
        columns[f"log entropy {name}"] = np.log(sample.x[:, column] + _LEAST)
        columns[f"top-1 probability {name}"] = traces.top1_prob[:, column - last - 1].astype(
            np.float64
        )
        if column < last:
            agrees = top1[:, column] == top1[:, last]
            columns[f"agrees with the last {name}"] = agrees.astype(np.float64)
        if column < last - 1:
            same = top1[:, column] == top1[:, column + 1]
            columns[f"agrees with the next {name}"] = same.astype(np.float64)
    ordered = np.sort(top1, axis=1)
    columns[f"{prefix}different top-1 tokens"] = 1.0 + (np.diff(ordered, axis=1) != 0).sum(axis=1)
    if not prefix:
        # Residual updates do not depend on the lens.
        for back in range(last + 1):
            norm = traces.residual_norm[:, -back - 1].astype(np.float64)
            columns[f"log residual norm {-back}"] = np.log(norm + _LEAST)
            columns[f"residual cosine {-back}"] = traces.residual_cosine[:, -back - 1].astype(
                np.float64
            )
    return columns


def _common(traces: Traces, other: Traces) -> tuple[Traces, Traces]:
    ours, theirs = traces.provenance, other.provenance
    if (ours.model, ours.mode) != (theirs.model, theirs.mode):
        raise UserError(
            f"the two trace files are of different runs: {ours.model} on {ours.mode} text, "
            f"{theirs.model} on {theirs.mode} text"
        )
    first, second = _keys(traces), _keys(other)
    traces = traces.select(np.isin(first, second))
    other = other.select(np.isin(second, first))
    if len(traces) == 0:
        raise UserError("the two trace files have no token in common (by prompt and position)")
    if (traces.token != other.token).any():
        raise UserError(
            "the two trace files disagree on the tokens of the text; trace the same prompts"
        )
    return traces, other


def _keys(traces: Traces) -> IntArray:
    keys: IntArray = traces.prompt.astype(np.intp) * (1 << 32) + traces.position
    return keys


def _lens(traces: Traces) -> str:
    return traces.provenance.lens.partition(",")[0]
