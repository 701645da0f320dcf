"""How many layers are projected together changes the time, and nothing that a user sees."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from empirical.decoding import ConfidentDecoding, Steps
from empirical.decoding.block_state import Prefetched
from empirical.decoding.plan import ALL_AT_ONCE, ONE_BY_ONE, Plan, plan_for
from empirical.decoding.projecting import HeadProjector
from empirical.lenses import CalibratedLens, Correction, RawLens
from empirical.logits.roofline import cheapest_width
from empirical.logits.sums import sums_of
from empirical.model.anatomy import Anatomy
from empirical.model.unembedding import Unembedding
from stopping.rules import AbstractRule, Minimax, Search, Shifted, WindowMinimum
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    DEPTH,
    GREEDY,
    LONG,
    MASK,
    PADDED,
    Architecture,
    K,
)

PLANS = {"one by one": ONE_BY_ONE, "few": Plan.free(4), "all at once": ALL_AT_ONCE}
RULES: tuple[AbstractRule, ...] = (
    Search(K),
    Search(K, p=0.5),
    Shifted(-1, K),
    WindowMinimum(K),
    Minimax(0.05, K),
)


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture(scope="module")
def model(architecture: Architecture) -> Any:
    torch.set_num_threads(1)
    return architecture.build()


def lens_of(model: Any, calibrated: bool) -> Any:
    anatomy = Anatomy.of(model)
    if not calibrated:
        return RawLens(anatomy)
    corrections = {layer: Correction(0.9 + layer / 60) for layer in range(1, DEPTH)}
    return CalibratedLens(anatomy, corrections, "made up")


def run(
    model: Any, rule: AbstractRule, plan: Plan, calibrated: bool = False
) -> tuple[Tensor, Steps, list[int]]:
    """Generate; return the text, the steps and the rows of each product."""
    products: list[int] = []
    decoding = ConfidentDecoding(model, rule, lens_of(model, calibrated), seed=3, plan=plan)
    projector = decoding._piggybacks_on
    assert projector is not None
    real = projector.product

    def counted(x: Tensor) -> Any:
        products.append(len(x))
        return real(x)

    projector.product = counted  # type: ignore[method-assign]
    with decoding:
        output = model.generate(PADDED, attention_mask=MASK, **GREEDY)
    return output, decoding.statistics, products


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.spec())
@pytest.mark.parametrize("calibrated", [False, True], ids=["raw", "calibrated"])
def test_every_plan_decodes_and_records_the_same(
    model: Any, rule: AbstractRule, calibrated: bool
) -> None:
    found = {name: run(model, rule, plan, calibrated) for name, plan in PLANS.items()}
    output, steps, _ = found["one by one"]
    for other, recorded, _ in found.values():
        assert torch.equal(other, output)
        for name in ("position", "layer", "projections", "top1"):
            assert np.array_equal(getattr(recorded, name), getattr(steps, name))
        # Also which layers were needed: those that rode along unasked leave no trace.
        np.testing.assert_allclose(recorded.entropy, steps.entropy, atol=1e-5)
    assert steps.moved.any()


@pytest.mark.slow
def test_free_candidates_take_one_product_and_the_rest_as_few_as_fit(model: Any) -> None:
    steps = run(model, Search(K), ONE_BY_ONE)[1].position.shape[1]
    all_at_once = run(model, Search(K), ALL_AT_ONCE)[2]
    # Two rows, the model's own and all candidates of both.
    assert all_at_once == [2 * (1 + K)] * steps
    few = run(model, Search(K), Plan.free(4))[2]
    # Four rows are free: those of `L` and of one candidate.
    assert few[0] == 4
    one_by_one = run(model, Search(K), ONE_BY_ONE)[2]
    assert max(one_by_one) <= 2
    assert len(all_at_once) <= len(few) < len(one_by_one)


def test_rules_that_never_leave_the_final_layer_leave_its_bits(model: Any) -> None:
    plain = model(input_ids=LONG).logits
    for rule in (Search(K, p=0.0), Search(0)):
        with ConfidentDecoding(model, rule, plan=ALL_AT_ONCE) as decoding, torch.no_grad():
            assert torch.equal(model(input_ids=LONG).logits, plain)
            assert decoding.statistics.projections.sum() == 0
    assert "forward" not in model.lm_head.__dict__


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_what_comes_out_are_the_very_numbers_that_were_compared(
    model: Any, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: never rebuilt from probabilities, never projected again."""
    products: list[tuple[Tensor, Tensor]] = []
    real = Unembedding.product

    def seen(self: Unembedding, x: Tensor, across: bool) -> Tensor:
        z = real(self, x, across)
        products.append((x.clone(), z.clone()))
        return z

    monkeypatch.setattr(Unembedding, "product", seen)
    states: dict[int, Tensor] = {}
    anatomy = Anatomy.of(model)
    with ConfidentDecoding(model, Search(K), plan=plan) as decoding, torch.no_grad():
        head = decoding._piggybacks_on
        assert head is not None
        with anatomy.listening(lambda layer, h: states.update({layer: h.clone()})):
            logits = model(input_ids=LONG).logits[0]
        steps = decoding.statistics
    moved = 0
    for place, layer in enumerate(steps.layer[0].tolist()):
        x = anatomy.normed(states[layer])[0, place].detach()
        rows = [z for xs, zs in products for row, z in zip(xs, zs, strict=True) if row.equal(x)]
        if layer < DEPTH:
            moved += 1
            assert any(head.head.finished(z[None])[0].equal(logits[place]) for z in rows)
    assert moved > 0


