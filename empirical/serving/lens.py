"""A served model's own norm and head as a lens of this package.

What the engine's model computes after its final layer is `head(norm(h))`, `head` being its own
`compute_logits` (scales, soft-caps, gathering of shards and all). Where the head is a product with
weights that are whole and plain, candidates go through `empirical.decoding.projecting` as in
`generate`: float32 sums whatever the precision, and the fused kernel on a GPU. Any other head is
asked for its logits, one layer at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor, nn

from empirical.decoding.plan import ONE_BY_ONE
from empirical.decoding.projecting import AbstractProjector, LensProjector, projector_for
from empirical.lenses import AbstractLens, require_lens, weights_hash
from empirical.lenses.files import require_own_head
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError


@dataclass(frozen=True, eq=False)
class Parts:
    """What a lens needs of a model in an engine.

    Attributes
    ----------
    depth, vocabulary : int
    norm : what comes between the final layer and the head.
    head : logits of normed states (n, hidden).
    weights : the head's (vocabulary, hidden) if it is a product with them and nothing more.
    """

    depth: int
    vocabulary: int
    norm: nn.Module
    head: Callable[[Tensor], Tensor]
    weights: Tensor | None


@final
class ServedLens(AbstractLens):
    """Norm and head, and a temperature for each layer that has one.

    The state of the final layer comes with its norm applied, as the engine's model returns it.
    """

    def __init__(self, parts: Parts, temperatures: Mapping[int, float], name: str = "raw") -> None:
        self.parts, self._temperatures, self._name = parts, dict(temperatures), name

    @property
    def name(self) -> str:
        """Name of the lens file's lens, or "raw"."""
        return self._name

    @property
    def keeps_final(self) -> bool:
        """Whether the final layer has no temperature."""
        return self.parts.depth not in self._temperatures

    def read(self, layer: int, h: Tensor) -> Tensor:
        """Logits of the states `h`, (1, n, hidden), of layer number `layer`."""
        x, temperature = self.before_head(layer, h)
        logits = self.parts.head(x[0])[None]
        return logits if temperature == 1.0 else logits / temperature

    def before_head(self, layer: int, h: Tensor) -> tuple[Tensor, float]:
        """Return the normed states, and the layer's temperature."""
        if layer != self.parts.depth:
            h = normed(self.parts.norm, h[0])[None]
        return h, self.temperature(layer)

    def temperature(self, layer: int) -> float:
        """What the logits of a layer are divided by.

        Raises
        ------
        UserError
            If the lens was not fitted at this layer.
        """
        if self._temperatures and layer != self.parts.depth and layer not in self._temperatures:
            raise UserError(
                f"lens {self._name!r}: not fitted at layer {layer}; trace fewer layers, or fit a "
                "lens with a larger --layers"
            )
        return self._temperatures.get(layer, 1.0)


def normed(norm: nn.Module, h: Tensor) -> Tensor:
    """States (n, hidden) after a norm; some return what they were given as well."""
    found = norm(h.contiguous())
    whole: Tensor = found[0] if isinstance(found, tuple) else found
    return whole


def projector_of(lens: ServedLens) -> AbstractProjector:
    """Choose how candidates are projected."""
    weights = lens.parts.weights
    if weights is None:
        return LensProjector(lens)
    linear = nn.Linear(1, 1, bias=False, device="meta")
    linear.out_features, linear.in_features = weights.shape
    linear.weight = nn.Parameter(weights, requires_grad=False)
    return projector_for(lens, Unembedding(linear, linear, plain=True), ONE_BY_ONE)


def temperatures_of(path: Path, parts: Parts, window: int) -> tuple[dict[int, float], str]:
    """Read the temperatures of a lens file, by layer, and the lens's name.

    Whether it was fitted for this very head can be told where the head's weights are plain.

    Raises
    ------
    UserError
        If the file is no lens of temperatures for this head and the last `window` layers.
    """
    content = require_lens(path)
    origin, found = content.origin, content.corrections
    if any(correction.translation is not None for correction in found.values()):
        raise UserError(
            f"{path}: an affine lens is not served, only one of temperatures; "
            "fit one with `stopping lens fit --kind temperature`"
        )
    head = None if parts.weights is None else _hash(parts.norm, parts.weights)
    require_own_head(path, origin, parts.depth, parts.vocabulary, head)
    missing = sorted(set(range(parts.depth - window, parts.depth)) - found.keys())
    if missing:
        raise UserError(
            f"{path}: not fitted at layer(s) {', '.join(map(str, missing))}, which the window has; "
            "ask for a smaller K, or fit with a larger --layers"
        )
    return {layer: found[layer].temperature for layer in found}, content.name


def _hash(norm: nn.Module, weights: Tensor) -> str:
    """Fingerprint as `empirical.lenses.head_hash` takes it of the same model in transformers."""
    tail = [(f"tail 0 {name}", weight) for name, weight in norm.named_parameters()]
    return weights_hash([*tail, ("head lm_head.weight", weights)])
