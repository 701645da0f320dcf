"""S2, S3 for layers: the filter, adapted decisions, the value against every rule, files, prices."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stopping.changepoint import ChangePointModel, Scale, posterior, write_model
from stopping.errors import UserError
from stopping.optimal.bases import Polynomial
from stopping.optimal.comparison import RuleComparison, compare_rules
from stopping.optimal.filtering import ScanFilter
from stopping.optimal.layers import LayerProblem
from stopping.optimal.region import summarise
from stopping.optimal.regression import fit_policy
from stopping.optimal.rules import OUT_OF_REACH, Bayes, Snell, save_rule
from stopping.rules import Final, FixedOffset, ForwardExit, Search, parse_rule
from stopping.simulation.montecarlo import estimate
from stopping.support.parallel import Workers
from tests.stopping.changepoint.models import one_class, two_classes, with_types

MODELS = {
    "one class": one_class(),
    "two classes": two_classes(),
    "log scale": two_classes(Scale(0.2)),
    "layer types": with_types(two_classes(Scale(0.2))),
    "softplus": two_classes(Scale(0.05, 1.0)),
}


@pytest.fixture(scope="module", params=[True, False], ids=["recall", "no recall"])
def snell(request: pytest.FixtureRequest) -> Snell:
    problem = LayerProblem(one_class(), 0.02, request.param)
    return Snell(fit_policy(problem, Polynomial(2), np.random.default_rng(0), 3_000))


@pytest.fixture(scope="module")
def compared() -> RuleComparison:
    return compare_rules(one_class(), 0.02, paths=6_000, dual_budget=40_000, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_filter_is_the_posterior(name: str) -> None:
    model = MODELS[name]
    x = model.sample(np.random.default_rng(0), 300).x
    # A softplus is tabulated, a logarithm and nats are exact.
    tolerance = 1e-9 if model.scale.knee is None else 2e-6
    for first in range(model.w):
        found = ScanFilter(model).known(x[:, first:][:, ::-1])
        expected = posterior(model, x, first)
        assert found.excess == pytest.approx(expected.excess, rel=1e-9, abs=tolerance)
        assert found.turning == pytest.approx(expected.turning, abs=1e-10)


@pytest.mark.parametrize("recall", [True, False])
def test_a_blind_plan_pays_for_each_layer_on_its_way(recall: bool) -> None:
    problem, cost = LayerProblem(one_class(), 0.05, recall), 0.05
    history = one_class().sample(np.random.default_rng(0), 50).x[:, ::-1]
    for read in range(1, problem.horizon + 2):
        view = problem.look(history[:, :read])
        excess = problem.filter.known(history[:, :read]).excess
        first, paid = problem.horizon - (read - 1), cost * (read - 1)
        now = excess[:, first:].min(axis=1) if recall else excess[:, first]
        plans = [now if not first else now + (cost if recall else math.inf)]
        plans += [excess[:, first - k] + cost * k for k in range(1, first + 1)]
        assert view.anchor == pytest.approx(np.min(plans, axis=0) + paid, rel=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_next_reading_has_its_conditional_law(name: str) -> None:
    """Drawn from the history alone, it is exchangeable with the true one: also beside the last."""
    model = MODELS[name]
    x = model.sample(np.random.default_rng(1), 4_000).x[:, ::-1]
    uniform = np.random.default_rng(2).random(4_000)
    for t in range(model.K):
        drawn = ScanFilter(model).next_reading(x[:, : t + 1], uniform)
        for mine, true in ((drawn, x[:, t + 1]), (drawn - x[:, t], x[:, t + 1] - x[:, t])):
            # Eight tests for each of five models: 1e-4 each.
            assert stats.ks_2samp(mine, true).pvalue > 1e-4


def test_losses_are_calibrated_and_with_twice_the_noise_they_are_not() -> None:
    """E[excess | read] has the mean of the excess, layer by layer; the negative control has not."""
    model, n = one_class(), 40_000
    tokens = model.sample(np.random.default_rng(5), n)
    noisy = replace(model.components[0], noise_sd=2 * model.components[0].noise_sd)
    wrong = ChangePointModel((noisy,), np.ones(1))
    true = np.column_stack([tokens.excess(np.full(n, layer)) for layer in range(model.w)])

    def worst(by: ChangePointModel) -> float:
        weight = np.sign(tokens.x[:, -1] - tokens.x[:, -2])[:, None]
        difference = (ScanFilter(by).known(tokens.x[:, ::-1]).excess - true) * weight
        return float(np.max(np.abs(difference.mean(0)) / difference.std(0) * math.sqrt(n)))

    assert worst(model) < 4
    assert worst(wrong) > 6


def test_no_rule_beats_bayes_at_no_cost_and_a_misled_bayes_loses() -> None:
    """S3: the paired gap of every rule is at least zero; the negative control is above it."""
    model, n = one_class(), 20_000
    tokens = model.sample(np.random.default_rng(7), n)
    best = tokens.excess(Bayes(model).choose(tokens.x))
    inverted = replace(model.components[0], turning=np.array([0.3, 0.3, 0.3, 0.05, 0.05]))
    misled = Bayes(ChangePointModel((inverted,), np.ones(1)))
    for rule in (Final(), Search(4), FixedOffset(1), ForwardExit(1.0, 4), misled):
        gap = tokens.excess(rule.choose(tokens.x)) - best
        assert gap.mean() > -4 * gap.std() / math.sqrt(n), rule
    assert gap.mean() > 4 * gap.std() / math.sqrt(n)
    cheater = np.array([tokens.excess(np.full(n, layer)) for layer in range(5)]).min(axis=0)
    assert (cheater - best).mean() < -4 * (cheater - best).std() / math.sqrt(n)


def test_bayes_takes_the_least_expected_excess() -> None:
    for model in MODELS.values():
        x = model.sample(np.random.default_rng(0), 200).x
        best = posterior(model, x).best_layer
        assert (Bayes(model).choose(x) == best).all()
        assert (Bayes(model).projections(x) == model.K).all()
        # In a deeper batch the window is its last layers.
        deeper = np.column_stack([np.full((200, 3), 9.0), x])
        assert (Bayes(model).choose(deeper) == best + 3).all()


def test_decisions_are_adapted(snell: Snell) -> None:
    """Perturbing what has not been traced never changes a decision."""
    x = snell.problem.model.sample(np.random.default_rng(0), 500).x
    choice, projections = snell.choose(x), snell.projections(x)
    unread = np.arange(5) < 4 - projections[:, None]
    assert 0 < unread.mean() < 0.8
    rng = np.random.default_rng(1)
    for other in (np.zeros_like(x), rng.exponential(5.0, x.shape), np.full_like(x, 1e6)):
        changed = np.where(unread, other, x)
        assert (snell.choose(changed) == choice).all()
        assert (snell.projections(changed) == projections).all()


def test_perturbing_what_was_probed_does_change_decisions(snell: Snell) -> None:
    """Negative control of adaptedness: the test above would notice a rule that reads further."""
    x = snell.problem.model.sample(np.random.default_rng(0), 500).x
    read = np.arange(5) >= 4 - snell.projections(x)[:, None]
    changed = np.where(read, np.random.default_rng(1).exponential(5.0, x.shape), x)
    assert (snell.choose(changed) != snell.choose(x)).mean() > 0.1


def test_a_lazy_reader_gets_the_same_layers(snell: Snell) -> None:
    """The contract of a returning rule: the first `j` layers say if projections exceed `j`."""
    x = snell.problem.model.sample(np.random.default_rng(0), 300).x
    projections, choice = snell.projections(x), snell.choose(x)
    for j in range(5):
        known = np.where(np.arange(5) < 4 - j, 1e6, x)
        assert ((snell.projections(known) > j) == (projections > j)).all()
        done = projections <= j
        assert (snell.choose(known)[done] == choice[done]).all()
        assert (snell.choose(known) >= 4 - j).all()


def test_the_value_bounds_every_rule(compared: RuleComparison) -> None:
    """Optimal at least as good as every rule: no paired gap is below zero beyond noise."""
    bounded = [gap for gap in compared.gaps[1:] if gap.bounded]
    assert len(bounded) > 12
    for gap in bounded:
        assert gap.gap > -4 * gap.gap_stderr, gap
        assert gap.loss > compared.lower.mean - 4 * math.hypot(gap.stderr, compared.lower.stderr), (
            gap
        )
    assert compared.upper.mean > compared.lower.mean - 4 * math.hypot(
        compared.upper.stderr, compared.lower.stderr
    )
    assert compared["search"].gap > 4 * compared["search"].gap_stderr


@pytest.mark.slow
def test_the_value_without_recall_does_not_bound_the_search() -> None:
    """The paper's search looks at l-1 before it stops at l: it is a rule with recall."""
    found = compare_rules(one_class(), 0.0, recall=False, paths=6_000, dual_budget=40_000)
    search = found["search"]
    assert search.loss + 4 * search.stderr < found.lower.mean - 4 * found.lower.stderr
    with_it = compare_rules(one_class(), 0.0, paths=6_000, dual_budget=40_000)
    assert with_it["search"].loss - 4 * search.stderr > with_it.lower.mean


