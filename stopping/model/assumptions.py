"""A0-A4 as predicates that can be asked of any instance.

A1-A4 are asked of worlds (`Paths`), where the latent quantities are known; they answer per token.
A0 is asked of predictions with their outcomes; it answers per layer. What can be said of A1-A4
from observed entropies alone is in `stopping.theory.identification`.
"""

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.model.paths import Paths
from stopping.model.windows import as_batch
from stopping.types import BoolArray, FloatArray


def calibration_gap(entropy: ArrayLike, log_loss: ArrayLike) -> FloatArray:
    """Mean log-loss minus mean entropy of each layer, nats, shape (layers,).

    Zero under A0; positive where a layer is over-confident.
    """
    H, loss = as_batch(entropy), as_batch(log_loss, "log_loss")
    if H.shape != loss.shape or H.shape[0] == 0:
        raise UserError(f"entropy {H.shape} and log_loss {loss.shape}: need equal shapes, n > 0")
    gap: FloatArray = (loss - H).mean(axis=0)
    return gap


def calibrated(entropy: ArrayLike, log_loss: ArrayLike, tolerance: float) -> BoolArray:
    """A0: at each layer the mean entropy equals the mean log-loss, within `tolerance` nats."""
    return np.abs(calibration_gap(entropy, log_loss)) <= tolerance


def refinement(paths: Paths) -> BoolArray:
    """A1: `G` is non-increasing on `[l_min, V*]`, per token."""
    column = np.arange(1, paths.layers)
    inside = (column > paths.l_min) & (column <= paths.turning[:, None])
    return _everywhere((np.diff(paths.G, axis=1) <= 0) | ~inside)


def bounded_noise(paths: Paths, eps_max: float) -> BoolArray:
    """A2: `|eps[l]| <= eps_max` at every layer of the window, per token."""
    return _everywhere(np.abs(paths.noise[:, paths.l_min :]) <= eps_max)


def dominance(paths: Paths, eps_max: float) -> BoolArray:
    """A3: `delta[l] > 2 eps_max` at every layer `l` of the window beyond `V*`, per token."""
    column = np.arange(1, paths.layers)
    beyond = (column > paths.l_min) & (column > paths.turning[:, None])
    return _everywhere((np.diff(paths.G, axis=1) > 2 * eps_max) | ~beyond)


def window(paths: Paths) -> BoolArray:
    """A4: `V* >= l_min`, per token."""
    return paths.turning >= paths.l_min


def _everywhere(holds: BoolArray) -> BoolArray:
    ok: BoolArray = np.logical_and.reduce(holds, axis=1)
    return ok
