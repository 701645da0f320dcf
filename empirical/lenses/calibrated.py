r"""A lens that corrects each layer for not being the last one.

Layer `l` is read as

    logits[l] = lens( h + h A[l] + b[l] ) / T[l],

where `lens` is the model's own final norm and head. A *temperature lens* has `A = 0, b = 0`: it
only makes a layer more or less sure of what the raw lens says, so it never changes a most probable
token. An *affine lens* (tuned lens; Belrose et al. 2023, arXiv:2303.08112) also translates the
state into the final layer's coordinates, with `A` of full or of low rank. A *Jacobian lens* takes
for `I + A` the mean Jacobian to the final layer (`empirical.lenses.jacobian`). The final layer is
left as the model has it, unless its correction was asked for.

What calibration can and cannot do. At the best temperature the mean entropy *equals* the mean
log-loss on the tokens of the fit (see `empirical.lenses.temperature`), at every layer that is
corrected. A final layer that is left as it is keeps its gap. And it is a statement about all tokens
together. A rule that picks, token by token, the layer of least entropy picks the layers that happen
to be over-confident *on that token* (a winner's curse), and on the picked layers entropy lies below
log-loss again. A lens makes entropies of different
layers comparable; it does not make their minimum a good prediction.

An affine lens trained on *reference tokens* learns something else besides: the kind of text that
it was trained on. Its layers then beat the final layer on such text without any merit of choosing
between layers. A fair baseline is a final layer that was adapted in the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from empirical.lenses.base import AbstractLens
from empirical.model.anatomy import Anatomy
from stopping.errors import UserError


@dataclass(frozen=True, eq=False)
class Translation:
    """The map `h + h A + b`, with `A` the product of `factors`.

    Attributes
    ----------
    factors : tuple of Tensor
        One of shape (hidden, hidden), or two of shapes (hidden, rank) and (rank, hidden); float32.
        A stream with several lanes per position counts as one long vector.
    bias : (hidden,)
    """

    factors: tuple[Tensor, ...]
    bias: Tensor

    def __call__(self, h: Tensor) -> Tensor:
        """Translate states (batch, positions, ...); computed in float32, returned as given."""
        flat = h.flatten(2).float()
        if flat.shape[-1] != len(self.bias):
            raise UserError(
                f"lens: fitted to states of {len(self.bias)} numbers, and this model's have "
                f"{flat.shape[-1]}; fit one with `stopping lens fit`"
            )
        change = flat
        for factor in self.factors:
            change = change @ factor.to(h.device)
        moved = flat + change + self.bias.to(h.device)
        return moved.reshape(h.shape).to(h.dtype)


@dataclass(frozen=True, eq=False)
class Correction:
    """What is done to one layer: translate the state, divide the logits by the temperature."""

    temperature: float = 1.0
    translation: Translation | None = None

    def read(self, anatomy: Anatomy, h: Tensor) -> Tensor:
        """Corrected logits of the states `h`, (batch, positions, hidden)."""
        return anatomy.lens(self.translated(h)) / self.temperature

    def translated(self, h: Tensor) -> Tensor:
        """States in the coordinates of the final layer."""
        return h if self.translation is None else self.translation(h)


@final
class CalibratedLens(AbstractLens):
    """The model's final norm and head behind one correction per layer."""

    def __init__(self, anatomy: Anatomy, corrections: Mapping[int, Correction], name: str) -> None:
        self._anatomy, self._corrections, self._name = anatomy, dict(corrections), name

    @property
    def name(self) -> str:
        """Kind, target and fingerprint, such as "temperature, reference, 0f3a9c21"."""
        return self._name

    @property
    def keeps_final(self) -> bool:
        """Whether the final layer has no correction."""
        return len(self._anatomy.layers) not in self._corrections

    @property
    def corrections(self) -> Mapping[int, Correction]:
        """Corrections by layer number; the final layer may have none."""
        return self._corrections

    def read(self, layer: int, h: Tensor) -> Tensor:
        """Corrected logits of layer number `layer`.

        Raises
        ------
        UserError
            If the lens was not fitted at this layer.
        """
        correction = self._correction(layer)
        return self._anatomy.lens(h) if correction is None else correction.read(self._anatomy, h)

    def before_head(self, layer: int, h: Tensor) -> tuple[Tensor, float]:
        """Return the translated and normed states, and the layer's temperature.

        Raises
        ------
        UserError
            If the lens was not fitted at this layer.
        """
        correction = self._correction(layer)
        if correction is None:
            return self._anatomy.normed(h), 1.0
        return self._anatomy.normed(correction.translated(h)), correction.temperature

    def _correction(self, layer: int) -> Correction | None:
        correction = self._corrections.get(layer)
        if correction is not None or layer == len(self._anatomy.layers):
            return correction
        fitted = ", ".join(str(number) for number in sorted(self._corrections))
        raise UserError(
            f"lens {self._name!r}: not fitted at layer {layer}, only at {fitted}; read fewer "
            "layers, or fit a lens with a larger --layers"
        )
