"""How the states of a model's last layers leave `forward` and reach the search.

A row of what the subclass's `forward` returns is

    final state | L - 1 | ... | L - K | position and token, bit by bit

vLLM picks the rows that it samples (the end of a chunk of a prompt, the drafted tokens of a
speculation) and gives them to `compute_logits`. Rows of a prompt that are to be scored
(`prompt_logprobs`) come through it as well and stay the final layer's; they are slices of what
`forward` returned, while picked rows are tensors of their own.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from empirical.serving.internals.interface import engine_of
from empirical.serving.internals.requests import rows_of
from empirical.serving.lens import Parts, ServedLens, projector_of, temperatures_of
from empirical.serving.searching import Searcher, Step
from empirical.serving.settings import KEY
from empirical.serving.statistics import Counts
from empirical.serving.tracing import Recorder
from stopping.errors import UserError

_NORMS = ("norm", "norm_f", "final_layernorm", "final_norm", "ln_f")

_log = logging.getLogger(f"vllm.{__name__}")


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
        self.rows = rows_of(vllm_config, engine)
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
        K = min(engine.K, self.depth - 1) if get_pp_group().is_last_rank else 0
        layers = range(self.depth + 1) if engine.traces else range(self.depth - K, self.depth)
        self.layers = tuple(layers)
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
