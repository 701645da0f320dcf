"""Traces: what every traced layer said about every token, as arrays.

One row is one token of a completion. Column `l` of `entropy` is the observed entropy `x[l]` of
the logit lens at layer `layers[l]`, in nats, and the last column is the final layer `L`, as
everywhere in this project. Your own entropies become traces in one call:

    traces = Traces.of(entropy, prompt=prompt, log_prob=log_prob, token=token, top1=top1)

They come from models with `stopping trace`, and stand in files: see `empirical.traces.files`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.provenance import Mode, Provenance
from stopping.errors import UserError
from stopping.support.results import Report, Result, entries
from stopping.types import BoolArray, IntArray

PER_TOKEN = {"prompt": np.int32, "position": np.int32, "token": np.int32, "difficulty": np.int8}
PER_TEXT = ("family", "group")
PER_LAYER = ("entropy", "log_prob", "top1_prob", "hindsight_gain")
RESIDUAL = ("residual_norm", "residual_cosine")
REALS = (*PER_LAYER, *RESIDUAL, "tempered")
OPTIONAL = {
    "log_prob": "the reference token's log-probability at each layer",
    "top1": "the most probable token at each layer",
    "top1_prob": "its probability",
    "hindsight_gain": "what the best layer in hindsight is expected to win",
    "tempered": "the final layer's log-probabilities at several temperatures",
    "residual_norm": "the size of each layer's contribution",
    "residual_cosine": "the cosine between the states before and after each layer",
    "token": "the reference tokens",
}
"""What traces of entropies alone lack."""
UNKNOWN_TOKEN = -1

_ROWS = (*PER_TOKEN, *PER_TEXT, *REALS, "top1")
# log p is at most 0 and float16 keeps its sign, so anything above 0 is rounding of the softmax.
_LOG_PROB_SLACK = 1e-3
# Rounding to float16 is relative, that of a softmax over a vocabulary absolute.
_ENTROPY_SLACK = (2.0**-10, 1e-3)
_LARGEST_VOCABULARY = 1 << 32


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
        known = (name for name in _ROWS if name not in OPTIONAL or self.holds(name))
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
        self._check_shapes()
        for name in REALS:
            _require_finite(name, getattr(self, name))
        _require("entropy", self.entropy >= 0.0, "entropies are never negative")
        self._check_largest_entropy()
        _require("log_prob", self.log_prob <= _LOG_PROB_SLACK, "log-probabilities are at most 0")
        _require("top1_prob", (self.top1_prob >= 0) & (self.top1_prob <= 1), "must be in [0, 1]")
        _require("hindsight_gain", self.hindsight_gain >= 0, "hindsight never loses")
        _require("tempered", self.tempered <= _LOG_PROB_SLACK, "log-probabilities are at most 0")
        for name in ("log_prob", "tempered"):
            object.__setattr__(self, name, np.minimum(getattr(self, name), 0.0))
        for name in ("prompt", "position"):
            _require(name, getattr(self, name) >= 0, "counted from 0")
        steps = np.diff(self.prompt), np.diff(self.position)
        ascends = (steps[0] > 0) | ((steps[0] == 0) & (steps[1] > 0))
        _require("rows", ascends, "rows must ascend by (prompt, position), none doubled", offset=1)

    def _check_shapes(self) -> None:
        n, traced, depth = len(self.prompt), len(self.layers), self.provenance.layers
        expected = {
            **dict.fromkeys((*PER_TOKEN, *PER_TEXT), (n,)),
            **dict.fromkeys((*PER_LAYER, "top1"), (n, traced)),
            **dict.fromkeys(RESIDUAL, (n, depth)),
            "tempered": (n, len(INVERSE_TEMPERATURES)),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape and not (name in OPTIONAL and found == (n, 0)):
                raise UserError(f"traces: {name} has shape {found}, expected {shape}")
        ascending = traced > 0 and self.layers[0] >= 1 and bool((np.diff(self.layers) > 0).all())
        if not ascending or self.layers[-1] != depth:
            raise UserError(
                f"traces: layers must ascend from 1 or more to the final layer {depth}, "
                f"got {self.layers.tolist()}"
            )

    def _check_largest_entropy(self) -> None:
        size = self.provenance.vocabulary_size
        known = size if size > 0 else _LARGEST_VOCABULARY
        relative, absolute = _ENTROPY_SLACK
        limit = math.log(known) * (1 + relative) + absolute
        whose = f"{size:,} tokens" if size > 0 else "any vocabulary"
        _require(
            "entropy", self.entropy <= limit, f"an entropy over {whose} is at most {limit:.2f} nats"
        )

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
        x = _array("entropy", entropy, np.float32)
        if x.ndim != 2 or 0 in x.shape:
            raise UserError(f"entropy: expected an array of shape (tokens, layers), got {x.shape}")
        n = len(x)
        labels = np.arange(n) if prompt is None else np.asarray(prompt)
        if labels.dtype == object:
            labels = labels.astype(str)
        if labels.shape != (n,):
            raise UserError(f"prompt: has shape {labels.shape}, expected {(n,)}")
        _, first, index = np.unique(labels, return_index=True, return_inverse=True)
        numbers = np.argsort(np.argsort(first))[index.ravel()]
        order = np.argsort(numbers, kind="stable")
        starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        lengths = np.diff(starts, append=n)

        def optional(name: str, values: ArrayLike | None, kind: DTypeLike) -> NDArray[Any]:
            given = np.empty((n, 0), kind) if values is None else _array(name, values, kind)
            if given.ndim != 2 or len(given) != n:
                raise UserError(f"{name}: has shape {given.shape}, expected ({n}, layers)")
            return given[order]

        def per_token(name: str, values: ArrayLike | None, unknown: int) -> NDArray[Any]:
            given = _array(name, np.full(n, unknown) if values is None else values, PER_TOKEN[name])
            if given.shape != (n,):
                raise UserError(f"{name}: has shape {given.shape}, expected {(n,)}")
            return given[order]

        groups = np.full(n, "") if group is None else np.asarray(group).astype(np.str_)
        if groups.shape != (n,):
            raise UserError(f"group: has shape {groups.shape}, expected {(n,)}")
        every = np.arange(1, x.shape[1] + 1)
        traced = _array("layers", every if layers is None else layers, np.int32)
        if traced.ndim != 1 or not traced.size:
            raise UserError(f"layers: expected one number for each layer, got {layers!r}")
        return cls(
            prompt=numbers[order].astype(np.int32),
            position=(np.arange(n) - np.repeat(starts, lengths)).astype(np.int32),
            token=per_token("token", token, UNKNOWN_TOKEN),
            difficulty=per_token("difficulty", difficulty, 0),
            family=np.full(n, "", np.str_),
            group=groups[order],
            layers=traced,
            entropy=x[order],
            log_prob=optional("log_prob", log_prob, np.float32),
            top1=optional("top1", top1, np.int32),
            top1_prob=optional("top1_prob", top1_prob, np.float32),
            hindsight_gain=optional("hindsight_gain", hindsight_gain, np.float32),
            tempered=optional("tempered", tempered, np.float32),
            residual_norm=optional("residual_norm", residual_norm, np.float32),
            residual_cosine=optional("residual_cosine", residual_cosine, np.float32),
            provenance=Provenance(
                model, "", int(traced[-1]), 0, vocabulary_size, mode, prompts=len(first)
            ),
        )

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
        return replace(self, **{name: getattr(self, name)[keep] for name in _ROWS})


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
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS}
    order = np.lexsort((joined["position"], joined["prompt"]))
    whole = replace(parts[-1].provenance, shard=None, shards=None, storage=None)
    words = {token: text for part in parts for token, text in part.vocabulary.items()}
    return Traces(
        **{name: column[order] for name, column in joined.items()},
        layers=first.layers,
        provenance=whole,
        vocabulary=words,
    )


def _require_finite(name: str, column: NDArray[np.float32]) -> None:
    _require(name, np.isfinite(column), "NaN or infinite")


def _require(name: str, holds: BoolArray, otherwise: str, offset: int = 0) -> None:
    if holds.all():
        return
    broken = np.argwhere(~holds)
    place = f"token {broken[0][0] + offset}"
    if holds.ndim == 2:
        place += f", layer column {broken[0][1]}"
    raise UserError(
        f"traces: {name}: {otherwise}; {len(broken)} value(s) break this, first {place}"
    )


def _array(name: str, values: ArrayLike, kind: DTypeLike) -> NDArray[Any]:
    """Turn what a user gave into an array of numbers, none of them changed but by rounding."""
    try:
        given = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise UserError(f"{name}: no array of numbers ({error})") from error
    if given.dtype.kind not in "iuf":
        raise UserError(f"{name}: numbers are needed, got {given.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is told
        found: NDArray[Any] = given.astype(kind)
    if found.dtype.kind == "i" and (found != given).any():
        raise UserError(f"{name}: whole numbers that fit into {found.dtype} are needed")
    return found
