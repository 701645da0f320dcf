"""Tiny random models of every supported family, built from configurations alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

_SMALL: Mapping[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
_EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
_LINEAR_ATTENTION = {
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
_SLIDING = {"sliding_window": 4}
_LOCAL_AND_GLOBAL = {
    **_SLIDING,
    "head_dim": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
}
_CAPPED = {**_LOCAL_AND_GLOBAL, "query_pre_attn_scalar": 8, "final_logit_softcapping": 0.5}


@dataclass(frozen=True)
class Family:
    """One family: its model type in transformers, and its settings beyond the small ones.

    `head` is what its head does after the unembedding at these settings; the caps and scales
    among them are chosen to bite. The weights of `seed` let the search leave the final layer.
    """

    name: str
    model_type: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    head: str = "none"
    seed: int = 9

    @property
    def offered(self) -> bool:
        """Whether the installed transformers knows it."""
        return self.model_type in CONFIG_MAPPING


FAMILIES = (
    Family("Llama", "llama"),
    Family("Mistral", "mistral", _SLIDING),
    Family("Mixtral", "mixtral", {**_EXPERTS, **_SLIDING}),
    Family("Qwen2", "qwen2", seed=0),
    Family("Qwen3", "qwen3", seed=4),
    Family("Qwen2-MoE", "qwen2_moe", _EXPERTS),
    Family("Qwen3-MoE", "qwen3_moe", _EXPERTS),
    Family("Qwen3-Next", "qwen3_next", {**_EXPERTS, **_LINEAR_ATTENTION}),
    Family("Qwen3.5", "qwen3_5_text", _LINEAR_ATTENTION),
    Family("Qwen3.5-MoE", "qwen3_5_moe_text", {**_EXPERTS, **_LINEAR_ATTENTION}),
    Family("Gemma 2", "gemma2", _CAPPED, "soft cap at 0.5", seed=1),
    Family("Gemma 3", "gemma3_text", _CAPPED, "soft cap at 0.5"),
    Family(
        "Gemma 4",
        "gemma4_text",
        {
            **_CAPPED,
            "vocab_size_per_layer_input": 97,
            "hidden_size_per_layer_input": 8,
            "per_layer_config": None,
        },
        "soft cap at 0.5",
    ),
    Family("gpt-oss", "gpt_oss", {**_EXPERTS, **_LOCAL_AND_GLOBAL}),
    Family(
        "DeepSeek-V3",
        "deepseek_v3",
        {
            **_ROUTED,
            "num_key_value_heads": 4,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    Family("GLM-4", "glm4"),
    Family("GLM-4-MoE", "glm4_moe", _ROUTED),
    Family("Phi-3", "phi3"),
    Family("GPT-2", "gpt2", {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128}),
    Family("GPT-NeoX", "gpt_neox"),
    Family("OPT", "opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    Family("Falcon", "falcon"),
    Family("Cohere", "cohere", {"logit_scale": 0.0625}, "× 0.0625"),
    Family("Granite", "granite", {"logits_scaling": 4.0, "embedding_multiplier": 3.0}, "× 0.25"),
    Family("OLMo 2", "olmo2"),
    Family("SmolLM3", "smollm3"),
)
REFUSED = (
    Family(
        "Gemma 3n",
        "gemma3n_text",
        {
            **_CAPPED,
            "vocab_size_per_layer_input": 97,
            "hidden_size_per_layer_input": 8,
            "laurel_rank": 4,
            "num_kv_shared_layers": 0,
            "activation_sparsity_pattern": [0.0] * 4,
            "intermediate_size": [48] * 4,
        },
    ),
    Family("T5", "t5", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 4, "num_heads": 4}),
)


def build(family: Family) -> nn.Module:
    """Return a small random model with norms that are not trivial and layers that disagree."""
    config = CONFIG_MAPPING[family.model_type](**{**_SMALL, **family.settings})
    torch.manual_seed(family.seed)
    auto: Any = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    model: nn.Module = auto.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            else:
                parameter.mul_(6.0)
    return model
