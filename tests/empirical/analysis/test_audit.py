"""The audit answers what is true of traces whose truth is known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import empirical.data
from empirical.analysis.audit import Audit, Status, audit
from empirical.analysis.audit.tokens import position_decile
from empirical.analysis.audit.verdicts import at_most, within
from empirical.traces.files import Traces, write_traces
from stopping.cli import main
from stopping.errors import UserError
from stopping.support.documents import as_json
from stopping.support.statistics import Interval
from stopping.theory.identification import identify
from stopping.types import FloatArray
from tests.empirical.synthetic import calibrated, from_entropies, with_mode
from tests.empirical.tiny import CLOSE, tiny


def large(overconfidence: float = 0.0, layer_shift: dict[int, float] | None = None) -> Traces:
    return calibrated(200, 100, overconfidence=overconfidence, layer_shift=layer_shift)


def statuses(result: Audit) -> dict[str, Status]:
    return {verdict.assumption: verdict.status for verdict in result.verdicts}


# A0 ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_calibrated_layers_hold() -> None:
    found = audit(large()).calibration
    assert found.verdict.status is Status.HOLDS
    assert {layer.status for layer in found.layers} == {Status.HOLDS}
    assert sum(layer.in_window for layer in found.layers) == 11


@pytest.mark.slow
def test_negative_control_shifted_layers_fail() -> None:
    found = audit(large(overconfidence=0.3)).calibration
    assert found.verdict.status is Status.FAILS
    assert {layer.status for layer in found.layers} == {Status.FAILS}
    assert 0.3 in found.window_gap


@pytest.mark.slow
def test_one_shifted_layer_is_named() -> None:
    found = audit(large(layer_shift={5: 0.3})).calibration
    assert [layer.layer for layer in found.layers if layer.status is Status.FAILS] == [6]
    assert found.verdict.status is Status.FAILS
    assert "at layer 6 (worst" in found.verdict.sentence
    final = audit(large(layer_shift={11: 0.3})).calibration.verdict.sentence
    assert final.count("at layer") == 1
    assert "at layer 12 (final, and worst of the window);" in final


def test_few_tokens_decide_nothing() -> None:
    assert audit(calibrated(prompts=4, tokens=20)).calibration.verdict.status is Status.UNDECIDED


@pytest.mark.slow
def test_own_text_cannot_judge_calibration() -> None:
    shifted = large(overconfidence=0.3)
    found = audit(with_mode(shifted, "generated"))
    assert found.reference_is_own_text
    assert found.calibration.verdict.status is Status.UNDECIDED
    assert {layer.status for layer in found.calibration.layers} == {Status.UNDECIDED}
    assert not audit(shifted).reference_is_own_text


def test_gaps_by_difficulty_average_to_the_whole() -> None:
    found = audit(calibrated(prompts=12, tokens=10, overconfidence=0.1)).calibration
    sizes = np.array([group.tokens for group in found.by_difficulty])
    assert [group.difficulty for group in found.by_difficulty] == [1, 2, 3, 4]
    assert sizes.sum() == 120
    gaps = np.array([group.window_gap.estimate for group in found.by_difficulty])
    assert gaps @ sizes / 120 == pytest.approx(found.window_gap.estimate)


def test_intervals_decide_by_materiality_and_tolerance() -> None:
    assert within(Interval(0.0, -0.04, 0.04), 0.05) is Status.HOLDS
    assert within(Interval(0.0, -0.06, 0.04), 0.05) is Status.UNDECIDED
    assert within(Interval(-0.1, -0.2, -0.06), 0.05) is Status.FAILS
    assert at_most(Interval(0.03, 0.0, 0.05), 0.05) is Status.HOLDS
    assert at_most(Interval(0.05, 0.04, 0.06), 0.05) is Status.UNDECIDED
    assert at_most(Interval(0.08, 0.051, 0.1), 0.05) is Status.FAILS
    # No interval, no decision.
    assert within(Interval(0.0, math.nan, math.nan), 0.05) is Status.UNDECIDED
    assert at_most(Interval(0.0, math.nan, math.nan), 0.05) is Status.UNDECIDED


# Token statistics, by hand -----------------------------------------------------------------------

BY_HAND = {
    "perturbed": 3 / 5,
    "last_rise": (0.4 + 0.3 + 0.25) / 3,
    "total_rise": (0.4 + 0.8 + 1.25) / 3,
    "valley_entropy": (0.5 + 0.2 + 1.0) / 3,
    "last_fall": (-0.995 + 0.0) / 2,
    "leaves": 3 / 5,
    "depth_when_leaving": 2.0,
    "within_five": 1.0,
    "argmax_changed_when_leaving": 1 / 3,
    "argmax_kept_when_leaving": 2 / 3,
    "relative_drop_argmax_kept": (0.4 + 1.25) / (0.9 + 2.25),
    "argmax_changed": 1 / 5,
    "confident_when_staying": 1 / 2,
    "confident_when_argmax_kept": 1 / 4,
}


def test_statistics_by_hand() -> None:
    found = audit(tiny(), K=3).statistics
    assert {s.key for s in found.statistics} == set(BY_HAND)
    for key, value in BY_HAND.items():
        assert found[key].ours.estimate == pytest.approx(value, abs=CLOSE), key
    assert found.depth_counts == (2, 1, 1, 1)


def test_bins_by_hand() -> None:
    found = audit(tiny(), K=3).statistics
    assert [b.tokens for b in found.by_entropy] == [1, 0, 0, 4]
    assert found.by_entropy[0].substituted.estimate == 0.0
    assert math.isnan(found.by_entropy[1].substituted.estimate)
    assert found.by_entropy[3].substituted.estimate == 1 / 4
    assert [d.tokens for d in found.by_position] == [2, 0, 0, 1, 0, 1, 1, 0, 0, 0]
    leaves = {d.decile: d.leaves.estimate for d in found.by_position if d.tokens}
    assert leaves == {1: 0.5, 4: 1.0, 6: 1.0, 7: 0.0}


def test_deciles_are_relative_to_each_completion() -> None:
    prompt = np.repeat([0, 1], [10, 20]).astype(np.int32)
    position = np.concatenate([np.arange(10), np.arange(20)]).astype(np.int32)
    decile = position_decile(prompt, position)
    assert decile[:10].tolist() == list(range(1, 11))
    assert decile[10:].tolist() == [d for d in range(1, 11) for _ in range(2)]


def test_published_figures_stand_beside() -> None:
    found = audit(tiny(), K=3).statistics
    assert found["perturbed"].paper == 0.162
    assert found["relative_drop_argmax_kept"].paper == 0.431
    assert found["total_rise"].paper is None
    assert [b.paper for b in found.by_entropy] == [0.0, None, 0.09, 0.148]


# A1 to A4 ----------------------------------------------------------------------------------------


def level(result: Audit, eps_max: float) -> dict[str, float]:
    row = next(r for r in result.noise.levels if r.origin == f"ceiling {eps_max:g}")
    classes = ("noise_alone", "late_rise", "too_gentle", "too_noisy")
    names = (*classes, "steps_above_noise", "steps_certain")
    return {name: getattr(row, name).estimate for name in names}


def test_noise_by_hand() -> None:
    found = audit(tiny(), K=3)
    # Least noise: token 3 rises from 1.0 to 1.2; every other token needs none.
    assert found.noise.overall.mean.estimate == pytest.approx(0.1 / 5, abs=CLOSE)
    assert sum(found.noise.histogram.counts) == 5
    at_quarter = level(found, 0.25)
    assert at_quarter["noise_alone"] == 3 / 5  # tokens 0 (a rise of 0.4), 2, 3
    assert at_quarter["late_rise"] == 2 / 5
    assert at_quarter["steps_above_noise"] == pytest.approx(1 / 6)  # of 0.4; 0.2 0.3 0.3; 1.0 0.25
    assert at_quarter["steps_certain"] == 0.0  # 1.0 is not above 1.0
    assert level(found, 0.05)["too_noisy"] == 1 / 5
    assert level(found, 1.0)["noise_alone"] == 1.0
    assert found.noise.refinement.up_steps.estimate == pytest.approx(1 / 9)
    assert found.noise.refinement.up_size.estimate == pytest.approx(0.2, abs=CLOSE)
    assert [g.tokens for g in found.noise.by_difficulty] == [3, 2]


def test_least_noise_by_layer_of_the_turning_point() -> None:
    """Groups are those of T9's turning point, and put together they are all tokens."""
    found = audit(tiny(), K=3)
    window = tiny().entropy[:, -4:].astype(float)
    layers = tiny().layers[-4:][identify(window).turning_point]
    groups = {g.layer: g for g in found.noise.by_layer}
    assert {layer: g.tokens for layer, g in groups.items()} == {
        int(layer): int((layers == layer).sum()) for layer in layers
    }
    total = sum(g.tokens * g.mean.estimate for g in groups.values())
    assert total / 5 == pytest.approx(found.noise.overall.mean.estimate, abs=CLOSE)
    assert {g.label for g in groups.values()} == {f"layer {layer}" for layer in layers}


