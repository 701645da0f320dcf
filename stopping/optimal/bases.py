"""Bases of the regression: functions of a problem's features, the constant among them.

A basis is fitted to the features of one time (it may centre and scale them, by robust measures that
a heavy tail cannot spoil) and then maps any features to columns, of which a learner makes a
function: least squares, or trees. Fitted bases are plain data, so a rule that is linear in them can
be saved.
"""

import abc
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations_with_replacement
from typing import Any, ClassVar, final

import numpy as np
from numpy.polynomial import laguerre

from stopping.errors import UserError, missing_extra
from stopping.optimal.learners import Boosting, Learner, LeastSquares
from stopping.types import FloatArray

_REACH = 8.0
"""Scaled features are clipped here: a polynomial must not explode on a token never seen."""


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A basis with the centres and scales of one time's features."""

    basis: "AbstractBasis"
    centre: FloatArray
    scale: FloatArray

    def __call__(self, features: FloatArray) -> FloatArray:
        """Columns of the regression, shape (n, columns)."""
        scaled = np.clip((features - self.centre) / self.scale, -_REACH, _REACH)
        return self.basis.columns(scaled)


class AbstractBasis(abc.ABC):
    """A set of functions of scaled features."""

    kind: ClassVar[str]

    @abc.abstractmethod
    def columns(self, scaled: FloatArray) -> FloatArray:
        """Map features `(n, p)` to columns `(n, m)`, the constant first."""

    @abc.abstractmethod
    def fit(self, features: FloatArray) -> Fitted:
        """Centre and scale by these features `(n, p)`."""

    def learner(self) -> Learner:
        """Make what is fed the columns."""
        return LeastSquares()

    def settings(self) -> dict[str, Any]:
        """What `basis_from` needs to build it again."""
        return {"kind": self.kind, **vars(self)}


MOST, MOST_MIXED = 16, 4
"""Regressions beyond are as good as singular, and their number of columns explodes."""


@final
@dataclass(frozen=True)
class Polynomial(AbstractBasis):
    """All monomials up to `degree`; products of features up to total degree `mixed`."""

    degree: int = 3
    mixed: int = 2
    kind: ClassVar[str] = "polynomial"

    def __post_init__(self) -> None:
        if not (1 <= self.degree <= MOST and 1 <= self.mixed <= MOST_MIXED):
            raise UserError(
                f"polynomial: degrees must be >= 1, and at most {MOST} ({MOST_MIXED} for "
                f"products), got {self}"
            )

    def columns(self, scaled: FloatArray) -> FloatArray:
        """`1, z_i, z_i z_j, ..., z_i ** degree`."""
        n, p = scaled.shape
        made = [np.ones(n)]
        for degree in range(1, self.degree + 1):
            if degree <= self.mixed:
                chosen = combinations_with_replacement(range(p), degree)
                made += [np.prod(scaled[:, list(which)], axis=1) for which in chosen]
            else:
                made += list((scaled**degree).T)
        return np.column_stack(made)

    def fit(self, features: FloatArray) -> Fitted:
        """Centre at the median, scale by the spread of the middle 80 %."""
        low, centre, high = np.quantile(features, [0.1, 0.5, 0.9], axis=0)
        spread = np.maximum(high - low, np.ptp(features, axis=0) / 100) / 2
        return Fitted(self, centre, np.where(spread > 0, spread, 1.0))


@final
@dataclass(frozen=True)
class Laguerre(AbstractBasis):
    """A constant and `count` weighted Laguerre polynomials `exp(-z/2) L_k(z)` of each feature.

    The choice of Longstaff and Schwartz (2001), equation 6; features must be positive, and are
    divided by their median, since the weight underflows far from 1.
    """

    count: int = 3
    kind: ClassVar[str] = "laguerre"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise UserError(
                f"laguerre: needs a polynomial at least, and at most {MOST}, got {self.count}"
            )

    def columns(self, scaled: FloatArray) -> FloatArray:
        """`1, exp(-z/2) L_0(z), ..., exp(-z/2) L_{count-1}(z)`."""
        values = laguerre.lagval(scaled, np.eye(self.count)) * np.exp(-scaled / 2)
        return np.column_stack([np.ones(len(scaled)), *values.reshape(-1, len(scaled))])

    def fit(self, features: FloatArray) -> Fitted:
        """Divide by the median."""
        centre = np.median(features, axis=0)
        return Fitted(self, np.zeros_like(centre), np.where(centre > 0, centre, 1.0))


