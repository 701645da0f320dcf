"""One step of an engine on made-up states: no vLLM, a norm and a head that are known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from empirical.serving import searching
from empirical.serving.lens import Parts, ServedLens, projector_of
from empirical.serving.searching import Searcher, Step
from empirical.serving.settings import Request
from empirical.serving.statistics import Counts
from stopping.rules import (
    Final,
    Guarded,
    Hedged,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
)

DEPTH, K, HIDDEN, WORDS, ROWS = 9, 5, 16, 61, 40
LAYERS = tuple(range(DEPTH - K, DEPTH + 1))
RULES = (
    Search(K),
    Search(2),
    Search(K, p=0.4),
    Shifted(1, K),
    Shifted(-1, K),
    Tolerance(0.02, K),
    Patience(1, K),
    Guarded(0.01, K),
    Hedged(0.05, K),
    WindowMinimum(K),
)


class Norm(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h * h.float().square().mean(-1, keepdim=True).rsqrt().to(h)


NORM = Norm()


def weights(dtype: torch.dtype) -> Tensor:
    return torch.randn(WORDS, HIDDEN, generator=torch.Generator().manual_seed(1)).to(dtype)


def searcher(
    lazy: bool, plain: bool = True, dtype=torch.float32, temperatures: dict | None = None
) -> Searcher:
    head = weights(dtype)
    parts = Parts(DEPTH, WORDS, NORM, lambda x: x @ head.T, head if plain else None)
    lens = ServedLens(parts, temperatures or {})
    return Searcher(lens, projector_of(lens), LAYERS, lazy, Counts(K, publishes=False))


def step(dtype=torch.float32, rows: int = ROWS, seed: int = 0) -> Step:
    """Rows whose states drift, so that searches go on; entropies of neighbours are close."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(rows, HIDDEN, generator=generator)
    states = {}
    for layer in LAYERS:
        h = h + 0.15 * torch.randn(rows, HIDDEN, generator=generator)
        states[layer] = h.to(dtype)
    states[DEPTH] = NORM(states[DEPTH])
    position = torch.arange(rows) + 3
    return Step(states[DEPTH] @ weights(dtype).T, states, position, (position * 7) % WORDS)


def expected(one: Step, request: Request, temperatures: dict | None = None) -> np.ndarray:
    """Layers back by the rule's own definition, entropies in double precision."""
    columns = []
    for layer in LAYERS:
        h = one.states[layer].double()
        z = (h if layer == DEPTH else NORM(h)) @ weights(torch.float64).T
        z = torch.log_softmax(z / (temperatures or {}).get(layer, 1.0), dim=1)
        columns.append(-(z.exp() * z).sum(1))
    x = torch.stack(columns, dim=1).numpy()
    found = []
    for row, (p, t) in enumerate(zip(one.position.tolist(), one.token.tolist(), strict=True)):
        rng = np.random.Generator(np.random.Philox(key=request.seed, counter=[0, p + 1, t + 1, 0]))
        found.append(K - request.rule.choose(x[row : row + 1], rng)[0])
    return np.array(found)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.spec())
def test_it_decides_by_the_rule(rule, lazy, plain):
    request = Request(rule, 11)
    one = step()
    own = one.logits.clone()
    depth = searcher(lazy, plain).decode(one, [request] * ROWS)
    right = expected(step(), request)
    assert (depth.numpy() == right).all()
    assert len(np.unique(right)) > 1  # the rows are a test
    for row, j in enumerate(depth.tolist()):
        h = one.states[DEPTH - j][row]
        z = own[row] if j == 0 else NORM(h) @ weights(torch.float32).T
        torch.testing.assert_close(one.logits[row], z)
        if j == 0:
            assert torch.equal(one.logits[row], own[row])


@pytest.mark.parametrize("lazy", [True, False])
def test_temperatures_change_what_is_compared(lazy):
    temperatures = {layer: 1.0 + 0.02 * (DEPTH - layer) for layer in LAYERS[:-1]}
    request = Request(Search(K))
    one = step()
    found = searcher(lazy, temperatures=temperatures).decode(one, [request] * ROWS).numpy()
    assert (found == expected(step(), request, temperatures)).all()
    assert (found != expected(step(), request)).any()
    row = int(found.argmax())
    layer = DEPTH - int(found[row])
    z = NORM(one.states[layer][row]) @ weights(torch.float32).T / temperatures[layer]
    torch.testing.assert_close(one.logits[row], z)


@pytest.mark.parametrize("lazy", [True, False])
def test_a_corrected_final_layer_is_compared_as_corrected(lazy):
    temperatures = dict.fromkeys(LAYERS, 1.0) | {DEPTH: 0.9}
    request = Request(Search(K))
    found = searcher(lazy, temperatures=temperatures).decode(step(), [request] * ROWS).numpy()
    assert (found == expected(step(), request, temperatures)).all()


