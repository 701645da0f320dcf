"""From a model and texts to traces, layer by layer.

A batch of texts runs through the decoder once. Whenever a layer returns, the residual states that
predict completion tokens are taken out; after the last one they are read through the lens, a few
tokens at a time, and reduced to five numbers for each layer: no array of (layers, tokens,
vocabulary) ever exists. How the logits are read is the business of
`empirical.capture.projections`. Residual diagnostics are taken at every layer, the lens is applied
at the traced ones only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.capture.projections import AbstractReader, reader_for
from empirical.capture.tiles import LayersReadout
from empirical.lenses import AbstractLens, RawLens
from empirical.lenses.soundness import require_sound_capture
from empirical.model.anatomy import Anatomy, last_layers
from empirical.model.unembedding import Unembedding
from empirical.provenance import Provenance
from empirical.texts import Text
from empirical.traces.files import Traces

Columns = dict[str, NDArray[np.generic]]
"""Columns of `Traces` by name, of some tokens."""
Hear = Callable[[int, Tensor], None]
"""Takes the residual states of a layer: its number, and (texts, positions, ...)."""


def capture(
    anatomy: Anatomy,
    texts: Sequence[Text],
    provenance: Provenance,
    layers: Sequence[int] | None = None,
    batch: int = 8,
    lens: AbstractLens | None = None,
) -> Traces:
    """Trace the completion tokens of `texts`; a text without any adds no row.

    Parameters
    ----------
    layers
        Numbers of the layers to read, ascending and ending in the last; default all.
    batch
        Texts per forward pass; texts of like length go together.
    lens
        How the traced layers are read, the raw logit lens by default; its name goes into the
        provenance.

    Raises
    ------
    UserError
        If the model's logits are not finite or not causal, its states are not sound (see
        `empirical.lenses.soundness`), or the lens was not fitted at a traced layer.
    """
    lens = lens or RawLens(anatomy)
    provenance = replace(provenance, lens=lens.name)
    traced = tuple(layers or last_layers(len(anatomy.layers), None))
    texts = sorted((text for text in texts if text.completion_ids), key=len)
    if not texts:
        return Traces.empty(traced, provenance)
    anatomy.require_causal()
    require_sound_capture(anatomy, texts[0].ids)
    head = Unembedding.of(anatomy)
    pieces = [
        _capture_batch(anatomy, texts[start : start + batch], traced, lens, head)
        for start in range(0, len(texts), batch)
    ]
    return traces_of(pieces, texts, traced, provenance)


def traces_of(
    pieces: Sequence[Columns],
    texts: Sequence[Text],
    traced: Sequence[int],
    provenance: Provenance,
) -> Traces:
    """Join what was captured of texts, each once, into traces."""
    rows: dict[str, Any] = {
        name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]
    }
    order = np.lexsort((rows["position"], rows["prompt"]))
    by_prompt = {text.prompt: text for text in texts}
    prompts = rows["prompt"][order]
    return Traces(
        **{name: column[order] for name, column in rows.items()},
        difficulty=np.array([by_prompt[p].difficulty for p in prompts.tolist()], dtype=np.int8),
        family=np.array([by_prompt[p].family for p in prompts.tolist()], dtype=np.str_),
        group=np.array([by_prompt[p].group for p in prompts.tolist()], dtype=np.str_),
        layers=np.array(traced, dtype=np.int32),
        provenance=provenance,
    )


def _capture_batch(
    anatomy: Anatomy,
    texts: Sequence[Text],
    traced: tuple[int, ...],
    lens: AbstractLens,
    head: Unembedding | None,
) -> Columns:
    """Trace one batch; columns as in `Traces`, rows in the order of `texts`."""
    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text.ids)
        mask[row, : len(text)] = 1

    def feed(hear: Hear) -> None:
        ours, theirs = ids.to(anatomy.device), mask.to(anatomy.device)
        with anatomy.listening(hear):
            anatomy.decoder(input_ids=ours, attention_mask=theirs, use_cache=False)

    return columns_of_texts(anatomy, texts, traced, lens, head, feed)


def columns_of_texts(
    anatomy: Anatomy,
    texts: Sequence[Text],
    traced: tuple[int, ...],
    lens: AbstractLens,
    head: Unembedding | None,
    feed: Callable[[Hear], None],
) -> Columns:
    """Read the states of a batch of texts; columns as in `Traces`, rows in the order of `texts`.

    `feed` lets its argument hear the states of each layer, ascending, texts padded on the right.
    """
    device = anatomy.device
    predicts = torch.zeros((len(texts), max(map(len, texts))), dtype=torch.bool)
    for row, text in enumerate(texts):
        # The state at one position predicts the token at the next.
        predicts[row, len(text.prompt_ids) - 1 : len(text) - 1] = True
    tokens = [token for text in texts for token in text.completion_ids]
    wanted = torch.tensor(tokens, device=device)
    reader = reader_for(anatomy, lens, wanted, head)
    # What the model itself says, where the lens corrects its final layer as well.
    own = None if lens.keeps_final else reader_for(anatomy, RawLens(anatomy), wanted, head)
    listener = _Listener(reader, own, predicts.to(device), traced)
    with torch.inference_mode():
        feed(listener.hear)
    return {
        **places_of(texts),
        "token": np.array(tokens, dtype=np.int32),
        **listener.columns(),
    }


def places_of(texts: Sequence[Text]) -> Columns:
    """Prompt and position of each completion's tokens."""
    lengths = [len(text.completion_ids) for text in texts]
    return {
        "prompt": np.repeat(np.array([text.prompt for text in texts], dtype=np.int32), lengths),
        "position": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    }


