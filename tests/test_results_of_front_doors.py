"""Every result that a public function returns prints as a table and hands out its rows."""

import dataclasses
import inspect
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest

import empirical
import stopping
from empirical.capture.run import Summary
from empirical.data import bundled_evaluations
from empirical.decoding.writing import Writing
from empirical.evaluation.run import read_evaluation
from empirical.fitting.fit import Fit
from empirical.model.load import LoadedModel
from empirical.provenance import Provenance
from stopping.changepoint import write_model
from stopping.model.densities import LAWS
from stopping.optimal import diagram
from stopping.support.results import Result
from tests.empirical.tiny_models import save_tiny_folder

TOOLS = {"LoadedModel"}
"""Returned to be used, not read."""


def paths() -> stopping.Paths:
    process = stopping.Process(layers=6, noise=stopping.UniformNoise(0.3), K=3, perturbed=0.5)
    return process.sample(np.random.default_rng(0), 30)


def traces() -> empirical.Traces:
    return empirical.read_traces(empirical.bundled_traces()["smollm2-135m-instruct.reference"])


def model() -> stopping.ChangePointModel:
    with TemporaryDirectory() as folder:
        write_model(
            Path(folder) / "model.json", diagram.world(diagram.reference(), 0.3, perturbed=0.5)
        )
        return stopping.read_model(Path(folder) / "model.json")


@cache
def few() -> empirical.Traces:
    return traces().select(traces().prompt < 12)


@cache
def fit() -> Fit:
    return empirical.fit_traces(few(), K=2, replicates=100, refits=0, starts=1)


def tiny() -> LoadedModel:
    with TemporaryDirectory() as folder:
        return empirical.load_model(str(save_tiny_folder(Path(folder))), device="cpu")


def decoded() -> Writing:
    return empirical.decode(tiny(), "one two", "search:K=2", chat="off", max_new_tokens=5)


def written() -> Provenance:
    with TemporaryDirectory() as folder:
        return empirical.write_traces(Path(folder) / "copy.parquet", traces())


MAKERS: dict[str, Callable[[], object]] = {
    "Audit": lambda: empirical.audit(traces(), replicates=100),
    "AverageCase": lambda: stopping.average_case(LAWS[0], np.random.default_rng(0), max_layers=1),
    "Certificate": lambda: stopping.certify(paths().x, 0.3),
    "ChangePointModel": model,
    "Evaluation": lambda: read_evaluation(next(iter(bundled_evaluations().values()))),
    "Findings": lambda: stopping.check(stopping.CLAIMS[:1], effort=0.01),
    "Fit": fit,
    "Identification": lambda: stopping.identify(paths().x),
    "Paths": paths,
    "Provenance": written,
    "RiskCertificate": lambda: empirical.certify_risk(traces(), [stopping.Search(K=2)], 0.05),
    "RuleComparison": lambda: stopping.compare_rules(model(), 0.02, paths=1000, dual_budget=10_000),
    "Simulation": lambda: stopping.simulate(
        stopping.Process(layers=6, noise=stopping.UniformNoise(0.3), K=3, perturbed=0.5),
        [stopping.Search(K=3)],
        n=1000,
        seed=0,
    ),
    "StoppingDistribution": lambda: stopping.stopping_distribution(
        [1.0, 0.5, 0.7], stopping.UniformNoise(0.3)
    ),
    "Summary": lambda: Summary("a.parquet", 10, 2, 1, 3, 0.5, 4.0, traces().provenance),
    "Traces": traces,
    "Writing": decoded,
    "Validation": lambda: empirical.validate(traces(), replicates=100),
}


def kinds(package: object) -> set[type]:
    """Dataclasses with values that the package exports, or that what it exports returns."""
    exported = [getattr(package, name) for name in package.__all__]  # type: ignore[attr-defined]
    returned = {
        inspect.signature(one).return_annotation for one in exported if inspect.isfunction(one)
    }
    data = {one for one in exported if one in (stopping.Paths, stopping.ChangePointModel)}
    return data | {
        kind
        for kind in returned
        if inspect.isclass(kind)
        and (dataclasses.is_dataclass(kind) or issubclass(kind, Result))
        and kind.__name__ not in TOOLS
    }


def test_every_result_is_known_here() -> None:
    found = kinds(stopping) | kinds(empirical)
    assert all(issubclass(kind, Result) for kind in found)
    assert {kind.__name__ for kind in found} == set(MAKERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_it_prints_and_hands_out_rows(name: str) -> None:
    result = MAKERS[name]()
    assert type(result).__name__ == name
    assert isinstance(result, Result)
    text, records = str(result), result.records()
    assert repr(result) == text
    assert len(text.splitlines()) > 3
    assert max(map(len, text.splitlines())) <= 100
    assert "<table>" in result._repr_html_()
    assert records
    assert all(records[0].keys() == record.keys() for record in records)
    assert result.to_arrow().num_rows == len(records)


def test_five_lines_in_a_notebook() -> None:
    # The lines of `empirical`'s docstring, on fewer tokens and a tiny model.
    _, *lines = re.findall(r"^    (.*)$", empirical.__doc__ or "", flags=re.MULTILINE)
    names = {
        "stopping": stopping,
        "empirical": SimpleNamespace(
            bundled_traces=empirical.bundled_traces,
            read_traces=lambda path: few(),
            validate=partial(empirical.validate, replicates=100),
            fit_traces=lambda given: fit(),
            load_model=lambda name: tiny(),
            decode=partial(empirical.decode, max_new_tokens=4),
        ),
    }
    exec(lines[0], names)
    shown = [eval(line.partition("#")[0], names) for line in lines[1:]]
    validation, certificate, fitted, text = shown
    assert f"{len(few()):,} tokens of 12 prompts, window of 10 steps" in str(validation)
    assert [row["name"] for row in validation.records()][:2] == ["final layer", "search"]
    assert len(certificate.records()) == len(few())
    assert len(certificate.records()[0]["excess"]) == 11
    assert "Fitted profile" in str(fitted)
    assert len(fitted.records()) == 3
    assert text.text in str(text)
    assert "4 tokens" in str(text)
    assert "extra projections per token" in str(text.steps)
    assert "<table>" in text.steps._repr_html_()
    assert text.to_arrow().column("layer").to_pylist() == [token.layer for token in text.tokens]
    assert all("<table>" in result._repr_html_() for result in shown)
