"""vLLM: the one file that knows its inside.

A row of what the subclass's `forward` returns is

    final state | L - 1 | ... | L - K | position and token, bit by bit

vLLM picks the rows that it samples (the end of a chunk of a prompt, the drafted tokens of a
speculation) and gives them to `compute_logits`. That is not told whose they are: the first model
runner (V1) tells logits processors of every change of its batch, the second one (V2) tells the
model's own `ModelState`. Rows of a prompt that are to be scored (`prompt_logprobs`) come through
`compute_logits` as well and stay the final layer's; they are slices of what `forward` returned,
while picked rows are tensors of their own.

`INTERFACE` lists all that is used of vLLM; `missing_interface` says what of it has changed.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
import vllm
from torch import Tensor, nn
from vllm.v1.sample.logits_processor import LogitsProcessor as FirstProcessor
from vllm.v1.sample.logits_processor import process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondProcessor

from empirical.serving.lens import Parts, ServedLens, projector_of, temperatures_of
from empirical.serving.searching import Searcher, Step
from empirical.serving.settings import KEY, Engine, Request
from empirical.serving.statistics import Counts
from empirical.serving.tracing import Recorder
from stopping.errors import UserError
from stopping.rules import Search

TESTED = ("0.32",)
"""Versions of vLLM, major and minor, that the tests have run with."""

INTERFACE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("vllm.config", "VllmConfig.__post_init__", ("self",)),
    ("vllm.config", "VllmConfig.use_v2_model_runner", ()),
    ("vllm.distributed", "get_pp_group", ()),
    ("vllm.distributed", "get_tensor_model_parallel_rank", ()),
    ("vllm.model_executor.model_loader.utils", "get_model_architecture", ("model_config",)),
    ("vllm.model_executor.models.interfaces", "supports_eagle3", ("model",)),
    (
        "vllm.model_executor.models.interfaces",
        "SupportsEagle3.set_aux_hidden_state_layers",
        ("self", "layers"),
    ),
    ("vllm.model_executor.layers.logits_processor", "LogitsProcessor", ()),
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
"""Modules, names in them and parameters of what is used here."""

DRAFTERS = ("ngram", "ngram_gpu", "suffix", "draft_model", "eagle3")
"""Speculation that does not read the target's final states, which are wide here."""

_NORMS = ("norm", "norm_f", "final_layernorm", "final_norm", "ln_f")

_log = logging.getLogger(f"vllm.{__name__}")


def missing_interface() -> list[str]:
    """What this file uses of vLLM and the installed version has no more, or otherwise."""
    missing = []
    for module, path, parameters in INTERFACE:
        try:
            found: Any = import_module(module)
            for name in path.split("."):
                found = (
                    inspect.getattr_static(found, name)
                    if inspect.isclass(found)
                    else getattr(found, name)
                )
        except (ImportError, AttributeError) as error:
            missing.append(f"{module}.{path}: {error}")
            continue
        found = getattr(found, "__func__", found)
        if parameters:
            known = [p for p in inspect.signature(found).parameters if p != "cls"]
            if tuple(known[: len(parameters)]) != parameters:
                missing.append(f"{module}.{path}: takes {', '.join(known)}")
    return missing


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
        _FRONT[:] = [(engine, _hears_requests(self))]

    setattr(get_model_architecture, KEY, True)
    utils.get_model_architecture = get_model_architecture
    VllmConfig.__post_init__ = post_init


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


def _hears_requests(vllm_config: Any) -> bool:
    """Whether requests' own settings reach the model; V1 drops processors under speculation."""
    return vllm_config.speculative_config is None or bool(vllm_config.use_v2_model_runner)


_FRONT: list[tuple[Engine | None, bool]] = []
"""What the engine configured last in this process asked for, and whether it hears requests."""


class Rows:
    """Whose the rows of a worker's current step are."""

    def __init__(self, engine: Engine, hears: bool) -> None:
        self.engine, self.hears = engine, hears
        self.of_row: dict[int, Request] = {}  # first runner: by row
        self.of_slot: dict[int, Request] = {}  # second runner: by request slot
        self.slots: Any = None  # second runner: slot of each row
        # Rows of a dummy run: memory is profiled for all that may be asked.
        self._any = Request(Search(engine.K))

    def requests(self, n: int) -> list[Request]:
        """What holds for each of the `n` rows of this step."""
        if not self.hears:
            return [self.engine.default] * n
        if self.slots is None:
            return [self.of_row.get(row, self._any) for row in range(n)]
        if len(self.slots) != n:
            return [self._any] * n
        return [self.of_slot.get(slot, self._any) for slot in self.slots.tolist()]

    def of(self, sampling_params: Any) -> Request:
        """What a request asks for."""
        if sampling_params is None:
            return self.engine.default
        try:
            return self.engine.request(sampling_params.extra_args, sampling_params.seed)
        except UserError as error:  # it got past the door of another engine in this process
            _log.warning("%s; it is decoded plainly", error)
            return Request()


