"""The search on the same tokens, side by side: two lenses of one model, or two models.

Two captures of the same texts are cut to the tokens that both hold. Every interval uses the same
resamples of prompts, so that what lies between the two is paired.
"""

from dataclasses import dataclass, fields

import numpy as np

from empirical.analysis.projection_noise import shared_tokens
from empirical.analysis.validate.core import oracle_layer
from empirical.intervals import mean
from empirical.traces.schema import Traces
from empirical.traces.window import Sample, take_sample
from stopping.errors import UserError
from stopping.rules import Search
from stopping.support.statistics import Interval
from stopping.types import FloatArray


@dataclass(frozen=True)
class Side:
    """The search on one capture, or what changes from one to another; 95 % over clusters.

    Attributes
    ----------
    final : Interval
        Log-loss of the final layer, nats.
    window_gap : Interval
        Log-loss minus entropy, mean over the window's layers, nats; A0 says 0.
    chosen_gap : Interval
        The same at the layers that the search chooses.
    rise : Interval
        Entropy of the final layer minus that of the one before, nats.
    moved : Interval
        Share of tokens that the search moves.
    log_loss, accuracy : Interval
        Of the search minus the final layer's, nats and share.
    hindsight : Interval
        Log-loss of the best layer in hindsight minus the final layer's, nats.
    """

    final: Interval
    window_gap: Interval
    chosen_gap: Interval
    rise: Interval
    moved: Interval
    log_loss: Interval
    accuracy: Interval
    hindsight: Interval


@dataclass(frozen=True)
class SideBySide:
    """Both captures on the tokens that they share, and the paired change from first to second."""

    tokens: int
    prompts: int
    K: int
    first: Side
    second: Side
    change: Side


def side_by_side(
    first: Traces, second: Traces, K: int = 10, seed: int = 0, replicates: int = 1000
) -> SideBySide:
    """Compare the search on two captures of the same texts, each in its own last `K + 1` layers.

    Raises
    ------
    UserError
        If they share no token, or give one place different tokens: other texts, or another
        tokenizer.
    """
    first, second = shared_tokens(first, second)
    if not np.array_equal(first.token, second.token):
        raise UserError(
            f"{first.provenance.model} and {second.provenance.model}: other tokens at the same "
            "places; only captures of the same texts by the same tokenizer can be paired"
        )
    samples = [take_sample(traces, K, seed, replicates) for traces in (first, second)]
    columns = [search_columns(sample) for sample in samples]
    difference = {name: columns[1][name] - columns[0][name] for name in columns[0]}
    return SideBySide(
        tokens=len(first),
        prompts=samples[0].prompts,
        K=K,
        first=_side(samples[0], columns[0]),
        second=_side(samples[1], columns[1]),
        change=_side(samples[0], difference),
    )


def one_side(traces: Traces, K: int = 10, seed: int = 0, replicates: int = 1000) -> Side:
    """Return the search on one capture, in its last `K + 1` layers."""
    sample = take_sample(traces, K, seed, replicates)
    return _side(sample, search_columns(sample))


def search_columns(sample: Sample) -> dict[str, FloatArray]:
    """What each token contributes to the fields of `Side`, (n,) each."""
    rows, last = np.arange(len(sample.x)), sample.x.shape[1] - 1
    choice, oracle = Search(K=last).choose(sample.x), oracle_layer(sample)
    gap = sample.log_loss - sample.x
    right = (sample.top1 == sample.traces.token[:, None]).astype(np.float64)
    return {
        "final": sample.log_loss[:, -1],
        "window_gap": gap.mean(axis=1),
        "chosen_gap": gap[rows, choice],
        "rise": sample.x[:, -1] - sample.x[:, -2],
        "moved": (choice != last).astype(np.float64),
        "log_loss": sample.log_loss[rows, choice] - sample.log_loss[:, -1],
        "accuracy": right[rows, choice] - right[:, -1],
        "hindsight": sample.log_loss[rows, oracle] - sample.log_loss[:, -1],
    }


def _side(sample: Sample, columns: dict[str, FloatArray]) -> Side:
    found = sample.intervals({field.name: mean(columns[field.name]) for field in fields(Side)})
    return Side(**found)