def test_guarantee_by_hand() -> None:
    rows = {row.origin: row for row in audit(tiny(), K=3).noise.levels}
    mean_entropy, mean_log_loss = 4.755 / 5, 4.0 / 5
    half = rows["ceiling 0.5"]
    assert half.bound == 1.0
    assert half.bound_to_entropy == pytest.approx(1 / mean_entropy, abs=CLOSE)
    assert half.bound_to_log_loss == pytest.approx(1 / mean_log_loss, abs=CLOSE)
    assert half.vacuous
    assert not rows["ceiling 0.25"].vacuous


def test_a_rise_too_large_for_noise_and_too_gentle_for_dominance() -> None:
    # [a_v, b_v) is [0, .5) at v = 0, empty at 1, [.55, inf) at 2: a gap at 0.5.
    found = audit(from_entropies([[0.0, 1.0, 1.1, 2.0], [2.0, 1.0, 1.0, 0.5]]), K=3)
    assert level(found, 0.5)["too_gentle"] == 0.5
    assert level(found, 0.25)["too_gentle"] == 0.0
    assert level(found, 1.0)["too_gentle"] == 0.0


def test_the_four_explanations_are_a_partition() -> None:
    x = np.random.default_rng(0).gamma(1.0, 1.0, size=(2000, 6))
    found = audit(from_entropies(x, prompts=20), K=5)
    for row in found.noise.levels:
        shares = (row.noise_alone, row.late_rise, row.too_gentle, row.too_noisy)
        assert sum(s.estimate for s in shares) == pytest.approx(1.0)
        explained = identify(x.astype(np.float32)).consistent(row.eps_max).any(axis=1).mean()
        found_share = row.noise_alone.estimate + row.late_rise.estimate
        assert found_share == pytest.approx(explained)


