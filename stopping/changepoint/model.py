"""The Gaussian change-point model of a window: classes of tokens on a common scale.

A token belongs to class `c` with probability `weights[c]`; given its class it follows the Gaussian
law of `stopping.changepoint.component`, on the scale of `stopping.changepoint.scale`. Classes are
latent (confident and uncertain tokens differ by orders of magnitude, and what is read says which is
which): everything asked of the model averages over them, so that a caller sees tokens, `V*` and
nats, and never a class. The likelihood of a token is the finite mixture

    p(x) = |dz/dx| * sum over c and v of weights[c] turning_c[v] N(z; mean_cv, Cov_cv),

which is exact: no latent path is sampled or approximated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stopping.changepoint.component import LAW_TOLERANCE, Component
from stopping.changepoint.origin import FittedOn
from stopping.changepoint.scale import Scale
from stopping.errors import UserError
from stopping.model.paths import Paths
from stopping.support.documents import Format
from stopping.support.results import Result
from stopping.types import FloatArray

FORMAT = Format(
    "layer-stopping change-point model", 1, "fitted model", "make one with `stopping fit --out`"
)
_NODES = 24


@dataclass(frozen=True, eq=False)
class ChangePointModel(Result):
    """Classes of tokens, their weights, and the scale.

    Attributes
    ----------
    components : tuple of Component
        One for each class, all on the same window.
    weights : ndarray, shape (classes,)
        Probability of each class.
    scale : Scale
        Where the classes are Gaussian.
    fitted_on : FittedOn, optional
        None for parameters of one's own, which belong to no LLM.

    Raises
    ------
    UserError
        If there is no class, the windows differ, or `weights` is no law.
    """

    components: tuple[Component, ...]
    weights: FloatArray
    scale: Scale = field(default_factory=Scale)
    fitted_on: FittedOn | None = None

    def __post_init__(self) -> None:
        if not self.components or self.weights.shape != (len(self.components),):
            raise UserError(
                f"model: {len(self.components)} component(s) and weights of shape "
                f"{self.weights.shape}; give one weight for each of one component or more"
            )
        if len({c.w for c in self.components}) > 1:
            raise UserError("model: all components must have the same window")
        finite = np.isfinite(self.weights).all()
        if not finite or (self.weights < 0).any() or abs(self.weights.sum() - 1) > LAW_TOLERANCE:
            raise UserError(f"weights: must be >= 0 and sum to 1, got {self.weights}")

    def items(self) -> Iterable[dict[str, Any]]:
        """Layers of each class; steps are those onto the layer."""
        for number, (weight, part) in enumerate(zip(self.weights, self.components, strict=True)):
            for layer, turning in enumerate(part.turning):
                yield {
                    **{"class": number, "weight": weight, "layer": layer, "turning": turning},
                    "noise_sd": part.noise_sd[layer],
                    **{
                        name: getattr(part, name)[layer - 1] if layer else None
                        for name in ("drift_mean", "drift_sd", "rise_mean", "rise_sd")
                    },
                }

    @property
    def w(self) -> int:
        """Layers of the window, `K + 1`."""
        return self.components[0].w

    @property
    def K(self) -> int:
        """Steps back that the window allows."""
        return self.w - 1

    def turning_distribution(self) -> FloatArray:
        """`P(V* = v)` over all tokens, shape (w,)."""
        law: FloatArray = self.weights @ np.array([c.turning for c in self.components])
        return law

    def noise_nats(self) -> FloatArray:
        """Root mean square of `x[l] - G[l]` in nats over all tokens, shape (w,).

        Gauss-Hermite quadrature over `G` and `eps`, which are independent given class and `V*`.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        weights = weights / weights.sum()
        total = np.zeros(self.w)
        for share, component in zip(self.weights, self.components, strict=True):
            noise = np.sqrt(np.diag(component.noise_covariance()))[:, None, None] * nodes
            for v in np.flatnonzero(component.turning):
                moments = component.moments(int(v))
                spread = np.sqrt(np.diag(moments.latent))[:, None]
                G = (moments.mean[:, None] + spread * nodes)[:, :, None]
                error = self.scale.nats(G + noise) - self.scale.nats(G)
                mean_square = np.einsum("lij,i,j->l", error**2, weights, weights)
                total += share * component.turning[v] * mean_square
        return np.sqrt(total)

    def sample(self, rng: np.random.Generator, n: int) -> Paths:
        """Draw `n` tokens, in nats, with what is latent; tokens of all classes are mingled."""
        members = rng.choice(len(self.components), size=n, p=self.weights / self.weights.sum())
        latent, noise = np.empty((2, n, self.w))
        turning = np.empty(n, dtype=np.intp)
        for number, component in enumerate(self.components):
            rows = np.flatnonzero(members == number)
            latent[rows], noise[rows], turning[rows] = component.sample(rng, len(rows))
        G, x = self.scale.nats(latent), self.scale.nats(latent + noise)
        return Paths.from_latent(G, x - G, turning)


def write_model(
    path: Path, model: ChangePointModel, about: Mapping[str, Any] | None = None
) -> None:
    """Write a model as JSON, whole or not at all; `about` says where it comes from."""
    FORMAT.write(path, {"model": model, **(about or {})})


def read_model(path: Path) -> ChangePointModel:
    """Read the model from a file that `write_model`, hence `stopping fit`, wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or of a newer version.
    """
    return FORMAT.structure(read_content(path)["model"], ChangePointModel, str(path))


def read_content(path: Path) -> dict[str, Any]:
    """Read the whole file: the model and what stands beside it.

    Raises
    ------
    UserError
        As `read_model`.
    """
    content = FORMAT.read(path)
    if not isinstance(content.get("model"), dict):
        raise UserError(f"{path}: this {FORMAT.what} holds no model; {FORMAT.remedy}")
    return content
