"""Tiny random models for the decoder's tests, in double precision: no ties by rounding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from empirical.decoding import ConfidentDecoding, Steps
from stopping.rules import AbstractRule, Search

WORDS, DEPTH, NEW = 97, 6, 9
K = DEPTH - 1
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Architecture:
    """How to build a model, and where its parts are: known here, found out by the package."""

    config: Callable[[], Any]
    layers: str
    norm: str
    after_head: Callable[[Tensor], Tensor] = lambda z: z
    seed: int = 1
    dtype: torch.dtype = torch.float64

    def build(self, dtype: torch.dtype | None = None) -> Any:
        torch.manual_seed(self.seed)
        model = transformers.AutoModelForCausalLM.from_config(self.config(), dtype=torch.float32)
        generator = torch.Generator().manual_seed(self.seed)
        # At its small initial weights a random model says the same at every layer.
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.data += noise / 5
            else:
                entries = parameter.shape[0] == WORDS
                parameter.data = noise / 2 if entries else 6 * parameter.data
        return model.to(dtype or self.dtype).eval()


def gpt2() -> Any:
    return transformers.GPT2Config(
        vocab_size=WORDS, n_embd=32, n_layer=DEPTH, n_head=4, n_positions=128, pad_token_id=0,
        bos_token_id=1, eos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip


def gemma2() -> Any:
    return transformers.Gemma2Config(**SIZES, final_logit_softcapping=5.0, sliding_window=16)


ARCHITECTURES = {
    "llama": Architecture(lambda: transformers.LlamaConfig(**SIZES), "model.layers", "model.norm"),
    "qwen3": Architecture(lambda: transformers.Qwen3Config(**SIZES), "model.layers", "model.norm"),
    "gpt2": Architecture(gpt2, "transformer.h", "transformer.ln_f", seed=4),
    "gemma2": Architecture(
        gemma2,
        "model.layers",
        "model.norm",
        after_head=lambda z: 5 * torch.tanh(z / 5),
        # In double precision its own attention makes NaN of padding.
        dtype=torch.float32,
    ),
    "cohere": Architecture(
        lambda: transformers.CohereConfig(**SIZES, logit_scale=0.25),
        "model.layers",
        "model.norm",
        after_head=lambda z: z / 4,
        seed=5,
    ),
}
LONG = torch.tensor([[5, 7, 11, 13, 17, 23]])
SHORT = torch.tensor([[31, 37, 41]])
PADDED = torch.cat([LONG, torch.cat([torch.zeros(1, 3, dtype=torch.long), SHORT], dim=1)])
MASK = torch.tensor([[1] * 6, [0] * 3 + [1] * 3])
GREEDY = {"max_new_tokens": NEW, "do_sample": False}


def decode(
    model: Any, ids: Tensor = LONG, rule: AbstractRule | None = None, **kwargs: Any
) -> tuple[Tensor, Steps]:
    with ConfidentDecoding(model, rule or Search(K), seed=3) as decoding:
        output = model.generate(ids, **{**GREEDY, **kwargs})
    return output, decoding.statistics
