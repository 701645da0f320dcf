"""Token statistics as the paper reports them, each beside the published figure.

`V^` is the layer where the search (window `K`, `p = 1`) stops; a token *leaves* if `V^ != L`, and
its argmax is *changed* if the most probable token at `V^` differs from that at `L`. Two
interpretations are made explicit, because the paper's wording leaves them open:

- "Perturbed" (`x[L] > x[L-1]`) and "leaves" (`V^ < L`) are one event on any set of tokens, since
  the search leaves exactly if `x[L-1] < x[L]`. The paper reports 16.2 % and 11.5 % on different
  runs. Both are listed here and must agree.
- "Entropy drop where the argmax is kept, 43.1 %" is read as a relative fall,
  `1 - mean x[V^] / mean x[L]` over leaving tokens that keep their argmax. As a share it would say
  nothing new, for entropy falls on every leaving token: the share that keeps its argmax is one
  minus the share that changes it, and is listed too.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from empirical.intervals import Ratio, mean, prompt_intervals
from empirical.published import (
    ENTROPY_EDGES,
    SUBSTITUTION_BY_ENTROPY,
    VALLEY_BY_DECILE,
    figure,
)
from empirical.traces.window import Sample
from stopping.rules import Search
from stopping.support.statistics import Interval
from stopping.types import BoolArray, FloatArray, IntArray

Unit = Literal["share", "nats", "layers"]


@dataclass(frozen=True)
class Statistic:
    """One statistic with its interval over prompts, and the paper's value where it gives one."""

    key: str
    quantity: str
    unit: Unit
    ours: Interval
    paper: float | None


@dataclass(frozen=True)
class EntropyBin:
    """Tokens whose final-layer entropy lies in `[low, high)` nats.

    `leaves` is the share that leaves the final layer, `substituted` the share with a changed
    argmax; the paper's value is of the latter.
    """

    low: float
    high: float
    tokens: int
    leaves: Interval
    substituted: Interval
    paper: float | None


@dataclass(frozen=True)
class PositionDecile:
    """Tokens in one tenth of their completion (1 to 10): share that leaves the final layer."""

    decile: int
    tokens: int
    leaves: Interval
    paper: float | None


@dataclass(frozen=True)
class TokenStatistics:
    """The paper's token statistics on these tokens.

    `depth_counts[d]` is the number of tokens whose search stops `d` traced layers before the last.
    """

    statistics: tuple[Statistic, ...]
    depth_counts: tuple[int, ...]
    by_entropy: tuple[EntropyBin, ...]
    by_position: tuple[PositionDecile, ...]

    def __getitem__(self, key: str) -> Statistic:
        """Return a statistic by its key."""
        for statistic in self.statistics:
            if statistic.key == key:
                return statistic
        raise KeyError(key)


@dataclass(frozen=True, eq=False)
class SearchedTokens:
    """What the statistics need of `n` tokens, each array of shape (n,).

    Attributes
    ----------
    prompt, position : int
        Prompt, and position within the completion.
    last, before, valley : float
        Observed entropies at `L`, `L - 1` and `V^`, nats.
    depth : int
        Layers from `L` back to `V^`.
    changed : bool
        Whether the most probable token at `V^` is another than at `L`.
    clusters : int, optional
        What intervals resample; default: prompts.
    """

    prompt: NDArray[np.int32]
    position: NDArray[np.int32]
    last: FloatArray
    before: FloatArray
    valley: FloatArray
    depth: IntArray
    changed: BoolArray
    clusters: IntArray | None = None


def token_statistics(sample: Sample) -> TokenStatistics:
    """Compute the statistics of the paper with the search of the sample's window."""
    x, top1 = sample.x, sample.top1
    tokens, last = np.arange(len(x)), x.shape[1] - 1
    valley = Search(last).choose(x)
    searched = SearchedTokens(
        prompt=sample.traces.prompt,
        position=sample.traces.position,
        last=x[:, -1],
        before=x[:, -2],
        valley=x[tokens, valley],
        depth=last - valley,
        changed=top1[tokens, valley] != top1[:, -1],
        clusters=sample.clusters,
    )
    return statistics_of(searched, last, sample.seed, sample.replicates)


