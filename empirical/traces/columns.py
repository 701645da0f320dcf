"""Columns of a Parquet file as arrays, whoever wrote them.

Data-frame libraries rewrite what they read: fixed-size lists become lists of any length, small
integers large ones, texts categories. The values are then the same, and are read; whatever could
only be guessed (nulls, texts where numbers belong, lists of another length) is told.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import DTypeLike, NDArray

from stopping.errors import UserError


def as_lists(array: NDArray[Any]) -> pa.Array:
    """Make a column of fixed-size lists of an array of shape (n, width)."""
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def numbers(table: pa.Table, name: str, dtype: DTypeLike) -> NDArray[Any]:
    """Read a column of numbers, shape (n,).

    Raises
    ------
    UserError
        If it holds anything but numbers that fit into `dtype`.
    """
    return _as_numbers(_column(table, name), name, dtype)


def rows(table: pa.Table, name: str, width: int, dtype: DTypeLike) -> NDArray[Any]:
    """Read a column of lists of `width` numbers each, shape (n, width).

    Raises
    ------
    UserError
        If it holds anything but such lists, of numbers that fit into `dtype`.
    """
    column = _column(table, name)
    kind = column.type
    # List views are left out: no Parquet file brings them forth.
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or _is_large(kind)):
        raise UserError(f"column {name}: lists of numbers are needed, not {kind}")
    if column.null_count:
        raise UserError(f"column {name}: {column.null_count} row(s) are null; leave none out")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if wrong := [length for length in lengths if length != width]:
        raise UserError(f"column {name}: lists of {width} numbers are needed, found {wrong[0]}")
    flat = pa.chunked_array(
        [chunk.flatten() for chunk in column.chunks], type=column.type.value_type
    )
    return _as_numbers(flat, name, dtype).reshape(len(column), width)


def texts(table: pa.Table, name: str) -> NDArray[np.str_]:
    """Read a column of texts, shape (n,); null is the empty text.

    Raises
    ------
    UserError
        If it holds anything else.
    """
    column = _column(table, name)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise UserError(f"column {name}: texts are needed, not {column.type}")
    return np.array([text or "" for text in column.to_pylist()], dtype=np.str_)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    found = table.schema.get_all_field_indices(name)
    if len(found) != 1:
        raise UserError(f"column {name}: stands {len(found)} times in the file")
    column = table.column(found[0])
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def _as_numbers(column: pa.ChunkedArray, name: str, dtype: DTypeLike) -> NDArray[Any]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise UserError(f"column {name}: numbers are needed, not {column.type}")
    if column.null_count:
        raise UserError(f"column {name}: {column.null_count} value(s) are null; leave none out")
    given = column.to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is told below
        found: NDArray[Any] = given.astype(dtype)
        whole = np.issubdtype(found.dtype, np.integer)
        if whole and not np.array_equal(found.astype(np.float64), given.astype(np.float64)):
            raise UserError(f"column {name}: whole numbers that fit into {found.dtype} are needed")
    return found


def _is_large(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_list(kind))
