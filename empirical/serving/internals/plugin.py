"""The subclass of a model's class that searches, and the entry point that lets vLLM build it."""

import functools
from typing import Any

import numpy as np
from torch import Tensor, nn

from empirical.serving.internals.interface import engine_of, require_served
from empirical.serving.internals.requests import FRONT, hears_requests
from empirical.serving.internals.window import Window
from empirical.serving.searching import Searcher
from empirical.serving.settings import KEY


def register() -> None:
    """Entry point of the group `vllm.general_plugins`; vLLM calls it in every process."""
    from vllm.config import VllmConfig
    from vllm.model_executor.model_loader import utils

    found, checked = utils.get_model_architecture, VllmConfig.__post_init__
    if getattr(found, KEY, False):
        return

    @functools.wraps(found)
    def get_model_architecture(model_config: Any) -> tuple[type[nn.Module], str]:
        base, name = found(model_config)
        return _chosen_class(base, model_config), name

    @functools.wraps(checked)
    def post_init(self: Any) -> None:
        checked(self)
        engine = engine_of(self)
        if engine is not None:
            require_served(self, engine)
        FRONT[:] = [(engine, hears_requests(self))]

    setattr(get_model_architecture, KEY, True)
    utils.get_model_architecture = get_model_architecture
    VllmConfig.__post_init__ = post_init


def _chosen_class(base: type[nn.Module], model_config: Any) -> type[nn.Module]:
    """Return what builds `base`, or its subclass that searches, as the engine at hand wants."""

    class Chosen(nn.Module):
        def __new__(cls, *, vllm_config: Any, prefix: str = "") -> Any:
            # A draft model is built with another configuration of the model.
            target = model_config is vllm_config.model_config and not prefix
            if vllm_config.speculative_config is not None:
                target &= model_config is vllm_config.speculative_config.target_model_config
            build: Any = base
            if target and engine_of(vllm_config) is not None:
                build = _subclass(build)
            return build(vllm_config=vllm_config, prefix=prefix)

        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            """For those who look at the signature; never called."""

    for name in ("packed_modules_mapping", "hf_to_vllm_mapper"):
        if hasattr(base, name):
            setattr(Chosen, name, getattr(base, name))
    return Chosen


@functools.cache
def _subclass(base: Any) -> Any:
    """Class of models of class `base` that search."""

    class Confident(base):
        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            self.confident_window = Window(self, vllm_config)
            self.set_aux_hidden_state_layers(())

        @property
        def confident(self) -> Searcher:
            """What searches, once the weights are loaded."""
            return self.confident_window.searcher

        def set_aux_hidden_state_layers(self, layers: tuple[int, ...]) -> None:
            """Also asked by a runner with a drafter, for layers of its own."""
            super().set_aux_hidden_state_layers(self.confident_window.wanted(layers))

        def forward(
            self,
            input_ids: Tensor | None,
            positions: Tensor,
            intermediate_tensors: Any = None,
            inputs_embeds: Tensor | None = None,
            **kwargs: Any,
        ) -> Any:
            output = super().forward(
                input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs
            )
            if not isinstance(output, tuple):
                return output  # of a rank that is not the last of its pipeline, or no layer asked
            final, states = output
            if self.confident_window.engine.traces:
                return self.confident_window.heard(final, states, positions)
            return self.confident_window.joined(final, states, positions, input_ids)

        def compute_logits(self, hidden_states: Tensor) -> Any:
            return self.confident_window.logits(hidden_states)

        @property
        def compute_logits_local(self) -> Any:
            raise AttributeError("logits that are sharded by words are not searched")

        def get_model_state_cls(self) -> type:
            return _state_class(self, super())

    Confident.__name__, Confident.__qualname__ = base.__name__, base.__qualname__
    Confident.__module__ = base.__module__
    return Confident


def _state_class(model: Any, inherited: Any) -> type:
    """Class of the second runner's state of a model, which notes slots and settings."""
    from vllm.v1.worker.gpu.model_states import resolve_model_state_cls

    window: Window = model.confident_window
    own = getattr(inherited, "get_model_state_cls", None)
    if own is not None:
        base = own()
    else:
        plain = type("Plain", (), {"modules": model.modules})  # has no class of its own
        base = resolve_model_state_cls(window.vllm_config, plain)

    class State(base):  # type: ignore[misc, valid-type]
        def add_request(self, req_index: int, new_req_data: Any) -> None:
            super().add_request(req_index, new_req_data)
            window.rows.of_slot[req_index] = window.rows.of(new_req_data.sampling_params)

        def prepare_inputs(self, input_batch: Any, req_states: Any) -> Any:
            rows = np.diff(input_batch.cu_num_logits_np)
            window.rows.slots = np.repeat(input_batch.idx_mapping_np, rows)
            return super().prepare_inputs(input_batch, req_states)

    State.__name__ = base.__name__
    return State
