"""A recorder of what an engine hands out: it reads sound states, and refuses others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from empirical.model.anatomy import Anatomy
from empirical.model.calls import tensor_of
from empirical.serving.lens import Parts, ServedLens
from empirical.serving.tracing import Recorder
from stopping.errors import UserError
from tests.empirical.tiny_models import LAYERS, VOCABULARY, tiny_model

IDS = tuple((i * 37) % VOCABULARY for i in range(24))
Heard = tuple[Tensor, list[Tensor]]


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture(scope="module")
def heard(model) -> Heard:
    anatomy, states = Anatomy.of(model), []
    with torch.no_grad(), anatomy.listening(lambda _, h: states.append(h[0].clone())):
        final = tensor_of(anatomy.decoder(input_ids=torch.tensor([IDS]), use_cache=False))
    return final[0], states


def recorded(model, final: Tensor, states: list[Tensor], chunk: int = 7):
    parts = Parts(LAYERS, VOCABULARY, model.model.norm, model.lm_head, None)
    recorder = Recorder(ServedLens(parts, {}), (2, 3, LAYERS), 10, (5, 6, 7, 8))
    with torch.no_grad():
        for start in range(0, len(IDS), chunk):
            rows = slice(start, start + chunk)
            positions = torch.arange(len(IDS))[rows]
            recorder.hear(final[rows], [h[rows] for h in states], positions)
        return recorder.columns()


def test_what_a_model_hands_out_is_read_whatever_the_chunks(model, heard) -> None:
    found = recorded(model, *heard)
    assert found["entropy"].shape == (4, 3)
    for chunk in (1, 24):
        assert (recorded(model, *heard, chunk)["top1"] == found["top1"]).all()


def one_off(final: Tensor, states: list[Tensor]) -> Heard:
    return final, [states[0] + 1, *states[:-1]]


def missing(final: Tensor, states: list[Tensor]) -> Heard:
    return final, states[:-1]


def zero(final: Tensor, states: list[Tensor]) -> Heard:
    return final, [*states[:2], torch.zeros_like(states[2]), *states[3:]]


def not_added(final: Tensor, states: list[Tensor]) -> Heard:
    """What the final layer adds, without what it is added to."""
    return final, [*states[:-1], states[-1] - states[-2]]


def normed(final: Tensor, states: list[Tensor]) -> Heard:
    return final, [*states[:-1], final]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one_off, "does not read as the model's own logits"),
        (missing, f"final layer here is {LAYERS - 1}, but the model has {LAYERS}"),
        (zero, "layer 2 are all zero"),
        (not_added, "does not read as the model's own logits"),
        (normed, "comes with the norm applied"),
    ],
)
def test_what_an_engine_may_hand_out_wrongly_is_refused(
    model, heard, spoil: Callable[..., Heard], words: str
) -> None:
    with pytest.raises(UserError, match=f"engine: .*{words}"):
        recorded(model, *spoil(*heard))