@pytest.mark.parametrize("lazy", [True, False])
def test_half_precision_is_compared_before_it_is_rounded(lazy):
    request = Request(Search(K))
    one = step(torch.bfloat16)
    found = searcher(lazy, dtype=torch.bfloat16).decode(one, [request] * ROWS).numpy()
    right = step(torch.bfloat16)
    double = {layer: h.double() for layer, h in right.states.items()}
    head = weights(torch.bfloat16).double()
    x = []
    for layer in LAYERS:
        # The norm rounds as the model's does; nothing after it is rounded.
        h = right.states[layer]
        z = torch.log_softmax((h if layer == DEPTH else NORM(h)).double() @ head.T, dim=1)
        x.append(-(z.exp() * z).sum(1))
    assert double
    by_rule = K - Search(K).choose(torch.stack(x, 1).numpy())
    assert (found == by_rule).all()


@pytest.mark.parametrize("lazy", [True, False])
def test_a_row_does_not_depend_on_its_batch(lazy):
    requests = [Request(RULES[row % len(RULES)], row) for row in range(ROWS)]
    requests[::4] = [Request(Final())] * len(requests[::4])
    one = step()
    own = one.logits.clone()
    depth = searcher(lazy).decode(one, requests)
    assert torch.equal(one.logits[::4], own[::4])
    assert (depth[::4] == 0).all()
    for row in range(ROWS):
        index = torch.tensor([row])
        alone = step().rows(index)
        assert searcher(lazy).decode(alone, [requests[row]]) == depth[row]
        torch.testing.assert_close(alone.logits[0], one.logits[row])


@pytest.mark.parametrize("temperatures", [None, dict.fromkeys(LAYERS[1:-1], 1.1) | {4: 2.0}])
def test_logits_that_are_not_held_are_made_again(monkeypatch, temperatures):
    request = Request(Shifted(-1, K))
    held, again = step(), step()
    searcher(False, temperatures=temperatures).decode(held, [request] * ROWS)
    monkeypatch.setattr(searching, "rows_held", lambda words, device: 2 * ROWS)
    depth = searcher(False, temperatures=temperatures).decode(again, [request] * ROWS)
    assert depth.any()
    torch.testing.assert_close(held.logits, again.logits)


def test_plain_rows_are_not_projected():
    head = weights(torch.float32)
    projected = []

    def counting(x: Tensor) -> Tensor:
        projected.append(len(x))
        return x @ head.T

    lens = ServedLens(Parts(DEPTH, WORDS, NORM, counting, None), {})
    for lazy in (True, False):
        one = Searcher(lens, projector_of(lens), LAYERS, lazy, Counts(K, publishes=False))
        one.decode(step(), [Request(Final()), Request(Search(K, 0.0))] * (ROWS // 2))
        assert not projected
        one.decode(step(), [Request(Search(K))] * 3 + [Request()] * (ROWS - 3))
        assert set(projected) <= {1, 2, 3, 3 * K}
        projected.clear()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.spec())
@pytest.mark.parametrize("held", [True, False])
def test_the_host_never_looks_when_layers_are_projected_together(monkeypatch, rule, held):
    """On `meta` there are no numbers to look at; whoever does raises. Lazily the host looks."""
    if not held:
        monkeypatch.setattr(searching, "rows_held", lambda words, device: 2 * ROWS)
    asked = [Request(rule)] * (ROWS - 1) + [Request()]
    for lazy in (False, True):
        head = weights(torch.float32).to("meta")
        lens = ServedLens(Parts(DEPTH, WORDS, NORM, lambda x, w=head: x @ w.T, head), {})
        one = Searcher(lens, projector_of(lens), LAYERS, lazy, Counts(K, publishes=False))
        seen = step()
        states = {layer: h.to("meta") for layer, h in seen.states.items()}
        logits, position, token = (x.to("meta") for x in (seen.logits, seen.position, seen.token))
        blind = Step(logits, states, position, token)
        if lazy:
            # Which of the two a look at a tensor without values raises is up to torch's operator.
            with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
                one.decode(blind, asked)
        else:
            assert one.decode(blind, asked).shape == (ROWS,)


def test_counts():
    one = searcher(True)
    depth = one.decode(step(), [Request(Search(K))] * 30 + [Request()] * 10)
    chosen = one.counts.chosen()
    assert chosen.tokens == sum(chosen.by_depth) == 30
    assert chosen.depth == pytest.approx(depth[:30].double().mean().item())
    assert chosen.moved == pytest.approx((depth[:30] > 0).double().mean().item())
    assert searcher(True).counts.chosen().tokens == 0


def test_a_row_without_numbers_is_plain_and_the_others_are_not():
    request = Request(Search(K))
    whole, broken = step(), step()
    right = searcher(False).decode(whole, [request] * ROWS)
    row = int(right.argmax())
    broken.states[DEPTH - 2][row] = float("nan")
    own = broken.logits[row].clone()
    found = searcher(False).decode(broken, [request] * ROWS)
    assert found[row] == 0
    assert torch.equal(broken.logits[row], own)
    others = torch.arange(ROWS) != row
    assert torch.equal(found[others], right[others])
