"""What the decoder did at every step: a typed result, its averages, and a table of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from stopping.errors import UserError
from stopping.support.files import Kind
from stopping.support.results import Report, Result
from stopping.types import BoolArray

STEPS = Kind("file of decoded tokens", b"layer-stopping decoded tokens")
ABSENT = -1


@dataclass(frozen=True)
class Summary:
    """Averages over tokens.

    `moved` is the share of tokens taken from an earlier layer, `substituted` the share whose most
    probable token is not the final layer's, `depth` the mean number of layers back, `projections`
    the mean number of projections beyond the model's own.
    """

    tokens: int
    moved: float
    substituted: float
    depth: float
    projections: float

    def __str__(self) -> str:
        return (
            f"{self.tokens} tokens: {self.moved:.0%} from an earlier layer ({self.depth:.2f} "
            f"layers back on average), {self.substituted:.0%} another token than the final "
            f"layer's; {self.projections:.2f} extra projections per token"
        )


@dataclass(frozen=True, eq=False)
class Steps(Result):
    """What was decoded in each row at each step.

    Of `generate`, rows are the sequences that it returns, beams too, and steps are the tokens that
    it wrote, each row's up to its end of text or stop string: no padding, no guess that was
    dropped, no chunk of the prompt, no other pass. Of plain forward passes there is a step for each
    of the positions whose logits were wanted. `generate_batch`, which packs requests into one row,
    decodes rightly but has no statistics by request.

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
    projections : (rows, steps) int32
        Projections beyond the model's own.
    """

    layers: NDArray[np.int32]
    position: NDArray[np.int32]
    layer: NDArray[np.int32]
    entropy: NDArray[np.float32]
    top1: NDArray[np.int32]
    token: NDArray[np.int32]
    projections: NDArray[np.int32]

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

    def items(self) -> list[dict[str, Any]]:
        """Tokens."""
        found: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return found

    def report(self) -> Report:
        """The first tokens, and averages."""
        yield from super().report()
        yield str(self.summary())

    def summary(self) -> Summary:
        """Averages over all tokens present."""
        present = self.present
        tokens = int(present.sum())
        return Summary(
            tokens=tokens,
            moved=float(self.moved.sum() / max(tokens, 1)),
            substituted=float(self.substituted.sum() / max(tokens, 1)),
            depth=float(self.depth[present].sum() / max(tokens, 1)),
            projections=float(self.projections[present].sum() / max(tokens, 1)),
        )

    def within(self, lengths: ArrayLike) -> "Steps":
        """Keep the first `lengths[row]` steps of each row, such as those before its end of text."""
        return self.where(np.arange(self.position.shape[1]) < np.asarray(lengths)[:, None])

    def where(self, keep: BoolArray) -> "Steps":
        """Keep some of the steps, `keep` of shape (rows, steps)."""
        return replace(self, position=np.where(keep, self.position, np.int32(ABSENT)))

    def at(self, rows: ArrayLike, steps: ArrayLike) -> "Steps":
        """Take the steps at an index of rows and one of steps, broadcast to (rows, steps)."""
        return self._each(lambda name: getattr(self, name)[rows, steps])

    @staticmethod
    def joined(parts: "Sequence[Steps]") -> "Steps":
        """Steps of the same rows and layers, one part's after the other's."""
        return parts[0]._each(
            lambda name: np.concatenate([getattr(part, name) for part in parts], axis=1)
        )

    def _each(self, change: Callable[[str], NDArray[np.generic]]) -> "Steps":
        changed: dict[str, Any] = {
            f.name: change(f.name) for f in fields(self) if f.name != "layers"
        }
        return replace(self, **changed)

    def to_arrow(self, tokens: ArrayLike | None = None) -> pa.Table:
        """One row for each token, with the columns of a trace file and the decoder's own.

        `entropy` and `top1` are lists over the window, null where not read. For the columns that
        need every layer, trace the finished text with `empirical.capture.batch.capture`: decoding
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
            "projections": pa.array(self.projections[row, step]),
            "entropy": _lists(entropy, np.isnan(entropy)),
            "top1": _lists(top1, top1 == ABSENT),
        }
        layers = ",".join(map(str, self.layers.tolist()))
        return pa.table(columns).replace_schema_metadata(
            {b"format": STEPS.mark, b"layers": layers.encode()}
        )


def _lists(values: NDArray[np.generic], missing: BoolArray) -> pa.Array:
    flat = pa.array(values.ravel(), mask=missing.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
