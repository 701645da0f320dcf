"""Sizes out of a transformers config.json, by the names that its families use for them."""

from collections.abc import Mapping
from typing import Any

from stopping.errors import UserError

# Families whose feed-forward part has two matrices; the others gate it with a third.
_TWO_MATRICES = {"gpt2", "opt", "gpt_neox", "falcon", "bloom", "phi", "gpt_bigcode", "starcoder2"}


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the text decoder's settings, also of a multimodal model."""
    inner = config.get("text_config") or config.get("language_config")
    return inner if isinstance(inner, dict) else config


def sizes_of(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Layers, hidden size, vocabulary and the weights of all layers together: fields of `Shape`.

    Raises
    ------
    UserError
        If a size that is needed is missing or no positive number.
    """
    sizes = _Sizes(config, name)
    layers = sizes.need("num_hidden_layers", "n_layer", "num_layers")
    hidden = sizes.need("hidden_size", "n_embd", "d_model")
    vocabulary = sizes.need("vocab_size")
    sparse = _sparse_layers(sizes, layers)
    linear = _linear_layers(config)
    attention = (layers - linear) * _attention(sizes, hidden) + linear * _delta(sizes, hidden)
    matrices = 2 if config.get("model_type") in _TWO_MATRICES else 3
    dense = 0.0
    if sparse < layers:
        inner = sizes.find("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden)
        dense = (layers - sparse) * matrices * hidden * inner
    experts = sizes.find("num_experts", "num_local_experts", "n_routed_experts", default=0)
    expert = router = always = 0.0
    if sparse:
        inner = sizes.need("moe_intermediate_size", "intermediate_size")
        expert = sparse * 3.0 * hidden * inner
        router = sparse * hidden * experts
        beside = sizes.find("shared_expert_intermediate_size", default=0) or inner * sizes.find(
            "n_shared_experts", "num_shared_experts", default=0
        )
        always = sparse * 3.0 * hidden * beside
    return {
        "layers": layers,
        "hidden": hidden,
        "vocabulary": vocabulary,
        "shared": attention + dense + router + always,
        "expert": expert,
        "experts": experts if sparse else 0,
        "experts_per_token": sizes.need("num_experts_per_tok", "top_k_experts") if sparse else 0,
        "cache": (layers - linear) * _cache(sizes, hidden),
    }


class _Sizes:
    """Looks sizes up by any of their names."""

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        self._config, self._name = config, name

    def find(self, *names: str, default: int) -> int:
        """The first that is there, or the default."""
        for name in names:
            value = self._config.get(name)
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise UserError(f"{self._name}: {name} must be a whole number, got {value!r}")
                return value
        return default

    def need(self, *names: str) -> int:
        """The first that is there, which must not be 0."""
        value = self.find(*names, default=0)
        if value == 0:
            raise UserError(
                f"{self._name}: the config has no {' or '.join(names)}, so it describes no decoder "
                "whose cost can be computed"
            )
        return value


def _attention(sizes: _Sizes, hidden: int) -> float:
    heads = sizes.need("num_attention_heads", "n_head")
    latent = sizes.find("kv_lora_rank", default=0)
    if latent:
        # Multi-head latent attention: queries and keys have a part with positions and one without.
        plain, turned = sizes.need("qk_nope_head_dim"), sizes.need("qk_rope_head_dim")
        value, rank = sizes.need("v_head_dim"), sizes.find("q_lora_rank", default=0)
        query = heads * (plain + turned)
        queries = rank * (hidden + query) if rank else hidden * query
        keys = hidden * (latent + turned) + latent * heads * (plain + value)
        return float(queries + keys + heads * value * hidden)
    width = sizes.find("head_dim", default=hidden // heads)
    groups = sizes.find("num_key_value_heads", default=heads) or heads
    return float(2 * hidden * heads * width + 2 * hidden * groups * width)


def _cache(sizes: _Sizes, hidden: int) -> float:
    latent = sizes.find("kv_lora_rank", default=0)
    if latent:
        return float(latent + sizes.need("qk_rope_head_dim"))
    heads = sizes.need("num_attention_heads", "n_head")
    groups = sizes.find("num_key_value_heads", default=heads) or heads
    return float(2 * groups * sizes.find("head_dim", default=hidden // heads))


def _linear_layers(config: Mapping[str, Any]) -> int:
    """Layers with a state of fixed size in the place of attention over a cache."""
    kinds = config.get("layer_types")
    return kinds.count("linear_attention") if isinstance(kinds, list) else 0


def _delta(sizes: _Sizes, hidden: int) -> float:
    keys = sizes.find("linear_num_key_heads", default=0) * sizes.find(
        "linear_key_head_dim", default=0
    )
    heads = sizes.find("linear_num_value_heads", default=0)
    values = heads * sizes.find("linear_value_head_dim", default=0)
    # Queries and keys, values and gates, two numbers per head, and the way out.
    return float(hidden * (2 * keys + 2 * values + 2 * heads) + values * hidden)


def _sparse_layers(sizes: _Sizes, layers: int) -> int:
    """Layers whose feed-forward part is a mixture of experts."""
    if not sizes.find("num_experts", "num_local_experts", "n_routed_experts", default=0):
        return 0
    dense_first = sizes.find("first_k_dense_replace", default=0)
    step = sizes.find("decoder_sparse_step", "moe_layer_freq", default=1) or 1
    return (layers - dense_first) // step
