"""States that no model's layers can have are refused, each with what is wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from empirical.lenses.soundness import require_sound, require_sound_capture
from empirical.model.anatomy import Anatomy
from empirical.model.calls import tensor_of
from stopping.errors import UserError
from tests.empirical.tiny_models import FAMILIES, LAYERS, tiny_model

IDS = (5, 9, 2, 14, 3, 8)
States = dict[int, Tensor]


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    model = tiny_model("llama")
    with torch.no_grad():
        # A norm that shows whether it has been applied, once or twice.
        weight = model.model.norm.weight
        weight.copy_(torch.linspace(0.5, 2.0, len(weight)))
    return Anatomy.of(model)


@pytest.fixture(scope="module")
def heard(anatomy: Anatomy) -> tuple[States, Tensor]:
    states: States = {}
    with torch.no_grad(), anatomy.listening(lambda layer, h: states.update({layer: h[0]})):
        output = tensor_of(anatomy.decoder(input_ids=torch.tensor([IDS]), use_cache=False))
    return states, anatomy.headless(inputs_embeds=output).logits[0]


def ask(anatomy: Anatomy, states: States, own: Tensor) -> None:
    with torch.no_grad():
        require_sound(
            states,
            own,
            lambda h: anatomy.lens(h[None])[0],
            lambda h: anatomy.headless(inputs_embeds=h[None]).logits[0],
            depth=LAYERS,
            source="file.safetensors",
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_heard_from_a_model_is_sound(family: str) -> None:
    require_sound_capture(Anatomy.of(tiny_model(family)), IDS)


def test_half_precision_is_sound(anatomy: Anatomy, heard: tuple[States, Tensor]) -> None:
    states, own = heard
    ask(anatomy, {layer: h.bfloat16().float() for layer, h in states.items()}, own)


def missing_last(states: States, anatomy: Anatomy) -> States:
    return {layer: h for layer, h in states.items() if layer < LAYERS}


def one_off(states: States, anatomy: Anatomy) -> States:
    return {layer + 1: h for layer, h in states.items() if layer < LAYERS} | {0: states[0] + 1}


def zero_layer(states: States, anatomy: Anatomy) -> States:
    return states | {LAYERS - 1: torch.zeros_like(states[0])}


def repeated_layer(states: States, anatomy: Anatomy) -> States:
    return states | {LAYERS - 1: states[LAYERS]}


def normed_already(states: States, anatomy: Anatomy) -> States:
    return states | {LAYERS: anatomy.normed(states[LAYERS][None])[0].detach()}


def not_a_number(states: States, anatomy: Anatomy) -> States:
    return states | {1: states[1] * torch.nan}


def another_models(states: States, anatomy: Anatomy) -> States:
    return states | {LAYERS: states[LAYERS].flip(1)}


def of_other_tokens(states: States, anatomy: Anatomy) -> States:
    return {layer: h.roll(1, 0) for layer, h in states.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing_last, f"final layer here is {LAYERS - 1}, but the model has {LAYERS}"),
        (one_off, "the final layer does not read as the model's own"),
        (zero_layer, f"layer {LAYERS - 1} are all zero"),
        (repeated_layer, f"layer {LAYERS} are those of layer {LAYERS - 1} once more"),
        (normed_already, "comes with the norm applied"),
        (not_a_number, "layer 1 hold NaN"),
        (another_models, "or the model is another one"),
        (of_other_tokens, "does not read as the model's own"),
    ],
)
def test_other_states_are_refused(
    spoil: Callable[[States, Anatomy], States],
    message: str,
    anatomy: Anatomy,
    heard: tuple[States, Tensor],
) -> None:
    states, own = heard
    ask(anatomy, states, own)
    with pytest.raises(UserError, match=rf"file.safetensors: .*{message}"):
        ask(anatomy, spoil(states, anatomy), own)


@pytest.mark.parametrize("mistake", ["twice", "skipped", "no gain"])
def test_other_readings_are_refused(
    mistake: str, anatomy: Anatomy, heard: tuple[States, Tensor]
) -> None:
    states, own = heard
    head = anatomy.headless

    def read(h: Tensor) -> Tensor:
        normed = {
            "twice": lambda: anatomy.normed(anatomy.normed(h)),
            "skipped": lambda: h,
            "no gain": lambda: h / h.square().mean(-1, keepdim=True).sqrt(),
        }[mistake]()
        logits: Tensor = head(inputs_embeds=normed[None]).logits[0]
        return logits

    with pytest.raises(UserError, match="does not read as the model's own logits"):
        require_sound(states, own, read)


def test_layers_one_off_are_told(anatomy: Anatomy, heard: tuple[States, Tensor]) -> None:
    """An importer that counts the embeddings as layer 1 has the final state under no number."""
    states, own = heard
    off = {layer + 1: h for layer, h in states.items()} | {LAYERS + 2: states[0] + 1}
    with pytest.raises(UserError, match=f"layer {LAYERS + 1} does, so that all are 1 off"):
        require_sound(off, own, lambda h: anatomy.lens(h[None])[0].detach())
