"""Whether states are those of a model's layers: asked once of every capture and every importer.

Public evaluations of lenses have gone wrong before a lens was read: a layer was missing, so that
all were one off; a hybrid model's layers were left zero; one layer was read twice; the final state
came with its norm applied, or was taken for one that had. `stopping conformance --kind lens` tries
an implementation on states that are made up; here a few states of a real model are held to the
same: each layer its own, and the final one, read as all others will be, the model's own logits.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from empirical.model.anatomy import Anatomy
from empirical.model.calls import tensor_of
from stopping.errors import UserError

TOLERANCE = 0.02
"""Largest error of a logit, relative to the largest, or to 1: half precision rounds by less."""
TOKENS = 16
"""Tokens of a text that are looked at."""

Read = Callable[[Tensor], Tensor]


def require_sound(
    states: Mapping[int, Tensor],
    own: Tensor,
    read: Read,
    unembed: Read | None = None,
    *,
    depth: int | None = None,
    distinct: bool = True,
    source: str = "states",
) -> None:
    """Raise unless states can be those of a model's layers, and are read as it reads its last.

    Parameters
    ----------
    states : mapping of int to (n, ...) tensors
        Residual states of a few tokens, by layer; `L` is the last one.
    own : (n, vocabulary)
        The model's own logits at these tokens.
    read, unembed
        From states to logits, with the final norm and, to say what is wrong, without it.
    depth : int, optional
        Number of the model's layers, if it is known.
    distinct : bool
        Whether equal states of neighbouring layers are a mistake, as in a file; where every layer
        is heard as it runs, such a layer adds nothing.
    source : str
        Where the states come from, for the message.

    Raises
    ------
    UserError
        If a state holds NaN, is zero or another layer's, if the final layer is missing, or does not
        read as the model does.
    """
    numbers = sorted(states)
    if depth is not None and numbers[-1:] != [depth]:
        last = numbers[-1] if numbers else "none"
        raise UserError(
            f"{source}: the final layer here is {last}, but the model has {depth}; the states "
            "behind its final layer are needed"
        )
    for before, layer in zip([None, *numbers], numbers, strict=False):
        state = states[layer]
        if not state.isfinite().all():
            raise UserError(f"{source}: the states of layer {layer} hold NaN or infinity")
        if not state.any():
            raise UserError(
                f"{source}: the states of layer {layer} are all zero, so they were never written; "
                "such a layer cannot be read"
            )
        if distinct and before is not None and torch.equal(state, states[before].to(state.device)):
            raise UserError(
                f"{source}: the states of layer {layer} are those of layer {before} once more"
            )
    if _agree(read(states[numbers[-1]]), own):
        return
    raise UserError(
        f"{source}: the final layer does not read as the model's own logits; "
        f"{_reason(states, numbers, own, read, unembed)}"
    )


def require_sound_capture(anatomy: Anatomy, ids: Sequence[int]) -> None:
    """Ask it of the states that are heard from a model on the beginning of a text.

    Raises
    ------
    UserError
        As `require_sound`.
    """
    states, own = heard(anatomy, ids)
    with torch.inference_mode():
        require_sound(
            states,
            own,
            lambda h: anatomy.lens(h[None])[0],
            lambda h: anatomy.headless(inputs_embeds=h[None]).logits[0],
            depth=len(anatomy.layers),
            distinct=False,
            source=type(anatomy.headless).__name__,
        )


def heard(anatomy: Anatomy, ids: Sequence[int]) -> tuple[dict[int, Tensor], Tensor]:
    """Residual states of all layers at the first `TOKENS` of a text, and the model's own logits."""
    states: dict[int, Tensor] = {}

    def hear(layer: int, state: Tensor) -> None:
        states[layer] = state[0]

    with torch.inference_mode(), anatomy.listening(hear):
        text = torch.tensor([list(ids[:TOKENS])], device=anatomy.device)
        output = tensor_of(anatomy.decoder(input_ids=text, use_cache=False))
        return states, anatomy.headless(inputs_embeds=output).logits[0]


def _agree(found: Tensor, own: Tensor) -> bool:
    """Whether logits are the same; tokens that are masked must be masked in both."""
    if found.shape != own.shape:
        return False
    a, b = found.float().to(own.device), own.float()
    finite = b.isfinite()
    if not torch.equal(a.isfinite(), finite):
        return False
    scale = max(1.0, b[finite].abs().max().item() if finite.any() else 1.0)
    return bool(((a - b)[finite].abs() <= TOLERANCE * scale).all())


def _reason(
    states: Mapping[int, Tensor],
    numbers: Sequence[int],
    own: Tensor,
    read: Read,
    unembed: Read | None,
) -> str:
    """Say what the model's logits would be right for."""
    for layer in numbers[-2::-1]:
        if _agree(read(states[layer]), own):
            return f"layer {layer} does, so that all are {numbers[-1] - layer} off"
    if unembed is not None and _agree(unembed(states[numbers[-1]]), own):
        return "without the final norm it does, so that the state comes with the norm applied"
    return "the norm, the unembedding, its bias, scale or soft cap, or the model is another one"
