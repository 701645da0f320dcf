"""What the figures show of the tokens themselves: computed here, drawn in `figures`.

A token is *perturbed* if its entropy rises at the final layer, `x[L] > x[L-1]`: exactly then the
search leaves `L`.
"""

from dataclasses import dataclass

import numpy as np

from empirical.traces.window import Sample
from stopping.rules import Search
from stopping.types import BoolArray, FloatArray

QUARTILES = (0.25, 0.5, 0.75)
SHOWN = 4


@dataclass(frozen=True)
class EntropyBand:
    """Quartiles of the entropy at each traced layer over some tokens, shape (3, layers), nats."""

    tokens: int
    quartiles: FloatArray


@dataclass(frozen=True)
class TokenPath:
    """Entropies of one token on the window, and the column where the search stops."""

    text: str
    prompt: int
    position: int
    entropy: FloatArray
    stop: int


@dataclass(frozen=True)
class Curves:
    """Everything drawn from the tokens of one trace file.

    `layers` are the numbers of all traced layers, `window` of those that the search reads.
    A band is None if it has no token.
    """

    layers: tuple[int, ...]
    window: tuple[int, ...]
    perturbed: EntropyBand | None
    others: EntropyBand | None
    tokens: tuple[TokenPath, ...]


def curves(sample: Sample) -> Curves:
    """Summarise the entropy paths of the tokens; those shown singly are drawn by the seed."""
    entropy = sample.traces.entropy.astype(np.float64)
    rises = sample.x[:, -1] > sample.x[:, -2]
    return Curves(
        layers=tuple(int(layer) for layer in sample.traces.layers),
        window=tuple(int(layer) for layer in sample.layers),
        perturbed=_band(entropy, rises),
        others=_band(entropy, ~rises),
        tokens=_some_tokens(sample, rises),
    )


def _band(entropy: FloatArray, where: BoolArray) -> EntropyBand | None:
    if not where.any():
        return None
    return EntropyBand(int(where.sum()), np.quantile(entropy[where], QUARTILES, axis=0))


def _some_tokens(sample: Sample, rises: BoolArray) -> tuple[TokenPath, ...]:
    """Tokens at random: half of them perturbed, as far as there are any."""
    rng = np.random.default_rng(sample.seed)
    drawn: list[int] = []
    for wanted in (rises, ~rises):
        rows = np.flatnonzero(wanted)
        drawn += rng.choice(rows, size=min(SHOWN // 2, len(rows)), replace=False).tolist()
    stops = Search(sample.x.shape[1] - 1).choose(sample.x)
    traces = sample.traces
    return tuple(
        TokenPath(
            text=visible(traces.vocabulary.get(int(traces.token[i]), f"#{traces.token[i]}")),
            prompt=int(traces.prompt[i]),
            position=int(traces.position[i]),
            entropy=sample.x[i],
            stop=int(stops[i]),
        )
        for i in drawn
    )


def visible(text: str) -> str:
    """Token text in print: spaces shown, anything but ASCII escaped, long ones cut."""
    shown = text.encode("unicode_escape").decode("ascii").replace(" ", "␣")
    return shown if len(shown) <= 14 else shown[:13] + "…"
