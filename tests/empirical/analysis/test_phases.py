"""Phases of profiles whose truth is known, and what the command says of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from empirical.analysis.phases import Boundaries, Phase, find_phases, mark
from empirical.commands.audit_phases import verdict
from empirical.provenance import Provenance
from empirical.traces.files import Traces, write_traces
from stopping.cli.main import exit_code
from stopping.errors import UserError
from tests.empirical.synthetic import traces_from

pytestmark = pytest.mark.numerical

DEPTH = 20
GUESS, PERTURB = 3, 2
# Three large layers, fifteen that vary by a fifth around 0.3, two large ones.
PROFILE = np.array([8.0, 2.0, 1.0] + [0.25, 0.3, 0.36] * 5 + [0.8, 0.9])


def traced(norms: ArrayLike, scatter: float = 0.1) -> Traces:
    """Tokens of 30 prompts that scatter around a profile, prompt by prompt and token by token."""
    profile = np.asarray(norms, dtype=np.float64)
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(30), 20)
    n, depth = len(prompt), len(profile)
    base = traces_from(np.ones((n, 1)), -np.ones((n, 1)), np.zeros((n, 1)), np.zeros(n), prompt)
    noise = rng.normal(size=(30, depth))[prompt] + rng.normal(size=(n, depth))
    return replace(
        base,
        layers=np.array([depth], dtype=np.int32),
        residual_norm=(profile * np.exp(scatter * noise)).astype(np.float32),
        residual_cosine=np.full((n, depth), 0.9, dtype=np.float32),
        provenance=Provenance("synthetic", "Synthetic", depth, 8, 50, "reference"),
    )


def test_phases_are_found_where_they_are() -> None:
    found = find_phases(traced(PROFILE), replicates=200)
    assert found.boundaries == Boundaries(GUESS, DEPTH - PERTURB)
    assert [len(found.of(phase)) for phase in Phase] == [GUESS, DEPTH - GUESS - PERTURB, PERTURB]
    assert found.stability == 1.0


@pytest.mark.parametrize("drop", ["guess", "perturb"])
def test_a_phase_that_is_not_there_is_not_found(drop: str) -> None:
    norms = PROFILE.copy()
    norms[slice(0, GUESS) if drop == "guess" else slice(DEPTH - PERTURB, DEPTH)] = 0.3
    found = find_phases(traced(norms), replicates=200)
    assert found.of(Phase(drop)) == ()
    other = Phase.PERTURB if drop == "guess" else Phase.GUESS
    assert len(found.of(other)) in (GUESS, PERTURB)


def test_layers_that_are_all_alike_only_refine() -> None:
    found = find_phases(traced(np.full(DEPTH, 0.3)), replicates=200)
    assert [layer.phase for layer in found.layers] == [Phase.REFINE] * DEPTH
    assert not any(layer.outlier for layer in found.layers)


def test_a_large_layer_in_the_middle_is_an_outlier_and_no_boundary() -> None:
    norms = PROFILE.copy()
    norms[9] = 1.0
    found = find_phases(traced(norms), replicates=200)
    assert found.boundaries == Boundaries(GUESS, DEPTH - PERTURB)
    assert [layer.layer for layer in found.layers if layer.outlier] == [10]


def test_phases_do_not_depend_on_the_unit() -> None:
    """The band is multiplicative: a profile a hundred times as large has the same phases."""
    one, (low, high) = mark(PROFILE)
    other, band = mark(100 * PROFILE)
    assert one == other
    assert band == pytest.approx((100 * low, 100 * high), rel=1e-12)


def test_band_is_as_wide_as_the_middle_scatters() -> None:
    """Half the middle at 0.25 and half at 0.4: MAD log(1.6)/2, so 3 deviations reach 0.92."""
    norms = np.array([3.0] * 4 + [0.25, 0.4] * 6 + [0.8] * 4)
    _, (_, high) = mark(norms)
    centre, mad = np.log(0.1) / 2, np.log(1.6) / 2
    assert high == pytest.approx(np.exp(centre + 3 * 1.4826 * mad), rel=1e-12)
    assert mark(norms)[0] == Boundaries(4, DEPTH)


def test_uncertain_boundaries_are_said_to_be() -> None:
    """A final layer right at the edge of the band is in and out of it from resample to resample."""
    norms = np.full(DEPTH, 0.3)
    norms[-1] = 0.3 * 1.5
    assert 0.05 < find_phases(traced(norms), replicates=400).stability < 0.95


def test_quartiles_and_intervals() -> None:
    traces = traced(PROFILE)
    layer = find_phases(traces, replicates=400).layers[4]
    column = traces.residual_norm[:, 4].astype(np.float64)
    quartiles = layer.norm.lower_quartile, layer.norm.median, layer.norm.upper_quartile
    assert quartiles == pytest.approx(tuple(np.quantile(column, [0.25, 0.5, 0.75])))
    assert layer.norm.mean == pytest.approx(column.mean())
    # 30 prompts: the standard error of the mean of their means, give or take the bootstrap's own.
    by_prompt = column.reshape(30, 20).mean(axis=1)
    half = 1.96 * by_prompt.std(ddof=1) / np.sqrt(30)
    assert (layer.norm.high - layer.norm.low) / 2 == pytest.approx(half, rel=0.2)


def test_the_verdict_compares_with_the_paper() -> None:
    text = verdict(find_phases(traced(PROFILE, scatter=0.0), replicates=200))
    assert "Guess: layers 1–3 (15% of the depth" in text
    assert "Perturb: layers 19–20; the final layer writes 3.0 times" in text
    norms = PROFILE.copy()
    norms[-PERTURB:] = 0.3
    assert "No perturb phase by size" in verdict(find_phases(traced(norms), replicates=200))


def test_too_few_layers_or_prompts() -> None:
    with pytest.raises(UserError, match="at least 4"):
        find_phases(traced([1.0, 1.0, 1.0]))
    traces = traced(PROFILE)
    with pytest.raises(UserError, match="at least two"):
        find_phases(traces.select(traces.prompt == 0))


# The command -------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    from empirical.commands.audit_phases import phases

    return exit_code(lambda: phases.main(list(arguments), "phases", standalone_mode=False))


def test_command_writes_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, figure = tmp_path / "t.parquet", tmp_path / "out.svg"
    write_traces(file, traced(PROFILE))
    options = ("--figure", str(figure), "--replicates", "100", "--json")
    assert run(str(file), str(file), *options) == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["phases"]["boundaries"] for r in results] == [{"guess_end": 3, "refine_end": 18}] * 2
    text = figure.read_text()
    assert text.startswith("<?xml")
    for phase in Phase:
        assert f">{phase}<" in text


def test_command_prints_a_line_per_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.parquet"
    write_traces(file, traced(PROFILE))
    assert run(str(file), "--replicates", "100") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line[1:4].strip().isdecimal()]
    assert [int(row[0]) for row in rows] == list(range(1, DEPTH + 1))
    assert rows[0][1] == "guess"
    assert rows[-1][1] == "perturb"


def test_bundled_traces_of_a_calibrated_lens_are_not_shown_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = traced(PROFILE)
    origin = replace(traces.provenance, lens="temperature")
    files = {"raw": tmp_path / "raw.parquet", "calibrated": tmp_path / "calibrated.parquet"}
    write_traces(files["raw"], traces)
    write_traces(files["calibrated"], replace(traces, provenance=origin))
    monkeypatch.setattr("empirical.commands.options.bundled_traces", lambda: files)
    assert run("--replicates", "100", "--json") == 0
    assert [r["traces"] for r in json.loads(capsys.readouterr().out)] == ["raw"]
    assert run(str(files["calibrated"]), "--replicates", "100", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.parquet",), "no such file"),
        (("t.parquet", "--figure", "out.docx"), "*.svg, *.pdf or *.png"),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_traces(Path("t.parquet"), traced(PROFILE))
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