def worlds(noise: float, rise: float = 1.5, n: int = 3000, earliest: int = 5) -> Traces:
    """Tokens of worlds with A1 to A4: falls of 0.1 to `V*`, rises of `rise`, bounded noise."""
    rng = np.random.default_rng(1)
    layer = np.arange(11)
    turning = rng.integers(earliest, 11, size=n)[:, None]
    G = 3.0 - 0.1 * np.minimum(layer, turning) + rise * np.maximum(layer - turning, 0)
    x: FloatArray = G + rng.uniform(-noise, noise, size=G.shape)
    return from_entropies(x, prompts=100)


def test_worlds_of_the_theory_hold() -> None:
    found = audit(worlds(noise=0.2))
    assert {a: s for a, s in statuses(found).items() if a != "A0"} == dict.fromkeys(
        ("A1", "A2", "A3", "A4"), Status.HOLDS
    )
    refuted = {r.ceiling: r.share.estimate for r in found.noise.overall.refuted}
    assert refuted[0.25] == refuted[0.5] == 0.0
    assert found.noise.overall.quantile(0.99) <= 0.2 + CLOSE


@pytest.mark.slow
def test_negative_control_noise_above_the_ceiling() -> None:
    found = statuses(audit(worlds(noise=0.6)))
    assert found["A1"] is Status.FAILS
    assert found["A2"] is Status.FAILS
    # Few searches stop at the edge, but that bounds nothing without A2.
    assert found["A4"] is Status.UNDECIDED
    # The same noise under a ceiling that allows it.
    assert statuses(audit(worlds(noise=0.6), noise_ceiling=0.6))["A2"] is Status.HOLDS