@dataclass(frozen=True, eq=False)
class Residual:
    """Size of a layer's contribution and its direction against the stream, each (n,)."""

    norm: Tensor
    cosine: Tensor


class _Listener:
    """Hears the residual states of one forward pass and keeps their statistics."""

    def __init__(
        self,
        reader: AbstractReader,
        own: AbstractReader | None,
        predicts: Tensor,
        traced: tuple[int, ...],
    ) -> None:
        self._reader, self._own = reader, own
        self._predicts, self._traced, self._last = predicts, frozenset(traced), traced[-1]
        self._before: Tensor | None = None
        self._residuals: list[Residual] = []

    def hear(self, layer: int, state: Tensor) -> None:
        """Take the states of all rows that predict a traced token, (n, hidden)."""
        states = state[self._predicts.to(state.device)].to(self._predicts.device)
        if self._before is not None:
            self._residuals.append(residual_of(self._before, states))
        self._before = states
        if layer in self._traced:
            self._reader.add(layer, states)
        if layer == self._last and self._own is not None:
            self._own.add(layer, states)

    def columns(self) -> Columns:
        """Return the statistics as arrays, the layer axis last."""
        seen = self._reader.read()
        return columns_of(seen, seen if self._own is None else self._own.read(), self._residuals)


def columns_of(seen: LayersReadout, own: LayersReadout, residuals: Sequence[Residual]) -> Columns:
    """Columns of `Traces` from what the traced layers say through the lens, and the model itself.

    `residuals` are what each layer did.
    """
    norm = torch.stack([r.norm for r in residuals], dim=1)
    cosine = torch.stack([r.cosine for r in residuals], dim=1)
    return {
        "entropy": _array(seen.entropy.T, np.float32),
        "log_prob": _array(seen.log_prob.T, np.float32),
        "top1": _array(seen.top1.T, np.int32),
        "top1_prob": _array(seen.top1_prob.T, np.float32),
        "hindsight_gain": _array(seen.hindsight_gain.T, np.float32),
        "tempered": _array(own.tempered.T, np.float32),
        "residual_norm": _array(norm, np.float32),
        "residual_cosine": _array(cosine, np.float32),
    }


def residual_of(before: Tensor, after: Tensor) -> Residual:
    """What a layer did to states (n, ...)."""
    # Streams with several lanes per position count as one long vector.
    h, previous = after.flatten(1).float(), before.flatten(1).float()
    norm = (h - previous).norm(dim=1) / previous.norm(dim=1)
    return Residual(norm, torch.cosine_similarity(h, previous, dim=1))


def _array(column: Tensor, kind: type[np.generic]) -> NDArray[np.generic]:
    return column.cpu().numpy().astype(kind)
