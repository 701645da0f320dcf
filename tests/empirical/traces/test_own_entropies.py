"""One's own entropies become traces in one call, and what they lack is said where it is needed."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import empirical.traces.schema
from empirical.analysis.audit import audit
from empirical.analysis.phases import find_phases
from empirical.analysis.validate import validate
from empirical.fitting.learning import observe
from empirical.traces.files import Traces, merge_traces, read_traces, write_traces
from empirical.traces.window import take_sample
from stopping.errors import UserError
from stopping.support.documents import as_json
from tests.empirical.synthetic import calibrated

X = np.random.default_rng(0).gamma(2.0, 1.0, (40, 6))
PROMPTS = np.repeat([7, 3, 9, 1], 10)


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(empirical.traces.schema).failed == 0


def test_entropies_alone(tmp_path: Path) -> None:
    traces = Traces.of(X, prompt=PROMPTS)
    np.testing.assert_array_equal(traces.entropy, X.astype(np.float32))
    assert traces.prompt.tolist() == np.repeat([0, 1, 2, 3], 10).tolist()
    assert traces.position.tolist() == [*range(10)] * 4
    assert traces.layers.tolist() == [1, 2, 3, 4, 5, 6]
    assert not any(traces.holds(name) for name in empirical.traces.schema.OPTIONAL)
    write_traces(tmp_path / "t.parquet", traces, storage="float32")
    back = read_traces(tmp_path / "t.parquet")
    np.testing.assert_array_equal(back.entropy, traces.entropy)
    assert not any(back.holds(name) for name in empirical.traces.schema.OPTIONAL)
    assert len(back.select(back.prompt == 2)) == 10
    assert take_sample(back, 3, 0, 100).prompts == 4


def test_tokens_of_a_prompt_may_lie_apart() -> None:
    names = ["b", "a", "b", "a", "c"]
    traces = Traces.of(X[:5], prompt=names, difficulty=[1, 2, 1, 2, 3], token=[5, 6, 7, 8, 9])
    np.testing.assert_array_equal(traces.entropy, X[[0, 2, 1, 3, 4]].astype(np.float32))
    assert traces.prompt.tolist() == [0, 0, 1, 1, 2]
    assert traces.position.tolist() == [0, 1, 0, 1, 0]
    assert traces.difficulty.tolist() == [1, 1, 2, 2, 3]
    assert traces.token.tolist() == [5, 7, 6, 8, 9]


def test_without_prompts_each_token_is_its_own() -> None:
    assert len(np.unique(Traces.of(X).prompt)) == 40


def test_all_columns_give_the_audit_of_the_traces() -> None:
    whole = calibrated(prompts=6, tokens=30, layers=5)
    own = Traces.of(
        whole.entropy,
        log_prob=whole.log_prob,
        token=whole.token,
        top1=whole.top1,
        prompt=whole.prompt,
        difficulty=whole.difficulty,
        model=whole.provenance.model,
    )
    for ask in (audit, validate):
        one, other = (as_json(ask(traces, K=3, replicates=100)) for traces in (own, whole))
        assert one == other


@pytest.mark.parametrize(
    ("what", "compute"),
    [
        ("audit", lambda t: audit(t, K=3, replicates=100)),
        ("validate", lambda t: validate(t, K=3, replicates=100)),
        ("learn", lambda t: observe(t, None, 3, 0, 100)),
        ("phases", lambda t: find_phases(t, 0, 100)),
    ],
)
def test_what_needs_more_says_so(what: str, compute: Any) -> None:
    lacking = "residual_norm" if what == "phases" else "log_prob"
    with pytest.raises(UserError, match=rf"^{what}: needs more .*{lacking} \(.*Traces\.of"):
        compute(Traces.of(X, prompt=PROMPTS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entropy": [1.0, 2.0]}, r"entropy: expected .* got \(2,\)"),
        ({"entropy": [[1.0], [1.0, 2.0]]}, "entropy: no array of numbers"),
        ({"entropy": [["a"]]}, "entropy: numbers are needed"),
        ({"entropy": np.empty((0, 3))}, "entropy: expected"),
        ({"entropy": -X}, "never negative"),
        ({"entropy": X * np.nan}, "NaN"),
        ({"entropy": X * 1e6}, "any vocabulary"),
        ({"vocabulary_size": 2}, "over 2 tokens is at most"),
        ({"prompt": [1, 2]}, "prompt: has shape"),
        ({"log_prob": X[:, :2]}, "log_prob has shape"),
        ({"log_prob": X}, "at most 0"),
        ({"log_prob": X[0]}, "log_prob: has shape"),
        ({"token": np.full(40, 1.5)}, "token: whole numbers"),
        ({"top1": np.full(X.shape, 2**40)}, "top1: whole numbers"),
        ({"token": [[1]] * 40}, "token: has shape"),
        ({"layers": [1, 2]}, "entropy has shape"),
        ({"layers": [6, 5, 4, 3, 2, 1]}, "must ascend"),
        ({"layers": []}, "layers"),
    ],
)
def test_arrays_that_do_not_fit_are_told(changes: dict[str, Any], message: str) -> None:
    given = {"entropy": X, "prompt": PROMPTS if len(changes.get("entropy", X)) == 40 else None}
    given |= changes
    with pytest.raises(UserError, match=message):
        Traces.of(given.pop("entropy"), **given)


def test_parts_with_other_columns_do_not_merge() -> None:
    one, other = Traces.of(X), Traces.of(X, log_prob=-X)
    with pytest.raises(UserError, match="part 1 has other columns"):
        merge_traces([one, other])