def test_negative_control_gentle_rises() -> None:
    # Seven rises of 0.3: 1.05 would be needed as noise, and dominance bears less than 0.175.
    x = np.concatenate([[0.3, 0.2, 0.1], 0.1 + 0.3 * np.arange(8)])
    found = audit(from_entropies(np.tile(x, (40, 1)), prompts=10))
    assert statuses(found)["A3"] is Status.FAILS
    assert level(found, 0.25)["too_gentle"] == 1.0
    assert found.noise.gentle.estimate == 1.0


def test_dominance_is_undecided_where_no_rise_exceeds_the_noise() -> None:
    found = audit(worlds(noise=0.2, earliest=10))
    assert math.isnan(found.noise.gentle.estimate)
    assert statuses(found)["A3"] is Status.UNDECIDED


def test_window_by_hand() -> None:
    shallow, deep = audit(tiny(), K=2).window, audit(tiny(), K=3).window
    assert shallow.layers_below == 1
    assert shallow.at_edge.estimate == 2 / 5
    assert shallow.falls_below is not None
    assert shallow.falls_below.estimate == 1 / 5
    assert shallow.minimum_at_or_below is not None
    assert shallow.minimum_at_or_below.estimate == 2 / 5
    assert deep.at_edge.estimate == 1 / 5
    assert deep.falls_below is None


def test_negative_control_turning_point_below_the_window() -> None:
    rising = from_entropies(np.tile(np.arange(1.0, 8.0), (40, 1)), prompts=10)
    assert statuses(audit(rising, K=4))["A4"] is Status.FAILS
    # With nothing traced below, the edge is an admissible turning point.
    assert statuses(audit(rising, K=6))["A4"] is Status.UNDECIDED
    assert statuses(audit(worlds(noise=0.2), K=10))["A4"] is Status.HOLDS


# Results, errors, command ------------------------------------------------------------------------


def test_same_seed_same_result_and_serialisable() -> None:
    traces = calibrated(prompts=10, tokens=10)
    first, second, other = (as_json(audit(traces, seed=s)) for s in (1, 1, 2))
    assert first == second != other
    content = json.loads(first)
    assert content["noise"]["verdicts"][0]["status"] in list(Status)
    assert content["calibration"]["layers"][0]["gap"].keys() == {"estimate", "low", "high", "level"}


def test_errors_name_the_mistake() -> None:
    traces = calibrated(prompts=3, tokens=5)
    with pytest.raises(UserError, match="at most 11"):
        audit(traces, K=12)
    with pytest.raises(UserError, match="at least one step"):
        audit(traces, K=0)
    with pytest.raises(UserError, match="bootstrap over prompts"):
        audit(traces.select(traces.prompt == 0))
    with pytest.raises(UserError, match="noise_ceiling"):
        audit(traces, noise_ceiling=0.0)
    with pytest.raises(UserError, match="replicates"):
        audit(traces, replicates=5)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_command_prints_verdicts_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.parquet"
    write_traces(path, calibrated(prompts=6, tokens=20), storage="float32")
    assert run("audit", path, "--window", 5) == 0
    text = capsys.readouterr().out
    assert all(label in text for label in ("A0", "A1", "A2", "A3", "A4", "16.2%"))
    assert max(len(line.rstrip()) for line in text.splitlines()[1:]) <= 100
    assert run("audit", path, "--brief") == 0
    assert len(capsys.readouterr().out.splitlines()) < len(text.splitlines()) / 3
    assert run("audit", path, "--json") == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert content["audit"]["tokens"] == 120


def test_command_ends_with_two_on_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.parquet"
    write_traces(path, calibrated(prompts=6, tokens=20))
    assert run("audit", tmp_path / "none.parquet") == 2
    assert "no such file" in capsys.readouterr().err
    assert run("audit", path, "--window", 30) == 2
    assert "at most 11" in capsys.readouterr().err


def test_bundled_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(empirical.data, "files", lambda _: tmp_path)
    with pytest.raises(UserError, match="bundles no traces"):
        empirical.data.bundled_traces()
    (tmp_path / "b.parquet").touch()
    (tmp_path / "a.parquet").touch()
    assert list(empirical.data.bundled_traces()) == ["a", "b"]