def statistics_of(tokens: SearchedTokens, K: int, seed: int, replicates: int) -> TokenStatistics:
    """Compute the statistics of the paper for tokens that a search of `K` steps went over.

    Raises
    ------
    UserError
        If the tokens are of fewer than two prompts.
    """
    at_valley, at_last, depth, changed = tokens.valley, tokens.last, tokens.depth, tokens.changed
    leaves = depth > 0
    step = at_last - tokens.before
    rises = step > 0
    kept = leaves & ~changed

    wanted: dict[str, tuple[str, Unit, Ratio]] = {
        "perturbed": ("final-layer entropy rises (perturbed)", "share", mean(rises)),
        "last_rise": ("  mean rise at the final layer", "nats", mean(step, rises)),
        "total_rise": ("  mean rise from the valley", "nats", mean(at_last - at_valley, leaves)),
        "valley_entropy": ("  mean entropy at the valley", "nats", mean(at_valley, leaves)),
        "last_fall": ("other tokens: mean fall at the final layer", "nats", mean(step, ~rises)),
        "leaves": ("search leaves the final layer", "share", mean(leaves)),
        "depth_when_leaving": ("  mean depth", "layers", mean(depth, leaves)),
        "within_five": ("  valley within 5 layers", "share", mean(depth <= 5, leaves)),
        "argmax_changed_when_leaving": ("  argmax changed", "share", mean(changed, leaves)),
        "argmax_kept_when_leaving": ("  argmax kept, entropy lower", "share", mean(kept, leaves)),
        "relative_drop_argmax_kept": (
            "  relative entropy fall, argmax kept",
            "share",
            Ratio(np.where(kept, at_last - at_valley, 0.0), np.where(kept, at_last, 0.0)),
        ),
        "argmax_changed": ("argmax changed, of all tokens", "share", mean(changed)),
        "confident_when_staying": (
            "staying tokens: final-layer entropy < 0.01",
            "share",
            mean(at_last < 0.01, ~leaves),
        ),
        "confident_when_argmax_kept": (
            "argmax kept: final-layer entropy < 0.01",
            "share",
            mean(at_last < 0.01, ~changed),
        ),
    }
    edges = np.array(ENTROPY_EDGES)
    bins = np.digitize(at_last, edges[1:-1])
    decile = position_decile(tokens.prompt, tokens.position)
    ratios = {key: ratio for key, (_, _, ratio) in wanted.items()}
    ratios |= {f"left {b}": mean(leaves, bins == b) for b in range(len(edges) - 1)}
    ratios |= {f"bin {b}": mean(changed, bins == b) for b in range(len(edges) - 1)}
    ratios |= {f"decile {d}": mean(leaves, decile == d) for d in range(1, 11)}
    clusters = tokens.prompt if tokens.clusters is None else tokens.clusters
    found = prompt_intervals(ratios, clusters, seed, replicates)
    return TokenStatistics(
        statistics=tuple(
            Statistic(key, quantity, unit, found[key], figure(key))
            for key, (quantity, unit, _) in wanted.items()
        ),
        depth_counts=tuple(int(c) for c in np.bincount(depth, minlength=K + 1)),
        by_entropy=tuple(
            EntropyBin(
                low=ENTROPY_EDGES[b],
                high=ENTROPY_EDGES[b + 1],
                tokens=int((bins == b).sum()),
                leaves=found[f"left {b}"],
                substituted=found[f"bin {b}"],
                paper=SUBSTITUTION_BY_ENTROPY[b],
            )
            for b in range(len(edges) - 1)
        ),
        by_position=tuple(
            PositionDecile(
                decile=d,
                tokens=int((decile == d).sum()),
                leaves=found[f"decile {d}"],
                paper=VALLEY_BY_DECILE.get(d),
            )
            for d in range(1, 11)
        ),
    )


def position_decile(prompt: NDArray[np.int32], position: NDArray[np.int32]) -> IntArray:
    """Tenth of its completion in which each token lies, 1 to 10, shape (n,).

    A completion reaches from position 0 to the last position that was traced.
    """
    _, index = np.unique(prompt, return_inverse=True)
    length = np.zeros(index.max() + 1, dtype=np.intp)
    np.maximum.at(length, index, position.astype(np.intp) + 1)
    decile: IntArray = 10 * position.astype(np.intp) // length[index] + 1
    return decile
