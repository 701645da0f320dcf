"""A batch of tokens with what is latent beside what is observed.

At each layer `l` a lens reads the entropy

    x[l] = H*[l] + eta[l] + eps[l],        G[l] = H*[l] + eta[l],

where `H*` is the refinement entropy, `eta` the perturbation that late layers write (0 up to the
turning point `V*`) and `eps` the projection noise. Stopping at `l` costs the token

    excess(l) = G[l] - G[V*].

Shapes are `(n, layers)`, the final layer `L` in the last column; layers are column indices.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.model.windows import as_batch
from stopping.support.results import Result, entries
from stopping.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Paths(Result):
    """Latent and observed entropies of `n` tokens.

    Attributes
    ----------
    refinement : ndarray, shape (n, layers)
        `H*`, nats.
    perturbation : ndarray, shape (n, layers)
        `eta`, nats; zero up to and including `V*`.
    noise : ndarray, shape (n, layers)
        `eps`, nats.
    turning : ndarray of int, shape (n,)
        `V*` as a column index; the last column for an unperturbed token.
    l_min : int
        First column of the window. `V* < l_min` is possible: it is what A4 excludes.

    Raises
    ------
    UserError
        If shapes disagree, a value is not finite, or an index is out of range.
    """

    refinement: FloatArray
    perturbation: FloatArray
    noise: FloatArray
    turning: IntArray
    l_min: int = 0

    def __post_init__(self) -> None:
        shape = as_batch(self.refinement, "refinement").shape
        for name in ("perturbation", "noise"):
            found = as_batch(getattr(self, name), name).shape
            if found != shape:
                raise UserError(f"{name}: shape {found} differs from refinement's {shape}")
        if self.turning.shape != shape[:1] or self.turning.dtype.kind != "i":
            raise UserError(
                f"turning: expected one layer index per token, shape {shape[:1]}, got "
                f"{self.turning.dtype} of shape {self.turning.shape}"
            )
        if shape[0] and not (self.turning.min() >= 0 and self.turning.max() < shape[1]):
            raise UserError(f"turning: layer indices must lie in [0, {shape[1] - 1}]")
        if not 0 <= self.l_min < shape[1]:
            raise UserError(f"l_min: must lie in [0, {shape[1] - 1}], got {self.l_min}")
        if (self.perturbation[np.arange(shape[1]) <= self.turning[:, None]] != 0).any():
            raise UserError("perturbation: must be zero up to and including the turning point")

    @classmethod
    def from_latent(
        cls, latent: ArrayLike, noise: ArrayLike, turning: IntArray, l_min: int = 0
    ) -> "Paths":
        """Build paths from `G` alone: `H*` stays at `G[V*]` beyond the turning point."""
        G = as_batch(latent, "latent")
        beyond = np.arange(G.shape[1]) > turning[:, None]
        level = np.take_along_axis(G, turning[:, None], axis=1)
        refinement = np.where(beyond, level, G)
        return cls(refinement, G - refinement, as_batch(noise, "noise"), turning, l_min)

    def items(self) -> Iterable[Any]:
        """Tokens."""
        return entries(self, "token", "turning", "G", "x")

    @property
    def n(self) -> int:
        """Number of tokens."""
        return int(self.refinement.shape[0])

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.refinement.shape[1])

    @property
    def K(self) -> int:
        """Largest number of steps back that the window allows."""
        return self.layers - 1 - self.l_min

    @cached_property
    def G(self) -> FloatArray:
        """What a noiseless lens would read, `(n, layers)`."""
        return self.refinement + self.perturbation

    @cached_property
    def x(self) -> FloatArray:
        """What the lens reads, `(n, layers)`."""
        return self.G + self.noise

    def excess(self, layer: IntArray) -> FloatArray:
        """Loss `G[l] - G[V*]` of stopping at `layer`, one per token, nats."""
        return at(self.G, layer) - at(self.G, self.turning)


def at(values: FloatArray, layer: IntArray) -> FloatArray:
    """Pick one column per row: `values[i, layer[i]]`."""
    picked: FloatArray = np.take_along_axis(values, layer[:, None], axis=1)[:, 0]
    return picked
