"""Tiny random models that can also see images, given text alone."""

from typing import Any

import torch
import transformers

LAYERS, VOCABULARY = 4, 97
_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
_VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "image_size": 8,
    "patch_size": 4,
}


def mllama() -> Any:
    """As Llama 3.2 Vision: every other layer attends to an image."""
    return _random(
        transformers.MllamaForConditionalGeneration,
        transformers.MllamaConfig(
            text_config={
                **_TEXT,
                "model_type": "mllama_text_model",
                "cross_attention_layers": [1, 3],
            },
            vision_config={
                **_VISION,
                "num_global_layers": 1,
                "attention_heads": 2,
                "vision_output_dim": 32,
                "intermediate_layers_indices": [0],
                "supported_aspect_ratios": [[1, 1]],
            },
        ),
    )


def paligemma(bidirectional: bool) -> Any:
    """Numbers its positions from 1, and may read a prompt in both directions."""
    return _random(
        transformers.PaliGemmaForConditionalGeneration,
        transformers.PaliGemmaConfig(
            text_config={
                **_TEXT,
                "model_type": "gemma",
                "head_dim": 8,
                "use_bidirectional_attention": bidirectional,
            },
            vision_config={
                **_VISION,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "projection_dim": 32,
            },
            image_token_index=VOCABULARY - 1,
            projection_dim=32,
            hidden_size=32,
        ),
    )


def _random(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config).float().eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return model
