"""Traces with a known truth: calibrated layers, shifted ones, clustered ones, and tiny ones."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from empirical.provenance import Mode, Provenance
from empirical.traces.files import Traces

VOCABULARY = 50


def traces_from(
    entropy: ArrayLike,
    log_prob: ArrayLike,
    top1: ArrayLike,
    token: ArrayLike,
    prompt: ArrayLike,
    difficulty: ArrayLike | None = None,
    mode: Mode = "reference",
) -> Traces:
    """Traces from the arrays that matter; the rest is filled with admissible values."""
    x = np.asarray(entropy, dtype=np.float32)
    n, layers = x.shape
    prompts = np.asarray(prompt, dtype=np.int32)
    _, first, index = np.unique(prompts, return_index=True, return_inverse=True)
    return Traces(
        prompt=prompts,
        position=(np.arange(n) - first[index]).astype(np.int32),
        token=np.asarray(token, dtype=np.int32),
        difficulty=np.asarray(np.zeros(n) if difficulty is None else difficulty, dtype=np.int8),
        family=np.full(n, "synthetic"),
        group=np.full(n, ""),
        layers=np.arange(1, layers + 1, dtype=np.int32),
        entropy=x,
        log_prob=np.asarray(log_prob, dtype=np.float32),
        top1=np.asarray(top1, dtype=np.int32),
        top1_prob=np.full((n, layers), 0.5, dtype=np.float32),
        hindsight_gain=np.empty((n, 0), dtype=np.float32),
        tempered=np.empty((n, 0), dtype=np.float32),
        residual_norm=np.ones((n, layers), dtype=np.float32),
        residual_cosine=np.zeros((n, layers), dtype=np.float32),
        provenance=Provenance("synthetic", "Synthetic", layers, 8, 1 << 31, mode),
    )


def with_mode(traces: Traces, mode: Mode) -> Traces:
    """The same tokens, declared to be of another mode."""
    return replace(traces, provenance=replace(traces.provenance, mode=mode))


def calibrated(
    prompts: int = 60,
    tokens: int = 100,
    layers: int = 12,
    seed: int = 0,
    overconfidence: float = 0.0,
    layer_shift: dict[int, float] | None = None,
    spread: float = 1.0,
) -> Traces:
    """Layers whose lens is calibrated exactly, token by token, or over-confident by a shift.

    A layer gives its top-1 token a probability `q` and the others of the vocabulary equal shares
    of the rest; the reference is the top-1 token with probability `q`, independently at each
    layer. Hence E[log-loss | q] is the entropy at `q`. The log-odds of `q` share an effect of the
    prompt with standard deviation `spread`, so tokens of one prompt are dependent. A shift in
    nats is added to the log-loss, of all layers or of a column alone. Difficulty is 1 to 4.
    """
    rng = np.random.default_rng(seed)
    n = prompts * tokens
    prompt = np.repeat(np.arange(prompts), tokens)
    odds = 1.5 + spread * rng.normal(size=prompts)[prompt][:, None] + rng.normal(size=(n, layers))
    q = 1.0 / (1.0 + np.exp(-odds))
    entropy = -q * np.log(q) - (1 - q) * np.log((1 - q) / (VOCABULARY - 1))
    hit = rng.random((n, layers)) < q
    log_prob = np.where(hit, np.log(q), np.log((1 - q) / (VOCABULARY - 1))) - overconfidence
    for column, shift in (layer_shift or {}).items():
        log_prob[:, column] -= shift
    token = rng.integers(VOCABULARY, size=n)
    other = (token[:, None] + rng.integers(1, VOCABULARY, size=(n, layers))) % VOCABULARY
    top1 = np.where(hit, token[:, None], other)
    return traces_from(entropy, log_prob, top1, token, prompt, difficulty=prompt % 4 + 1)


def from_entropies(entropy: ArrayLike, prompts: int = 2) -> Traces:
    """Tokens of which only the entropies matter, dealt to `prompts` prompts in blocks."""
    x: NDArray[Any] = np.asarray(entropy, dtype=np.float64)
    n = len(x)
    prompt = np.arange(n) * prompts // n
    return traces_from(x, -np.ones_like(x), np.zeros(x.shape), np.zeros(n), prompt)