def double_entropies(model: Any, ids: Tensor) -> tuple[np.ndarray[Any, Any], ...]:
    """Entropies of the model's own states, unrounded and with logits rounded to its precision."""
    anatomy, states = Anatomy.of(model), {}
    with torch.no_grad(), anatomy.listening(lambda layer, h: states.update({layer: h})):
        model(input_ids=ids)
        exact, rounded = [], []
        for layer in range(DEPTH - K, DEPTH + 1):
            x = anatomy.normed(states[layer])[0]
            z = x.double() @ model.lm_head.weight.double().T
            for into, logits in ((exact, z), (rounded, z.to(x.dtype).double())):
                p = logits.softmax(1)
                into.append(torch.special.entr(p).sum(1).numpy())
    return np.stack(exact, 1), np.stack(rounded, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_entropies_come_from_sums_that_were_not_rounded(dtype: torch.dtype, plan: Plan) -> None:
    model = ARCHITECTURES["llama"].build(dtype)
    exact, rounded = double_entropies(model, LONG)
    with ConfidentDecoding(model, Search(K), plan=plan, whole=True) as decoding, torch.no_grad():
        logits = model(input_ids=LONG).logits
        steps = decoding.statistics
    assert logits.dtype == dtype
    assert np.abs(steps.entropy[0] - exact).max() < 5e-6
    if dtype != torch.float32:
        # Negative control: what rounding to half precision first would have cost.
        assert np.abs(rounded - exact).max() > 1e-4
    # The choice is that of exact entropies wherever these differ by more than any rounding.
    clear = (np.abs(np.diff(exact, axis=1)) > 1e-4).all(axis=1)
    assert clear.mean() > 0.5
    layers = np.array(steps.layers)[Search(K).choose(exact)]
    assert np.array_equal(steps.layer[0][clear], layers[clear])


def test_a_pass_that_needs_gradients_is_left_to_the_model(model: Any) -> None:
    with ConfidentDecoding(model, Search(K), plan=ALL_AT_ONCE) as decoding:
        with torch.no_grad():
            expected = model(input_ids=LONG).logits
            layers = decoding.statistics.layer
        found = model(input_ids=LONG).logits
        assert np.array_equal(decoding.statistics.layer, layers)
    torch.testing.assert_close(found, expected)


# The plan ----------------------------------------------------------------------------------------


def expected_cost(plan: Plan, rows: int, widths: tuple[int, ...], rate: float, sure: int) -> float:
    """Mean time of reading a window in turns of these widths, by definition."""
    cost, read = 0.0, 0
    for width in widths:
        left = rate ** max(0, read - sure + 1)
        some = 1 - (1 - left) ** rows
        cost += some * plan.time(width * rows * left / some)
        read += width
    return cost


def ways(layers: int) -> Iterator[tuple[int, ...]]:
    """All ways to cut a window into turns."""
    if layers == 0:
        yield ()
    for width in range(1, layers + 1):
        yield from ((width, *rest) for rest in ways(layers - width))


@pytest.mark.parametrize("rows", [1, 3, 8, 16, 40])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("sure", [1, 2])
def test_the_width_begins_a_cheapest_way(rows: int, rate: float, sure: int) -> None:
    # Flat to 16 rows, then slowly up, then in proportion.
    plan = Plan((1, 16, 32, 320), (1.0, 1.0, 1.2, 12.0), (False, True, True, True))
    costs = {way: expected_cost(plan, rows, way, rate, sure) for way in ways(7)}
    width = plan.width(rows, 7, rate, sure=sure)
    least = min(costs.values())
    assert min(cost for way, cost in costs.items() if way[0] == width) == pytest.approx(least)
    if rows == 40 and rate == 0.1 and sure == 1:
        # Not vacuous: beyond the ridge laziness is strictly better than all at once.
        assert width == 1
        assert costs[(7,)] > 2 * least


def test_width_keeps_within_the_rows_that_may_be_held() -> None:
    assert ALL_AT_ONCE.width(4, 10, 0.5, most=12) == 3
    assert ALL_AT_ONCE.width(64, 10, 0.5, most=12) == 1


def test_fixed_plans() -> None:
    for rows in (1, 2, 64, 1000):
        assert ONE_BY_ONE.width(rows, 10, 0.5) == 1
        assert ALL_AT_ONCE.width(rows, 10, 0.5) == 10
    # On an H200: all at batch 1 and 8, and at 64 some more than free, for a turn costs more.
    widths = [Plan.free(184).width(rows, 11, 0.1, sure=2) for rows in (1, 8, 64, 256)]
    assert widths[:2] == [11, 11]
    assert widths[2] == 4
    assert widths[3] == 1
    assert cheapest_width(lambda rows: 1.0, 1, 5, 100, 0.0) == 1
    assert [Plan.free(16).turned(rows) for rows in (1, 16, 2000)] == [False] * 3


def test_a_measured_plan_is_of_the_head_s_shape() -> None:
    linear = torch.nn.Linear(64, 20_000, bias=False)
    plan = plan_for(Unembedding(linear, linear, plain=True))
    assert plan.rows[0] == 1
    assert all(a <= b for a, b in zip(plan.seconds, plan.seconds[1:], strict=False))
    assert plan.seconds[-1] > 2 * plan.seconds[0] > 0
    assert plan_for(Unembedding(linear, linear, plain=True)) is plan
    tiny = torch.nn.Linear(64, 100, bias=False)
    assert plan_for(Unembedding(tiny, tiny, plain=True)) is ALL_AT_ONCE


def test_both_orientations_are_the_same_product() -> None:
    model = ARCHITECTURES["llama"].build(torch.float32)
    anatomy = Anatomy.of(model)
    head = Unembedding.of(anatomy)
    assert head is not None
    h = torch.randn(7, 32)
    turned = [
        HeadProjector(RawLens(anatomy), head, Plan((1,), (1.0,), (across,))).project([(3, h)])[0]
        for across in (False, True)
    ]
    torch.testing.assert_close(*turned, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(turned[0], anatomy.lens(h[None])[0].detach(), atol=1e-4, rtol=1e-5)


def test_what_is_known_of_some_rows() -> None:
    z = torch.arange(12.0).view(6, 2)
    ahead = Prefetched(None, (5, 4), z, sums_of(z))
    assert ahead.rows(slice(0, 7)).logits is z  # all three rows: nothing is copied
    for rows in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True])):
        some = ahead.rows(rows)
        assert some.logits is not None
        assert some.sums is not None
        assert some.logits.tolist() == z[[1, 2, 4, 5]].tolist()
        assert some.sums.entropy.tolist() == sums_of(some.logits).entropy.tolist()
