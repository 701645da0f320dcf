"""Right implementations pass: three styles, several conventions, and the package's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stopping.rules import Search, Tolerance
from stopping.testing import Head, Kind, Status, conformance_tests, selection_judges, suite
from tests.conformance import own, right_lazy, right_numpy, right_torch
from tests.conformance.right_numpy import K

DETERMINISTIC = {"draws", "fallback"}
ONE_BY_ONE = {*DETERMINISTIC, "rows"}


def final_normed(states: np.ndarray, head: Head) -> np.ndarray:
    """Gets the final state with the norm applied, as transformers hands it out."""
    logits = np.concatenate([head(states[:, :-1]), head.unembed(states[:, -1:])], axis=1)
    chosen = right_numpy.select(np.array([right_numpy.entropy(token) for token in logits]))
    return logits[np.arange(len(logits)), chosen]


def lens_of_transformers(states: np.ndarray, head: Head) -> np.ndarray:
    """Gets the final state with the norm applied."""
    return np.concatenate([head(states[:, :-1]), head.unembed(states[:, -1:])], axis=1)


def lens_layers_first(states: Tensor, head: Head) -> Tensor:
    return torch.stack([head(layer) for layer in states])


def layers_first(states: Tensor, head: Head) -> Tensor:
    return right_torch.decode(states.flip(0).transpose(0, 1), head)


def never_searching(entropies: np.ndarray) -> np.ndarray:
    return np.full(len(entropies), entropies.shape[1] - 1)


def five_candidates(entropies: np.ndarray) -> np.ndarray:
    """A kernel whose window is its input."""
    if entropies.shape[1] != K + 1:
        raise ValueError("expected K + 1 candidates")
    return right_numpy.select(entropies)


BATCHES: tuple[tuple[Callable[..., Any], Kind, dict[str, Any], set[str]], ...] = (
    (right_numpy.select, "selection", {"K": K}, DETERMINISTIC),
    (right_numpy.select_one, "selection", {"K": K, "batched": False}, ONE_BY_ONE),
    (right_numpy.entropy, "entropy", {}, set()),
    (right_numpy.decode, "decoder", {"K": K}, DETERMINISTIC),
    (right_torch.select, "selection", {"K": K}, DETERMINISTIC),
    (
        right_torch.select,
        "selection",
        {"K": K, "dtype": "bfloat16"},
        DETERMINISTIC,
    ),
    (
        right_torch.select_by_depth,
        "selection",
        {"K": K, "layer_axis": 0, "order": "deep-first", "returns": "depth"},
        DETERMINISTIC,
    ),
    (right_torch.Random(0.7), "selection", {"K": K, "p": 0.7}, set()),
    (right_torch.entropy, "entropy", {"framework": "torch"}, set()),
    (right_torch.decode, "decoder", {"K": K}, DETERMINISTIC),
    (layers_first, "decoder", {"K": K, "layer_axis": 0, "order": "deep-first"}, DETERMINISTIC),
    (right_lazy.select, "selection", {"K": K}, DETERMINISTIC),
    (right_lazy.entropy, "entropy", {"examples": 10, "dtypes": ("float64",)}, {"half-precision"}),
    (right_lazy.decode, "decoder", {"K": K}, DETERMINISTIC),
    (final_normed, "decoder", {"K": K, "final_normed": True}, DETERMINISTIC),
    (right_numpy.read, "lens", {}, set()),
    (right_numpy.read, "lens", {"dtype": "float64", "layers": (2, 2)}, set()),
    (lens_of_transformers, "lens", {"final_normed": True}, set()),
    (lens_layers_first, "lens", {"layer_axis": 0, "order": "deep-first"}, set()),
    (
        five_candidates,
        "selection",
        {"K": K, "layers": (K + 1, K + 1)},
        {*DETERMINISTIC, "one-layer", "full-window"},
    ),
    (own.random_search, "selection", {"K": own.K, "p": own.P}, set()),
)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "kind", "options", "not_asked"), BATCHES)
def test_right_implementations_pass(
    function: Callable[..., Any], kind: Kind, options: dict[str, Any], not_asked: set[str]
) -> None:
    report = suite(function, kind, **{"examples": 10, **options}).report()
    report.require()
    assert {r.requirement for r in report.results if r.status is Status.NOT_ASKED} == not_asked


def test_ordinary_decoding_passes_as_a_search_with_p_0() -> None:
    report = suite(never_searching, "selection", K=K, p=0.0, examples=10).report()
    report.require()
    passed = {r.requirement for r in report.results if r.status is Status.PASSED}
    always = {"answers", "unchanged", "deterministic", "repeatable", "one-layer", "nan"}
    assert passed == {*always, "fallback"}
    with_search = suite(right_numpy.select, "selection", K=K, p=0.0, examples=10).report()
    assert [failure.requirement for failure in with_search.failures] == ["fallback"]


@pytest.mark.slow
def test_own_decoder_draws_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_judges, "DRAWS", 300)  # a model runs for each
    asked = suite(own.random_decode, "decoder", K=own.K, p=own.P, examples=1)
    asked.report(only=("answers", "draws", "valley", "fallback")).require()


# The pytest entry, as a user writes it, on the package's own functions.
test_own_search = conformance_tests(own.search, "selection", K=10, examples=10)
test_own_tolerance_of_zero = conformance_tests(
    Tolerance(0.0, K=3).choose, "selection", K=3, examples=10
)
test_own_readout = conformance_tests(own.entropy, "entropy", framework="torch", examples=10)
test_own_decoder = pytest.mark.slow(conformance_tests(own.decode, "decoder", K=own.K, examples=5))
test_own_lens = pytest.mark.slow(conformance_tests(own.read, "lens", examples=5))


@pytest.mark.slow
def test_a_wrong_window_is_caught() -> None:
    """The same search is wrong for whoever declares another window."""
    for declared in (3, 5):
        report = suite(Search(4).choose, "selection", K=declared, examples=20).report()
        assert [failure.requirement for failure in report.failures] == ["window"]
