"""Columns of traces from a user's own arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from empirical.traces.fields import PER_TOKEN, REALS, UNKNOWN_TOKEN
from stopping.errors import UserError
from stopping.types import IntArray


def own_columns(entropy: ArrayLike, given: Mapping[str, ArrayLike | None]) -> dict[str, Any]:
    """Return the columns of `Traces`, sorted by prompt, tokens of a prompt in their order.

    Parameters
    ----------
    entropy : array_like, shape (n, layers)
    given : the other arrays by name, None where they are not known, as of `Traces.of`.

    Raises
    ------
    UserError
        If the arrays do not fit together.
    """
    x = _array("entropy", entropy, np.float32)
    if x.ndim != 2 or 0 in x.shape:
        raise UserError(f"entropy: expected an array of shape (tokens, layers), got {x.shape}")
    n = len(x)
    numbers = _numbers(given["prompt"], n)
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    lengths = np.diff(starts, append=n)

    def known(name: str, kind: DTypeLike) -> NDArray[Any]:
        values = given[name]
        found = np.empty((n, 0), kind) if values is None else _array(name, values, kind)
        if found.ndim != 2 or len(found) != n:
            raise UserError(f"{name}: has shape {found.shape}, expected ({n}, layers)")
        return found[order]

    def per_token(name: str, unknown: int) -> NDArray[Any]:
        values = given[name]
        told = np.full(n, unknown) if values is None else values
        found = _array(name, told, PER_TOKEN[name])
        if found.shape != (n,):
            raise UserError(f"{name}: has shape {found.shape}, expected {(n,)}")
        return found[order]

    group = np.full(n, "") if given["group"] is None else np.asarray(given["group"]).astype(np.str_)
    if group.shape != (n,):
        raise UserError(f"group: has shape {group.shape}, expected {(n,)}")
    layers = np.arange(1, x.shape[1] + 1) if given["layers"] is None else given["layers"]
    traced = _array("layers", layers, np.int32)
    if traced.ndim != 1 or not traced.size:
        raise UserError(f"layers: expected one number for each layer, got {layers!r}")
    return {
        "prompt": numbers[order].astype(np.int32),
        "position": (np.arange(n) - np.repeat(starts, lengths)).astype(np.int32),
        "token": per_token("token", UNKNOWN_TOKEN),
        "difficulty": per_token("difficulty", 0),
        "family": np.full(n, "", np.str_),
        "group": group[order],
        "layers": traced,
        "entropy": x[order],
        "top1": known("top1", np.int32),
        **{name: known(name, np.float32) for name in REALS if name != "entropy"},
    }


def _numbers(prompt: ArrayLike | None, n: int) -> IntArray:
    """Number prompts by their first tokens, (n,)."""
    labels = np.arange(n) if prompt is None else np.asarray(prompt)
    if labels.dtype == object:
        labels = labels.astype(str)
    if labels.shape != (n,):
        raise UserError(f"prompt: has shape {labels.shape}, expected {(n,)}")
    _, first, index = np.unique(labels, return_index=True, return_inverse=True)
    numbers: IntArray = np.argsort(np.argsort(first))[index.ravel()]
    return numbers


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
