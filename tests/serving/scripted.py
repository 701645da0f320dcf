"""A model for engines of stock vLLM whose layers say what they are told.

It stands at the place of a model's class: what a scheduler, a model runner, the plug-in's subclass
and a sampler do around a forward pass is theirs. Only the states come from a table, by the place
of a token in its text, and norm and head from the conformance suite.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from vllm import ModelRegistry
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.models.interfaces import SupportsEagle3

from empirical.serving.internals import Window
from stopping.testing.head import HIDDEN, VOCABULARY, Head
from tests.empirical.serving.test_conformance import Normed
from tests.serving.engines import Engine

PLACES = 128


class Layers(nn.Module):
    """States by place, layer (the last one last) and width."""

    def __init__(self, vllm_config: Any) -> None:
        super().__init__()
        # Has an engine keep a cache and schedule by it; what would be attended to is not asked.
        self.attention = Attention(
            1, 32, 1.0, num_kv_heads=1, cache_config=vllm_config.cache_config, prefix="layers.0"
        )
        self.norm: nn.Module = nn.Identity()
        self.states = torch.zeros(1, 1, HIDDEN)
        self.handed_out: tuple[int, ...] = ()
        self.shift = 0


class Scripted(nn.Module, SupportsEagle3):
    """Says `model.states`, reads them through `model.norm` and `lm_head`."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        self.model = Layers(vllm_config)
        self.lm_head = ParallelLMHead(VOCABULARY, HIDDEN)
        self.logits_processor = LogitsProcessor(VOCABULARY)

    def set_aux_hidden_state_layers(self, layers: tuple[int, ...]) -> None:
        """Hand these layers out."""
        self.model.handed_out = layers

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        """Part of what vLLM calls a model."""
        return torch.zeros(len(input_ids), HIDDEN)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Any:
        """Final states, normed, and those of the layers that are handed out."""
        layers = self.model
        states = layers.states[positions.clamp(max=len(layers.states) - 1)]
        final = layers.norm(states[:, -1])
        if not layers.handed_out:
            return final
        return final, [states[:, number - 1 - layers.shift] for number in layers.handed_out]

    def compute_logits(self, hidden_states: Tensor) -> Any:
        """Logits as vLLM's models make them."""
        return self.logits_processor(self.lm_head, hidden_states)


def save_scripted(folder: Path) -> Path:
    """Make vLLM know the class, and save a configuration that names it."""
    ModelRegistry.register_model("Scripted", Scripted)
    LlamaConfig(
        architectures=["Scripted"],
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=PLACES,
    ).save_pretrained(folder)
    return folder


def tell(served: Engine, states: Tensor, head: Head, shift: int = 0) -> None:
    """Give an engine's model other states (places, layers, hidden) and another head.

    `shift` hands out layers that many before those asked for, wrongly.
    """
    model, config = served.model, served.runner.vllm_config
    model.model.states, model.model.norm, model.model.shift = states, Normed(head), shift
    model.lm_head.weight.data[:VOCABULARY] = head.matrix
    model.lm_head.quant_method.process_weights_after_loading(model.lm_head)
    config.model_config.hf_text_config.num_hidden_layers = states.shape[1]
    model.confident_window = Window(model, config)
    model.set_aux_hidden_state_layers(())
