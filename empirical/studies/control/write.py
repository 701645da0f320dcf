"""A model whose last layers perturb it, by construction: the truth that a positive control needs.

The write onto a residual state `h` of one late layer is of rank two at most and as long as a share
of the state itself,

    h  ->  h + (dial / m) |h| (a + sign(h . q) q),        |a + q| = 1,

for each of `m` layers. Three shapes of it are made, and a fourth that writes nothing:

- **after**: `m` layers that do nothing else are appended. `a` raises the logits of generic words by
  one amount; `q`, the direction that the unembedding hardly sees, takes the rest of the length, so
  that the final norm shrinks every other logit. Entropy rises layer by layer, the answer is
  displaced, and what the model knew stands at layer `L - m`, where the lens is its own head.
- **inside**: the same write onto the model's own last `m` layers. Nowhere below them is there a
  finished answer, only what the raw lens makes of an unfinished one.
- **sharp**: appended too, but `a` is one word's own row of the unembedding, and `q` is zero. It
  displaces the answer and *lowers* entropy: whoever searches for low entropy is lost.
- **tuned**: the model's own last `m` layers, tuned to prefer a generic answer; see `preference`.

The result is an ordinary model of transformers that shares its weights with the one it was made
from, which stays as it is. At dial 0 it says the same, bit for bit.
"""

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from empirical.model.anatomy import Anatomy
from empirical.model.headless import bare_copy, with_module
from empirical.model.load import LoadedModel
from empirical.model.unembedding import Unembedding
from empirical.studies.control.design import Design, Shape
from empirical.studies.control.preference import tuned_layers
from stopping.errors import UserError

WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from "
    "or had an they which one you were all her she there would their we him been has when who will "
    "no more if out so"
)
"""Generic words, of which the seed draws `DRAWN`."""
DRAWN = 32
LIFT = 12.0
"""Nats by which one unit of the dial raises the generic words, before the norm shrinks them."""
LONGEST = 0.9
"""Most of the write's length that `a` may take where `LIFT` asks for more."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Of a write, each of shape (hidden,); together they have length 1."""

    a: Tensor
    q: Tensor


class Write(nn.Module):
    """Adds to residual states, each alone, `size` times their length."""

    a: Tensor
    q: Tensor

    def __init__(self, directions: Directions, size: float) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("a", directions.a, persistent=False)
        self.register_buffer("q", directions.q, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """Perturb states, (..., hidden)."""
        a, q = self.a.to(h), self.q.to(h)
        outward = torch.where((h * q).sum(-1, keepdim=True) < 0, -q, q)
        written: Tensor = h + self.size * torch.linalg.vector_norm(h, dim=-1, keepdim=True) * (
            a + outward
        )
        return written


class Appended(nn.Module):
    """A layer that does nothing but write; asked for anything else, it answers as `like` does."""

    def __init__(self, write: Write, like: nn.Module) -> None:
        super().__init__()
        self.write = write
        object.__setattr__(self, "_like", like)  # not a second owner of its parameters

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Write onto the states."""
        written: Tensor = self.write(hidden_states)
        return written

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_like"], name)


def generic_tokens(tokenizer: Any, seed: int) -> list[int]:
    """Entries of the drawn words, a space before each; of a word of several, its last one."""
    found = [tokenizer.encode(f" {word}", add_special_tokens=False)[-1] for word in WORDS.split()]
    entries = list(dict.fromkeys(found))
    drawn = np.random.default_rng(seed).permutation(len(entries))[:DRAWN]
    return [entries[i] for i in sorted(drawn)]


@torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
def directions(anatomy: Anatomy, tokens: list[int], shape: Shape) -> Directions:
    """Find `a` and `q` from the head and the final norm alone.

    Raises
    ------
    UserError
        If the head is no product with one matrix, so that no direction can be told.
    """
    head = Unembedding.of(anatomy)
    if head is None:
        raise UserError("control: this model's head is no matrix product; name another model")
    weight = head.linear.weight.detach().float()
    n = weight.shape[1]
    # What the norm makes of each axis, up to its length: its own weights, in whatever form.
    scale = anatomy.normed(torch.eye(n)[None].to(head.linear.weight))[0].diagonal().float()
    seen = weight * (scale / n**0.5)
    seen -= seen.mean(dim=0)  # a shift of all logits says nothing
    if shape is Shape.SHARP:
        a = seen[tokens[0]]
        return Directions(a / a.norm(), torch.zeros(n))
    q = torch.linalg.eigh((seen.T @ seen).double())[1][:, 0]
    rows = seen[tokens].double()
    a = torch.linalg.pinv(rows) @ torch.ones(len(tokens), dtype=torch.float64)
    a -= (a @ q) * q
    a *= min(LIFT / n**0.5, LONGEST / float(a.norm()))
    return Directions(a.float(), ((1 - a @ a).sqrt() * q).float())


def perturbed(loaded: LoadedModel, design: Design, dial: float) -> LoadedModel:
    """Return a perturbed model, of the same name and weights, that shares its parameters.

    Parameters
    ----------
    dial : float
        Length of all `m` writes together, in units of the state's, or share of the way to the tuned
        weights; 0 leaves the model as it is.

    Raises
    ------
    LensError
        If the model's layers cannot be found, or others cannot be put beside them.
    UserError
        If the model has no more than `m` layers, the dial is negative or not finite, or its head
        is no matrix product.
    """
    if not 0 <= dial < float("inf"):
        raise UserError(f"dial: needs a number from 0 on, got {dial}")
    anatomy = Anatomy.of(loaded.model)
    layers, m = list(anatomy.layers), design.m
    if not 0 < m < len(layers):
        raise UserError(f"layers: {m} shall write, the model has {len(layers)}; let fewer write")
    if design.shape is Shape.TUNED:
        layers[-m:] = tuned_layers(loaded, anatomy, design, dial) if dial else layers[-m:]
    else:
        found = directions(anatomy, generic_tokens(loaded.tokenizer, design.seed), design.shape)
        writes = [Write(found, dial / m).to(loaded.device) for _ in range(m)]
        if design.shape is Shape.INSIDE:
            late = zip(layers[-m:], writes, strict=True)
            layers[-m:] = [_writing(layer, write) for layer, write in late]
        else:
            layers += [Appended(write, layers[-1]) for write in writes]
    model = _with_layers(loaded.model, anatomy, layers)
    Anatomy.of(model)  # checks that every layer is found, and that the last is what is decoded
    return replace(loaded, model=model)


def _writing(layer: nn.Module, write: Write) -> nn.Module:
    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return write(output) if isinstance(output, Tensor) else (write(output[0]), *output[1:])

    copied = bare_copy(layer)
    copied.register_forward_hook(after)
    return copied


def _with_layers(model: nn.Module, anatomy: Anatomy, layers: list[nn.Module]) -> Any:
    """Copy the modules down to the stack, and put other layers there."""
    path = next(
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and tuple(module) == anatomy.layers
    )
    changed = with_module(model, path, nn.ModuleList(layers))
    config: Any = copy.deepcopy(model.config)
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None)
    text.num_hidden_layers = len(layers)
    if kinds:
        text.layer_types = [*kinds, *[kinds[-1]] * (len(layers) - len(kinds))]
    changed.config = config
    *above, _ = path.split(".")
    for depth in range(1, len(above) + 1):
        module: Any = changed.get_submodule(".".join(above[:depth]))
        if hasattr(module, "config"):
            module.config = text
    return changed