_ROWS: WeakValueDictionary[str, Rows] = WeakValueDictionary()


def _rows_of(vllm_config: Any, engine: Engine) -> Rows:
    """The rows that the model and the requests of one engine share in this worker."""
    name = str(vllm_config.instance_id)
    rows = _ROWS.get(name)
    if rows is None:
        rows = _ROWS[name] = Rows(engine, _hears_requests(vllm_config))
    return rows


class Requests(FirstProcessor, SecondProcessor):
    """Entry point of the group `vllm.logits_processors`: hears of requests, changes no logits."""

    def __init__(self, vllm_config: Any, *args: object) -> None:
        engine = engine_of(vllm_config)
        self._rows = None if engine is None else _rows_of(vllm_config, engine)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a wrong request at the door (HTTP 400)."""
        extra = sampling_params.extra_args
        if extra is None or KEY not in extra:
            return
        engine, hears = _FRONT[0] if _FRONT else (None, True)
        if engine is None:
            raise UserError(
                f"{KEY}: this engine was started without it; start it with "
                """--additional-config '{"confident": {"K": 10}}'"""
            )
        if not hears:
            raise UserError(
                f"{KEY}: with speculation, vLLM's first model runner hands no request's own "
                "settings on; set the rule for the whole engine"
            )
        engine.request(extra, sampling_params.seed)

    def is_argmax_invariant(self) -> bool:
        """It changes nothing."""
        return True

    def apply(self, logits: Tensor, context: object = None) -> Tensor:
        """Leave logits as they are."""
        return logits

    def update_state(self, batch_update: Any) -> None:
        """Note the first runner's batch, before each of its forward passes."""
        rows = self._rows
        if rows is not None:
            process_dict_updates(
                rows.of_row, batch_update, lambda params, prompt, output: rows.of(params)
            )

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Say to the second runner that no logits are changed here."""
        return False


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


class Window:
    """The states of a model's last layers: how they leave `forward` and reach the search."""

    def __init__(self, model: Any, vllm_config: Any) -> None:
        from vllm.distributed import get_pp_group, get_tensor_model_parallel_rank
        from vllm.model_executor.models.interfaces import supports_eagle3

        engine = engine_of(vllm_config)
        assert engine is not None
        name = type(model).__name__
        if not supports_eagle3(model):
            raise UserError(
                f"{KEY}: {name} does not hand out the states of its layers (no SupportsEagle3); "
                "try --model-impl transformers"
            )
        self.vllm_config, self.engine = vllm_config, engine
        self.rows = _rows_of(vllm_config, engine)
        self.depth = int(vllm_config.model_config.hf_text_config.num_hidden_layers)
        self.hidden = int(vllm_config.model_config.get_hidden_size())
        self.publishes = get_tensor_model_parallel_rank() == 0
        self._aux: tuple[int, ...] = ()
        self._model: Callable[[], Any] = lambda: model
        head: Any = super(type(model), model)
        self._head: Callable[[Tensor], Any] = head.compute_logits
        self._searcher: Searcher | None = None
        language = model.get_language_model() if hasattr(model, "get_language_model") else model
        decoder = getattr(language, "model", language)
        group, K = get_pp_group(), min(engine.K, self.depth - 1)
        if not group.is_last_rank:
            K = 0
        elif not group.is_first_rank and self.depth - K <= decoder.start_layer:
            raise UserError(
                f"{KEY}: K = {K} goes beyond the layers of the last pipeline rank, "
                f"{decoder.start_layer + 1} to {self.depth}; ask for K <= "
                f"{self.depth - decoder.start_layer - 1}"
            )
        if engine.traces:
            if not group.is_first_rank:
                raise UserError(f"{KEY}: texts are not traced through pipeline ranks; use tensors'")
            self.layers: tuple[int, ...] = tuple(range(self.depth + 1))
        else:
            self.layers = tuple(range(self.depth - K, self.depth))
        self.recorder: Recorder | None = None
        norms = [getattr(decoder, n, None) for n in _NORMS]
        self._norm = next((m for m in norms if isinstance(m, nn.Module)), None)
        if self._norm is None:
            raise UserError(f"{KEY}: {name} has no final norm of a known name")

    def wanted(self, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Layers to ask the model for, where a drafter wants `layers`."""
        self._aux = tuple(sorted(set(layers)))
        return tuple(sorted({*self._aux, *self.layers}))

    def joined(
        self, final: Tensor, states: list[Tensor], positions: Tensor, tokens: Tensor | None
    ) -> Any:
        """Wide rows, and the states that a drafter wants."""
        if not self.layers:
            return final, states
        named = dict(zip(sorted({*self._aux, *self.layers}), states, strict=True))
        wide = _wide(final, [named[i] for i in reversed(self.layers)], positions, tokens)
        return (wide, [named[i] for i in self._aux]) if self._aux else wide

    def heard(self, final: Tensor, states: list[Tensor], positions: Tensor) -> Tensor:
        """Final states, after whoever listens has heard all of them."""
        if self.recorder is not None:
            self.recorder.hear(final, states, positions)
        return final

    def logits(self, rows: Tensor) -> Any:
        """Logits of wide rows; the chosen layers' where they are about to be sampled."""
        if rows.shape[1] == self.hidden:
            return self._head(rows)
        final = rows[:, : self.hidden].contiguous()
        logits = self._head(final)
        if not _picked(rows):
            return logits
        requests = self.rows.requests(len(rows))
        if not any(request.reach for request in {id(one): one for one in requests}.values()):
            return logits
        states = {
            layer: rows[:, self.hidden * j : self.hidden * (j + 1)]
            for j, layer in enumerate(reversed((*self.layers, self.depth)))
        }
        position, token = _key(rows[:, self.hidden * len(states) :])
        try:
            self.searcher.decode(Step(logits, states, position, token), requests)
        except UserError as error:  # no number among the logits: one text's trouble, not all's
            _log.warning("%s: %s; these rows keep the final layer", KEY, error)
            return self._head(final)
        return logits

    @property
    def searcher(self) -> Searcher:
        """What searches."""
        if self._searcher is None:
            lens = self.lens
            device = self.vllm_config.device_config.device_type
            lazy = {"lazy": True, "together": False, "auto": device == "cpu"}
            self._searcher = Searcher(
                lens,
                projector_of(lens),
                (*self.layers, self.depth),
                lazy[self.engine.projections],
                Counts(len(self.layers), self.publishes),
            )
        return self._searcher

    @functools.cached_property
    def lens(self) -> ServedLens:
        """How layers are read; asked for when the weights are loaded."""
        assert self._norm is not None
        words = int(self.vllm_config.model_config.get_vocab_size())
        weights = _plain_weights(self._model(), words)
        parts = Parts(self.depth, words, self._norm, self._head, weights)
        if self.engine.lens is None:
            return ServedLens(parts, {})
        window = 0 if self.engine.traces else len(self.layers)
        return ServedLens(parts, *temperatures_of(self.engine.lens, parts, window))


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


def _wide(final: Tensor, states: list[Tensor], positions: Tensor, tokens: Tensor | None) -> Tensor:
    """Final states, those of the window and a key of each row in one tensor (n, width)."""
    position = positions if positions.ndim == 1 else positions[0]
    token = torch.full_like(position, -1) if tokens is None else tokens
    key = (position.long() << 32) + (token.long() + 1)
    bits = key[:, None].view(final.dtype)
    width = final.shape[1] * (1 + len(states)) + bits.shape[1]
    # One row more than asked for, so that no slice is ever all that was allocated (`_picked`).
    room = final.new_empty(len(final) + 1, width)[: len(final)]
    return torch.cat([final, *states, bits], dim=1, out=room)


def _key(bits: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and tokens of wide rows; sane numbers for a dummy run's random bits too."""
    key = bits.contiguous().view(torch.int64)[:, 0]
    return (key >> 32) & 0x7FFFFFFF, (key & 0xFFFFFFFF) - 1


def _picked(rows: Tensor) -> bool:
    """Whether rows were picked to be sampled, and are no slice of a prompt to be scored."""
    return rows.untyped_storage().nbytes() == rows.numel() * rows.element_size()


def _plain_weights(model: Any, words: int) -> Tensor | None:
    """Weights of a head that is a product with them and nothing more; None of any other."""
    from vllm.model_executor.layers.logits_processor import LogitsProcessor
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

    language = model.get_language_model() if hasattr(model, "get_language_model") else model
    head: Any = getattr(language, "lm_head", None)
    after: Any = getattr(language, "logits_processor", None)
    plain = (
        type(after) is LogitsProcessor
        and after.scale == 1.0
        and after.soft_cap is None
        and not after.logits_as_input
        and type(getattr(head, "quant_method", None)) is UnquantizedEmbeddingMethod
        and getattr(head, "bias", None) is None
        and head.tp_size == 1
        and after.org_vocab_size == words
        and len(head.weight) >= words
        and after.head_dtype in (None, head.weight.dtype)
    )
    return head.weight.detach()[:words] if plain else None


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
