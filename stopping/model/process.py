"""The generative model of layerwise refinement, perturbation and projection noise.

    H*[l] = H*[l-1] - gamma[l]                                  refinement, every layer
    G[l]  = H*[l] for l <= V*,  G[l] = G[l-1] + delta[l] for l > V*
    x[l]  = G[l] + eps[l]

A token is *perturbed* with probability `perturbed`; then its turning point `V*` follows `onset`,
otherwise `V* = L`. The drifts `gamma[l]` have mean `drift` and coefficient of variation
`drift_spread` (gamma law; 0 makes them constant), the rises are `rise` plus an exponential of mean
`rise_excess`. So A1 holds by construction and A3 whenever `rise > 2 eps_max`.
"""

from dataclasses import dataclass

import numpy as np

from stopping.errors import UserError
from stopping.model.noise import AbstractNoise, PerLayer, per_layer
from stopping.model.paths import Paths
from stopping.types import FloatArray


@dataclass(frozen=True)
class Process:
    """Parameters of the model; each per-layer one is a number or a tuple of `layers` numbers.

    Attributes
    ----------
    layers : int
        Number of layers `L`.
    noise : AbstractNoise
        Law of the projection noise.
    K : int
        The window allows `K` steps back, `l_min = max(0, layers - 1 - K)`.
    start : float
        `H*` at the first layer, nats.
    drift : float or tuple
        Mean fall `gamma[l]` of `H*` from layer `l - 1` to `l`; the first entry is not used.
    drift_spread : float
        Coefficient of variation of the drifts over tokens.
    rise : float or tuple
        Least rise `delta[l]` of `G` for `l > V*`.
    rise_excess : float or tuple
        Mean of the exponential part of the rise.
    perturbed : float
        Probability that `V* < L`.
    onset : tuple, optional
        Law of `V*` given that the token is perturbed, over layers `0 .. L-1` (without the last).
        Default: uniform on the window.

    Raises
    ------
    UserError
        If a parameter is out of range or of the wrong length.
    """

    layers: int
    noise: AbstractNoise
    K: int = 10
    start: float = 5.0
    drift: PerLayer = 0.3
    drift_spread: float = 0.0
    rise: PerLayer = 0.3
    rise_excess: PerLayer = 0.0
    perturbed: float = 0.2
    onset: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise UserError(f"layers: must be at least 1, got {self.layers}")
        if self.K < 0:
            raise UserError(f"K: must be >= 0, got {self.K}")
        if not 0.0 <= self.perturbed <= 1.0:
            raise UserError(f"perturbed: must be in [0, 1], got {self.perturbed}")
        if not (np.isfinite(self.drift_spread) and self.drift_spread >= 0):
            raise UserError(f"drift_spread: must be finite and >= 0, got {self.drift_spread}")
        if not np.isfinite(self.start):
            raise UserError(f"start: must be finite, got {self.start}")
        for name in ("drift", "rise", "rise_excess"):
            per_layer(getattr(self, name), self.layers, name)
        self.noise.bound(self.layers)
        law = self.turning_distribution()
        if not (np.isfinite(law).all() and (law >= 0).all() and abs(law.sum() - 1.0) < 1e-9):
            raise UserError(f"onset: must be probabilities that sum to 1, got {self.onset}")

    @property
    def l_min(self) -> int:
        """First column of the window."""
        return max(0, self.layers - 1 - self.K)

    def turning_distribution(self) -> FloatArray:
        """`P(V* = l)`, shape (layers,)."""
        law = np.zeros(self.layers)
        if self.layers == 1 or self.perturbed == 0.0:
            law[-1] = 1.0
            return law
        if self.onset is not None and len(self.onset) != self.layers - 1:
            raise UserError(f"onset: expected {self.layers - 1} probabilities, all layers but L")
        if self.onset is None and self.l_min == self.layers - 1:
            raise UserError("onset: with K = 0 the window has no layer below L; state the law")
        if self.onset is not None:
            law[:-1] = self.onset
        else:
            law[self.l_min : -1] = 1.0 / (self.layers - 1 - self.l_min)
        law *= self.perturbed
        law[-1] += 1.0 - self.perturbed
        return law

    def sample(self, rng: np.random.Generator, n: int) -> Paths:
        """Draw `n` tokens."""
        layers = self.layers
        turning = rng.choice(layers, size=n, p=self.turning_distribution())
        drift = np.broadcast_to(per_layer(self.drift, layers, "drift"), (n, layers)).copy()
        if self.drift_spread > 0:
            shape = self.drift_spread**-2
            drift *= rng.gamma(shape, 1.0 / shape, (n, layers))
        drift[:, 0] = 0.0
        refinement = self.start - np.cumsum(drift, axis=1)
        rise = per_layer(self.rise, layers, "rise") + per_layer(
            self.rise_excess, layers, "rise_excess"
        ) * rng.standard_exponential((n, layers))
        beyond = np.arange(layers) > turning[:, None]
        # G rises by `rise`, and H* goes on falling, so eta has to make up for both.
        perturbation = np.cumsum(np.where(beyond, rise + drift, 0.0), axis=1)
        noise = self.noise.sample(rng, refinement + perturbation, turning, self.l_min)
        return Paths(refinement, perturbation, noise, turning, self.l_min)
