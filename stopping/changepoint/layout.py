"""The parameter vector of an estimate, and what its entries mean.

Estimation moves a flat vector `theta`: for each class its means, standard deviations and the logits
of its turning distribution, and at the end the logits of the class weights. Logits are relative, so
one of each group is redundant; the optimiser does not mind, and inference leaves the largest out.

Two things are *not* in the vector, because no token says anything about them:

- `noise_sd` of the final layer. Only the sum of its variance and that of the last step can be seen.
  By convention it is zero: at the final layer the lens is the model's own head and nothing is
  projected. `final_noise="tied"` sets it to that of the layer before instead.
- The means of jumps at changes of layer type, which the drifts absorb.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from stopping.changepoint.component import Component
from stopping.changepoint.model import ChangePointModel
from stopping.changepoint.scale import Scale
from stopping.errors import UserError
from stopping.types import BoolArray, FloatArray, IntArray

FinalNoise = Literal["none", "tied"]
Entry = TypeVar("Entry", bound=np.generic)
LOGIT_BOUND = 12.0
SD_FLOOR = 1e-3
"""Least standard deviation, relative to the spread of the data on the model's scale."""
SD_CEILING = 30.0
"""And the largest."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Shape of an estimate: window, classes, scale, layer types and the convention for layer `L`.

    Attributes
    ----------
    w, classes : int
        Layers of the window, classes of tokens.
    spread : float
        Typical standard deviation of the data on the model's scale; sets the floor of the spreads.
    turns : bool
        False keeps `V* = L` and lets drifts have any sign: a walk with noise.
    noisy : bool
        False leaves out the projection noise.
    """

    w: int
    classes: int
    scale: Scale
    spread: float
    types: IntArray
    final_noise: FinalNoise = "none"
    turns: bool = True
    noisy: bool = True

    def __post_init__(self) -> None:
        if self.w < 2 or self.classes < 1:
            raise UserError(
                f"layout: needs two layers and one class or more, got {self.w} and {self.classes}"
            )

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Entries of one class, in order."""
        K = self.w - 1
        return {
            "start_mean": 1,
            "drift_mean": K,
            "rise_mean": K if self.turns else 0,
            "start_sd": 1,
            "drift_sd": K,
            "rise_sd": K if self.turns else 0,
            "noise_sd": K if self.noisy else 0,
            "jump_sd": int(self.types.max()),
            "turning": self.w if self.turns else 0,
        }

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each parameter stands in a class's part of the vector."""
        ends = np.cumsum(list(self.sizes.values()))
        starts = ends - list(self.sizes.values())
        return {
            name: slice(int(a), int(b)) for name, a, b in zip(self.sizes, starts, ends, strict=True)
        }

    @property
    def per_class(self) -> int:
        """Entries of one class."""
        return sum(self.sizes.values())

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.classes * (self.per_class + 1)

    @property
    def free(self) -> int:
        """Free parameters: one logit of each group is redundant."""
        return self.size - 1 - self.classes * int(self.turns)

    @cached_property
    def reach(self) -> FloatArray:
        """Layers that each source of variance moves, 0 or 1, shape (w, 2 w + jumps).

        The start and the steps move all layers from theirs on, noise its own, a jump its type.
        """
        steps = np.tri(self.w)
        jumps = self.types[:, None] == np.arange(1, self.sizes["jump_sd"] + 1)
        return np.hstack([steps, np.eye(self.w), jumps])

    @cached_property
    def incidence(self) -> FloatArray:
        """What the moments given `V* = v` are made of, shape (v, 3 w + jumps, per_class).

        Rows are the means of the start and the steps, then the variances of `reach`; columns the
        class's means and *squares* of its standard deviations. Entries are 0, 1 or -1.
        """
        w, at = self.w, self.slices
        turning = np.arange(w) if self.turns else np.array([w - 1])
        found = np.zeros((len(turning), w + self.reach.shape[1], self.per_class))
        found[:, 0, at["start_mean"].start] = found[:, w, at["start_sd"].start] = 1.0
        for layer in range(1, w):
            falls = turning >= layer
            found[falls, layer, at["drift_mean"].start + layer - 1] = -1.0
            found[falls, w + layer, at["drift_sd"].start + layer - 1] = 1.0
            if self.turns:
                found[~falls, layer, at["rise_mean"].start + layer - 1] = 1.0
                found[~falls, w + layer, at["rise_sd"].start + layer - 1] = 1.0
        if self.noisy:
            noise = found[:, 2 * w : 3 * w, at["noise_sd"]]
            noise[:, :-1] = np.eye(w - 1)
            noise[:, -1, -1] = self.final_noise == "tied"
        found[:, 3 * w :, at["jump_sd"]] = np.eye(self.sizes["jump_sd"])
        return found

    @cached_property
    def spreads(self) -> BoolArray:
        """Which entries of a class are standard deviations, (per_class,)."""
        return np.repeat([name.endswith("_sd") for name in self.sizes], list(self.sizes.values()))

    def by_class(self, theta: NDArray[Entry]) -> NDArray[Entry]:
        """View of the vector without the class weights, (classes, per_class)."""
        return theta[: self.classes * self.per_class].reshape(self.classes, self.per_class)

    def slope(self, theta: FloatArray) -> FloatArray:
        """Derivative of means and squared deviations by the vector, (classes, per_class)."""
        own = self.by_class(theta)
        return np.where(self.spreads, 2 * own, 1.0)

    def own(self, c: int) -> slice:
        """Where the entries of class `c` stand, but for its weight."""
        return slice(c * self.per_class, (c + 1) * self.per_class)

    def part(self, theta: NDArray[Entry], c: int, name: str) -> NDArray[Entry]:
        """View of one parameter of class `c`."""
        return theta[self.own(c)][self.slices[name]]

    def weight_logits(self, theta: NDArray[Entry]) -> NDArray[Entry]:
        """View of the logits of the class weights."""
        return theta[self.logit_groups[-1]]

    @cached_property
    def logit_groups(self) -> tuple[slice, ...]:
        """Where logits are relative: of each class, those of turning; those of the weights."""
        own, weights = self.slices["turning"], self.classes * self.per_class
        starts = range(0, weights, self.per_class) if self.turns else ()
        turning = (slice(start + own.start, start + own.stop) for start in starts)
        return (*turning, slice(weights, self.size))

    def names(self) -> list[tuple[int, str, int]]:
        """`(class, parameter, index)` of every entry; class weights come as `(c, "weight", 0)`."""
        inner = [
            (c, name, i)
            for c in range(self.classes)
            for name, size in self.sizes.items()
            for i in range(size)
        ]
        return inner + [(c, "weight", 0) for c in range(self.classes)]

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of the vector, each (size,)."""
        low, high = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        least, most = self.by_class(low), self.by_class(high)
        least[:, self.spreads] = SD_FLOOR * self.spread
        most[:, self.spreads] = SD_CEILING * self.spread
        for name in ("drift_mean", "rise_mean") if self.turns else ():
            least[:, self.slices[name]] = 0.0
        for group in self.logit_groups:
            low[group], high[group] = -LOGIT_BOUND, LOGIT_BOUND
        return low, high

    def noise_sd(self, theta: FloatArray, c: int) -> FloatArray:
        """Noise of all layers, (w,), the final one by convention."""
        if not self.noisy:
            return np.zeros(self.w)
        own = self.part(theta, c, "noise_sd")
        return np.append(own, own[-1] if self.final_noise == "tied" else 0.0)

    def component(self, theta: FloatArray, c: int) -> Component:
        """Parameters of class `c`."""
        K = self.w - 1
        turns = self.turns
        return Component(
            start_mean=float(self.part(theta, c, "start_mean")[0]),
            start_sd=float(self.part(theta, c, "start_sd")[0]),
            drift_mean=self.part(theta, c, "drift_mean").copy(),
            drift_sd=self.part(theta, c, "drift_sd").copy(),
            rise_mean=self.part(theta, c, "rise_mean").copy() if turns else np.zeros(K),
            rise_sd=self.part(theta, c, "rise_sd").copy() if turns else np.zeros(K),
            noise_sd=self.noise_sd(theta, c),
            turning=softmax(self.part(theta, c, "turning")) if turns else np.eye(self.w)[-1],
            jump_sd=self.part(theta, c, "jump_sd").copy(),
            types=self.types,
        )

    def model(self, theta: FloatArray) -> ChangePointModel:
        """Return the model that the vector stands for."""
        return ChangePointModel(
            components=tuple(self.component(theta, c) for c in range(self.classes)),
            weights=softmax(self.weight_logits(theta)),
            scale=self.scale,
        )

    def vector(self, model: ChangePointModel) -> FloatArray:
        """Return the vector of a model of this shape; probabilities of zero become tiny."""
        theta = np.empty(self.size)
        for c, component in enumerate(model.components):
            for name, size in self.sizes.items():
                if size and name != "turning":
                    self.part(theta, c, name)[:] = np.atleast_1d(getattr(component, name))[:size]
            if self.turns:
                self.part(theta, c, "turning")[:] = logits(component.turning)
        self.weight_logits(theta)[:] = logits(model.weights)
        low, high = self.bounds()
        return np.clip(theta, low, high)


def logits(law: FloatArray) -> FloatArray:
    """Logits of probabilities, the largest at zero."""
    with np.errstate(divide="ignore"):
        found = np.log(law)
    result: FloatArray = np.maximum(found - found.max(), -LOGIT_BOUND)
    return result


def held(layout: Layout, theta: FloatArray) -> BoolArray:
    """Entries that do not move: at a bound, or redundant."""
    low, high = layout.bounds()
    margin = 1e-6 * np.maximum(1.0, np.abs(theta))
    fixed: BoolArray = (theta <= low + margin) | (theta >= high - margin)
    return fixed | redundant(layout, theta)


def redundant(layout: Layout, theta: FloatArray) -> BoolArray:
    """The largest logit of each group, to which the others are relative."""
    left_out = np.zeros(len(theta), dtype=np.bool_)
    for group in layout.logit_groups:
        left_out[group.start + theta[group].argmax()] = True
    return left_out
