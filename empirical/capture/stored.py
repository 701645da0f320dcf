"""Traces from residual states that something else has written, such as a serving engine.

vLLM's speculative method `extract_hidden_states` leaves a safetensors file for each request:

    token_ids      (tokens,)                 what was read
    hidden_states  (tokens, layers, hidden)  residual states, one column for each layer asked for

(`ExampleHiddenStatesConnector`; any file with these two tensors will do). A file does not say whose
states it holds, and most public mistakes of lens evaluations were made before a lens was read. So
the model itself reads the beginning of each text, and no number is taken from a file until

- its states can be those of the model's layers, and read as the model's own logits
  (`empirical.lenses.soundness`): none missing, none zero or twice, none normed already;
- each column is nearer to the layer that it is said to be than to any other of the model's;
- it holds the very tokens of the text, and no layer is zero or no number at any of them.

States are then read as those of `stopping trace` are. What the model's own layers do is asked of
16 tokens a text: the rest of the model is needed here for its norm and head alone.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.capture.batch import Columns, Hear, columns_of_texts
from empirical.capture.run import AbstractReader, InTransformers
from empirical.lenses.soundness import TOKENS, heard, require_sound
from empirical.model.unembedding import Unembedding
from empirical.texts import Text
from empirical.traces.fields import RESIDUAL
from stopping.errors import UserError

IDS, STATES = "token_ids", "hidden_states"


@final
class InFiles(AbstractReader):
    """A model whose layers' states stand in files.

    Parameters
    ----------
    model : its norm, head and lens, and the whole of it for the beginnings of texts.
    folder : the safetensors files, one a text, in any order and under any names.
    layers : numbers of the files' columns, 0 for the embeddings; default all, 0 to `L`.

    Raises
    ------
    UserError
        If there is no such file, or one is no file of states.
    """

    refusal = (
        "--states are those of texts that are given: let them be the solutions of "
        "--prompts (--mode reference)"
    )

    def __init__(
        self, model: InTransformers, folder: Path, layers: Sequence[int] | None = None
    ) -> None:
        self.loaded, self.lens, self.lens_file = model.loaded, model.lens, model.lens_file
        self.depth, self.vocabulary_size = model.depth, model.vocabulary_size
        self.architecture, self.states = model.architecture, str(folder.resolve())
        self._model, self._folder = model, folder
        self._numbers = tuple(range(self.depth + 1) if layers is None else layers)
        _require_numbers(self._numbers, self.depth)
        self._files = {path: _ids(path) for path in sorted(folder.glob("*.safetensors"))}
        if not self._files:
            raise UserError(
                f"{folder}: no safetensors file is there; name the folder of the states"
            )

    def columns(self, texts: Sequence[Text], traced: tuple[int, ...]) -> list[Columns]:
        """Read one file after the other."""
        if missing := sorted(set(traced) - set(self._numbers)):
            raise UserError(
                f"{self._folder}: holds no layer {', '.join(map(str, missing))}; trace fewer "
                "(--layers), or write more"
            )
        head = Unembedding.of(self._model.anatomy)
        return [self._captured(text, traced, head) for text in texts]

    def _captured(self, text: Text, traced: tuple[int, ...], head: Unembedding | None) -> Columns:
        model = self._model
        states = self._states(text)

        def feed(hear: Hear) -> None:
            for layer, state in states.items():
                hear(layer, state[None].to(model.anatomy.device))

        found = columns_of_texts(model.anatomy, [text], traced, model.reads, head, feed)
        if len(states) <= self.depth:  # what each layer did needs all of them
            found |= {
                name: np.empty((len(text.completion_ids), 0), np.float32) for name in RESIDUAL
            }
        return found

    def _states(self, text: Text) -> dict[int, Tensor]:
        """Sound states of a text, (tokens, hidden) by layer."""
        wanted = np.array(text.ids[:-1])  # nothing is predicted by the last one
        n = len(wanted)
        path = next((p for p, ids in self._files.items() if np.array_equal(ids[:n], wanted)), None)
        if path is None:
            raise UserError(
                f"{self._folder}: no file begins with the {n} tokens of prompt {text.prompt} and "
                "its solution; let the engine read the very token ids "
                "(`empirical.texts.reference_texts`)"
            )
        whole = _tensors(path)[STATES]
        if whole.ndim != 3 or whole.shape[1] != len(self._numbers) or len(whole) < n:
            raise UserError(
                f"{path}: {STATES} has shape {tuple(whole.shape)}, expected {n} tokens or more, "
                f"{len(self._numbers)} layers (say which they are: --state-layers) and the width"
            )
        states = dict(zip(self._numbers, whole[:n].unbind(1), strict=True))
        self._require_sound(states, text, path)
        # One more row, of the last token, which predicts nothing.
        dtype = getattr(torch, self.loaded.dtype)
        return {layer: torch.cat([h, h[-1:]]).to(dtype) for layer, h in states.items()}

    def _require_sound(self, states: Mapping[int, Tensor], text: Text, path: Path) -> None:
        anatomy = self._model.anatomy
        own, logits = heard(anatomy, text.ids[:-1])
        final = own[self.depth]
        some = {layer: h[:TOKENS] for layer, h in states.items()}
        if any(h.shape != final.shape for h in some.values()):
            shape = "x".join(map(str, final.shape[1:]))
            raise UserError(f"{path}: states are not {shape} numbers wide, as this model's are")
        like = {layer: h.to(final) for layer, h in some.items()}
        with torch.inference_mode():
            require_sound(
                like,
                logits,
                lambda h: anatomy.lens(h[None])[0],
                lambda h: anatomy.headless(inputs_embeds=h[None]).logits[0],
                depth=self.depth,
                source=str(path),
            )
        for layer, h in states.items():
            if not (h.isfinite().all(-1) & h.any(-1)).all():
                raise UserError(
                    f"{path}: layer {layer} is zero or no number at a token, as where cached "
                    "prefixes are not written again; switch prefix caching off"
                )
        for layer, h in like.items():
            far = {other: float((h - o.to(h)).norm()) for other, o in own.items()}
            nearest = min(far, key=far.__getitem__)
            if far[nearest] < far[layer]:
                raise UserError(
                    f"{path}: the states numbered {layer} are nearest the model's layer {nearest}; "
                    "say which layers the columns are (--state-layers)"
                )


def _require_numbers(numbers: Sequence[int], depth: int) -> None:
    ascending = all(a < b for a, b in pairwise(numbers))
    if not numbers or not ascending or numbers[0] < 0 or numbers[-1] != depth:
        raise UserError(
            f"--state-layers: layers ascend, from 0 for the embeddings to the final one, {depth}; "
            f"got {', '.join(map(str, numbers)) or 'none'}"
        )


def _ids(path: Path) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = _tensors(path, IDS)[IDS].numpy().astype(np.int64)
    return ids


def _tensors(path: Path, *names: str) -> dict[str, Tensor]:
    """Read tensors of a file, default the states.

    Raises
    ------
    UserError
        If it cannot be read, or is no file of states.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            known = set(file.keys())
            if not {IDS, STATES} <= known:
                held = ", ".join(sorted(known)) or "nothing"
                raise UserError(f"{path}: holds {held}, expected {IDS} and {STATES}")
            return {name: file.get_tensor(name) for name in names or (STATES,)}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({error}); write it anew"
        ) from error
