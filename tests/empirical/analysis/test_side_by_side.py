"""Two captures of the same tokens: what changes is paired, and other texts are refused."""

from dataclasses import replace

import numpy as np
import pytest

from empirical.analysis.side_by_side import search_columns, side_by_side
from empirical.traces.files import Traces
from empirical.traces.window import take_sample
from stopping.errors import UserError
from stopping.rules import Search
from tests.empirical.synthetic import calibrated

K = 5


def with_loss(traces: Traces, nats: float) -> Traces:
    """The same, each token's log-loss greater by so much at every layer."""
    return replace(traces, log_prob=traces.log_prob - np.float32(nats))


@pytest.fixture(scope="module")
def one() -> Traces:
    return calibrated(prompts=30, tokens=20, layers=8, seed=3)


def test_columns_are_the_definitions(one: Traces) -> None:
    sample = take_sample(one, K, 0, 200)
    found = search_columns(sample)
    stop = Search(K).choose(sample.x)
    for row in range(0, len(one), 37):
        x, loss = sample.x[row], sample.log_loss[row]
        chosen = stop[row]
        assert found["log_loss"][row] == pytest.approx(loss[chosen] - loss[-1])
        assert found["window_gap"][row] == pytest.approx(np.mean(loss - x))
        assert found["chosen_gap"][row] == pytest.approx(loss[chosen] - x[chosen])
        assert found["rise"][row] == pytest.approx(x[-1] - x[-2])
        assert found["hindsight"][row] == pytest.approx(loss.min() - loss[-1])
        assert found["moved"][row] == (chosen != K)


def test_a_shift_is_found_exactly_however_the_prompts_vary(one: Traces) -> None:
    found = side_by_side(one, with_loss(one, 0.3), K, replicates=200)
    change = found.change
    assert (change.final.low, change.final.high) == pytest.approx((0.3, 0.3), abs=1e-5)
    assert (change.window_gap.low, change.window_gap.high) == pytest.approx((0.3, 0.3), abs=1e-5)
    assert change.moved.estimate == change.rise.estimate == 0
    # Unpaired, the same shift would drown in what prompts differ by.
    assert found.first.final.high > found.second.final.low


def test_the_change_is_that_of_the_estimates(one: Traces) -> None:
    other = calibrated(prompts=30, tokens=20, layers=8, seed=4, overconfidence=0.5)
    other = replace(other, token=one.token)
    found = side_by_side(one, other, K, replicates=200)
    for name in vars(found.change):
        first, second = getattr(found.first, name), getattr(found.second, name)
        difference = second.estimate - first.estimate
        assert getattr(found.change, name).estimate == pytest.approx(difference)


def test_only_shared_tokens_count(one: Traces) -> None:
    found = side_by_side(one, one.select(one.prompt < 12), K, replicates=200)
    assert (found.prompts, found.tokens) == (12, 240)


def test_other_texts_are_refused(one: Traces) -> None:
    with pytest.raises(UserError, match="same tokenizer"):
        side_by_side(one, replace(one, token=one.token + 1), K)
    with pytest.raises(UserError):
        side_by_side(one, replace(one, prompt=one.prompt + 1000), K)
