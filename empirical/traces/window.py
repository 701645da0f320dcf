"""The tokens that an audit or a validation works on: traces cut to a window, checked once.

The window is the last `K + 1` traced layers. Rules and theorems see the window alone, so that no
rule can reach a layer that the hindsight oracle may not choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from empirical.intervals import Ratio, prompt_intervals
from empirical.traces.files import Traces
from stopping.errors import UserError
from stopping.support.statistics import Interval, cluster_share, student_ratio
from stopping.support.tables import count
from stopping.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(frozen=True, eq=False)
class Sample:
    """Window arrays of the traces in double precision, final layer `L` in the last column.

    Attributes
    ----------
    traces : Traces
        All traced layers.
    x, log_loss : ndarray, shape (n, K + 1)
        Observed entropy and log-loss of the reference token, nats.
    top1 : ndarray, shape (n, K + 1)
        Most probable token.
    layers : ndarray, shape (K + 1,)
        Layer numbers, from 1.
    """

    traces: Traces
    x: FloatArray
    log_loss: FloatArray
    top1: IntArray
    layers: IntArray
    seed: int
    replicates: int

    @property
    def own_text(self) -> bool:
        """Whether the reference tokens are the model's own greedy choices."""
        return self.traces.provenance.mode == "generated"

    @property
    def cluster_kind(self) -> Literal["group", "prompt"]:
        """What is resampled: groups of prompts, or prompts where fewer than two are known."""
        several = len(np.unique(self.traces.clusters)) > 1
        return self.traces.cluster_kind if several else "prompt"

    @cached_property
    def clusters(self) -> IntArray:
        """Number of the group, or of the prompt, of each token, from 0, shape (n,)."""
        by_group = self.cluster_kind == "group"
        labels = self.traces.clusters if by_group else self.traces.prompt
        numbers: IntArray = np.unique(labels, return_inverse=True)[1].ravel()
        return numbers

    @property
    def prompts(self) -> int:
        """Number of prompts that have a token."""
        return len(np.unique(self.traces.prompt))

    def groups(self) -> dict[int, BoolArray]:
        """Tokens of each difficulty, 0 for unknown; empty if no difficulty is known."""
        found = np.unique(self.traces.difficulty)
        if not found.any():
            return {}
        return {int(d): self.traces.difficulty == d for d in found}

    def intervals(self, ratios: Mapping[str, Ratio]) -> dict[str, Interval]:
        """Intervals over clusters, the same resamples at every call."""
        return prompt_intervals(ratios, self.clusters, self.seed, self.replicates)

    def mean_that_decides(self, ratio: Ratio) -> Interval:
        """Student's interval over clusters, which keeps its level where they are few."""
        return student_ratio(*self._sums(ratio), ratio.level)

    def share_that_decides(self, ratio: Ratio) -> Interval:
        """Interval of a share of tokens, each end at 5 %, however alike those of a cluster are."""
        return cluster_share(*self._sums(ratio), self.seed)

    def _sums(self, ratio: Ratio) -> tuple[FloatArray, FloatArray]:
        sums = [np.bincount(self.clusters, side) for side in (ratio.numerator, ratio.denominator)]
        return sums[0].astype(np.float64), sums[1].astype(np.float64)


def headline(
    name: str,
    model: str,
    tokens: int,
    prompts: int,
    K: int,
    over: str = "prompts, or groups of them where traces have groups",
) -> "Text":
    """One line that says what is looked at; `name` is the file's where that is known.

    `over` is what intervals resample.
    """
    from rich.text import Text

    file = f" ({name})" if name not in ("", model) else ""
    return Text.assemble(
        (model, "bold"),
        f"{file}: {count(tokens, 'token')} of {count(prompts, 'prompt')}, window of "
        f"{count(K, 'step')}, 95% intervals over {over}",
    )


def take_sample(traces: Traces, K: int, seed: int, replicates: int) -> Sample:
    """Cut `traces` to the window of `K` steps back.

    Raises
    ------
    UserError
        If the window is empty or reaches below the traced layers, or the traces hold fewer than
        two prompts, or too few replicates are asked for.
    """
    traced = len(traces.layers)
    if K < 1:
        raise UserError(f"window: needs at least one step back, got {K}")
    if traced < K + 1:
        raise UserError(
            f"window: {K} steps back need {K + 1} traced layers, the traces have {traced}; "
            f"ask for a window of at most {traced - 1}, or trace more layers"
        )
    if replicates < 100:
        raise UserError(f"replicates: an interval needs at least 100, got {replicates}")
    prompts = len(np.unique(traces.prompt))
    if prompts < 2:
        raise UserError(
            f"traces: {prompts} prompt(s), and intervals come from a bootstrap over prompts, "
            "which needs at least two; trace more prompts"
        )
    return Sample(
        traces=traces,
        x=traces.entropy[:, -K - 1 :].astype(np.float64),
        log_loss=-traces.log_prob[:, -K - 1 :].astype(np.float64),
        top1=traces.top1[:, -K - 1 :].astype(np.intp),
        layers=traces.layers[-K - 1 :].astype(np.intp),
        seed=seed,
        replicates=replicates,
    )
