"""The package's own rule, readout, decoder and lens, in the conventions of the suite."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from empirical.decoding import ConfidentDecoding
from empirical.lenses import RawLens
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy
from stopping.rules import Search
from stopping.testing import Head

K = 4
P = 0.7
RNG = np.random.default_rng(3)


def search(x: np.ndarray) -> np.ndarray:
    return Search(10).choose(x)


def random_search(x: np.ndarray) -> np.ndarray:
    return Search(K, P).choose(x, RNG)


def entropy(logits: Tensor) -> Tensor:
    return read_logits(logits, torch.zeros(len(logits), dtype=torch.long)).entropy


def decode(states: Tensor, head: Head) -> Tensor:
    return decode_with(Search(K), states, head)


def random_decode(states: Tensor, head: Head) -> Tensor:
    return decode_with(Search(K, P), states, head)


def decode_with(rule: Search, states: Tensor, head: Head) -> Tensor:
    """Run a model of the head's shape whose layers return `states`, decoding with `rule`.

    Every row stands at a position of its own, since a row's draw depends on position and token.
    """
    tokens, layers, _ = states.shape
    model, anatomy = model_of(layers, *head.matrix.shape)
    with torch.no_grad():
        model.model.norm.weight.copy_(head.gain)
        model.lm_head.weight.copy_(head.matrix)
    position = torch.from_numpy(RNG.integers(0, 1 << 20, (tokens, 1)))
    with (
        torch.no_grad(),
        returning(anatomy.layers, states),
        ConfidentDecoding(model, rule, anatomy=anatomy),
    ):
        output = model(torch.zeros(tokens, 1, dtype=torch.long), position_ids=position)
    return output.logits[:, 0]


class Finished(LlamaForCausalLM):
    """A model that scales and bends its logits."""

    scale, cap = 1.0, 0.0

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        z = output.logits * self.scale
        output.logits = self.cap * (z / self.cap).tanh() if self.cap else z
        return output


def read(states: Tensor, head: Head) -> Tensor:
    """The raw lens of a model with this head."""
    vocabulary, hidden = head.matrix.shape
    model = Finished(LlamaConfig(**settings(states.shape[1], vocabulary, hidden))).eval()
    model.scale, model.cap = head.scale, head.cap
    with torch.no_grad():
        model.model.norm.weight.copy_(head.gain)
        model.lm_head = torch.nn.Linear(hidden, vocabulary)
        model.lm_head.weight.copy_(head.matrix)
        model.lm_head.bias.copy_(torch.zeros(vocabulary) if head.bias is None else head.bias)
        lens = RawLens(Anatomy.of(model))
        layers = range(states.shape[1])
        return torch.stack([lens.read(i + 1, states[None, :, i])[0] for i in layers], dim=1)


@cache
def model_of(layers: int, vocabulary: int, hidden: int) -> tuple[LlamaForCausalLM, Anatomy]:
    model = LlamaForCausalLM(LlamaConfig(**settings(layers, vocabulary, hidden))).eval()
    return model, Anatomy.of(model)


def settings(layers: int, vocabulary: int, hidden: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 1,
        "rms_norm_eps": 1e-6,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


@contextmanager
def returning(modules: tuple[torch.nn.Module, ...], states: Tensor) -> Iterator[None]:
    """Let each layer return its prescribed state instead of what it computes."""

    def saying(state: Tensor) -> Callable[..., Any]:
        return lambda module, args, output: state

    with ExitStack() as hooks:
        for module, state in zip(modules, states.unbind(1), strict=True):
            hooks.callback(module.register_forward_hook(saying(state[:, None])).remove)
        yield
