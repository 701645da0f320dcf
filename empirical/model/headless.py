"""A headless copy: all of a model that comes after the decoder, as a model of its own.

What a model does between its decoder's output and its logits (unembedding, soft-caps, logit
scales, masks) is written in its own `forward`. To run just that, the headless copy is a shallow
copy of the model, sharing every parameter, in which the decoder is replaced by a module that hands
its `inputs_embeds` straight through. The live model is not touched.
"""

import copy
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput


def headless_copy(model: nn.Module, decoder_path: str) -> nn.Module:
    """Copy the modules from the model down to its decoder, and put the pass-through there."""
    return with_module(model, decoder_path, _PassThrough(model.get_submodule(decoder_path)))


def with_module(model: nn.Module, path: str, module: nn.Module) -> nn.Module:
    """Copy a model, sharing its parameters, with another module at `path`."""
    copied = node = bare_copy(model)
    *containers, last = path.split(".")
    for name in containers:
        node._modules[name] = node = bare_copy(node.get_submodule(name))
    node._modules[last] = module
    return copied


class _HeadInput(BaseModelOutput):
    """A decoder's output with nothing but the last state: any other field is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _PassThrough(nn.Module):
    """Stands in for the decoder; a head that asks the decoder for something gets the real one's."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        # Not registered as a submodule: the headless copy must not own the decoder a second time.
        object.__setattr__(self, "_decoder", decoder)

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> _HeadInput:
        return _HeadInput(last_hidden_state=inputs_embeds)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_decoder"], name)


def bare_copy(module: nn.Module) -> nn.Module:
    """Shallow copy that shares parameters and submodules but has no hooks of its own."""
    copied = copy.copy(module)
    copied.__dict__["_modules"] = dict(module._modules)
    for name in copied.__dict__:
        if "_hooks" in name:
            copied.__dict__[name] = OrderedDict()
    # accelerate wraps `forward` on the instance, bound to the original module.
    copied.__dict__.pop("forward", None)
    return copied
