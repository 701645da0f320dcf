"""Tiny models of many families: layers and tokens of the decoder in transformers, in float32."""

from typing import Any

import pytest

from tests.serving.engines import K, decoded, engine, prompts, save_tiny

SEARCH = f"search:K={K}"
MOE: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "qwen3_moe": {**MOE, "decoder_sparse_step": 1, "mlp_only_layers": []},
    "phi3": {},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0},
    "olmo2": {},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 128},
    # vLLM's attention to latents on a CPU wants 512 + 64 of them. With rotary embeddings that are
    # not scaled, as no published model has them, vLLM 0.32 there differs from transformers anyway.
    "deepseek_v2": {
        **MOE,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "greedy",
        "num_key_value_heads": 4,
        "q_lora_rank": None,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 64,
        "head_dim": 64,
        "v_head_dim": 32,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "mscale": 0.707,
            "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 32,
        },
    },
}
THROUGH_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "gemma2": {"query_pre_attn_scalar": 32, "sliding_window": 128},
    "gemma3_text": {"query_pre_attn_scalar": 32, "sliding_window": 128},
}
"""Families whose classes in vLLM hand out no states, on its transformers back-end.

That changes the classes of transformers in this process, so each has one test.
"""


def test_a_class_that_hands_out_no_states_is_refused(tmp_path):
    save_tiny(tmp_path, "gemma2", **THROUGH_TRANSFORMERS["gemma2"])
    with (
        pytest.raises(Exception, match=r"Gemma2ForCausalLM does not hand out.*model-impl"),
        engine(tmp_path, {"K": K}),
    ):
        pass


@pytest.mark.parametrize("family", [*FAMILIES, *THROUGH_TRANSFORMERS])
def test_layers_and_tokens_are_those_of_the_decoder(tmp_path, family):
    own = FAMILIES.get(family)
    model = save_tiny(tmp_path, family, **(own or THROUGH_TRANSFORMERS.get(family, {})))
    texts = prompts(3)
    options = {} if own is not None else {"model_impl": "transformers"}
    # Before the engine, whose transformers back-end changes classes of transformers.
    plain, expected = (decoded(model, texts, rule, tokens=8) for rule in ("final", SEARCH))
    with engine(tmp_path, {"K": K}, **options) as served:
        assert served.tokens(texts, tokens=8) == [tokens for tokens, _ in plain]
        assert served.steps(texts, SEARCH, tokens=8) == expected
    assert any(j > 0 for _, depths in expected for j in depths)