def test_at_no_cost_the_value_is_that_of_bayes() -> None:
    found = compare_rules(one_class(), 0.0, paths=6_000, dual_budget=40_000)
    assert abs(found["bayes"].gap) < 2e-3
    assert found["bayes"].gap < 4 * found["bayes"].gap_stderr
    assert found["bayes"].loss > found.lower.mean - 4 * found.lower.stderr - 4e-3


def test_what_is_marked_unbounded_may_win() -> None:
    """A fixed layer skips layers that a backward scan has to pay for."""
    found = compare_rules(one_class(), 2.0, paths=2_000, dual_budget=20_000)
    assert not found["fixed L-1"].bounded
    assert found["fixed L-1"].gap < 0
    assert found["final layer"].bounded
    assert found["final layer"].gap == pytest.approx(0.0, abs=1e-12)


def test_the_region_stops_where_little_is_to_be_gained(compared: RuleComparison) -> None:
    first = summarise(compared.region[0])
    assert first.reached == 1.0
    assert 0 < first.stops < 1
    assert first.belief_stop[1] < first.belief_go[1]
    assert first.gain_stop[1] < first.gain_go[1]
    assert [sample.projections for sample in compared.region] == list(range(len(compared.region)))


def test_prices_do_not_depend_on_workers() -> None:
    rules = (Search(4), Final())
    alone, together = (
        compare_rules(
            one_class(), 0.02, rules=rules, paths=5_000, dual_budget=20_000, workers=workers
        )
        for workers in (None, Workers(2))
    )
    assert alone.gaps == together.gaps
    assert (alone.upper, alone.lower) == (together.upper, together.lower)


