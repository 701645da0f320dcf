"""Trace files: one row for each token, and where it all comes from.

A trace file is an ordinary Parquet file (any data-frame library reads it, and may rewrite it) with
one list per row and quantity, and the provenance as JSON in its metadata. What stands in it is
`Traces`, of `empirical.traces.schema`.

Entropies and log-probabilities are stored as float16 unless asked otherwise. The price is not
guessed but measured when the file is written: see `StorageLoss`.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.provenance import FORMAT, Provenance, Storage, StorageLoss, now
from empirical.traces import columns
from empirical.traces.fields import (
    OPTIONAL,
    PER_TEXT,
    PER_TOKEN,
    REALS,
    RESIDUAL,
    UNKNOWN_TOKEN,
)
from empirical.traces.schema import Traces, merge_traces
from stopping.errors import UserError
from stopping.rules import Search
from stopping.support.files import written_aside
from stopping.support.store import Codec

__all__ = ["Provenance", "StorageLoss", "Traces", "merge_traces", "read_traces", "write_traces"]

_PROVENANCE_KEY = b"layer-stopping"
_IN_STEPS = ("hindsight_gain", "tempered", *RESIDUAL)
"""Means are what is asked of these: float16 keeps them in steps of 2^-10, which pack well."""
_LAYERS_KEY = b"layer-stopping.layers"
_VOCABULARY_KEY = b"layer-stopping.vocabulary"


def write_traces(path: Path, traces: Traces, storage: Storage = "float16") -> Provenance:
    """Write a trace file, whole or not at all; return the provenance that stands in it.

    `storage` is the precision of all columns of real numbers. A column that does not fit into
    float16 keeps float32.
    """
    kept = {name: _rounded(getattr(traces, name), name, storage) for name in REALS}
    provenance = replace(
        traces.provenance,
        date=traces.provenance.date or now(),
        storage=_storage_loss(traces, kept["entropy"], kept["log_prob"], storage),
    )
    table = pa.table(
        {name: pa.array(getattr(traces, name)) for name in PER_TOKEN}
        | {name: pa.array(getattr(traces, name).tolist(), type=pa.string()) for name in PER_TEXT}
        | {
            name: columns.as_lists(column)
            for name, column in {"top1": traces.top1, **kept}.items()
            if traces.holds(name)
        }
    )
    layers = ",".join(str(layer) for layer in traces.layers)
    table = table.replace_schema_metadata(
        {
            _PROVENANCE_KEY: FORMAT.text(provenance).encode(),
            _LAYERS_KEY: layers.encode(),
            _VOCABULARY_KEY: _packed(traces.vocabulary),
        }
    )
    with written_aside(path) as aside:
        pq.write_table(
            table,
            aside,
            # Parts and shards are for a while, and written often.
            compression="brotli" if storage == "float16" else "zstd",
            compression_level=10 if storage == "float16" else 3,
            write_page_checksum=True,
            use_dictionary=[*PER_TEXT, "prompt", "position", "difficulty"],
            # Sign and exponent repeat, the mantissa does not: apart, the former compress well.
            use_byte_stream_split=[f"{name}.list.element" for name in kept if traces.holds(name)],
        )
    return provenance


def _write_part(path: Path, traces: Traces) -> None:
    write_traces(path, traces, storage="float32")


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
        # The file alone: folders named `family=ages/` are no part of it.
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file (damaged, truncated or of another kind); "
            "make it anew with `stopping trace`"
        ) from error
    metadata = table.schema.metadata or {}
    content = FORMAT.parse(_text(metadata, _PROVENANCE_KEY), str(path))
    provenance = FORMAT.structure(content, Provenance, f"{path}: provenance")
    try:
        return _traces(table, provenance, metadata)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


PARTS = Codec("parquet", _write_part, read_traces)
"""Parts of a capture: trace files in full precision."""


def _traces(table: pa.Table, provenance: Provenance, metadata: Mapping[bytes, bytes]) -> Traces:
    needed = ("entropy", *PER_TOKEN, "family")
    missing = sorted(set(needed) - set(table.column_names) - set(OPTIONAL))
    if missing:
        raise UserError(f"the trace file lacks the column(s) {', '.join(missing)}")
    traced = _layers(_text(metadata, _LAYERS_KEY))
    widths = dict.fromkeys(RESIDUAL, provenance.layers) | {"tempered": len(INVERSE_TEMPERATURES)}

    def lists(name: str, kind: Any) -> NDArray[Any]:
        if name not in table.column_names:
            return np.empty((len(table), 0), kind)
        return columns.rows(table, name, widths.get(name, len(traced)), kind)

    def numbers(name: str, kind: Any) -> NDArray[Any]:
        if name not in table.column_names:
            return np.full(len(table), UNKNOWN_TOKEN, kind)
        return columns.numbers(table, name, kind)

    arrays: dict[str, Any] = {
        **{name: numbers(name, kind) for name, kind in PER_TOKEN.items()},
        **{name: lists(name, np.float32) for name in REALS},
        "top1": lists("top1", np.int32),
        "family": columns.texts(table, "family"),
        # Files from before groups were kept have none.
        "group": columns.texts(table, "group")
        if "group" in table.column_names
        else np.full(len(table), "", np.str_),
    }
    return Traces(
        **arrays,
        layers=traced,
        provenance=provenance,
        vocabulary=_unpacked(metadata.get(_VOCABULARY_KEY)),
    )


def _text(metadata: Mapping[bytes, bytes], key: bytes) -> str:
    return metadata.get(key, b"").decode(errors="replace")


def _layers(text: str) -> NDArray[np.int32]:
    try:
        return np.array([int(layer) for layer in text.split(",")], dtype=np.int32)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"the trace file's metadata name no layers ({_LAYERS_KEY.decode()}: {text[:40]!r})"
        ) from error


def _storage_loss(
    traces: Traces, entropy: NDArray[Any], log_prob: NDArray[Any], storage: Storage
) -> StorageLoss:
    if len(traces) == 0:
        return StorageLoss(storage)
    entropy, log_prob = entropy.astype(np.float32), log_prob.astype(np.float32)
    entropy_error = np.abs(entropy - traces.entropy)
    log_prob_error = np.abs(log_prob - traces.log_prob) if log_prob.size else np.zeros(1)
    search = Search(K=10)
    return StorageLoss(
        storage,
        entropy_max=float(entropy_error.max()),
        entropy_mean=float(entropy_error.mean()),
        log_prob_max=float(log_prob_error.max()),
        log_prob_mean=float(log_prob_error.mean()),
        moved_share=float((search.choose(entropy) != search.choose(traces.entropy)).mean()),
    )


def _rounded(column: NDArray[np.float32], name: str, storage: Storage) -> NDArray[Any]:
    if storage == "float32" or np.abs(column).max(initial=0) > np.finfo(np.float16).max:
        return column
    if name in _IN_STEPS:
        return (np.round(column * 1024) / 1024).astype(np.float16)
    return column.astype(np.float16)


def _packed(vocabulary: Mapping[int, str]) -> bytes:
    # Metadata is not compressed by Parquet and must be text.
    text = json.dumps({str(token): text for token, text in sorted(vocabulary.items())})
    return base64.b85encode(zlib.compress(text.encode(), 9))


def _unpacked(packed: bytes | None) -> dict[int, str]:
    if packed is None:
        return {}
    try:
        content = json.loads(zlib.decompress(base64.b85decode(packed)))
        return {int(token): str(text) for token, text in content.items()}
    except (ValueError, zlib.error, TypeError, AttributeError) as error:
        raise UserError("the trace file's texts of tokens (metadata) are damaged") from error
