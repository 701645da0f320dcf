"""What a fitted model believes of every token of a trace file: the posterior of `V*` (S3).

For each token: `P(V* = v | x)` over the window, `E[excess(l) | x]` in nats, and the layer of least
expected excess. Layers are numbered as in the traces, from 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.changepoint import ChangePointModel, posterior
from stopping.support.files import Kind, written_aside
from stopping.types import FloatArray, IntArray

BELIEFS = Kind("file of beliefs", b"layer-stopping beliefs")
_BLOCK = 1 << 13
"""Tokens at a time."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """Posterior quantities of `n` tokens on a window of `w` layers.

    Attributes
    ----------
    prompt, position : ndarray of int, shape (n,)
    layers : ndarray of int, shape (w,)
        Layer numbers of the window.
    turning : ndarray, shape (n, w)
        `P(V* = layer | x)`.
    excess : ndarray, shape (n, w)
        `E[excess(layer) | x]`, nats.
    best : ndarray of int, shape (n,)
        Number of the layer of least expected excess.
    """

    prompt: IntArray
    position: IntArray
    layers: IntArray
    turning: FloatArray
    excess: FloatArray
    best: IntArray

    @property
    def turning_mean(self) -> FloatArray:
        """Mean posterior of the turning point over the tokens, shape (w,)."""
        mean: FloatArray = self.turning.mean(axis=0)
        return mean

    @property
    def certain(self) -> float:
        """Share of tokens whose turning point is known with probability 0.9 or more."""
        return float((self.turning.max(axis=1) >= 0.9).mean())


def find_beliefs(model: ChangePointModel, traces: Traces) -> Beliefs:
    """Apply a model to the last layers of traces.

    Raises
    ------
    UserError
        If the model was fitted on another LLM or lens, or the traces have fewer layers than its
        window, or fewer than two prompts.
    """
    if model.fitted_on is not None:
        model.fitted_on.require("beliefs", traces.provenance.read_as)
    sample = take_sample(traces, model.K, seed=0, replicates=100)
    parts = [
        posterior(model, sample.x[start : start + _BLOCK])
        for start in range(0, len(sample.x), _BLOCK)
    ]
    best = np.concatenate([part.best_layer for part in parts])
    return Beliefs(
        prompt=traces.prompt.astype(np.intp),
        position=traces.position.astype(np.intp),
        layers=sample.layers,
        turning=np.concatenate([part.turning for part in parts]),
        excess=np.concatenate([part.excess for part in parts]),
        best=sample.layers[best],
    )


def write_beliefs(path: Path, beliefs: Beliefs) -> None:
    """Write a Parquet file, whole or not at all; one row for each token, the layers as metadata."""
    w = len(beliefs.layers)

    def lists(values: FloatArray) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), w)

    table = pa.table(
        {
            "prompt": pa.array(beliefs.prompt.astype(np.int32)),
            "position": pa.array(beliefs.position.astype(np.int32)),
            "turning": lists(beliefs.turning),
            "excess": lists(beliefs.excess),
            "best": pa.array(beliefs.best.astype(np.int32)),
        }
    ).replace_schema_metadata(
        {"format": BELIEFS.mark, "layers": ",".join(map(str, beliefs.layers))}
    )
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")
