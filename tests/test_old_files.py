"""Files of an earlier version, made before the packages had rooms, are read as they were."""

import json
from pathlib import Path

import numpy as np

from empirical.lenses.files import read_lens
from empirical.traces.files import read_traces
from stopping.changepoint import read_model
from stopping.optimal.rules import Snell
from tests.empirical.tiny import tiny
from tests.stopping.changepoint.models import two_classes

OLD = Path(__file__).parent / "old_files"


def test_traces() -> None:
    old, now = read_traces(OLD / "traces.parquet"), tiny()
    np.testing.assert_array_equal(old.entropy, now.entropy.astype(np.float16))
    np.testing.assert_array_equal(old.token, now.token)
    assert old.provenance.model == "synthetic"
    assert old.provenance.storage is not None


def test_a_fitted_model() -> None:
    old, now = read_model(OLD / "model.json"), two_classes(w=3)
    for one, other in zip(old.components, now.components, strict=True):
        np.testing.assert_array_equal(one.rise_mean, other.rise_mean)
        np.testing.assert_array_equal(one.turning, other.turning)
    assert old.fitted_on is not None
    assert (old.fitted_on.model, old.fitted_on.weights) == ("tiny", {"a": "b"})
    assert json.loads((OLD / "model.json").read_text())["seed"] == 3


def test_a_solved_rule() -> None:
    rule = Snell.from_file(OLD / "rule.json")
    x = two_classes(w=3).sample(np.random.default_rng(0), 50).x
    assert rule.problem.cost == 0.05
    assert set(rule.choose(x)) <= {0, 1, 2}
    assert rule.projections(x).max() > 0


def test_a_lens() -> None:
    lens = read_lens(OLD / "lens.safetensors")
    assert lens.report is not None
    assert lens.origin.kind == "temperature"
    assert all(correction.temperature > 0 for correction in lens.corrections.values())