def test_a_rule_survives_its_file(snell: Snell, tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    saved = save_rule(path, snell, {"from": "a test"})
    read = parse_rule(saved.spec())
    x = snell.problem.model.sample(np.random.default_rng(3), 300).x
    assert read.spec() == f"snell:file={path}"
    assert read.name == snell.name
    assert (read.choose(x) == snell.choose(x)).all()
    assert (read.projections(x) == snell.projections(x)).all()


def test_bayes_survives_the_models_file(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    model = two_classes(Scale(0.2))
    write_model(path, model)
    rule = parse_rule(f"bayes:file={path}")
    x = model.sample(np.random.default_rng(3), 100).x
    assert (rule.choose(x) == Bayes(model).choose(x)).all()
    assert rule.spec() == f"bayes:file={path}"


def test_out_of_reach_is_no_entropy(snell: Snell) -> None:
    x = np.array([[1.0, 1.0, 1.0, 1.0, 5.0]])
    blocked = np.array([[1.0, 1.0, 1.0, OUT_OF_REACH, 5.0]])
    assert snell.choose(blocked)[0] == 4
    assert snell.projections(blocked)[0] == min(1, snell.projections(x)[0])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("{", "no solved rule"),
        ('{"format": "something else"}', "no solved rule"),
        ("[]", "no solved rule"),
    ],
)
def test_foreign_files(content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=words):
        parse_rule(f"snell:file={path}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 99}, "upgrade"),
        ({"stages": []}, "0 stages"),
        ({"cost": -1.0}, "cost"),
        ({"basis": {"kind": "fourier"}}, "kinds are"),
    ],
)
def test_damaged_rules(change: dict[str, object], words: str, snell: Snell, tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    save_rule(path, snell)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=words):
        parse_rule(f"snell:file={path}")


def test_a_stage_with_nonsense_is_refused(snell: Snell, tmp_path: Path) -> None:
    path = tmp_path / "rule.json"
    save_rule(path, snell)
    content = json.loads(path.read_text())
    content["stages"][0]["decision"] = [1.0, 2.0]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="part missing or wrong"):
        parse_rule(f"snell:file={path}")


@pytest.mark.parametrize("spec", ["bayes", "snell:", "bayes:file=", "snell:cost=1"])
def test_a_solved_rule_needs_its_file(spec: str) -> None:
    with pytest.raises(UserError, match="needs its file"):
        parse_rule(spec)


def test_bad_input(snell: Snell) -> None:
    with pytest.raises(UserError, match="window of 5 layers"):
        snell.choose(np.ones((2, 4)))
    with pytest.raises(UserError, match="window of 5 layers"):
        Bayes(one_class()).choose(np.ones((2, 4)))
    with pytest.raises(UserError, match="cost"):
        LayerProblem(one_class(), -1.0)
    with pytest.raises(UserError, match="one name"):
        compare_rules(one_class(), 0.0, rules=(Search(4), Search(3)), paths=1_000)
    for x in (np.full((1, 5), np.nan), np.ones((0, 5)), np.ones((3, 5))):
        if np.isnan(x).any():
            with pytest.raises(UserError, match="NaN"):
                snell.choose(x)
        else:
            assert snell.choose(x).shape == (len(x),)


def test_primal_draws_have_the_mean_of_the_rules_loss(snell: Snell) -> None:
    """The loss met on the way, a conditional mean, has the mean of cost plus true excess."""
    n = 20_000
    found = estimate(snell.policy.draw, n, 1)
    tokens = snell.problem.model.sample(np.random.default_rng(9), n)
    true = tokens.excess(snell.choose(tokens.x)) + 0.02 * snell.projections(tokens.x)
    error = math.hypot(found.stderr, true.std() / math.sqrt(n))
    assert abs(found.mean - true.mean()) < 4 * error
