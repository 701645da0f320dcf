"""Traces: what every traced layer said about every token, as arrays.

One row is one token of a completion. Column `l` of `entropy` is the observed entropy `x[l]` of
the logit lens at layer `layers[l]`, in nats, and the last column is the final layer `L`, as
everywhere in this project. Your own entropies become traces in one call:

    traces = Traces.of(entropy, prompt=prompt, log_prob=log_prob, token=token, top1=top1)

They come from models with `stopping trace`, and stand in files: see `empirical.traces.files`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.provenance import Mode, Provenance
from empirical.traces.fields import (
    OPTIONAL,
    PER_LAYER,
    PER_TEXT,
    PER_TOKEN,
    RESIDUAL,
    ROWS,
    UNKNOWN_TOKEN,
    require_shapes,
    require_values,
)
from empirical.traces.own import own_columns
from stopping.errors import UserError
from stopping.support.results import Report, Result, entries
from stopping.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Traces(Result):
    """Statistics of `n` tokens at the traced layers, rows ascending by (prompt, position).

    Only entropies must be known. An array of others that is not has shape (n, 0), so that it cannot
    be taken for numbers; `require` says what lacks.

    Attributes
    ----------
    prompt, position : (n,) int32
        Index of the prompt, and of the predicted token within the completion.
    token : (n,) int32
        The token that the text continues with, -1 where unknown.
    difficulty : (n,) int8
        Difficulty of the prompt, 0 where unknown.
    family : (n,) str
        Family of the prompt, empty where unknown.
    group : (n,) str
        What the prompt has in common with others that are no independent draws (a template, a
        document, a user), empty where unknown; see `clusters`.
    layers : (layers,) int
        Numbers of the traced layers, from 1, ascending, ending in `L`.
    entropy : (n, layers) float32
        Entropy of the lens distribution, nats.
    log_prob : (n, layers) float32
        Log-probability of `token`, nats; minus it is the log-loss.
    top1 : (n, layers) int32
        The most probable token.
    top1_prob : (n, layers) float32
        Its probability.
    hindsight_gain : (n, layers) float32
        What the layer best in hindsight, from this one to the final one, is expected to win over
        the final one if the token is drawn from the final layer's distribution, nats; see
        `empirical.logits.hindsight`.
    tempered : (n, 5) float32
        Log-probability of `token` under the model's own final layer, uncorrected by any lens, at
        the inverse temperatures of `empirical.logits.temperatures`.
    residual_norm, residual_cosine : (n, L) float32
        For *all* layers: `|h[l] - h[l-1]| / |h[l-1]|`, and the cosine between both.
    provenance : Provenance
        Where the traces come from.
    vocabulary : mapping
        Text of the token ids that occur, where known.
    """

    prompt: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    difficulty: NDArray[np.int8]
    family: NDArray[np.str_]
    group: NDArray[np.str_]
    layers: NDArray[np.int32]
    entropy: NDArray[np.float32]
    log_prob: NDArray[np.float32]
    top1: NDArray[np.int32]
    top1_prob: NDArray[np.float32]
    hindsight_gain: NDArray[np.float32]
    tempered: NDArray[np.float32]
    residual_norm: NDArray[np.float32]
    residual_cosine: NDArray[np.float32]
    provenance: Provenance
    vocabulary: Mapping[int, str] = field(default_factory=dict)

    def items(self) -> Iterable[dict[str, Any]]:
        """Tokens, with what is known of each."""
        known = (name for name in ROWS if name not in OPTIONAL or self.holds(name))
        return entries(self, "row", *known)

    def report(self) -> Report:
        """Where they come from, and what the layers say on average."""
        from stopping.support.tables import records_table

        origin = self.provenance
        yield (
            f"{origin.model}: {len(self):,} tokens of {len(np.unique(self.prompt)):,} prompts, "
            f"{origin.lens} lens, {origin.mode} mode"
        )
        columns = {"layer": self.layers, "entropy": self.entropy.mean(axis=0, dtype=float)}
        if self.holds("log_prob"):
            columns["log-loss"] = -self.log_prob.mean(axis=0, dtype=float)
        if self.holds("top1") and self.holds("token"):
            columns["accuracy"] = (self.top1 == self.token[:, None]).mean(axis=0)
        lists = [column.tolist() for column in columns.values()]
        layers = [dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True)]
        yield records_table("Means by layer, nats", layers)

    def __post_init__(self) -> None:
        require_shapes(self)
        require_values(self)
        for name in ("log_prob", "tempered"):
            object.__setattr__(self, name, np.minimum(getattr(self, name), 0.0))

    @classmethod
    def empty(cls, layers: Sequence[int], provenance: Provenance) -> "Traces":
        """Traces of no token at all."""
        columns: dict[str, Any] = {
            **{name: np.empty(0, kind) for name, kind in PER_TOKEN.items()},
            **{name: np.empty((0, len(layers)), np.float32) for name in PER_LAYER},
            **{name: np.empty((0, provenance.layers), np.float32) for name in RESIDUAL},
            "tempered": np.empty((0, len(INVERSE_TEMPERATURES)), np.float32),
            "top1": np.empty((0, len(layers)), np.int32),
            **{name: np.empty(0, np.str_) for name in PER_TEXT},
        }
        return cls(
            **columns,
            layers=np.array(layers, dtype=np.int32),
            provenance=provenance,
        )

    @classmethod
    def of(
        cls,
        entropy: ArrayLike,
        *,
        log_prob: ArrayLike | None = None,
        token: ArrayLike | None = None,
        top1: ArrayLike | None = None,
        top1_prob: ArrayLike | None = None,
        hindsight_gain: ArrayLike | None = None,
        tempered: ArrayLike | None = None,
        residual_norm: ArrayLike | None = None,
        residual_cosine: ArrayLike | None = None,
        prompt: ArrayLike | None = None,
        group: ArrayLike | None = None,
        difficulty: ArrayLike | None = None,
        layers: ArrayLike | None = None,
        model: str = "own arrays",
        vocabulary_size: int = 0,
        mode: Mode = "reference",
    ) -> "Traces":
        """Make traces of your own arrays.

        >>> traces = Traces.of([[2.5, 2.0, 1.5], [0.5, 0.25, 1.0]], prompt=["b", "a"])
        >>> traces.layers, traces.prompt
        (array([1, 2, 3], dtype=int32), array([0, 1], dtype=int32))

        Parameters
        ----------
        entropy : array_like, shape (n, layers)
            Nats; the last column is the final layer.
        log_prob, top1, top1_prob : array_like, shape (n, layers), optional
            Of the reference token in nats, most probable token, its probability.
        hindsight_gain : array_like, shape (n, layers), optional
            See `empirical.logits.hindsight`.
        tempered : array_like, shape (n, 5), optional
            Of the final layer at the inverse temperatures 0.6, 0.8, 1, 1.2 and 1.4.
        token : array_like of int, shape (n,), optional
            Reference tokens.
        residual_norm, residual_cosine : array_like, shape (n, L), optional
            Of all layers of the model.
        prompt : array_like, shape (n,), optional
            What tokens of one text have in common, as numbers or names; tokens of a prompt stand in
            their order. Default: each token is one of its own, as if all were independent.
        group : array_like, shape (n,), optional
            What prompts have in common that are no independent draws, as numbers or names.
        difficulty : array_like of int, shape (n,), optional
        layers : array_like of int, shape (layers,), optional
            Numbers of the layers, from 1. Default: all from the first to the last one.
        model : str
            A name for tables.
        vocabulary_size : int
            Bounds the entropies; 0 if unknown.
        mode : {"reference", "generated"}
            Whether the reference tokens are of a given text, or the model's own greedy choices.

        Raises
        ------
        UserError
            If the arrays do not fit together, or hold what cannot be.
        """
        columns = own_columns(
            entropy,
            {
                "log_prob": log_prob,
                "token": token,
                "top1": top1,
                "top1_prob": top1_prob,
                "hindsight_gain": hindsight_gain,
                "tempered": tempered,
                "residual_norm": residual_norm,
                "residual_cosine": residual_cosine,
                "prompt": prompt,
                "group": group,
                "difficulty": difficulty,
                "layers": layers,
            },
        )
        depth, prompts = int(columns["layers"][-1]), len(np.unique(columns["prompt"]))
        origin = Provenance(model, "", depth, 0, vocabulary_size, mode, prompts=prompts)
        return cls(**columns, provenance=origin)

    def require(self, what: str, *names: str) -> None:
        """Raise a UserError unless these columns are known, which `what` needs."""
        lacking = [name for name in names if not self.holds(name)]
        if lacking:
            wanted = "; ".join(f"{name} ({OPTIONAL[name]})" for name in lacking)
            raise UserError(
                f"{what}: needs more than these traces hold: {wanted}. Give them to Traces.of, or "
                "trace the model with `stopping trace`"
            )

    def holds(self, name: str) -> bool:
        """Whether a column is known."""
        column = getattr(self, name)
        if name == "token":
            return not bool((column == UNKNOWN_TOKEN).any())
        return bool(column.ndim == 1 or column.shape[1] > 0)

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def clusters(self) -> IntArray:
        """What inference takes for independent, (n,): number of the group, from 0.

        A prompt without a group is one of its own.
        """
        names, group = np.unique(self.group, return_inverse=True)
        alone = len(names) + self.prompt
        labels = np.where(self.group == "", alone, group.ravel())
        numbers: IntArray = np.unique(labels, return_inverse=True)[1].ravel()
        return numbers

    @property
    def cluster_kind(self) -> Literal["group", "prompt"]:
        """What `clusters` are: groups, or prompts where no group is known."""
        return "group" if (self.group != "").any() else "prompt"

    def select(self, keep: BoolArray) -> "Traces":
        """Return the tokens where `keep`, shape (n,), is true."""
        return replace(self, **{name: getattr(self, name)[keep] for name in ROWS})


def merge_traces(parts: Sequence[Traces]) -> Traces:
    """Join parts of one run into whole traces, sorted by prompt and position.

    Raises
    ------
    UserError
        If there is none, if they come from different runs, or if a token occurs twice.
    """
    if not parts:
        raise UserError("merge: no traces to merge")
    first = parts[0]
    for number, part in enumerate(parts):
        if not part.provenance.same_source(first.provenance):
            raise UserError(f"merge: part {number} comes from another run than part 0")
        if not np.array_equal(part.layers, first.layers):
            raise UserError(f"merge: part {number} has other layers than part 0")
        if any(part.holds(name) != first.holds(name) for name in OPTIONAL):
            raise UserError(f"merge: part {number} has other columns than part 0")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ROWS}
    order = np.lexsort((joined["position"], joined["prompt"]))
    whole = replace(parts[-1].provenance, shard=None, shards=None, storage=None)
    words = {token: text for part in parts for token, text in part.vocabulary.items()}
    return Traces(
        **{name: column[order] for name, column in joined.items()},
        layers=first.layers,
        provenance=whole,
        vocabulary=words,
    )
