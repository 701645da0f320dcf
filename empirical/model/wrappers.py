"""The transformers model inside a wrapper: a compiled object, or adapters (PEFT).

A wrapper is what its user calls; layers, head and configuration are those of the model inside.
`generate` of a wrapper ends in calls of the model itself, but a plain call of PEFT's runs the
model's `forward` past the model's own hooks. So whoever hooks into a call does it on the whole
chain, `called_modules`.
"""

from torch import nn
from transformers import PreTrainedModel


def called_modules(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return what a user of `model` may call: from the outermost wrapper to the model inside."""
    chain = [model]
    while (inside := _inside(chain[-1])) is not None:
        chain.append(inside)
    return tuple(chain)


def inner_model(model: nn.Module) -> nn.Module:
    """Return the model inside all wrappers, which is `model` itself where there are none."""
    return called_modules(model)[-1]


def _inside(module: nn.Module) -> nn.Module | None:
    """What a wrapper wraps; None of a model."""
    if isinstance(module, PreTrainedModel):
        return None
    parts = module._modules
    if (compiled := parts.get("_orig_mod")) is not None:
        return compiled
    # PEFT keeps a tuner, which keeps the model; with a learned prompt, the model itself.
    tuner = parts.get("base_model")
    if tuner is None or isinstance(tuner, PreTrainedModel):
        return tuner
    return tuner._modules.get("model", tuner)
