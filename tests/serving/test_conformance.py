"""The conformance suite through an engine: from requests to the logits that are sampled from.

The suite's tokens are requests of `LLM.generate`, all in one batch: the one with `i` tokens before
its last gets the states of the `i`-th (`tests.serving.scripted`). What comes back are the raw
logits that vLLM returns for what it sampled.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from stopping.testing import check
from stopping.testing.head import VOCABULARY
from tests.serving.engines import Engine, engine

K = 5


@pytest.fixture(scope="module", params=["lazy", "together"])
def served(tmp_path_factory, request) -> Iterator[Engine]:
    from tests.serving.scripted import save_scripted  # vLLM's own imports warn

    confident = {"K": K, "projections": request.param}
    options = {"load_format": "dummy", "logprobs_mode": "raw_logits"}
    with engine(save_scripted(tmp_path_factory.mktemp("scripted")), confident, **options) as one:
        yield one


def through(served: Engine, p: float = 1.0, shift: int = 0) -> Any:
    """What the engine makes of states and a head; with `shift` it is handed the wrong layers."""

    from tests.serving.scripted import tell

    def decode(states: Tensor, head: Any) -> Tensor:
        tell(served, states, head, shift)
        texts = [[0] * (1 + place) for place in range(len(states))]
        seed = int(torch.randint(2**31, ()))
        asked = {"rule": f"search:K={K}", "p": p, "seed": seed}
        outputs = served.run(texts, asked, tokens=1, logprobs=VOCABULARY)
        found = []
        for output in outputs:
            (place,) = output.outputs[0].logprobs
            found.append([place[token].logprob for token in range(VOCABULARY)])
        return torch.tensor(found)

    return decode


def test_the_engine_is_a_decoder(served):
    check(through(served), "decoder", K=K, framework="torch", examples=20).require()


@pytest.mark.parametrize("served", ["together"], indirect=True)
def test_an_engine_that_randomises_is_a_decoder(served):
    """Projecting lazily draws the same numbers: `test_llama`."""
    check(through(served, 0.5), "decoder", K=K, p=0.5, framework="torch", examples=3).require()


def test_an_engine_that_is_one_layer_off_is_noticed(served):
    decode = through(served, shift=1)
    report = check(decode, "decoder", K=K, framework="torch", layers=(8, 9), examples=5)
    assert not report.passed
