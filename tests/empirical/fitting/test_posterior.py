"""Beliefs of a fitted model about every token: right in the model's own world, and in the file."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from empirical.analysis.validate import validate
from empirical.fitting.posterior import find_beliefs, write_beliefs
from empirical.traces.files import Traces, write_traces
from stopping.changepoint import FittedOn, posterior, write_model
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from stopping.model.paths import Paths
from stopping.optimal.bases import Polynomial
from stopping.optimal.layers import LayerProblem
from stopping.optimal.regression import fit_policy
from stopping.optimal.rules import Bayes, Snell, save_rule
from tests.empirical.synthetic import from_entropies
from tests.stopping.changepoint.models import one_class


def tokens() -> tuple[Traces, Paths]:
    """Entropies of the model, whose levels are positive, with two deeper layers in front."""
    paths = one_class().sample(np.random.default_rng(0), 3000)
    x = np.maximum(paths.x, 0.0)
    return from_entropies(np.column_stack([np.full((3000, 2), 4.0), x]), prompts=10), paths


def test_beliefs_are_calibrated_and_those_of_shuffled_tokens_are_not() -> None:
    traces, paths = tokens()
    found = find_beliefs(one_class(), traces)
    assert found.layers.tolist() == [3, 4, 5, 6, 7]
    assert np.allclose(found.turning.sum(axis=1), 1.0)
    hit = np.arange(5) == paths.turning[:, None]

    def worst(turning: np.ndarray) -> float:
        """Largest miscalibration over bins of belief, in standard errors."""
        apart = []
        for low, high in ((0.05, 0.3), (0.3, 0.6), (0.6, 1.01)):
            of = (turning >= low) & (turning < high)
            gap = hit[of].mean() - turning[of].mean()
            apart.append(abs(gap) / np.sqrt(0.25 / of.sum()))
        return max(apart)

    assert worst(found.turning) < 4
    assert worst(np.roll(found.turning, 1, axis=0)) > 8


def test_the_file_holds_every_token(tmp_path: Path) -> None:
    traces, _ = tokens()
    found = find_beliefs(one_class(), traces)
    path = tmp_path / "b.parquet"
    write_beliefs(path, found)
    table = pq.read_table(path)
    assert table.num_rows == len(traces)
    assert table.schema.metadata[b"layers"] == b"3,4,5,6,7"
    expected = posterior(one_class(), traces.entropy[:, -5:].astype(np.float64))
    turning = np.array(table["turning"].to_pylist())
    assert turning == pytest.approx(expected.turning, abs=1e-6)
    assert np.array_equal(table["best"].to_numpy(), expected.best_layer + 3)


def test_the_command(tmp_path: Path) -> None:
    traces, _ = tokens()
    write_traces(tmp_path / "t.parquet", traces, "float32")
    write_model(tmp_path / "m.json", one_class())
    arguments = ["fit", "beliefs", str(tmp_path / "m.json"), str(tmp_path / "t.parquet")]
    out = io.StringIO()
    with redirect_stdout(out):
        code = exit_code(
            lambda: group.main(
                [*arguments, "--out", str(tmp_path / "b.parquet")], standalone_mode=False
            )
        )
    assert code == 0
    assert "Known with probability 0.9" in out.getvalue()
    assert (tmp_path / "b.parquet").is_file()
    out = io.StringIO()
    with redirect_stdout(out):
        exit_code(lambda: group.main([*arguments, "--json"], standalone_mode=False))
    assert sum(json.loads(out.getvalue())["chosen"]) == pytest.approx(1.0)
    err = io.StringIO()
    with redirect_stderr(err):
        code = exit_code(
            lambda: group.main(["fit", "beliefs", "none.json", arguments[3]], standalone_mode=False)
        )
    assert code == 2
    assert "none.json" in err.getvalue()


def test_a_window_that_the_traces_lack() -> None:
    with pytest.raises(UserError, match="window"):
        find_beliefs(one_class(9), tokens()[0])


def test_a_model_fitted_on_another_llm_or_lens_is_refused() -> None:
    """By the beliefs, and by every rule that rests on it."""
    traces, _ = tokens()
    here = traces.provenance.read_as
    others = {
        "another name": replace(here, model="another"),
        "another depth": replace(here, depth=here.depth + 1),
        "another lens": replace(here, lens="temperature"),
    }
    sound = {
        "itself": here,
        "a hub id of its name": replace(here, model=f"someone/{here.model}"),
        "no name": replace(here, model=""),
        "own parameters": None,
    }
    K = one_class().K

    def asked(on: FittedOn | None) -> None:
        model = replace(one_class(), fitted_on=on)
        find_beliefs(model, traces)
        validate(traces, [Bayes(model)], K=K, replicates=100)

    for on in sound.values():
        asked(on)
    for on in others.values():
        with pytest.raises(UserError, match="beliefs: the model was fitted on"):
            asked(on)
        model = replace(one_class(), fitted_on=on)
        policy = fit_policy(
            LayerProblem(model, 0.02, True), Polynomial(), np.random.default_rng(0), 1000
        )
        for rule in (Bayes(model), Snell(policy)):
            with pytest.raises(UserError, match=r"rule .*: the model was fitted on.*stopping fit"):
                validate(traces, [rule], K=K, replicates=100)


def test_equal_weights_are_one_model_by_whatever_name() -> None:
    one = FittedOn("folder", 4, "raw", {"model.safetensors": "ab"})
    one.require("x", replace(one, model="hub/name", weights={"renamed.safetensors": "ab"}))
    with pytest.raises(UserError, match="fitted on"):
        one.require("x", replace(one, weights={"model.safetensors": "cd"}))


def test_what_a_model_was_fitted_on_goes_through_files(tmp_path: Path) -> None:
    on = FittedOn("tiny", 6, "raw", {"a": "b"})
    model = replace(one_class(), fitted_on=on)
    write_model(tmp_path / "m.json", model)
    assert Bayes.from_file(tmp_path / "m.json").fitted_on == on
    policy = fit_policy(
        LayerProblem(model, 0.02, True), Polynomial(), np.random.default_rng(0), 1000
    )
    save_rule(tmp_path / "r.json", Snell(policy))
    assert Snell.from_file(tmp_path / "r.json").fitted_on == on
