"""The chooser on made-up logits: a lens that hands states through, so that each test knows `x`."""

import numpy as np
import pytest
import torch
from torch import Tensor

from empirical.decoding.choosing import Choice, Chooser, window_of
from empirical.decoding.memory import Memory
from empirical.lenses import AbstractLens
from empirical.logits.readout import read_logits
from stopping.changepoint import ChangePointModel, Component
from stopping.errors import UserError
from stopping.optimal import Bayes, LayerProblem, Snell, fit_policy
from stopping.optimal.bases import Polynomial
from stopping.rules import (
    AbstractRule,
    Adaptive,
    Final,
    FixedOffset,
    ForwardExit,
    Guarded,
    Hedged,
    HedgedMinimum,
    Minimax,
    Patience,
    Search,
    Shifted,
    Tolerance,
    WindowMinimum,
)

WIDTH, WORDS, ROWS = 6, 40, 120
LAYERS = tuple(range(5, 5 + WIDTH))
K = WIDTH - 1


def solved(recall: bool) -> Snell:
    """A solved rule for entropies such as `draw` makes."""
    steps = np.full(K, 0.05)
    component = Component(
        start_mean=3.25,
        start_sd=0.2,
        drift_mean=np.full(K, 0.02),
        drift_sd=steps,
        rise_mean=steps,
        rise_sd=steps,
        noise_sd=np.full(WIDTH, 0.03),
        turning=np.full(WIDTH, 1 / WIDTH),
    )
    problem = LayerProblem(ChangePointModel((component,), np.ones(1)), 0.003, recall)
    return Snell(fit_policy(problem, Polynomial(2), np.random.default_rng(0), 1_000))


SNELL, WITHOUT_RECALL = solved(True), solved(False)
RULES: tuple[AbstractRule, ...] = (
    Final(),
    FixedOffset(0),
    FixedOffset(3),
    Search(K),
    Search(2),
    Search(K, p=0.4),
    Search(K, p=0.0),
    Tolerance(0.03, K),
    Patience(1, K),
    Patience(2, K),
    Shifted(-2, K),
    Shifted(-1, K),
    Shifted(1, K),
    WindowMinimum(K),
    ForwardExit(3.1, K),
    Guarded(0.02, K),
    Hedged(0.1, K),
    Minimax(0.2, K),
    HedgedMinimum(0.1, K),
    Adaptive(K=K),
    SNELL,
    WITHOUT_RECALL,
    Bayes(SNELL.problem.model),
)


class HandsThrough(AbstractLens):
    """States are logits already. Counts the rows that are projected."""

    def __init__(self, keeps_final: bool = True) -> None:
        self.projected = 0
        self._keeps_final = keeps_final

    @property
    def name(self) -> str:
        return "identity"

    @property
    def keeps_final(self) -> bool:
        return self._keeps_final

    def read(self, layer: int, h: Tensor) -> Tensor:
        self.projected += h.shape[1]
        return h


def draw(rows: int = ROWS, seed: int = 0) -> dict[int, Tensor]:
    """Logits by layer whose entropies wander by about a tenth of a nat from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(rows, 1, WORDS, generator=generator)
    steps = 0.3 * torch.randn(rows, WIDTH, WORDS, generator=generator)
    wandering = start + steps.cumsum(1)
    return {layer: wandering[:, i].contiguous() for i, layer in enumerate(LAYERS)}


def entropies(states: dict[int, Tensor]) -> np.ndarray:
    zeros = torch.zeros(len(states[LAYERS[0]]), dtype=torch.long)
    return np.stack([read_logits(states[i], zeros).entropy.numpy() for i in LAYERS], axis=1)


def run(
    rule: AbstractRule,
    states: dict[int, Tensor],
    lens: AbstractLens | None = None,
    whole: bool = False,
    seed: int = 7,
) -> tuple[Choice, Tensor]:
    """Choose with position and token = row number; return the choice and the chosen logits."""
    layers = layers_of(rule)
    logits = states[LAYERS[-1]].clone()
    ids = np.arange(len(logits))
    chooser = Chooser(rule, lens or HandsThrough(), layers, seed, whole)
    return chooser.choose(logits, states, ids, ids), logits


def layers_of(rule: AbstractRule) -> tuple[int, ...]:
    return tuple(i for i in window_of(rule, LAYERS[-1]) if i in LAYERS)


def expected(rule: AbstractRule, states: dict[int, Tensor], seed: int = 7) -> np.ndarray:
    """Ask the rule about each row's whole window, with the generator that belongs to the row."""
    columns = [LAYERS.index(i) for i in layers_of(rule)]
    chosen = []
    for row, x in enumerate(entropies(states)[:, columns]):
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, row + 1, row + 1, 0]))
        chosen.append(rule.choose(x[None], rng)[0])
    return np.array(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.spec()}")
