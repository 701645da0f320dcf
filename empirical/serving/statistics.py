"""Counts of what was chosen, and where they can be read.

They stand in the process that runs the model. What vLLM decodes and drops (the end of a chunk of a
prompt that goes on, a drafted token that is rejected) is counted with the rest. `read` says them
for one model; with an engine `llm`

    llm.apply_model(empirical.serving.statistics.read)

gives one answer for each worker (vLLM pickles the function for workers that are other processes,
which it allows with `VLLM_ALLOW_INSECURE_SERIALIZATION=1`). They are Prometheus counters too: with
`PROMETHEUS_MULTIPROC_DIR` set to an empty folder when the server starts, its `/metrics` shows

    layer_stopping_tokens_total{depth="3"}      tokens taken from three layers before the last

by the public interface of `prometheus_client`; without it a server's other processes keep theirs
to themselves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Steps between two looks at counts that lie on a GPU.
_EVERY = 64


@dataclass(frozen=True)
class Chosen:
    """Averages over tokens that were searched, plain requests left out.

    `by_depth[j]` counts those taken from `j` layers before the last, `moved` is the share of those
    with `j > 0`, `depth` the mean of `j`.
    """

    tokens: int
    moved: float
    depth: float
    by_depth: tuple[int, ...]

    @classmethod
    def of(cls, by_depth: NDArray[np.int64]) -> "Chosen":
        """Averages of counts."""
        tokens = max(1, int(by_depth.sum()))
        return cls(
            tokens=int(by_depth.sum()),
            moved=float(by_depth[1:].sum() / tokens),
            depth=float(np.arange(len(by_depth)) @ by_depth / tokens),
            by_depth=tuple(by_depth.tolist()),
        )


class Counts:
    """Counts of tokens by layers back from `L`, up to `K`.

    `publishes` says whether they become Prometheus counters: of several workers that decide the
    same rows, one counts.
    """

    def __init__(self, K: int, publishes: bool = True) -> None:
        self._seen = np.zeros(K + 1, dtype=np.int64)
        self._waiting: Tensor | None = None
        self._steps = 0
        self._told = np.zeros(K + 1, dtype=np.int64)
        self._counter = _prometheus_counter() if publishes else None

    def add(self, depth: Tensor) -> None:
        """Count a step's choices, (n,) int64; on a GPU the host looks once in a while."""
        counts = (depth[:, None] == torch.arange(len(self._seen), device=depth.device)).sum(0)
        self._waiting = counts if self._waiting is None else self._waiting + counts
        self._steps += 1
        if counts.device.type == "cpu" or self._steps % _EVERY == 0:
            self._look()

    def chosen(self) -> Chosen:
        """Return averages of all so far."""
        self._look()
        return Chosen.of(self._seen)

    def _look(self) -> None:
        if self._waiting is not None:
            self._seen += self._waiting.cpu().numpy()
            self._waiting = None
        if self._counter is not None:
            for j, count in enumerate((self._seen - self._told).tolist()):
                if count:
                    self._counter.labels(depth=str(j)).inc(count)
            self._told = self._seen.copy()


def read(model: Any) -> Chosen | None:
    """Counts of a model in an engine; None where it does not search."""
    searcher = getattr(model, "confident", None)
    return None if searcher is None else searcher.counts.chosen()


_COUNTERS: list[Any] = []


def _prometheus_counter() -> Any:
    """One counter in a process, however many models it has had."""
    if not _COUNTERS:
        try:
            from prometheus_client import Counter
        except ImportError:
            return None
        _COUNTERS.append(
            Counter(
                "layer_stopping_tokens",
                "Tokens that were searched, by layers back from the last.",
                ["depth"],
            )
        )
    return _COUNTERS[0]
