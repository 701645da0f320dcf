"""The pool as a decoder: its probabilities, its bounds, its layer, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from empirical.decoding import ConfidentDecoding
from empirical.decoding.rivals import Mix, parse_decoder
from stopping.errors import UserError
from stopping.rules import Search
from tests.empirical.decoding.decoder_models import ARCHITECTURES

LONG = torch.arange(5, 17)[None]


def window(seed: int, layers: int = 5) -> torch.Tensor:
    draws = np.random.default_rng(seed)
    scale = draws.uniform(0.2, 3.0, (layers, 6, 1))
    return torch.from_numpy(scale * draws.normal(size=(layers, 6, 40)))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99))
def test_m1_for_every_token(seed: int, weight: float) -> None:
    z = window(seed)
    pool, column = Mix(weight=weight, K=4).decide(z)
    assert column is not None
    rows = torch.arange(6)
    final = z[-1].log_softmax(-1)
    other = z[torch.from_numpy(column), rows].log_softmax(-1)
    assert torch.allclose(pool.exp(), weight * final.exp() + (1 - weight) * other.exp())
    assert (pool >= final + math.log(weight) - 1e-9).all()
    assert (-pool <= -weight * final - (1 - weight) * other + 1e-9).all()
    assert torch.allclose(pool.exp().sum(-1), torch.ones(6, dtype=torch.float64))


def test_the_layer_is_the_rules() -> None:
    z = window(3)
    p = z.softmax(-1)
    x = -(p * p.log()).sum(-1).T.numpy()
    _, column = Mix(K=4).decide(z)
    np.testing.assert_array_equal(column, Search(4).choose(x))
    assert (column < 4).any()


def test_all_weight_on_the_final_layer_is_plain_decoding() -> None:
    model = ARCHITECTURES["llama"].build()
    plain = model.generate(LONG, max_new_tokens=8, do_sample=False)
    texts = {}
    for weight in (1.0, 0.9, 0.01):
        with ConfidentDecoding(model, Mix(weight=weight, K=3)) as decoding:
            texts[weight] = model.generate(LONG, max_new_tokens=8, do_sample=False)
        assert decoding.statistics.moved.any()
    assert torch.equal(texts[1.0], plain)
    with ConfidentDecoding(model, Search(3)):
        pure = model.generate(LONG, max_new_tokens=8, do_sample=False)
    assert torch.equal(texts[0.01], pure)


def test_texts() -> None:
    found = parse_decoder("mix:rule=guarded:guard=0.1&K=4,weight=0.8", 6)
    assert isinstance(found, Mix)
    assert parse_decoder(found.spec()) == found
    assert getattr(found.chosen_by, "K", None) == 4
    assert getattr(parse_decoder("mix", 6).chosen_by, "K", None) == 6  # type: ignore[union-attr]
    assert found.name.startswith("0.8 final + 0.2 ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mix:weight=0", "weight"),
        ("mix:weight=1.5", "weight"),
        ("mix:weight=nan", "weight"),
        ("mix:rule=nothing", "unknown kind"),
        ("mix:rule=dola", "no rule on entropies"),
        ("mix:rule=search:p=0.5", "deterministic"),
        ("mix:rule=adaptive", "without memory"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_decoder(text)