@pytest.mark.parametrize("whole", [False, True], ids=["lazy", "whole"])
def test_the_choice_is_the_rules_own_and_its_logits_come_out(
    rule: AbstractRule, whole: bool
) -> None:
    states = draw()
    choice, logits = run(rule, states, whole=whole)
    assert np.array_equal(choice.column, expected(rule, states))
    layers = layers_of(rule)
    for row, column in enumerate(choice.column):
        assert torch.equal(logits[row], states[layers[column]][row])
    if not isinstance(rule, Final) and rule not in (FixedOffset(0), Search(K, p=0.0)):
        assert np.mean(choice.column < len(layers) - 1) > 0.1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.spec()}")
def test_projections_are_counted_and_no_more_than_the_rule_needs(rule: AbstractRule) -> None:
    states, lens = draw(), HandsThrough()
    choice, _ = run(rule, states, lens)
    assert choice.projections.sum() == lens.projected
    x = entropies(states)[:, [LAYERS.index(i) for i in layers_of(rule)]]
    if isinstance(rule, Search) and 0 < rule.p < 1:
        # A row that is not searched costs nothing.
        assert set(np.unique(choice.projections[choice.column == K])) >= {0}
        assert choice.projections.sum() < 0.6 * rule.projections(x).sum()
    elif rule.reading == "backward" and not isinstance(rule, Shifted):
        assert np.array_equal(choice.projections, rule.projections(x))
    elif isinstance(rule, Shifted) or rule.reading == "returning":
        # It may return to a layer that it has passed, which is read again then.
        assert np.all(choice.projections - rule.projections(x) <= 1)


def test_whole_reads_every_layer_and_lazy_leaves_nan() -> None:
    states = draw()
    lazy, _ = run(Search(K), states)
    whole, _ = run(Search(K), states, whole=True)
    assert np.array_equal(whole.entropy, entropies(states))
    read = ~np.isnan(lazy.entropy)
    assert np.array_equal(lazy.entropy[read], whole.entropy[read])
    assert np.array_equal(read, lazy.top1 >= 0)
    assert np.array_equal(read.sum(axis=1) - 1, lazy.projections)
    assert not read.all()
    assert np.array_equal(whole.top1, np.stack([states[i].argmax(1) for i in LAYERS], axis=1))


def wants_more(rule: AbstractRule, x: np.ndarray, read: int) -> np.ndarray:
    return np.array(rule.projections(x) > read)


def depends_on_the_unread(rule: AbstractRule) -> bool:
    """Whether what stands in unread columns changes if the rule wants another layer."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 3, (2000, WIDTH))
    for read in range(K):
        other = x.copy()
        other[:, : K - read] = rng.uniform(0, 10, (2000, K - read))
        if (wants_more(rule, x, read) != wants_more(rule, other, read)).any():
            return True
    return False


@pytest.mark.parametrize(
    "rule",
    [r for r in RULES if r.reading in ("backward", "returning")],
    ids=lambda rule: rule.spec(),
)
def test_backward_rules_know_from_what_they_have_read(rule: AbstractRule) -> None:
    assert not depends_on_the_unread(rule)


def test_a_forward_exit_does_not() -> None:
    # The negative control: reading it lazily from `L` would be wrong.
    assert depends_on_the_unread(ForwardExit(3.1, K))


def returns_to_the_final_layer(rule: AbstractRule) -> bool:
    """Whether a row whose logits were replaced on the way may want the model's own again."""
    x = np.random.default_rng(4).uniform(0, 3, (2000, WIDTH))
    replaced = np.zeros(len(x), dtype=np.bool_)
    for column in range(K - 1, -1, -1):
        known = np.where(np.arange(WIDTH) < column, 1e6, x)
        choice = rule.choose(known)
        if (replaced & (choice == K)).any():
            return True
        replaced |= choice == column
    return False


@pytest.mark.parametrize(
    "rule", [r for r in RULES if r.reading in ("backward", "sinking")], ids=lambda rule: rule.spec()
)
def test_logits_once_replaced_are_never_wanted_again(rule: AbstractRule) -> None:
    if isinstance(rule, Search):
        rule = Search(rule.K)
    assert not returns_to_the_final_layer(rule)


def test_the_minimax_rule_does_return() -> None:
    # The negative control: an unread layer counts for the certificate.
    assert returns_to_the_final_layer(Minimax(0.2, K))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.spec()}")
