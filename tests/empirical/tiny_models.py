"""Tiny random models of a dozen families, and a tiny model folder with a tokenizer.

Weights are drawn larger than a model's own initialisation, and norms away from one, so that
layers differ, norms matter and entropies vary. Soft-caps and logit scales are set to bite.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
)

LAYERS = 4
VOCABULARY = 97

_SMALL: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
    "gemma3_text": {"head_dim": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0},
    "gpt2": {"n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16},
    "phi3": {},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 4.0},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
}
_OWN_NAMES = {"gpt2": {"hidden_size", "intermediate_size", "num_hidden_layers"}}


def tiny_model(family: str = "llama", seed: int = 0, **options: Any) -> Any:
    """A random model of `family` in float32, ready for inference."""
    settings = {**_SMALL, **FAMILIES.get(family, {}), **options}
    for name in _OWN_NAMES.get(family, ()):
        settings.pop(name, None)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.5 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return model.float().eval()


def byte_tokenizer(chat: bool = False) -> Any:
    """One token per byte, and three special tokens."""
    specials = ["<pad>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    if chat:
        wrapped.chat_template = (
            "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
            "{% if add_generation_prompt %}<s>assistant: {% endif %}"
        )
    return wrapped


def save_tiny_folder(folder: Path, chat: bool = False) -> Path:
    """Save a tiny Llama that reads bytes, in transformers' layout."""
    tokenizer = byte_tokenizer(chat)
    model = tiny_model(
        "llama", vocab_size=len(tokenizer), max_position_embeddings=2048, num_hidden_layers=3
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
