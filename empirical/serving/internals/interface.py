"""All that is used of vLLM, the versions that were tested, and what is refused at the start.

`INTERFACE` lists it; `missing_interface` says what of it has changed.
"""

import inspect
from importlib import import_module
from typing import Any

import vllm

from empirical.serving.settings import KEY, Engine
from stopping.errors import UserError

TESTED = ("0.32",)
"""Versions of vLLM, major and minor, that the tests have run with."""

INTERFACE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("vllm.config", "VllmConfig.__post_init__", ("self",)),
    ("vllm.config", "VllmConfig.use_v2_model_runner", ()),
    *(
        ("vllm.config", f"VllmConfig.{name}", ())
        for name in (
            "additional_config",
            "device_config",
            "instance_id",
            "lora_config",
            "model_config",
            "parallel_config",
            "speculative_config",
        )
    ),
    ("vllm.config", "ModelConfig.get_hidden_size", ("self",)),
    ("vllm.config", "ModelConfig.get_vocab_size", ("self",)),
    ("vllm.config", "ModelConfig.hf_text_config", ()),
    ("vllm.config", "ParallelConfig.pipeline_parallel_size", ()),
    ("vllm.config", "SpeculativeConfig.method", ()),
    ("vllm.config", "SpeculativeConfig.target_model_config", ()),
    ("vllm", "SamplingParams.extra_args", ()),
    ("vllm", "SamplingParams.seed", ()),
    ("vllm.distributed", "get_pp_group", ()),
    ("vllm.distributed", "get_tensor_model_parallel_rank", ()),
    (
        "vllm.distributed.utils",
        "get_pp_indices",
        ("num_hidden_layers", "pp_rank", "pp_size"),
    ),
    ("vllm.model_executor.model_loader.utils", "get_model_architecture", ("model_config",)),
    ("vllm.model_executor.models.interfaces", "supports_eagle3", ("model",)),
    (
        "vllm.model_executor.models.interfaces",
        "SupportsEagle3.set_aux_hidden_state_layers",
        ("self", "layers"),
    ),
    (
        "vllm.model_executor.layers.logits_processor",
        "LogitsProcessor.__init__",
        ("self", "vocab_size", "org_vocab_size", "scale", "logits_as_input", "soft_cap"),
    ),
    ("vllm.model_executor.layers.vocab_parallel_embedding", "UnquantizedEmbeddingMethod", ()),
    ("vllm.v1.sample.logits_processor", "LogitsProcessor.validate_params", ("sampling_params",)),
    ("vllm.v1.sample.logits_processor", "LogitsProcessor.update_state", ("self", "batch_update")),
    (
        "vllm.v1.sample.logits_processor",
        "process_dict_updates",
        ("req_entries", "batch_update", "new_state"),
    ),
    (
        "vllm.v1.worker.gpu.sample.logits_processor",
        "LogitsProcessor.add_request",
        ("self", "req_idx", "sampling_params"),
    ),
    (
        "vllm.v1.worker.gpu.model_states",
        "resolve_model_state_cls",
        ("vllm_config", "model"),
    ),
    ("vllm.v1.worker.gpu.input_batch", "InputBatch.cu_num_logits_np", ()),
    ("vllm.v1.worker.gpu.input_batch", "InputBatch.idx_mapping_np", ()),
    (
        "vllm.v1.worker.gpu.model_states.interface",
        "ModelState.add_request",
        ("self", "req_index", "new_req_data"),
    ),
    (
        "vllm.v1.worker.gpu.model_states.interface",
        "ModelState.prepare_inputs",
        ("self", "input_batch", "req_states"),
    ),
)
"""Modules, names in them (fields of classes too) and parameters of what is used here."""

DRAFTERS = ("ngram", "ngram_gpu", "suffix", "draft_model", "eagle3")
"""Speculation that does not read the target's final states, which are wide here."""


def missing_interface() -> list[str]:
    """What this package uses of vLLM and the installed version has no more, or otherwise."""
    missing = []
    for module, path, parameters in INTERFACE:
        try:
            found: Any = import_module(module)
            for name in path.split("."):
                found = _member(found, name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{module}.{path}: {error}")
            continue
        found = getattr(found, "__func__", found)
        if parameters:
            known = [p for p in inspect.signature(found).parameters if p != "cls"]
            if tuple(known[: len(parameters)]) != parameters:
                missing.append(f"{module}.{path}: takes {', '.join(known)}")
    return missing


def _member(owner: Any, name: str) -> Any:
    """A name in a module or a class; a field that has no default yet is None."""
    if not inspect.isclass(owner):
        return getattr(owner, name)
    if any(name in inspect.get_annotations(base) for base in owner.__mro__):
        return None
    return inspect.getattr_static(owner, name)


def engine_of(vllm_config: Any) -> Engine | None:
    """What an engine asked for."""
    return Engine.of(getattr(vllm_config, "additional_config", None))


def require_served(vllm_config: Any, engine: Engine) -> None:
    """Refuse what the plug-in cannot serve, before anything is loaded.

    Raises
    ------
    UserError
        With one sentence on what it is and how to go on.
    """
    version = ".".join(vllm.__version__.split(".")[:2])
    if version not in TESTED and not engine.any_version:
        raise UserError(
            f"{KEY}: not tested with vLLM {vllm.__version__}, only with {', '.join(TESTED)}; "
            f'install such a version, or set "any_version": true beside the rule to try this one'
        )
    missing = missing_interface()
    if missing:
        raise UserError(f"{KEY}: vLLM {vllm.__version__} has changed: {'; '.join(missing)}")
    if getattr(vllm_config, "lora_config", None) is not None:
        raise UserError(
            f"{KEY}: LoRA adapters are not served: vLLM applies an adapter to the head by the "
            "place of a row in the batch, and candidates are rows of their own; merge the adapter"
        )
    speculative = getattr(vllm_config, "speculative_config", None)
    if speculative is not None and speculative.method not in DRAFTERS:
        raise UserError(
            f"{KEY}: speculation by {speculative.method!r} reads the final layer's states, which "
            f"carry the window here; use one of {', '.join(DRAFTERS)}"
        )
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        _require_window_on_last_rank(vllm_config, engine)


def _require_window_on_last_rank(vllm_config: Any, engine: Engine) -> None:
    """Only the last rank of a pipeline searches, and it has its own layers' states alone."""
    from vllm.distributed.utils import get_pp_indices

    if engine.traces:
        raise UserError(f"{KEY}: texts are not traced through pipeline ranks; use tensors'")
    ranks = int(vllm_config.parallel_config.pipeline_parallel_size)
    depth = int(vllm_config.model_config.hf_text_config.num_hidden_layers)
    before, _ = get_pp_indices(depth, ranks - 1, ranks)
    K = min(engine.K, depth - 1)
    if depth - K <= before:
        raise UserError(
            f"{KEY}: K = {K} goes beyond the layers of the last pipeline rank, "
            f"{before + 1} to {depth}; ask for K <= {depth - before - 1}"
        )