def test_a_row_never_depends_on_the_rest_of_its_batch(rule: AbstractRule) -> None:
    states = draw()
    choice, logits = run(rule, states)
    layers = layers_of(rule)
    chooser = Chooser(rule, HandsThrough(), layers, 7)
    for row in range(0, ROWS, 30):
        alone = states[LAYERS[-1]][[row]].clone()
        ids = np.array([row])
        single = chooser.choose(alone, {i: h[[row]] for i, h in states.items()}, ids, ids)
        assert single.column[0] == choice.column[row]
        assert torch.equal(alone[0], logits[row])
        assert single.projections[0] == choice.projections[row]


def test_draws_fall_with_probability_p_and_anew_for_another_seed() -> None:
    states = draw(2000)
    sure, _ = run(Search(K), states)
    leaves = sure.column < K
    searched = [run(Search(K, p=0.3), states, seed=seed)[0].column < K for seed in (1, 2)]
    for moved in searched:
        assert not moved[~leaves].any()
        n = leaves.sum()
        # Four standard errors of a share.
        assert abs(moved[leaves].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / n)
    both = (searched[0] & searched[1])[leaves].mean()
    assert abs(both - 0.09) < 4 * np.sqrt(0.09 * 0.91 / leaves.sum())


def test_a_lens_that_corrects_the_final_layer_is_asked_about_it() -> None:
    states = draw()
    own = states[LAYERS[-1]].clone()
    # The lens sees `L` as certain, so that no search leaves it; the model's logits still come out.
    states[LAYERS[-1]] = 50 * own
    chooser = Chooser(Search(K), HandsThrough(keeps_final=False), LAYERS, 0)
    logits, ids = own.clone(), np.arange(ROWS)
    choice = chooser.choose(logits, states, ids, ids)
    assert (choice.column == K).all()
    assert torch.equal(logits, own)
    assert (choice.projections == 2).all()
    assert np.array_equal(choice.top1[:, -1], own.argmax(1))
    kept, _ = run(Search(K), {**states, LAYERS[-1]: own})
    assert (kept.column < K).any()


def test_large_batches_go_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    states = draw()
    whole, logits = run(Search(K), states)
    monkeypatch.setattr("empirical.decoding.choosing._BLOCK_BYTES", 7 * WORDS * 4)
    blocks, by_block = run(Search(K), states)
    assert np.array_equal(whole.column, blocks.column)
    assert torch.equal(logits, by_block)


@pytest.mark.parametrize("layer", [LAYERS[-1], LAYERS[-2]])
def test_nan_is_an_error_that_names_the_layer(layer: int) -> None:
    states = draw()
    states[layer][11, 3] = torch.nan
    with pytest.raises(UserError, match=f"layer {layer}: logits: row 11"):
        run(Search(K), states)


def test_masked_words_are_no_error() -> None:
    states = {
        layer: z.index_fill(1, torch.tensor([0, 5]), -torch.inf) for layer, z in draw().items()
    }
    choice, logits = run(Search(K), states)
    assert (choice.column < K).any()
    assert torch.isinf(logits[:, [0, 5]]).all()


def test_a_rule_that_remembers_keeps_one_stream_a_row() -> None:
    """Step by step, in any batch, each row is chosen as its own entropies in their order."""
    rule, rows = Adaptive(K=K), np.arange(ROWS)
    texts = [draw(seed=seed) for seed in range(4)]  # four steps of a batch of texts
    x = np.stack([entropies(states) for states in texts])  # (steps, rows, layers)
    memory, chooser = Memory(), Chooser(rule, HandsThrough(), LAYERS, 0)

    def choose(states: dict[int, Tensor], step: int) -> list[int]:
        logits, place = states[LAYERS[-1]].clone(), np.full(ROWS, step)
        choice = chooser.choose(logits, states, place, place, memory=memory, row=rows)
        return [int(column) for column in choice.column]

    chosen = [choose(states, step) for step, states in enumerate(texts)]
    expected = [rule.choose(x[:, row]).tolist() for row in rows]
    assert np.transpose(chosen).tolist() == expected
    # A guess that was dropped, of much noise, leaves no trace: the place is decoded anew.
    wild = {layer: states * (1 + 3 * (layer % 2)) for layer, states in texts[0].items()}
    assert choose(wild, 2) != chosen[2]
    assert choose(texts[2], 2) == chosen[2]
    assert choose(texts[3], 3) == chosen[3]
    memory.clear()
    assert choose(texts[3], 3) == [int(rule.choose(x[3, [row]])[0]) for row in rows]
