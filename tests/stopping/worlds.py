"""Hypothesis strategies for whole worlds: latent entropies, turning point and admissible noise."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from stopping.noise import worst_noise
from stopping.paths import Paths

EPS_MAX = 1.0
"""The theory has one scale; everything is in units of the noise bound."""


@dataclass(frozen=True)
class World:
    """One token and the tolerance that its rises dominate."""

    paths: Paths
    tau: float


@st.composite
def worlds(draw: st.DrawFn, tau: float = 0.0, dominance: float = 2.0) -> World:
    """Worlds with A1, A2, A4 and rises just above or well above `dominance + tau`.

    The noise is arbitrary within the bound, at its corners, or the worst for the search.
    """
    layers = draw(st.integers(1, 9))
    turning = draw(st.integers(0, layers - 1))
    falls = st.one_of(
        st.just(0.0),
        st.floats(1e-6, 0.3),
        st.floats(1.9, 2.0),
        st.floats(0.3, 8.0),
    )
    excess = st.one_of(st.just(1e-9), st.floats(1e-9, 3.0))
    steps = [
        draw(excess) + dominance + tau if layer > turning else -draw(falls)
        for layer in range(1, layers)
    ]
    G = np.concatenate([[0.0], np.cumsum(steps)])[None]
    index = np.array([turning])
    kind = draw(st.sampled_from(("any", "corner", "worst")))
    if kind == "worst":
        noise = worst_noise(G, index, np.full(layers, EPS_MAX), 0, tau)
    elif kind == "corner":
        signs = draw(st.lists(st.sampled_from((-1.0, 1.0)), min_size=layers, max_size=layers))
        noise = EPS_MAX * np.array([signs])
    else:
        values = st.floats(-EPS_MAX, EPS_MAX)
        noise = np.array([draw(st.lists(values, min_size=layers, max_size=layers))])
    return World(Paths.from_latent(G, noise, index), tau)


def entropies(min_layers: int = 1, max_layers: int = 12) -> st.SearchStrategy[np.ndarray]:
    """Batches `(n, layers)` of entropies with ties, plateaus and near-ties."""
    value = st.one_of(st.sampled_from((0.0, 1.0, 1.0 + 2**-40, 2.0, 1e-300)), st.floats(0.0, 12.0))
    return st.tuples(st.integers(0, 6), st.integers(min_layers, max_layers)).flatmap(
        lambda shape: st.lists(
            st.lists(value, min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        ).map(lambda rows: np.array(rows, dtype=float).reshape(shape))
    )
