"""Rules against hindsight on traces whose truth is known."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from empirical.analysis.decisions import compare
from empirical.analysis.validate import (
    Comparison,
    Measures,
    Row,
    Validation,
    default_rules,
    validate,
)
from empirical.analysis.validate.tables import identity
from empirical.traces.files import Traces, write_traces
from stopping.cli import main
from stopping.errors import UserError
from stopping.rules import FixedOffset, Search, WindowMinimum, parse_rule
from stopping.support.documents import as_json
from stopping.support.statistics import Interval
from tests.empirical.synthetic import calibrated, traces_from, with_mode
from tests.empirical.tiny import CLOSE, tiny

LOSSES = ("log_loss", "accuracy", "regret", "log_loss_vs_final", "accuracy_vs_final")


def estimates(measures: Measures) -> dict[str, float]:
    names = (*LOSSES, "moved", "substituted", "substituted_when_moved", "depth", "projections")
    return {name: getattr(measures, name).estimate for name in (*names, "entropy", "optimism")}


def test_search_by_hand() -> None:
    found = validate(tiny(), [Search(3)], K=3)["search"].overall
    by_hand = {
        "log_loss": 4.25 / 5,
        "accuracy": 3 / 5,
        "regret": 1.75 / 5,
        "log_loss_vs_final": 0.25 / 5,
        "accuracy_vs_final": 1 / 5,
        "moved": 3 / 5,
        "substituted": 1 / 5,
        "substituted_when_moved": 1 / 3,
        "depth": 6 / 5,
        "projections": 10 / 5,
        "entropy": 2.305 / 5,
        "optimism": (4.25 - 2.305) / 5,
    }
    assert estimates(found) == pytest.approx(by_hand, abs=CLOSE)
    assert (found.right_to_wrong, found.wrong_to_right) == (0, 1)
    assert found.tokens == 5


def test_offset_final_and_oracle_by_hand() -> None:
    found = validate(tiny(), [FixedOffset(1)], K=3)
    offset = found["fixed L-1"].overall
    assert (offset.right_to_wrong, offset.wrong_to_right) == (1, 2)
    assert offset.accuracy.estimate == 3 / 5
    assert offset.log_loss.estimate == pytest.approx(7.5 / 5)
    assert found.final.overall.log_loss.estimate == pytest.approx(4.0 / 5)
    oracle = found.oracle.overall
    assert oracle.log_loss.estimate == pytest.approx(2.5 / 5)
    # Tokens 0 and 2 stay, token 1 goes back 3, token 3 goes back 2, token 4 goes back 1.
    assert oracle.depth.estimate == 6 / 5
    assert math.isnan(oracle.projections.estimate)
    assert found.oracle.kind == "oracle"
    assert found.oracle.comparison is None


def test_oracle_prefers_the_deepest_of_equals() -> None:
    level = traces_from(np.ones((4, 3)), -np.ones((4, 3)), np.zeros((4, 3)), [0] * 4, [0, 0, 1, 1])
    assert validate(level, K=2).oracle.overall.moved.estimate == 0.0


@pytest.mark.parametrize("K", [3, 10])
def test_oracle_beats_every_rule(K: int) -> None:
    found = validate(calibrated(prompts=10, tokens=40), K=K)
    oracle = found.oracle.overall.log_loss.estimate
    rules = [row for row in found.rows if row.kind == "rule"]
    assert len(rules) == len(default_rules(K))
    for row in rules:
        assert row.overall.regret.low >= 0.0, row.name
        assert row.overall.log_loss.estimate - oracle == pytest.approx(row.overall.regret.estimate)


def test_final_layer_is_the_baseline_and_search_without_p_equals_it() -> None:
    found = validate(calibrated(prompts=8, tokens=30), [parse_rule("search:p=0"), Search()])
    final = found.final.overall
    assert found.final.comparison is None
    for name in ("log_loss_vs_final", "accuracy_vs_final", "moved", "depth", "projections"):
        interval = getattr(final, name)
        assert (interval.low, interval.estimate, interval.high) == (0.0, 0.0, 0.0)
    never = found["search p=0"]
    assert as_json(never.overall) == as_json(final)
    assert never.comparison is Comparison.UNDECIDED
    assert as_json(found["search"].overall) != as_json(final)


def shifted(by: float) -> Traces:
    """Layer L-1 agrees with L token by token, but for `by` nats of log-loss."""
    base = calibrated(prompts=40, tokens=25, layers=3)
    last = base.log_prob[:, [2, 2, 2]] - np.array([1.0, 1.0 + by, 1.0])
    return traces_from(base.entropy, last, base.top1, base.token, base.prompt, base.difficulty)


def test_better_worse_undecided() -> None:
    rules = [FixedOffset(1), FixedOffset(2)]
    worse, same = validate(shifted(0.2), rules, K=2).rows[1:3]
    assert worse.comparison is Comparison.WORSE
    assert same.comparison is Comparison.UNDECIDED
    better = validate(shifted(-0.2), rules, K=2).rows[1]
    assert better.comparison is Comparison.BETTER
    assert better.decisive is not None
    assert better.decisive.level == pytest.approx(1 - 0.05 / 2)


def test_an_interval_across_zero_decides_nothing() -> None:
    assert compare(Interval(-0.1, -0.3, 0.1)) is Comparison.UNDECIDED
    assert compare(Interval(0.1, -0.1, 0.3)) is Comparison.UNDECIDED
    assert compare(Interval(-0.2, -0.3, -0.1)) is Comparison.BETTER
    assert compare(Interval(0.2, 0.1, 0.3)) is Comparison.WORSE


def test_a_difference_that_is_not_material_is_not_called_better() -> None:
    rules = [FixedOffset(1)]
    for by, material, expected in (
        (-2e-8, 0.001, Comparison.UNDECIDED),
        (2e-8, 0.001, Comparison.UNDECIDED),
        (-0.01, 0.001, Comparison.BETTER),
        (0.01, 0.001, Comparison.WORSE),
        (-0.01, 0.02, Comparison.UNDECIDED),
    ):
        base = shifted(0.0)
        entropy, log_prob = base.entropy, base.log_prob.astype(np.float64)
        log_prob[:, 1] = log_prob[:, 2] - by
        exact = replace(base, entropy=entropy, log_prob=log_prob)
        row = validate(exact, rules, K=2, material=material).rows[1]
        assert row.overall.log_loss_vs_final.estimate == pytest.approx(by, rel=1e-3)
        assert row.comparison is expected
    for material in (-1e-9, math.nan, math.inf):
        with pytest.raises(UserError, match="material"):
            validate(shifted(0.0), rules, K=2, material=material)


def test_the_identity_of_optimism() -> None:
    """C1: what a rule loses is what its layers over-promise minus the entropy that it gains."""
    found = validate(
        calibrated(prompts=12, tokens=30, layer_shift={9: 0.5, 4: 0.3}), replicates=100
    )
    entropy = found.final.overall.entropy.estimate
    for row in found.rows:
        m = row.overall
        gained = entropy - m.entropy.estimate
        lost = m.optimism_vs_final.estimate - gained
        assert m.log_loss_vs_final.estimate == pytest.approx(lost, abs=1e-9)
    assert found.final.overall.optimism_vs_final.estimate == 0.0


def test_c1_is_shown_for_every_rule() -> None:
    """Promised, gap there, gap of the final layer; the sum is what is measured."""
    found = validate(calibrated(prompts=8, tokens=30, layer_shift={9: 0.4}), K=5, replicates=100)
    (table,) = identity(found)
    cells = [list(column.cells) for column in table.columns]
    assert len(cells[0]) == len(found.rows) - 1
    for promised, there, final, total, measured in zip(*cells[1:], strict=True):
        assert total == measured
        numbers = [
            float(cell.replace("\u2212", "-")) for cell in (promised, there, final, measured)
        ]
        # Three decimals are printed of each.
        assert -numbers[0] + numbers[1] - numbers[2] == pytest.approx(numbers[3], abs=2.1e-3)
    # Negative control: without the final layer's gap the sum misses what is measured.
    assert any(
        abs(-r.overall.drop.estimate + r.overall.optimism.estimate)
        > abs(r.overall.log_loss_vs_final.estimate) + 0.01
        for r in found.rows[1:]
    )


def test_decisions_are_adjusted_for_the_number_of_rules() -> None:
    # Under the null, sixteen rules at 5 % each would give a false verdict in most runs.
    found = validate(calibrated(prompts=12, tokens=30))
    assert found.compared == len(default_rules(10)) - 1
    assert found.level == pytest.approx(1 - 0.05 / found.compared)
    for row in found.rows[1:-1]:
        assert row.decisive is not None
        plain = row.overall.log_loss_vs_final
        assert row.decisive.low <= plain.low
        assert plain.high <= row.decisive.high


def test_own_text_gets_no_verdict() -> None:
    better = shifted(-0.2)
    found = validate(with_mode(better, "generated"), [FixedOffset(1)], K=2)
    assert found.reference_is_own_text
    assert found.rows[1].comparison is Comparison.UNDECIDED
    assert validate(better, [FixedOffset(1)], K=2).rows[1].comparison is Comparison.BETTER


def weighted(row: Row, name: str) -> float:
    parts = [(g.measures.tokens, getattr(g.measures, name).estimate) for g in row.by_difficulty]
    return float(sum(n * value for n, value in parts) / sum(n for n, _ in parts))


def test_difficulties_add_up() -> None:
    found = validate(calibrated(prompts=10, tokens=20), [Search(), WindowMinimum()])
    for row in found.rows:
        groups = [group.measures for group in row.by_difficulty]
        assert [group.difficulty for group in row.by_difficulty] == [1, 2, 3, 4]
        assert sum(g.tokens for g in groups) == found.tokens
        for name in ("right_to_wrong", "wrong_to_right"):
            assert sum(getattr(g, name) for g in groups) == getattr(row.overall, name)
        for name in (*LOSSES, "moved", "depth", "optimism"):
            expected = getattr(row.overall, name).estimate
            assert weighted(row, name) == pytest.approx(expected, abs=1e-12)
    assert validate(tiny_unknown(), [Search(3)], K=3).rows[0].by_difficulty == ()


def tiny_unknown() -> Traces:
    traces = tiny()
    return traces_from(
        traces.entropy, traces.log_prob, traces.top1, traces.token, traces.prompt, None
    )


def test_winners_curse() -> None:
    """Layers calibrated on average only: picking low entropies picks over-confidence."""
    rng = np.random.default_rng(2)
    n, layers = 8000, 6
    loss = rng.exponential(1.0, size=(n, 1)).repeat(layers, axis=1)
    entropy = rng.uniform(0.5, 1.5, size=(n, layers))  # mean 1 as the loss, and no news of it
    prompt = np.arange(n) // 80
    none = np.zeros((n, layers))
    cursed = validate(traces_from(entropy, -loss, none, np.zeros(n), prompt), [WindowMinimum(5)], 5)
    # The mean of the least of six uniforms on [0.5, 1.5] is 0.5 + 1/7.
    assert cursed["window minimum"].overall.entropy.estimate == pytest.approx(0.5 + 1 / 7, abs=0.01)
    assert 0.5 - 1 / 7 in cursed["window minimum"].overall.optimism
    assert 0.0 in cursed.final.overall.optimism
    # Calibrated token by token there is no curse.
    honest = validate(calibrated(prompts=100, tokens=80), [WindowMinimum()])
    assert abs(honest["window minimum"].overall.optimism.estimate) < 0.05


def test_randomised_rules_follow_the_seed() -> None:
    traces = calibrated(prompts=6, tokens=50)
    half = parse_rule("search:p=0.5")

    def moved(seed: int, rule: str = "search p=0.5") -> float:
        return validate(traces, [half, Search()], seed=seed)[rule].overall.moved.estimate

    assert moved(1) == moved(1)
    assert moved(1) != moved(2)
    # A binomial share of the tokens that the search moves: within four standard errors.
    whole = moved(1, "search")
    assert abs(moved(1) - whole / 2) < 4 * math.sqrt(whole * 0.25 / len(traces))


def test_errors_name_the_mistake() -> None:
    traces = calibrated(prompts=3, tokens=5)
    with pytest.raises(UserError, match="reaches 10 layers back, the window only 5"):
        validate(traces, [Search(10)], K=5)
    with pytest.raises(UserError, match="reaches 8 layers back"):
        validate(traces, [FixedOffset(8)], K=5)
    with pytest.raises(UserError, match="search given more than once"):
        validate(traces, [Search(5), Search(4)], K=5)
    with pytest.raises(UserError, match="at most 11"):
        validate(traces, K=12)
    with pytest.raises(UserError, match="bootstrap over prompts"):
        validate(traces.select(traces.prompt == 1))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.parquet"
    write_traces(path, calibrated(prompts=6, tokens=20), storage="float32")
    assert run("validate", path, "--by-difficulty") == 0
    text = capsys.readouterr().out
    names = [rule.name for rule in default_rules(10)]
    assert all(name in text for name in (*names, "hindsight oracle", "By difficulty"))
    assert max(len(line.rstrip()) for line in text.splitlines()[1:]) <= 100
    # A rule that states no window takes the command's.
    assert run("validate", path, "--rule", "search", "--rule=final", "--window=5", "--json") == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert [row["spec"] for row in content["validation"]["rows"]] == [
        "final",
        "search:K=5,p=1.0",
        "",
    ]
    assert run("validate", path, "--rule", "search:K=7", "--window", 5) == 2
    assert "reaches 7 layers back" in capsys.readouterr().err


def test_command_says_when_references_are_own_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.parquet"
    write_traces(path, with_mode(calibrated(prompts=4, tokens=20), "generated"))
    assert run("validate", path, "--rule", "search") == 0
    text = capsys.readouterr().out
    assert "the model's own greedy text" in text
    assert "no verdict" in text
    assert "better" not in text


def test_rows_are_found_by_name_and_spec() -> None:
    found: Validation = validate(tiny(), [Search(3)], K=3)
    assert found["search"] is found["search:K=3,p=1.0"]
    assert found["final"] is found.final
    with pytest.raises(KeyError):
        found["nothing"]
