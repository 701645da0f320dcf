"""The one interface of every rule: observed entropies in, a layer for each token out.

A rule is a frozen dataclass of its parameters. A class is either abstract or final. Layers are
column indices of the batch, `layers - 1` being the final layer `L`.
"""

import abc
from dataclasses import fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from stopping.errors import UserError
from stopping.model.windows import as_batch, final_layer, window_start
from stopping.types import FloatArray, IntArray

Reading = Literal["backward", "returning", "sinking", "window"]
"""How much of the window a reader that goes back from `L` must read before a rule is applied.

- `"backward"`: the rule stops as soon as it knows. Its first `j` layers from `L` alone say
  whether `projections` exceeds `j`, whatever stands below them.
- `"returning"`: the same, and on the way its choice may rise again, up to `L`.
- `"sinking"`: it needs its whole window.
- `"window"`: the same, and on the way its choice may rise again.

For `"backward"` and `"sinking"` the choice never rises as more is read, unread layers being out of
reach.
"""


NOT_WRITTEN = {"written": False}
"""Metadata of a dataclass's field that is no part of its text."""


class AbstractKind(abc.ABC):
    """What a text such as `"search:K=10"` names; a frozen dataclass of its settings.

    Rules on entropies are kinds, and so are the decoders on logits of other packages.
    `stopping.rules.registry` reads their texts.
    """

    kind: ClassVar[str]
    """The first word of the text."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Short unique name for tables."""

    def spec(self) -> str:
        """Return the text that is read back as this."""
        settings = ",".join(f"{name}={_text(getattr(self, name))}" for name in settings_of(self))
        return f"{self.kind}:{settings}" if settings else self.kind


def settings_of(found: AbstractKind | type[AbstractKind]) -> dict[str, Any]:
    """Names and types of the settings, in the order in which a text states them."""
    written = (f for f in fields(found) if f.metadata.get("written", True))  # type: ignore[arg-type]  # every kind is a dataclass
    return {f.name: f.type for f in written}


class AbstractRule(AbstractKind):
    """A map from a token's observed entropies to the layer that is decoded.

    Rules are deterministic functions of the row, but for those with a randomisation `p` or a
    hedge, which need the generator. A row's choice depends on no other row, but where the rule
    `remembers`.
    """

    reading: ClassVar[Reading] = "window"
    """How much must be read before the rule is applied."""
    remembers: ClassVar[bool] = False
    """Whether the rows are one stream of tokens in their order, and those before a row matter."""

    @abc.abstractmethod
    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        """Choose for a validated batch."""

    @abc.abstractmethod
    def _projections(self, x: FloatArray) -> IntArray:
        """Extra projections for a validated batch."""

    def choose(self, entropy: ArrayLike, rng: np.random.Generator | None = None) -> IntArray:
        """Choose a layer for every token.

        Parameters
        ----------
        entropy : array_like, shape (n, layers)
            Observed entropies `x` in nats, final layer last.
        rng : numpy.random.Generator, optional
            Needed by randomised rules only.

        Returns
        -------
        ndarray of int, shape (n,)
            Column index of the chosen layer.

        Raises
        ------
        UserError
            If the batch is malformed or not finite, or a randomised rule gets no generator.
        """
        return self._choose(as_batch(entropy), rng)

    def after(self, entropy: ArrayLike) -> Self:
        """Return this rule once it has read these tokens, the next ones of its stream.

        Itself, unless it `remembers`.
        """
        as_batch(entropy)
        return self

    def projections(self, entropy: ArrayLike) -> IntArray:
        """Projections beyond the final layer's that a lazy implementation makes, shape (n,).

        A scan has to read `x[L-1]` before it may stop at `L`, so a scan never averages below one.
        """
        return self._projections(as_batch(entropy))


class AbstractInWindow(AbstractRule):
    """A rule that has a window of `K` steps back, and looks at that alone."""

    K: int

    @abc.abstractmethod
    def _in_window(self, window: FloatArray, rng: np.random.Generator | None) -> IntArray:
        """Choose a column of the window, (n, 2 or more), of one token or more."""

    def _choose(self, x: FloatArray, rng: np.random.Generator | None) -> IntArray:
        l_min = window_start(x.shape[1], self.K)
        if l_min == final_layer(x) or len(x) == 0:
            return np.full(len(x), l_min)
        return l_min + self._in_window(x[:, l_min:], rng)

    def _projections(self, x: FloatArray) -> IntArray:
        """Read the whole window."""
        return np.full(len(x), final_layer(x) - window_start(x.shape[1], self.K))


def choose_streams(
    rule: AbstractRule,
    entropy: ArrayLike,
    stream: ArrayLike,
    rng: np.random.Generator | None = None,
) -> IntArray:
    """Choose for tokens of several streams, such as prompts: each begins with the rule as it is.

    Parameters
    ----------
    rule : AbstractRule
    entropy : array_like, shape (n, layers)
        Tokens of a stream in their order, streams in any.
    stream : array_like of int, shape (n,)
    rng : numpy.random.Generator, optional
        Needed by randomised rules only.
    """
    x, owner = as_batch(entropy), np.asarray(stream)
    require(owner.shape == (len(x),), f"stream: expected one for each of {len(x)} tokens")
    if not rule.remembers:
        return rule.choose(x, rng)
    chosen = np.empty(len(x), dtype=np.intp)
    for one in np.unique(owner):
        chosen[owner == one] = rule.choose(x[owner == one], rng)
    return chosen


def require_generator(rng: np.random.Generator | None, rule: str) -> np.random.Generator:
    """Return `rng`, or say that `rule` draws random numbers and needs one."""
    if rng is None:
        raise UserError(f"{rule}: randomises, pass rng=np.random.default_rng(seed)")
    return rng


def require(condition: bool, message: str) -> None:
    """Raise `UserError` with `message` unless `condition` holds."""
    if not condition:
        raise UserError(message)


def _text(value: object) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
