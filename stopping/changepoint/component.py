r"""One class of tokens: Gaussian refinement, turning point, Gaussian rises, Gaussian noise.

On the model's scale (`stopping.changepoint.scale`), over the window's columns `0 .. L`:

    G[0] ~ N(start_mean, start_sd^2)
    G[l] = G[l-1] - gamma[l],    gamma[l] ~ N(drift_mean[l], drift_sd[l]^2)        l <= V*
    G[l] = G[l-1] + delta[l],    delta[l] ~ N(rise_mean[l], rise_sd[l]^2)          l >  V*
    x[l] = G[l] + eps[l],        eps[l] ~ N(0, noise_sd[l]^2) + jumps
    P(V* = v) = turning[v]

all independent. Given `V* = v` a token is jointly Gaussian, with moments `moments(v)` that are
*linear in the means and in the variances*; that is what makes estimation by scoring simple.

**Jumps at changes of layer type** (the paper's appendix, for hybrid models). With layer types
given, `eps[l]` also holds `J[t]`, one draw `N(0, jump_sd[t]^2)` per token for each type `t` but the
first, shared by all layers of that type. Its mean is no parameter: the drifts, one per layer,
absorb it.

**Signs.** A Gaussian increment may have the wrong sign, so A1 and A3 hold in the mean
(`drift_mean >= 0`, `rise_mean >= 0`) and not on each token. `V*` is then the *change of regime*,
and `excess(l) = G[l] - G[V*]` may be negative: it is kept as it is, unclipped, as in
`stopping.model.paths`. The best layer does not depend on the reference `G[V*]`, which is common to
all layers, and an expectation stays linear.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from stopping.errors import UserError
from stopping.types import FloatArray, IntArray

LAW_TOLERANCE = 1e-9
"""How far probabilities may miss a sum of one."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Gaussian moments of a token given its class and `V* = v`, on the model's scale.

    For all `v` at once each array has a first axis of length `w` besides.

    Attributes
    ----------
    mean : ndarray, shape (w,)
        `E x = E G`.
    latent : ndarray, shape (w, w)
        `Cov G`, which is also `Cov(G, x)`.
    observed : ndarray, shape (w, w)
        `Cov x`: `latent` with the noise and the jumps.
    """

    mean: FloatArray
    latent: FloatArray
    observed: FloatArray


@dataclass(frozen=True, eq=False)
class Component:
    """Parameters of one class of tokens on a window of `w = K + 1` layers.

    Attributes
    ----------
    start_mean, start_sd : float
        Law of `G` at the first layer of the window.
    drift_mean, drift_sd : ndarray, shape (K,)
        Law of the fall `gamma[l]` onto column `l = 1 .. L`, which is entry `l - 1`.
    rise_mean, rise_sd : ndarray, shape (K,)
        Law of the rise `delta[l]`, likewise.
    noise_sd : ndarray, shape (w,)
        Standard deviation of the projection noise: of what neighbouring layers do not share, since
        an error that they share counts as a change of entropy.
    turning : ndarray, shape (w,)
        `P(V* = v)`.
    jump_sd : ndarray, shape (types - 1,)
        Spread of the jump of every layer type but the first; empty without layer types.
    types : ndarray of int, shape (w,)
        Type of each layer, 0 for the first; all 0 without layer types.

    Raises
    ------
    UserError
        If shapes disagree, a number is not finite, a spread is negative, or `turning` is no law.
    """

    start_mean: float
    start_sd: float
    drift_mean: FloatArray
    drift_sd: FloatArray
    rise_mean: FloatArray
    rise_sd: FloatArray
    noise_sd: FloatArray
    turning: FloatArray
    jump_sd: FloatArray = field(default_factory=lambda: np.empty(0))
    types: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def __post_init__(self) -> None:
        w = len(self.turning)
        if len(self.types) == 0:
            object.__setattr__(self, "types", np.zeros(w, dtype=np.intp))
        if w < 2:
            raise UserError("turning: a window has two layers or more")
        if not (np.abs(self.types) < 1 << 16).all():
            raise UserError("types: must be small whole numbers")
        jumps = int(self.types.max()) if self.types.shape == (w,) else -1
        shapes = dict.fromkeys(("drift_mean", "drift_sd", "rise_mean", "rise_sd"), (w - 1,))
        shapes |= {"noise_sd": (w,), "types": (w,), "jump_sd": (jumps,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise UserError(f"{name}: shape {getattr(self, name).shape}, expected {shape}")
        for name in ("start_mean", "start_sd", *shapes, "turning"):
            values = np.asarray(getattr(self, name))
            if not np.isfinite(values).all():
                raise UserError(f"{name}: must be finite, got {values}")
            if name.endswith("_sd") and (values < 0).any():
                raise UserError(f"{name}: a standard deviation is not negative, got {values}")
        if (self.turning < 0).any() or abs(self.turning.sum() - 1) > LAW_TOLERANCE:
            raise UserError(f"turning: probabilities must be >= 0 and sum to 1, got {self.turning}")

    @property
    def w(self) -> int:
        """Layers of the window, `K + 1`."""
        return len(self.turning)

    def moments(self, v: int) -> Moments:
        """Exact moments of a token with `V* = v`."""
        found = self.all_moments
        return Moments(found.mean[v], found.latent[v], found.observed[v])

    @cached_property
    def all_moments(self) -> Moments:
        """Moments for every `v` at once, along a first axis of length `w`."""
        beyond = np.arange(1, self.w) > np.arange(self.w)[:, None]
        steps = np.where(beyond, self.rise_mean, -self.drift_mean)
        variances = np.where(beyond, self.rise_sd, self.drift_sd) ** 2
        start = np.zeros((self.w, 1))
        mean = self.start_mean + np.cumsum(np.hstack([start, steps]), axis=1)
        level = np.cumsum(np.hstack([start + self.start_sd**2, variances]), axis=1)
        # Two layers share what happened up to the lower one.
        latent = np.minimum(level[:, :, None], level[:, None, :])
        return Moments(mean, latent, latent + self.noise_covariance())

    def noise_covariance(self) -> FloatArray:
        """`Cov eps`, shape (w, w): diagonal but for the jumps."""
        covariance = np.diag(self.noise_sd**2)
        for kind, spread in enumerate(self.jump_sd, 1):
            of_kind = self.types == kind
            covariance[np.ix_(of_kind, of_kind)] += spread**2
        return covariance

    def sample(self, rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, IntArray]:
        """Draw `n` tokens on the model's scale: `G` and `eps`, each (n, w), and `V*`, (n,)."""
        turning = rng.choice(self.w, size=n, p=self.turning / self.turning.sum())
        gamma = self.drift_mean + self.drift_sd * rng.standard_normal((n, self.w - 1))
        delta = self.rise_mean + self.rise_sd * rng.standard_normal((n, self.w - 1))
        steps = np.where(np.arange(1, self.w) > turning[:, None], delta, -gamma)
        start = self.start_mean + self.start_sd * rng.standard_normal((n, 1))
        latent = np.cumsum(np.concatenate([start, steps], axis=1), axis=1)
        noise = self.noise_sd * rng.standard_normal((n, self.w))
        jumps = np.concatenate(
            [np.zeros((n, 1)), self.jump_sd * rng.standard_normal((n, len(self.jump_sd)))], axis=1
        )
        return latent, noise + jumps[:, self.types], turning
