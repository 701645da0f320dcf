"""Traces: what every probed layer said about every token, as arrays and as a file.

One row is one token of a completion. Column `l` of `entropy` is the observed entropy `x[l]` of
the logit lens at layer `layers[l]`, in nats, and the last column is the final layer `L`, as
everywhere in this project. A trace file is an ordinary Parquet file (any data-frame library reads
it) with one fixed-size list per row and quantity, and the provenance as JSON in its metadata.

Entropies and log-probabilities are stored as float16 unless asked otherwise. The price is not
guessed but measured when the file is written: see `StorageLoss`.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from empirical.provenance import Provenance, Storage, StorageLoss, now
from stopping.errors import UserError
from stopping.files import written_aside
from stopping.rules import Search
from stopping.types import BoolArray

__all__ = ["Provenance", "StorageLoss", "Traces", "merge_traces", "read_traces", "write_traces"]

_PROVENANCE_KEY = b"layer-stopping"
_VOCABULARY_KEY = b"layer-stopping.vocabulary"
_PER_TOKEN = {"prompt": np.int32, "position": np.int32, "token": np.int32, "difficulty": np.int8}
_PER_LAYER = ("entropy", "log_prob", "top1_prob")
_RESIDUAL = ("residual_norm", "residual_cosine")
_ROUNDED = (*_PER_LAYER, *_RESIDUAL)
# log p is at most 0 and float16 keeps its sign, so anything above 0 is rounding of the softmax.
_LOG_PROB_SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class Traces:
    """Statistics of `n` tokens at the probed layers, rows ascending by (prompt, position).

    Attributes
    ----------
    prompt, position : (n,) int32
        Index of the prompt, and of the predicted token within the completion.
    token : (n,) int32
        The token that the text continues with.
    difficulty : (n,) int8
        Difficulty of the prompt, 0 where unknown.
    family : (n,) str
        Family of the prompt, empty where unknown.
    layers : (layers,) int
        Numbers of the probed layers, from 1, ascending, ending in `L`.
    entropy : (n, layers) float32
        Entropy of the lens distribution, nats.
    log_prob : (n, layers) float32
        Log-probability of `token`, nats; minus it is the log-loss.
    top1 : (n, layers) int32
        The most probable token.
    top1_prob : (n, layers) float32
        Its probability.
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
    layers: NDArray[np.int32]
    entropy: NDArray[np.float32]
    log_prob: NDArray[np.float32]
    top1: NDArray[np.int32]
    top1_prob: NDArray[np.float32]
    residual_norm: NDArray[np.float32]
    residual_cosine: NDArray[np.float32]
    provenance: Provenance
    vocabulary: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_shapes()
        for name in _ROUNDED:
            _require_finite(name, getattr(self, name))
        _require("entropy", self.entropy >= 0.0, "entropies are never negative")
        _require("log_prob", self.log_prob <= _LOG_PROB_SLACK, "log-probabilities are at most 0")
        _require("top1_prob", (self.top1_prob >= 0) & (self.top1_prob <= 1), "must be in [0, 1]")
        object.__setattr__(self, "log_prob", np.minimum(self.log_prob, 0.0))
        steps = np.diff(self.prompt), np.diff(self.position)
        ascends = (steps[0] > 0) | ((steps[0] == 0) & (steps[1] > 0))
        _require("rows", ascends, "rows must ascend by (prompt, position), none doubled", offset=1)

    def _check_shapes(self) -> None:
        n, probed, depth = len(self.prompt), len(self.layers), self.provenance.layers
        expected = {
            **dict.fromkeys((*_PER_TOKEN, "family"), (n,)),
            **dict.fromkeys((*_PER_LAYER, "top1"), (n, probed)),
            **dict.fromkeys(_RESIDUAL, (n, depth)),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise UserError(f"traces: {name} has shape {found}, expected {shape}")
        ascending = probed > 0 and self.layers[0] >= 1 and bool((np.diff(self.layers) > 0).all())
        if not ascending or self.layers[-1] != depth:
            raise UserError(
                f"traces: layers must ascend from 1 or more to the final layer {depth}, "
                f"got {self.layers.tolist()}"
            )

    @classmethod
    def empty(cls, layers: Sequence[int], provenance: Provenance) -> "Traces":
        """Traces of no token at all."""
        columns: dict[str, Any] = {
            **{name: np.empty(0, kind) for name, kind in _PER_TOKEN.items()},
            **{name: np.empty((0, len(layers)), np.float32) for name in _PER_LAYER},
            **{name: np.empty((0, provenance.layers), np.float32) for name in _RESIDUAL},
            "top1": np.empty((0, len(layers)), np.int32),
            "family": np.empty(0, np.str_),
        }
        return cls(
            **columns,
            layers=np.array(layers, dtype=np.int32),
            provenance=provenance,
        )

    def __len__(self) -> int:
        return len(self.prompt)

    def select(self, keep: BoolArray) -> "Traces":
        """Return the tokens where `keep`, shape (n,), is true."""
        rows = (*_PER_TOKEN, "family", *_ROUNDED, "top1")
        return replace(self, **{name: getattr(self, name)[keep] for name in rows})


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
            raise UserError(f"merge: part {number} probes other layers than part 0")
    names = (*_PER_TOKEN, "family", *_ROUNDED, "top1")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort((joined["position"], joined["prompt"]))
    whole = replace(parts[-1].provenance, shard=None, shards=None, storage=None)
    words = {token: text for part in parts for token, text in part.vocabulary.items()}
    return Traces(
        **{name: column[order] for name, column in joined.items()},
        layers=first.layers,
        provenance=whole,
        vocabulary=words,
    )


def write_traces(path: Path, traces: Traces, storage: Storage = "float16") -> Provenance:
    """Write a trace file, whole or not at all; return the provenance that stands in it.

    `storage` is the precision of all columns of real numbers. A column that does not fit into
    float16 keeps float32.
    """
    kept = {name: _rounded(getattr(traces, name), storage) for name in _ROUNDED}
    provenance = replace(
        traces.provenance,
        date=traces.provenance.date or now(),
        storage=_storage_loss(traces, kept["entropy"], kept["log_prob"], storage),
    )
    columns: dict[str, pa.Array] = {name: pa.array(getattr(traces, name)) for name in _PER_TOKEN}
    columns["family"] = pa.array(traces.family.tolist(), type=pa.string())
    columns["top1"] = _as_lists(traces.top1)
    columns |= {name: _as_lists(column) for name, column in kept.items()}
    layers = ",".join(str(layer) for layer in traces.layers)
    table = pa.table(columns).replace_schema_metadata(
        {
            _PROVENANCE_KEY: provenance.to_json().encode(),
            _PROVENANCE_KEY + b".layers": layers.encode(),
            _VOCABULARY_KEY: _packed(traces.vocabulary),
        }
    )
    with written_aside(path) as aside:
        pq.write_table(
            table,
            aside,
            compression="zstd",
            compression_level=9,
            write_page_checksum=True,
            use_dictionary=["family", "prompt", "position", "difficulty"],
            # Sign and exponent repeat, the mantissa does not: apart, the former compress well.
            use_byte_stream_split=[f"{name}.list.element" for name in kept],
        )
    return provenance


def read_traces(path: Path) -> Traces:
    """Read a trace file.

    Raises
    ------
    UserError
        If the file is missing, truncated, no trace file, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; make one with `stopping trace`")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file (damaged, truncated or of another kind); "
            "make it anew with `stopping trace`"
        ) from error
    metadata = table.schema.metadata or {}
    provenance = Provenance.from_json(metadata.get(_PROVENANCE_KEY, b"").decode(), str(path))
    names = (*_PER_TOKEN, "family", *_ROUNDED, "top1")
    missing = sorted(set(names) - set(table.column_names))
    if missing:
        raise UserError(f"{path}: the trace file lacks the column(s) {', '.join(missing)}")
    layers = metadata[_PROVENANCE_KEY + b".layers"].decode().split(",")
    columns: dict[str, Any] = {
        **{name: table[name].to_numpy().astype(kind) for name, kind in _PER_TOKEN.items()},
        **{name: _as_rows(table[name]).astype(np.float32) for name in _ROUNDED},
        "top1": _as_rows(table["top1"]).astype(np.int32),
        "family": np.array(table["family"].to_pylist(), dtype=np.str_),
    }
    try:
        return Traces(
            **columns,
            layers=np.array(layers, dtype=np.int32),
            provenance=provenance,
            vocabulary=_unpacked(metadata.get(_VOCABULARY_KEY)),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _storage_loss(
    traces: Traces, entropy: NDArray[Any], log_prob: NDArray[Any], storage: Storage
) -> StorageLoss:
    if len(traces) == 0:
        return StorageLoss(storage)
    entropy, log_prob = entropy.astype(np.float32), log_prob.astype(np.float32)
    entropy_error = np.abs(entropy - traces.entropy)
    log_prob_error = np.abs(log_prob - traces.log_prob)
    search = Search(K=10)
    return StorageLoss(
        storage,
        entropy_max=float(entropy_error.max()),
        entropy_mean=float(entropy_error.mean()),
        log_prob_max=float(log_prob_error.max()),
        log_prob_mean=float(log_prob_error.mean()),
        moved_share=float((search.choose(entropy) != search.choose(traces.entropy)).mean()),
    )


def _rounded(column: NDArray[np.float32], storage: Storage) -> NDArray[Any]:
    if storage == "float32" or np.abs(column).max(initial=0) > np.finfo(np.float16).max:
        return column
    return column.astype(np.float16)


def _as_lists(column: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])


def _as_rows(column: pa.ChunkedArray) -> NDArray[Any]:
    lists = column.combine_chunks()
    values: NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), column.type.list_size)


def _packed(vocabulary: Mapping[int, str]) -> bytes:
    # Metadata is not compressed by Parquet and must be text.
    text = json.dumps({str(token): text for token, text in sorted(vocabulary.items())})
    return base64.b85encode(zlib.compress(text.encode(), 9))


def _unpacked(packed: bytes | None) -> dict[int, str]:
    if packed is None:
        return {}
    content = json.loads(zlib.decompress(base64.b85decode(packed)))
    return {int(token): text for token, text in content.items()}


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
