"""T12: the exact distribution of the layer where the search stops, by one-dimensional quadrature.

Let the noise be independent with known densities and `G` given, so that `x[l]` has a density
`f_l`, `G[l]` shifted by the noise. The search with tolerance `tau` goes on from `l` while
`x[l-1] < x[l] - tau`. Write `s_l(y) dy` for the probability that the scan reaches `l` and reads
`y` there. Then

    s_L = f_L,    s_{l-1}(y) = f_{l-1}(y) * integral over y' > y + tau of s_l(y') dy',
    P(V^ = l) = integral of s_l(y) P(x[l-1] >= y - tau) dy  for l > l_min,
    P(V^ = l_min) = integral of s_{l_min}(y) dy.

*Proof.* The scan reaches `l-1` and reads `y` there if and only if it reached `l`, read some
`y' > y + tau` there, and `x[l-1] = y`; the noise at `l-1` is independent of all that came before.

Reading `x[l] - tau l` in place of `x[l]` turns the tolerance into the plain search, so every layer
lives on one mesh. It is cut at each edge of each density, and on a piece every `s_l` is smooth (a
polynomial where the noise is uniform), so Gauss-Legendre nodes carry it to rounding error; nodes
lie inside the pieces, so jumps do no harm. Two checks make the reported error: the mesh with every
piece halved, and Fubini's theorem, by which the probability of reaching `l-1` is also the integral
of `s_l(y) P(x[l-1] < y - tau)`, with the closed-form distribution function.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from stopping.errors import UserError
from stopping.model.densities import Density, densities
from stopping.model.noise import AbstractNoise
from stopping.model.windows import as_batch, window_start
from stopping.support.results import Result, entries
from stopping.types import FloatArray

NODES = 16
"""Gauss-Legendre nodes per piece: exact for uniform noise up to fifteen steps back."""
HALVINGS = 6
"""Refinements of the mesh before the result is returned with whatever error it has."""


@dataclass(frozen=True, eq=False)
class StoppingDistribution(Result):
    """The law of `V^` for one `G`.

    Attributes
    ----------
    latent : ndarray, shape (layers,)
        `G`, nats.
    l_min : int
        First column of the window.
    tau : float
        Tolerance of the search, nats; 0 is the paper's search.
    probability : ndarray, shape (layers,)
        `P(V^ = l)`, zero outside the window.
    reached : ndarray, shape (layers,)
        `P(the scan stands on l)`, the expected number of visits: 1 at `L`.
    error : float
        Estimated absolute error of any entry of the two.
    tolerance : float
        The error that was asked for.
    """

    latent: FloatArray
    l_min: int
    tau: float
    probability: FloatArray
    reached: FloatArray
    error: float
    tolerance: float

    def items(self) -> Iterable[Any]:
        """Layers."""
        return entries(self, "layer", "latent", "probability", "reached")

    @property
    def converged(self) -> bool:
        """Whether the estimated error is within the tolerance."""
        return self.error <= self.tolerance

    @property
    def extra_projections(self) -> float:
        """Expected projections per token beyond the final layer's, as `rule.projections` counts
        them.

        A scan that stands on `l > l_min` reads `x[l-1]` before it may stop.
        """
        return float(self.reached[self.l_min + 1 :].sum())

    def expected_excess(self, turning: int) -> float:
        """`E[G[V^] - G[V*]]`, nats, for a turning point in column `turning`."""
        return float(self.probability @ (self.latent - self.latent[self._column(turning)]))

    def contained_excess(self, turning: int) -> float:
        """`E[excess(V^); V^ <= V*]`, nats: the quantity that T10 and T13 bound."""
        column = self._column(turning)
        excess = self.latent[: column + 1] - self.latent[column]
        return float(self.probability[: column + 1] @ excess)

    def stop_above(self, turning: int) -> float:
        """`P(V^ > V*)`."""
        return float(self.probability[self._column(turning) + 1 :].sum())

    def expected_overshoot(self, turning: int) -> float:
        """`E[(V* - V^)+]`, layers: the quantity that T11 bounds."""
        steps = np.maximum(self._column(turning) - np.arange(len(self.latent)), 0)
        return float(self.probability @ steps)

    def _column(self, turning: int) -> int:
        if not 0 <= turning < len(self.latent):
            raise UserError(f"turning: must lie in [0, {len(self.latent) - 1}], got {turning}")
        return turning


def stopping_distribution(
    latent: ArrayLike,
    noise: AbstractNoise | Sequence[Density],
    K: int = 10,
    tau: float = 0.0,
    tolerance: float = 1e-9,
) -> StoppingDistribution:
    """T12: the distribution of the layer where the search stops.

    Parameters
    ----------
    latent : array_like, shape (layers,)
        `G`, nats, final layer last.
    noise : AbstractNoise or sequence of Density
        Independent over layers, with a density at each of them (one per layer, if a sequence).
    K : int
        The window allows `K` steps back.
    tau : float
        Tolerance: the scan goes on while `x[l-1] < x[l] - tau`.
    tolerance : float
        Absolute error of the probabilities that stops the refinement of the mesh.

    Raises
    ------
    UserError
        If `G` is not a finite vector, the noise has no density, or `K` or `tau` is negative.
    """
    G = as_batch(np.atleast_2d(np.asarray(latent)), "latent")
    if G.shape[0] != 1:
        raise UserError(f"latent: expected one G of shape (layers,), got {G.shape}")
    if not (np.isfinite(tau) and tau >= 0):
        raise UserError(f"tau: must be a number of nats >= 0, got {tau}")
    layers = G.shape[1]
    laws = densities(noise, layers) if isinstance(noise, AbstractNoise) else tuple(noise)
    if len(laws) != layers:
        raise UserError(f"noise: expected one density for each of {layers} layers, got {len(laws)}")
    l_min = window_start(layers, K)
    # The plain search on x[l] - tau l; centred, so that the mesh loses no digits to a large G.
    centre = (G[0] - G[0, -1] - tau * (np.arange(layers) - (layers - 1)))[l_min:]
    window = laws[l_min:]

    stop, reach, identity = scan_masses(centre, window)
    error = np.inf
    for halvings in range(1, HALVINGS + 1):
        coarse = stop, reach
        stop, reach, identity = scan_masses(centre, window, halvings)
        change = max(np.abs(stop - coarse[0]).max(), np.abs(reach - coarse[1]).max())
        error = float(max(change, identity, abs(stop.sum() - 1.0)))
        if error <= tolerance:
            break
    outside = np.zeros(l_min)
    return StoppingDistribution(
        latent=G[0],
        l_min=l_min,
        tau=tau,
        probability=np.concatenate([outside, stop]),
        reached=np.concatenate([outside, reach]),
        error=error,
        tolerance=tolerance,
    )


def scan_masses(
    centre: FloatArray, laws: Sequence[Density], halvings: int = 0
) -> tuple[FloatArray, FloatArray, float]:
    """One pass of the recursion (`tau = 0`) on one mesh.

    Parameters
    ----------
    centre : ndarray, shape (window,)
        Where the density of each layer is centred.
    laws : sequence of Density
        One per layer.
    halvings : int
        Each piece between two edges is cut into `2**halvings`.

    Returns
    -------
    stop, reach : ndarray, shape (window,)
        `P(V^ = l)` and the probability of reaching `l`.
    identity : float
        Largest violation of Fubini's identity.
    """
    edges = _mesh(centre, laws, halvings)
    node, weight, tail_weight = _rule()
    half = 0.5 * np.diff(edges)[:, None]
    y = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * node

    last = len(laws) - 1
    stop, reach = np.zeros(last + 1), np.zeros(last + 1)
    s = laws[last].pdf(y - centre[last])
    identity = 0.0
    for layer in range(last, -1, -1):
        piece = half * (s @ weight)[:, None]
        reach[layer] = piece.sum()
        if layer == 0:
            stop[layer] = reach[layer]
            break
        below = laws[layer - 1].cdf(y - centre[layer - 1])
        stop[layer] = (half * ((s * (1.0 - below)) @ weight)[:, None]).sum()
        onward = float((half * ((s * below) @ weight)[:, None]).sum())
        later = piece.sum() - np.cumsum(piece, axis=0)
        s = laws[layer - 1].pdf(y - centre[layer - 1]) * (half * (s @ tail_weight) + later)
        identity = max(identity, abs(onward - float((half * (s @ weight)[:, None]).sum())))
    return stop, reach, identity


def _mesh(centre: FloatArray, laws: Sequence[Density], halvings: int) -> FloatArray:
    """Edges of the pieces: every edge of every density, each gap cut into `2**halvings`."""
    every = np.concatenate([np.add(law.edges, at) for law, at in zip(laws, centre, strict=True)])
    # Edges that differ by rounding alone make pieces of no mass, wherever their nodes fall.
    edges = np.unique(every)
    parts = 2**halvings
    fine = np.interp(np.arange((len(edges) - 1) * parts + 1) / parts, np.arange(len(edges)), edges)
    return np.asarray(fine, dtype=np.float64)


@lru_cache(maxsize=1)
def _rule() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights on [-1, 1], and weights of the integrals from each node.

    `values @ tail_weight` is, at each node, the integral from there to 1 of the polynomial that
    interpolates `values`.
    """
    node, weight = special.roots_legendre(NODES)
    # integral from t to 1 of P_k is (P_{k-1}(t) - P_{k+1}(t)) / (2k+1), and 1 - t for k = 0;
    # the Legendre coefficients of the interpolant are (2k+1)/2 sum w P_k(node) value.
    order = np.arange(NODES)
    polynomial = special.eval_legendre(order[:, None], node)
    before = special.eval_legendre(np.abs(order - 1)[:, None], node)
    before[0] = 1.0
    integral = (before - special.eval_legendre(order[:, None] + 1, node)) / 2.0
    tail_weight: FloatArray = (polynomial * weight).T @ integral
    return node, weight, tail_weight


def flat_distribution(K: int) -> FloatArray:
    """T11 with equality: `P(V* - V^ = j)` for `j = 0..K`, flat `G`, `V* = L`, i.i.d. noise.

    `1/(j+1)! - 1/(j+2)!` for `j < K`, and `1/(K+1)!` at the end of the window.
    """
    if K < 0:
        raise UserError(f"K: must be >= 0, got {K}")
    at_least = 1.0 / special.factorial(np.arange(1, K + 2))
    law: FloatArray = at_least - np.append(at_least[1:], 0.0)
    return law
