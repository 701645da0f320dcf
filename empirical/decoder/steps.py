"""What the decoder did at every step: a typed result, its averages, and a table of rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from empirical.decoder.choosing import Choice
from empirical.decoder.places import Inputs, Places
from stopping.errors import UserError
from stopping.files import Kind
from stopping.types import BoolArray

Number = TypeVar("Number", bound=np.generic)

STEPS = Kind("file of decoded tokens", b"layer-stopping decoded tokens")
ABSENT = -1


@dataclass(frozen=True)
class Summary:
    """Averages over tokens.

    `moved` is the share of tokens taken from an earlier layer, `substituted` the share whose most
    probable word is not the final layer's, `depth` the mean number of layers back, `probes` the
    mean number of projections beyond the model's own.
    """

    tokens: int
    moved: float
    substituted: float
    depth: float
    probes: float


@dataclass(frozen=True, eq=False)
class Steps:
    """What was decoded in each row at each step.

    Rows are the rows of the forward pass: with beams, one for each beam (see `of_beams`). A row
    that has ended goes on with padding until its batch ends (see `within`). The end of each chunk
    of a prompt that is read in chunks is a step too. `generate_batch`, which packs requests into
    one row, decodes rightly but has no statistics by request.

    Attributes
    ----------
    layers : (w,) int32
        Numbers of the layers in the window, ascending, ending in `L`.
    position : (rows, steps) int32
        Position of the predicted token in its sequence, prompt included and padding left out;
        `ABSENT` where a row has no such step.
    layer : (rows, steps) int32
        Number of the layer whose logits were decoded.
    entropy : (rows, steps, w) float32
        Observed entropies `x`, nats; NaN where the rule needed no reading.
    top1 : (rows, steps, w) int32
        Most probable token of each layer, `ABSENT` where not read.
    token : (rows, steps) int32
        Most probable token of the logits that were decoded: what greedy decoding emits.
    probes : (rows, steps) int32
        Projections beyond the model's own.
    """

    layers: NDArray[np.int32]
    position: NDArray[np.int32]
    layer: NDArray[np.int32]
    entropy: NDArray[np.float32]
    top1: NDArray[np.int32]
    token: NDArray[np.int32]
    probes: NDArray[np.int32]

    @property
    def present(self) -> BoolArray:
        """Which steps there are."""
        present: BoolArray = self.position != ABSENT
        return present

    @property
    def depth(self) -> NDArray[np.int32]:
        """Layers back from `L`."""
        depth: NDArray[np.int32] = self.layers[-1] - self.layer
        return depth

    @property
    def moved(self) -> BoolArray:
        """Whether an earlier layer was decoded."""
        return self.present & (self.depth > 0)

    @property
    def final_token(self) -> NDArray[np.int32]:
        """Most probable token of the final layer: what plain greedy decoding would emit here."""
        return self.top1[..., -1]

    @property
    def substituted(self) -> BoolArray:
        """Whether the most probable token is not the final layer's."""
        substituted: BoolArray = self.present & (self.token != self.final_token)
        return substituted

    def summary(self) -> Summary:
        """Averages over all tokens present."""
        present = self.present
        tokens = int(present.sum())
        return Summary(
            tokens=tokens,
            moved=float(self.moved.sum() / max(tokens, 1)),
            substituted=float(self.substituted.sum() / max(tokens, 1)),
            depth=float(self.depth[present].sum() / max(tokens, 1)),
            probes=float(self.probes[present].sum() / max(tokens, 1)),
        )

    def within(self, lengths: ArrayLike) -> "Steps":
        """Keep the first `lengths[row]` steps of each row, such as those before its end of text."""
        keep = np.arange(self.position.shape[1]) < np.asarray(lengths)[:, None]
        return replace(self, position=np.where(keep, self.position, np.int32(ABSENT)))

    def of_beams(self, beam_indices: ArrayLike) -> "Steps":
        """Rows of the returned sequences instead of beams.

        `beam_indices`, shape (sequences, steps), is what `generate` returns by that name.
        """
        beams = np.asarray(beam_indices)[:, : self.position.shape[1]]
        steps = np.arange(beams.shape[1])
        per_step = {
            f.name: getattr(self, f.name)[np.maximum(beams, 0), steps]
            for f in fields(self)
            if f.name != "layers"
        }
        per_step["position"] = np.where(beams < 0, np.int32(ABSENT), per_step["position"])
        return replace(self, **per_step)

    def table(self, tokens: ArrayLike | None = None) -> pa.Table:
        """One row for each token, with the columns of a trace file and the decoder's own.

        `entropy` and `top1` are lists over the window, null where not read. For the columns that
        need every layer, trace the finished text with `empirical.capture.capture`: decoding
        leaves the residual stream as it is, so its entropies are these.

        Parameters
        ----------
        tokens : (rows, steps), optional
            Tokens that were emitted; default the most probable ones.
        """
        row, step = np.nonzero(self.present)
        emitted = self.token if tokens is None else np.asarray(tokens)
        if emitted.shape != self.position.shape:
            raise UserError(
                f"steps: tokens have shape {emitted.shape}, expected {self.position.shape}"
            )
        entropy, top1 = self.entropy[row, step], self.top1[row, step]
        columns: dict[str, pa.Array] = {
            "prompt": pa.array(row.astype(np.int32)),
            "position": pa.array(step.astype(np.int32)),
            "token": pa.array(emitted[row, step].astype(np.int32)),
            "layer": pa.array(self.layer[row, step]),
            "depth": pa.array(self.depth[row, step]),
            "final_token": pa.array(self.final_token[row, step]),
            "substituted": pa.array(self.substituted[row, step]),
            "probes": pa.array(self.probes[row, step]),
            "entropy": _lists(entropy, np.isnan(entropy)),
            "top1": _lists(top1, top1 == ABSENT),
        }
        layers = ",".join(map(str, self.layers.tolist()))
        return pa.table(columns).replace_schema_metadata(
            {b"format": STEPS.mark, b"layers": layers.encode()}
        )


