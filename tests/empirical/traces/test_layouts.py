"""Trace files as others rewrite or damage them: the same traces, or one clear line."""

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from empirical.traces.files import Traces, read_traces, write_traces
from stopping.errors import UserError
from tests.empirical.traces.test_traces import traces_of

LISTS = ("entropy", "log_prob", "top1", "top1_prob", "residual_norm", "residual_cosine")
NUMBERS = ("prompt", "position", "token", "difficulty")
PROVENANCE, LAYERS, VOCABULARY = (
    b"layer-stopping",
    b"layer-stopping.layers",
    b"layer-stopping.vocabulary",
)
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "original.parquet"
    write_traces(path, traces_of(), storage="float32")
    return path


def table_of(path: Path) -> pa.Table:
    return pq.ParquetFile(path).read()


def read_back(table: pa.Table, folder: Path) -> Traces:
    path = folder / "changed.parquet"
    pq.write_table(table, path)
    return read_traces(path)


def with_column(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def cast(**types: Callable[[pa.DataType], pa.DataType]) -> Change:
    """Cast lists (by their values' type), numbers and texts."""

    def change(table: pa.Table) -> pa.Table:
        for names, kind in ((LISTS, "lists"), (NUMBERS, "numbers"), (("family",), "texts")):
            if kind in types:
                for name in names:
                    found = table[name].type
                    inner = found.value_type if kind == "lists" else found
                    table = with_column(table, name, table[name].cast(types[kind](inner)))
        return table

    return change


def encoded(table: pa.Table, *names: str) -> pa.Table:
    for name in names:
        table = with_column(table, name, table[name].dictionary_encode())
    return table


SAME: dict[str, Change] = {
    "lists of any length": cast(lists=pa.list_),
    "large lists": cast(lists=pa.large_list),
    "doubles in lists": cast(lists=lambda t: pa.list_(pa.float64())),
    "large integers": cast(numbers=lambda t: pa.int64()),
    "whole numbers as floats": cast(numbers=lambda t: pa.float64()),
    "large texts": cast(texts=lambda t: pa.large_string()),
    "categories": lambda t: encoded(t, "family", *NUMBERS),
    "another order of columns": lambda t: t.select(sorted(t.column_names)),
    "a further column": lambda t: t.append_column("note", pa.array(["x"] * len(t))),
    "row groups": lambda t: pa.concat_tables([t.slice(0, 7), t.slice(7)]),
}


@pytest.mark.parametrize("name", SAME)
def test_rewritten_files_are_read_the_same(name: str, original: Path, tmp_path: Path) -> None:
    expected = read_traces(original)
    found = read_back(SAME[name](table_of(original)), tmp_path)
    for field in fields(Traces):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("folder", ["family=ages", "prompt=3", "model=qwen"])
def test_a_folder_named_like_a_column_is_no_column(
    folder: str, original: Path, tmp_path: Path
) -> None:
    here = tmp_path / folder / "t.parquet"
    here.parent.mkdir()
    here.write_bytes(original.read_bytes())
    np.testing.assert_array_equal(read_traces(here).family, read_traces(original).family)


def put(name: str, value: Any) -> Change:
    """Put a value into the first row of a column whose lists may be of any length."""

    def change(table: pa.Table) -> pa.Table:
        kind = table[name].type
        if pa.types.is_fixed_size_list(kind):
            kind = pa.list_(kind.value_type)
        return with_column(table, name, pa.array([value, *table[name].to_pylist()[1:]], type=kind))

    return change


def filled(name: str, column: pa.Array) -> Change:
    return lambda table: with_column(table, name, column)


def metadata(key: bytes, value: bytes | None) -> Change:
    def change(table: pa.Table) -> pa.Table:
        kept = {k: v for k, v in table.schema.metadata.items() if k != key}
        return table.replace_schema_metadata(kept if value is None else {**kept, key: value})

    return change


def provenance(**changes: Any) -> Change:
    def change(table: pa.Table) -> pa.Table:
        content = json.loads(table.schema.metadata[PROVENANCE]) | changes
        return metadata(PROVENANCE, json.dumps(content).encode())(table)

    return change


def packed(content: object) -> bytes:
    return base64.b85encode(zlib.compress(json.dumps(content).encode()))


N = 60
DAMAGED: dict[str, tuple[Change, str]] = {
    "a null list": (put("entropy", None), "entropy: 1 row.* null"),
    "a null in a list": (put("entropy", [1.0, None, 1.0]), "entropy: 1 value.* null"),
    "a null number": (put("token", None), "token: 1 value.* null"),
    "a shorter list": (put("log_prob", [0.0]), "log_prob: lists of 3 numbers .* found 1"),
    "an empty list": (put("entropy", []), "entropy: lists of 3 numbers .* found 0"),
    "lists as long as the layers": (put("residual_norm", [1.0] * 3), "residual_norm: lists of 5"),
    "numbers in place of lists": (filled("entropy", pa.array([1.0] * N)), "entropy: lists"),
    "texts in place of lists": (filled("top1", pa.array(["1"] * N)), "top1: lists"),
    "lists of texts": (filled("entropy", pa.array([["1"] * 3] * N)), "entropy: numbers"),
    "lists of lists": (filled("entropy", pa.array([[[1.0]] * 3] * N)), "entropy: numbers"),
    "structures": (filled("entropy", pa.array([{"a": 1.0}] * N)), "entropy: lists"),
    "nothing but nulls": (filled("entropy", pa.nulls(N)), "entropy: lists"),
    "texts in place of numbers": (filled("token", pa.array(["1"] * N)), "token: numbers"),
    "truth values": (filled("token", pa.array([True] * N)), "token: numbers"),
    "dates": (filled("prompt", pa.array([0] * N, pa.timestamp("s"))), "prompt: numbers"),
    "fractions": (filled("token", pa.array([1.5] * N)), "token: whole numbers"),
    "NaN for a number": (filled("token", pa.array([np.nan] * N)), "token: whole numbers"),
    "numbers too large": (filled("token", pa.array([2**40] * N)), "token: whole numbers"),
    "tokens too large in lists": (filled(
        "top1", pa.array([[2**40] * 3] * N)), "top1: whole numbers"),
    "doubles too large": (filled("log_prob", pa.array([[-1e300] * 3] * N)), "log_prob: NaN or inf"),
    "numbers in place of texts": (filled("family", pa.array([1] * N)), "family: texts"),
    "a column twice": (
        lambda t: t.append_column("entropy", t["entropy"]), "entropy: stands 2 times"),
    "no layers": (metadata(LAYERS, None), "name no layers"),
    "layers that are no numbers": (metadata(LAYERS, b"3,four,5"), "name no layers"),
    "layers beyond all numbers": (metadata(LAYERS, b"3,4,99999999999999999999"), "name no layers"),
    "layers that are no text": (metadata(LAYERS, b"\xff\xfe"), "name no layers"),
    "more layers than numbers": (metadata(LAYERS, b"2,3,4,5"), "lists of 4 numbers"),
    "no provenance": (metadata(PROVENANCE, None), "no trace file"),
    "provenance that is no text": (metadata(PROVENANCE, b"\xff\xfe{"), "no trace file"),
    "provenance that is a list": (metadata(PROVENANCE, b"[1]"), "no trace file"),
    "a depth that is none": (provenance(layers="deep"), "provenance: .* incomplete or damaged"),
    "a mode that is none": (provenance(mode="sung"), "provenance: .* incomplete or damaged"),
    "a storage that is none": (provenance(storage=7), "provenance: .* incomplete or damaged"),
    "weights that are none": (provenance(weights=3), "provenance: .* incomplete or damaged"),
    "a depth of other lists": (provenance(layers=7), "residual_norm: lists of 7"),
    "texts of tokens that are none": (metadata(VOCABULARY, b"~~~~"), "texts of tokens"),
    "texts of tokens, no mapping": (metadata(VOCABULARY, packed([1])), "texts of tokens"),
    "texts of tokens, no numbers": (metadata(VOCABULARY, packed({"a": "b"})), "texts of tokens"),
    "rows in another order": (lambda t: t.take(list(range(N))[::-1]), "rows must ascend"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_cannot_be_read_is_told(name: str, original: Path, tmp_path: Path) -> None:
    change, message = DAMAGED[name]
    with pytest.raises(UserError, match=rf"changed\.parquet: .*{message}"):
        read_back(change(table_of(original)), tmp_path)


@pytest.mark.parametrize("form", ["as they are", "lists of any length"])
def test_files_without_rows_are_read(form: str, original: Path, tmp_path: Path) -> None:
    table = table_of(original)
    if form != "as they are":
        table = SAME[form](table)
    found = read_back(table.slice(0, 0), tmp_path)
    assert len(found) == 0
    assert found.entropy.shape == (0, 3)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3)
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_stands_in_the_metadata_it_is_read_or_told(
    original: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = json.loads(table_of(original).schema.metadata[PROVENANCE])
    name = data.draw(st.sampled_from(sorted(content)))
    nested = st.recursive(
        VALUES, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=4
    )
    content[name] = data.draw(nested)
    change = metadata(PROVENANCE, json.dumps(content).encode())
    try:
        found = read_back(change(table_of(original)), tmp_path)
    except UserError:
        return
    # What was read is of its type, and goes into a file again.
    write_traces(tmp_path / "again.parquet", found)
    assert asdict(read_traces(tmp_path / "again.parquet").provenance)["layers"] == 5


@pytest.mark.slow
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from([*LISTS, *NUMBERS, "family"]), values=st.data())
def test_whatever_stands_in_a_column_it_is_read_or_told(
    original: Path, tmp_path: Path, name: str, values: st.DataObject
) -> None:
    kind = values.draw(
        st.sampled_from(
            [st.integers(-3, 2**33), st.floats(), st.text(max_size=2), st.booleans(), st.none()]
        )
    )
    cell = st.one_of(kind, st.none()) if values.draw(st.booleans()) else kind
    if values.draw(st.booleans()):
        cell = st.lists(cell, min_size=values.draw(st.integers(0, 3)), max_size=3)
    rows = values.draw(st.lists(cell, min_size=4, max_size=4))
    table = with_column(table_of(original).slice(0, 4), name, pa.array(rows))
    try:
        found = read_back(table, tmp_path)
    except UserError:
        return
    assert len(found) == 4
