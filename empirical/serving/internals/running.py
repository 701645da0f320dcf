"""An engine of this process, from outside."""

from typing import Any


def model_of(llm: Any) -> dict[str, Any]:
    """What is known of an engine's model."""
    config = llm.llm_engine.vllm_config
    return {
        "config": config.model_config.hf_config,
        "dtype": config.model_config.dtype,
        "device": str(config.device_config.device_type),
        "tokenizer": llm.get_tokenizer(),
        "vocabulary": int(config.model_config.get_vocab_size()),
    }


def close(llm: Any) -> None:
    """Shut an engine of this process down, and forget what its workers shared."""
    from vllm.distributed import cleanup_dist_env_and_memory

    llm.llm_engine.engine_core.shutdown()
    cleanup_dist_env_and_memory()
