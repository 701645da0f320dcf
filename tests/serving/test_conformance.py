"""The conformance suite through an engine: its model's `compute_logits`, on rows as it gets them.

Between the states and the logits lies all that the plug-in does in an engine: rows with the states
of the window and a key beside the final one, picked rows told from slices, whose row it is, and the
search. States and head are the suite's own.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from empirical.serving import internals
from empirical.serving.lens import Parts, ServedLens
from empirical.serving.settings import Request
from stopping.rules import Search
from stopping.testing import check
from tests.empirical.serving.test_conformance import Normed
from tests.serving.engines import Engine, engine

K = 5


@pytest.fixture(scope="module", params=["lazy", "together"])
def served(llama, request) -> Iterator[Engine]:
    with engine(llama[0], {"K": K, "projections": request.param}) as one:
        yield one


def through(served: Engine, last: int = 0) -> Any:
    """What the engine makes of states and a head; `last` shifts the final layer, wrongly."""
    window = served.model.confident_window

    def decode(states: Tensor, head: Any) -> Tensor:
        n, depth, hidden = states.shape
        norm = Normed(head)
        window.depth, window.hidden, window._head = depth, hidden, head.unembed
        window.layers = tuple(range(max(1, depth - K), depth))
        parts = Parts(depth, len(head.matrix), norm, head.unembed, head.matrix)
        window.__dict__["lens"], window._searcher = ServedLens(parts, {}), None
        window.rows.of_row = dict.fromkeys(range(n), Request(Search(K)))
        final = norm(states[:, -1])
        named = [states[:, layer - 1 - last] for layer in window.layers]
        place = torch.arange(n)
        # A model of one layer has no window: its rows are the final states.
        whole = window.joined(final, named, place, place) if named else final
        return served.model.compute_logits(whole[place])

    return decode


def test_the_engine_is_a_decoder(served):
    check(through(served), "decoder", K=K, framework="torch").require()


def test_an_engine_that_is_one_layer_off_is_noticed(served):
    report = check(
        through(served, last=1), "decoder", K=K, framework="torch", layers=(8, 9), examples=20
    )
    assert not report.passed


def test_a_prompt_that_is_scored_stays_the_final_layers(served):
    """Slices of what `forward` returned are no picked rows."""
    window = served.model.confident_window
    assert isinstance(window, internals.Window)
    hidden = window.hidden
    rows = torch.randn(6, hidden)
    states = [torch.randn(6, hidden) for _ in window.layers]
    wide = window.joined(rows, states, torch.arange(6), torch.arange(6))
    if window.layers:
        assert torch.equal(served.model.compute_logits(wide[2:4]), window._head(rows[2:4]))