class Recorder:
    """Gathers the steps of one generation, forward pass by forward pass."""

    def __init__(self, layers: Sequence[int]) -> None:
        self._layers = np.array(layers, dtype=np.int32)
        self._before: Inputs | None = None
        self._passes: list[Steps] = []

    def begin(self, inputs: Inputs) -> None:
        """Start anew if this forward pass starts new sequences."""
        if inputs.begins(self._before):
            self._passes.clear()
        self._before = inputs

    def add(self, places: Places, choice: Choice) -> None:
        """Keep what was chosen at the real places of a forward pass, in their order."""
        real = places.real
        word = choice.word
        if word is None:
            word = choice.top1[np.arange(len(choice.column)), choice.column]
        self._passes.append(
            Steps(
                layers=self._layers,
                position=np.where(real, places.position + 1, ABSENT).astype(np.int32),
                layer=_spread(real, self._layers[choice.column], self._layers[-1]),
                entropy=_spread(real, choice.entropy.astype(np.float32), np.float32(np.nan)),
                top1=_spread(real, choice.top1.astype(np.int32), np.int32(ABSENT)),
                token=_spread(real, word.astype(np.int32), np.int32(ABSENT)),
                probes=_spread(real, choice.probes.astype(np.int32), np.int32(0)),
            )
        )

    @property
    def latest(self) -> Steps:
        """Steps of the last forward pass."""
        if not self._passes:
            raise UserError("statistics: nothing has been decoded yet")
        return self._passes[-1]

    def steps(self) -> Steps:
        """All steps of the generation, each position once.

        Speculation may decode a position again after its guesses were turned down: the last time
        counts.
        """
        latest = self.latest
        if len(self._passes) == 1 and latest.present.all():
            return latest
        joined = {
            f.name: np.concatenate([getattr(part, f.name) for part in self._passes], axis=1)
            for f in fields(Steps)
            if f.name != "layers"
        }
        order = [_last_of_each(row) for row in joined["position"]]
        steps = max(map(len, order))
        # Rows with fewer steps are filled up with their column 0, and marked as absent.
        index = np.array([[*row, *[0] * (steps - len(row))] for row in order])
        rows = np.arange(len(order))[:, None]
        picked = {name: column[rows, index] for name, column in joined.items()}
        missing = np.arange(steps) >= np.array([len(row) for row in order])[:, None]
        picked["position"] = np.where(missing, np.int32(ABSENT), picked["position"])
        return Steps(layers=self._layers, **picked)


def _last_of_each(position: NDArray[np.int32]) -> list[int]:
    """Columns of the last occurrence of each position, positions ascending."""
    last = {int(p): column for column, p in enumerate(position) if p != ABSENT}
    return [last[p] for p in sorted(last)]


def _spread(real: BoolArray, values: NDArray[Number], fill: Number) -> NDArray[Number]:
    """Put the values of real places into an array of all places, `fill` elsewhere."""
    spread = np.full((*real.shape, *values.shape[1:]), fill, dtype=values.dtype)
    spread[real] = values
    return spread


def _lists(values: NDArray[np.generic], missing: BoolArray) -> pa.Array:
    flat = pa.array(values.ravel(), mask=missing.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
