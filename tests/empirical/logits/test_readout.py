"""Entropies and probabilities against sums in double precision."""

import numpy as np
import pytest
import torch

from empirical.logits.readout import read_logits
from stopping.errors import UserError

pytestmark = pytest.mark.numerical

VOCABULARY = 5000
EPS = float(np.finfo(np.float32).eps)


def logits_of(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    z = torch.randn((40, VOCABULARY), generator=generator)
    if kind == "masked":
        z[:, ::3] = -torch.inf
    scale = {"flat": 1e-3, "wide": 60.0}.get(kind, 3.0)
    return scale * z + {"shifted": 1000.0}.get(kind, 0.0)


def exact_entropy(z: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(z.double(), dim=1)
    return torch.special.entr(p).sum(dim=1)


def tolerance(z: torch.Tensor) -> float:
    """Rounding of the shift z - m, relative 1e-7, weighed by probabilities, plus the sums'."""
    return 8 * EPS * float(np.log(VOCABULARY))


@pytest.mark.parametrize("kind", ["usual", "flat", "wide", "masked", "shifted"])
def test_statistics_are_those_of_double_precision(kind: str) -> None:
    z = logits_of(kind)
    tokens = torch.arange(len(z)) * 3 + 1
    seen = read_logits(z, tokens)
    log_p = torch.log_softmax(z.double(), dim=1)
    assert (seen.entropy - exact_entropy(z)).abs().max() <= tolerance(z)
    assert (seen.entropy >= 0).all()
    chosen = log_p.gather(1, tokens[:, None])[:, 0]
    assert (seen.log_prob - chosen).abs().max() <= 4 * EPS * (1 + chosen.abs().max())
    assert torch.equal(seen.top1, z.argmax(dim=1))
    torch.testing.assert_close(seen.top1_prob.double(), log_p.amax(1).exp(), rtol=16 * EPS, atol=0)


def test_the_usual_formula_would_fail_that_test() -> None:
    """Negative control: logsumexp minus the mean logit cancels; its error is far above."""
    z = logits_of("shifted")
    usual = z.logsumexp(dim=1) - (z.softmax(dim=1) * z).sum(dim=1)
    assert (usual - exact_entropy(z)).abs().max() > 10 * tolerance(z)


def test_half_precision_logits_are_summed_in_single_precision() -> None:
    z = logits_of("usual").to(torch.bfloat16)
    seen = read_logits(z, torch.zeros(len(z), dtype=torch.long))
    assert seen.entropy.dtype == torch.float32
    assert (seen.entropy - exact_entropy(z)).abs().max() <= tolerance(z)


@pytest.mark.parametrize("entries", [3, 512, 1024, 1500, 4096, 5000])
def test_the_most_probable_entry_is_the_lowest_of_the_best(entries: int) -> None:
    z = torch.randint(0, 4, (50, entries), generator=torch.Generator().manual_seed(1)).float()
    z[7, entries - 1] = 9.0
    z[8, entries // 2] = 9.0
    zeros = torch.zeros(50, dtype=torch.long)
    for logits in (z, z.T.contiguous().T, z.requires_grad_()):
        assert read_logits(logits, zeros).top1.tolist() == z.detach().numpy().argmax(1).tolist()


@pytest.mark.parametrize("place", [0, 700, VOCABULARY - 1])
def test_nan_is_seen_wherever_it_stands(place: int) -> None:
    z = logits_of("usual")
    z[5, place] = torch.nan
    with pytest.raises(UserError, match="row 5"):
        read_logits(z, torch.zeros(len(z), dtype=torch.long))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    z = logits_of("usual")
    z[17, 4] = bad
    with pytest.raises(UserError, match="row 17"):
        read_logits(z, torch.zeros(len(z), dtype=torch.long))


def test_a_row_without_any_word_is_refused() -> None:
    z = logits_of("usual")
    z[3] = -torch.inf
    with pytest.raises(UserError, match="row 3"):
        read_logits(z, torch.zeros(len(z), dtype=torch.long))
