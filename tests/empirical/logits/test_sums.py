"""Sums over parts of a vocabulary against sums over the whole in double precision."""

import pytest
import torch

from empirical.logits.sums import Sums, merged, sums_of
from tests.empirical.logits.test_readout import VOCABULARY, exact_entropy, logits_of, tolerance

pytestmark = pytest.mark.numerical

KINDS = ["usual", "flat", "wide", "masked", "shifted"]


def shards_of(z: torch.Tensor, count: int) -> list[Sums]:
    """What each rank of a tensor-parallel model has; the last shard is shorter."""
    size = -(-VOCABULARY // count)
    return [sums_of(z[:, a : a + size], a) for a in range(0, VOCABULARY, size)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 8, 96])
def test_shards_give_the_entropy_of_the_whole(kind: str, count: int) -> None:
    z = logits_of(kind)
    whole = merged(shards_of(z, count))
    # Each merge rounds once more.
    assert (whole.entropy - exact_entropy(z)).abs().max() <= 2 * tolerance(z)
    assert torch.equal(whole.top1, z.argmax(dim=1))
    torch.testing.assert_close(
        whole.log_normaliser.double(), z.double().logsumexp(1), rtol=1e-6, atol=1e-5
    )


def test_the_order_of_the_parts_makes_the_bits() -> None:
    shards = shards_of(logits_of("usual"), 8)
    once, again = merged(shards), merged(shards)
    for name in ("m", "s", "t", "top1"):
        assert torch.equal(getattr(once, name), getattr(again, name))


def test_sums_that_forget_to_move_t_are_noticed() -> None:
    """Negative control: `t` rescaled like `s`, without `d s`."""
    z = logits_of("usual")
    a, b = shards_of(z, 2)
    m = torch.maximum(a.m, b.m)
    s = (a.m - m).exp() * a.s + (b.m - m).exp() * b.s
    t = (a.m - m).exp() * a.t + (b.m - m).exp() * b.t
    wrong = Sums(m, s, t, a.top1).entropy
    assert (wrong - exact_entropy(z)).abs().max() > 1000 * tolerance(z)


def test_a_shard_without_any_word_adds_nothing() -> None:
    z = logits_of("usual")
    z[:, : VOCABULARY // 2] = -torch.inf
    whole = merged(shards_of(z, 8))
    assert (whole.entropy - exact_entropy(z)).abs().max() <= 2 * tolerance(z)
    assert torch.equal(whole.top1, z.argmax(dim=1))
    reverse = merged(shards_of(z, 8)[::-1])
    assert (reverse.entropy - exact_entropy(z)).abs().max() <= 2 * tolerance(z)


def test_ties_go_to_the_lowest_word_and_nan_stays() -> None:
    z = torch.zeros(2, VOCABULARY)
    z[1, 3000] = torch.nan
    whole = merged(shards_of(z, 8))
    assert whole.top1[0] == 0
    assert whole.entropy[0] == pytest.approx(torch.log(torch.tensor(float(VOCABULARY))).item())
    assert torch.isnan(whole.m[1])
    assert torch.isnan(whole.entropy[1])
