"""What an engine runs passes this project's conformance suite, both ways to project."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from empirical.serving.lens import Parts, ServedLens, projector_of
from empirical.serving.scan import steps_back
from empirical.serving.searching import Searcher, Step, entropies
from empirical.serving.settings import Request
from empirical.serving.statistics import Counts
from stopping.rules import Search
from stopping.testing import check

K = 5


class Normed(nn.Module):
    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, h: Tensor) -> Tensor:
        normed: Tensor = self.head.norm(h)
        return normed


def decoder(lazy: bool, last: int = 0):
    """What an engine does with states and a head; `last` shifts the final layer, wrongly."""

    def decode(states: Tensor, head: Any) -> Tensor:
        n, depth = states.shape[0], states.shape[1]
        norm = Normed(head)
        parts = Parts(depth, len(head.matrix), norm, head.unembed, head.matrix)
        lens = ServedLens(parts, {})
        layers = tuple(range(max(1, depth - K), depth + 1))
        searcher = Searcher(lens, projector_of(lens), layers, lazy, Counts(K, publishes=False))
        given = {layer: states[:, layer - 1 - last] for layer in layers}
        given[depth] = norm(states[:, -1])
        logits = head.unembed(given[depth]).clone()
        place = torch.zeros(n, dtype=torch.long)
        searcher.decode(Step(logits, given, place, place), [Request(Search(K))] * n)
        return logits

    return decode


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [True, False])
def test_the_decoder(lazy):
    check(decoder(lazy), "decoder", K=K, framework="torch", examples=8).require()


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [True, False])
def test_a_decoder_that_is_one_layer_off_is_noticed(lazy):
    report = check(
        decoder(lazy, last=1), "decoder", K=K, framework="torch", layers=(8, 9), examples=4
    )
    assert not report.passed


def test_the_selection():
    def select(x: Tensor) -> Tensor:
        return x.shape[1] - 1 - steps_back(Search(K), x.flip(1))

    check(select, "selection", K=K, framework="torch", examples=8).require()


@pytest.mark.slow
def test_the_entropy():
    check(entropies, "entropy", framework="torch", examples=8).require()


@pytest.mark.slow
def test_the_lens():
    """The final layer's states come normed from an engine's model."""

    def read(states: Tensor, head: Any) -> Tensor:
        depth = states.shape[1]
        parts = Parts(depth, len(head.matrix), Normed(head), head.unembed, head.matrix)
        lens = ServedLens(parts, {})
        return torch.stack([lens.read(1 + i, states[None, :, i])[0] for i in range(depth)], dim=1)

    check(read, "lens", framework="torch", final_normed=True, examples=8).require()
