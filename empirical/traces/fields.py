"""The fields of traces: their names, shapes and what their values can be."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from empirical.logits.temperatures import INVERSE_TEMPERATURES
from stopping.errors import UserError
from stopping.types import BoolArray

if TYPE_CHECKING:
    from empirical.traces.schema import Traces

PER_TOKEN = {"prompt": np.int32, "position": np.int32, "token": np.int32, "difficulty": np.int8}
PER_TEXT = ("family", "group")
PER_LAYER = ("entropy", "log_prob", "top1_prob", "hindsight_gain")
RESIDUAL = ("residual_norm", "residual_cosine")
REALS = (*PER_LAYER, *RESIDUAL, "tempered")
OPTIONAL = {
    "log_prob": "the reference token's log-probability at each layer",
    "top1": "the most probable token at each layer",
    "top1_prob": "its probability",
    "hindsight_gain": "what the best layer in hindsight is expected to win",
    "tempered": "the final layer's log-probabilities at several temperatures",
    "residual_norm": "the size of each layer's contribution",
    "residual_cosine": "the cosine between the states before and after each layer",
    "token": "the reference tokens",
}
"""What traces of entropies alone lack."""
UNKNOWN_TOKEN = -1

ROWS = (*PER_TOKEN, *PER_TEXT, *REALS, "top1")
# log p is at most 0 and float16 keeps its sign, so anything above 0 is rounding of the softmax.
_LOG_PROB_SLACK = 1e-3
# Rounding to float16 is relative, that of a softmax over a vocabulary absolute.
_ENTROPY_SLACK = (2.0**-10, 1e-3)
_LARGEST_VOCABULARY = 1 << 32


def require_shapes(traces: "Traces") -> None:
    """Raise a UserError unless all columns and the layers fit together."""
    n, traced, depth = len(traces.prompt), len(traces.layers), traces.provenance.layers
    expected = {
        **dict.fromkeys((*PER_TOKEN, *PER_TEXT), (n,)),
        **dict.fromkeys((*PER_LAYER, "top1"), (n, traced)),
        **dict.fromkeys(RESIDUAL, (n, depth)),
        "tempered": (n, len(INVERSE_TEMPERATURES)),
    }
    for name, shape in expected.items():
        found = getattr(traces, name).shape
        if found != shape and not (name in OPTIONAL and found == (n, 0)):
            raise UserError(f"traces: {name} has shape {found}, expected {shape}")
    ascending = traced > 0 and traces.layers[0] >= 1 and bool((np.diff(traces.layers) > 0).all())
    if not ascending or traces.layers[-1] != depth:
        raise UserError(
            f"traces: layers must ascend from 1 or more to the final layer {depth}, "
            f"got {traces.layers.tolist()}"
        )


def require_values(traces: "Traces") -> None:
    """Raise a UserError unless all values can be what they are said to be, in their order."""
    for name in REALS:
        _require(name, np.isfinite(getattr(traces, name)), "NaN or infinite")
    _require("entropy", traces.entropy >= 0.0, "entropies are never negative")
    _require_possible_entropy(traces.entropy, traces.provenance.vocabulary_size)
    for name in ("log_prob", "tempered"):
        _require(name, getattr(traces, name) <= _LOG_PROB_SLACK, "log-probabilities are at most 0")
    _require("top1_prob", (traces.top1_prob >= 0) & (traces.top1_prob <= 1), "must be in [0, 1]")
    _require("hindsight_gain", traces.hindsight_gain >= 0, "hindsight never loses")
    for name in ("prompt", "position"):
        _require(name, getattr(traces, name) >= 0, "counted from 0")
    steps = np.diff(traces.prompt), np.diff(traces.position)
    ascends = (steps[0] > 0) | ((steps[0] == 0) & (steps[1] > 0))
    _require("rows", ascends, "rows must ascend by (prompt, position), none doubled", offset=1)


def _require_possible_entropy(entropy: NDArray[np.float32], size: int) -> None:
    known = size if size > 0 else _LARGEST_VOCABULARY
    relative, absolute = _ENTROPY_SLACK
    limit = math.log(known) * (1 + relative) + absolute
    whose = f"{size:,} tokens" if size > 0 else "any vocabulary"
    _require("entropy", entropy <= limit, f"an entropy over {whose} is at most {limit:.2f} nats")


def _require(name: str, holds: BoolArray, otherwise: str, offset: int = 0) -> None:
    if holds.all():
        return
    broken = np.argwhere(~holds)
    place = f"token {broken[0][0] + offset}"
    if holds.ndim == 2:
        place += f", layer column {broken[0][1]}"
    raise UserError(
        f"traces: {name}: {otherwise}; {len(broken)} value(s) break this, first {place}"
    )
