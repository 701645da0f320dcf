"""Wrapped models are decoded as the model inside is, or refused with what to give instead."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from empirical.decoding import ConfidentDecoding
from empirical.model.anatomy import Anatomy, LensError
from empirical.model.wrappers import called_modules, inner_model
from stopping.rules import FixedOffset
from tests.empirical.decoding.decoder_models import ARCHITECTURES, GREEDY, LONG

RULE = FixedOffset(2)


class Tuner(nn.Module):
    """As PEFT's: runs the `forward` of its model, past the hooks on the model's call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model.forward(*args, **kwargs)


class Adapted(nn.Module):
    """As PEFT's model with adapters: keeps a tuner, and generates by the model inside."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base_model, self.config = Tuner(model), model.config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.model.generate(*args, **kwargs)  # type: ignore[operator]


class Prompted(Adapted):
    """As PEFT's model with a learned prompt: keeps the model itself, and calls it."""

    def __init__(self, model: Any) -> None:
        nn.Module.__init__(self)
        self.base_model, self.config = model, model.config

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.base_model.generate(*args, **kwargs)  # type: ignore[operator]


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


WRAPPERS: list[Callable[[Any], Any]] = [
    Adapted,
    Prompted,
    compiled,
    lambda model: compiled(Adapted(model)),
]


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.set_num_threads(1)
    return ARCHITECTURES["llama"].build()


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPPERS, ids=["adapters", "prompt", "compiled", "both"])
def test_a_wrapped_model_is_decoded_as_the_model_inside(
    llama: Any, wrap: Callable[[Any], Any]
) -> None:
    def outputs(model: Any) -> tuple[Tensor, Tensor, Tensor]:
        with ConfidentDecoding(model, RULE) as decoding, torch.no_grad():
            logits = model(input_ids=LONG).logits
            read = decoding.statistics.layer
            return logits, model.generate(LONG, **GREEDY), torch.from_numpy(read)

    wrapped = wrap(llama)
    assert inner_model(wrapped) is llama
    for found, expected in zip(outputs(wrapped), outputs(llama), strict=True):
        assert torch.equal(found, expected)
    with torch.no_grad():
        final = wrapped(input_ids=LONG).logits
    assert not torch.equal(final, outputs(llama)[0])  # detached, and the rule does move
    for module in called_modules(wrapped):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_model_alone_is_no_wrapper(llama: Any) -> None:
    # It has a `base_model` as well, which is no wrapped model but its decoder.
    assert isinstance(llama.base_model, PreTrainedModel)
    assert called_modules(llama) == (llama,)


class Unknown(nn.Module):
    """A wrapper of the user's own, which calls a model that stands under any name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.language = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.language(*args, **kwargs)


def test_an_unknown_wrapper_is_told_from_a_model(llama: Any) -> None:
    for read in (Anatomy.of, ConfidentDecoding):
        with pytest.raises(LensError, match=r"^Unknown: .*; give the model inside$"):
            read(Unknown(llama))


def test_a_model_needs_no_configuration(llama: Any) -> None:
    class Bare(Unknown):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.language.forward(*args, **kwargs)

    bare = Bare(llama)
    with torch.no_grad():
        with ConfidentDecoding(bare, RULE):
            found = bare(input_ids=LONG).logits
        with ConfidentDecoding(llama, RULE):
            assert torch.equal(found, llama(input_ids=LONG).logits)


def test_copies_on_several_devices_are_refused(llama: Any) -> None:
    for read in (Anatomy.of, ConfidentDecoding):
        with pytest.raises(LensError, match=r"give the model inside, `model\.module`"):
            read(nn.DataParallel(llama))