MOST_WIDTH = 4096


@final
@dataclass(frozen=True)
class RandomNetwork(AbstractBasis):
    """The hidden layer of a random neural network, beside the constant and the features.

    Weights are drawn once and never trained, so that the regression of the output layer is all
    the fitting there is (Herrera, Krach, Ruyssen and Teichmann 2024).
    """

    width: int = 64
    seed: int = 0
    kind: ClassVar[str] = "random-network"

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MOST_WIDTH and self.seed >= 0):
            raise UserError(
                f"random network: width must lie in [1, {MOST_WIDTH}] and the seed be >= 0, "
                f"got {self}"
            )

    def columns(self, scaled: FloatArray) -> FloatArray:
        """`1, z_1, .., z_p, tanh(a_1 . z + b_1), ..`."""
        n, p = scaled.shape
        rng = np.random.default_rng(self.seed)
        weights = rng.standard_normal((p, self.width)) / np.sqrt(max(p, 1))
        hidden = np.tanh(scaled @ weights + rng.standard_normal(self.width))
        return np.column_stack([np.ones(n), scaled, hidden])

    def fit(self, features: FloatArray) -> Fitted:
        """Centre and scale as polynomials do."""
        found = Polynomial().fit(features)
        return Fitted(self, found.centre, found.scale)


MOST_TREES, MOST_LEAVES = 1000, 256


@final
@dataclass(frozen=True)
class Trees(AbstractBasis):
    """The features themselves, for gradient-boosted trees; needs scikit-learn.

    Trees hold all features of one time in memory, up to three times (`24 (p + 1)` bytes a path),
    and a rule made of them cannot be saved.

    Raises
    ------
    UserError
        If scikit-learn is not installed, or a number is out of range.
    """

    trees: int = 100
    leaves: int = 15
    rate: float = 0.1
    seed: int = 0
    kind: ClassVar[str] = "trees"

    def __post_init__(self) -> None:
        if not (1 <= self.trees <= MOST_TREES and 2 <= self.leaves <= MOST_LEAVES):
            raise UserError(
                f"trees: need 1 to {MOST_TREES} trees of 2 to {MOST_LEAVES} leaves, got {self}"
            )
        if not (0 < self.rate <= 1 and self.seed >= 0):
            raise UserError(f"trees: need a rate in (0, 1] and a seed >= 0, got {self}")
        if find_spec("sklearn") is None:
            raise missing_extra("boosted trees need scikit-learn", "learn")

    def columns(self, scaled: FloatArray) -> FloatArray:
        """`1, z_1, .., z_p`."""
        return np.column_stack([np.ones(len(scaled)), scaled])

    def fit(self, features: FloatArray) -> Fitted:
        """Centre and scale as polynomials do, which trees do not mind."""
        found = Polynomial().fit(features)
        return Fitted(self, found.centre, found.scale)

    def learner(self) -> Boosting:
        """Boosting."""
        return Boosting(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.rate,
            random_state=self.seed,
        )


BASES: dict[str, type[AbstractBasis]] = {
    basis.kind: basis for basis in (Polynomial, Laguerre, RandomNetwork, Trees)
}


def basis_from(settings: dict[str, Any]) -> AbstractBasis:
    """Build a basis from `settings()`.

    Raises
    ------
    UserError
        If the kind is unknown or a setting does not fit.
    """
    given = dict(settings)
    try:
        return BASES[given.pop("kind")](**given)
    except (KeyError, TypeError) as error:
        raise UserError(f"basis {settings}: unknown; kinds are {', '.join(BASES)}") from error
