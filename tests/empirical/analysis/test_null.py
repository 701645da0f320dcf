"""The split by the sign of the last step, in worlds with and without a perturbation."""

import numpy as np
import pytest

from empirical.analysis.null import PUBLISHED_FALL, null_split, split_by_sign, unperturbed
from empirical.figures.split import draw_split
from empirical.published import ELSEWHERE, PERTURBED, UNPERTURBED
from empirical.studies.ledger.public import first_gain, over_and_under, rising
from stopping.model.noise import GaussianNoise
from stopping.model.process import Process


def test_without_perturbation() -> None:
    paths = unperturbed(np.random.default_rng(1), 50_000)
    assert (paths.turning == paths.G.shape[1] - 1).all()
    assert (np.diff(paths.G, axis=1) <= 0).all()
    found = split_by_sign(paths.x)
    assert found.share == pytest.approx(0.162, abs=0.01)
    assert found.rise == pytest.approx(PERTURBED.final - PERTURBED.before, abs=0.02)
    assert found.fall == pytest.approx(UNPERTURBED.before - UNPERTURBED.final, abs=0.1)
    # The levels are near the paper's too: the two lines cross.
    assert found.rising[-2] < found.others[-1] + 0.1 < found.rising[-1] < found.others[-2]


def test_over_all_tokens_the_final_layer_lowers_entropy_there_and_in_the_paper() -> None:
    found = null_split()
    overall = found.share * found.rise - (1 - found.share) * found.fall
    assert overall == pytest.approx(-PUBLISHED_FALL, abs=0.05)
    assert pytest.approx(1.96, abs=0.01) == PUBLISHED_FALL


@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_any_noise_makes_a_group_that_rises(sigma: float) -> None:
    flat = Process(6, GaussianNoise(sigma), drift=0.0, perturbed=0.0)
    found = split_by_sign(flat.sample(np.random.default_rng(0), 20_000).x)
    # |eps - eps'| of standard deviation sigma sqrt(2) has the mean 2 sigma / sqrt(pi).
    assert found.share == pytest.approx(0.5, abs=0.02)
    assert found.rise == pytest.approx(2 * sigma / np.sqrt(np.pi), rel=0.03)
    assert found.fall == pytest.approx(found.rise, rel=0.05)


def test_without_variance_there_is_no_such_group() -> None:
    """Negative control: the picture is of the noise, not of the method of drawing it."""
    still = Process(6, GaussianNoise(0.0), drift=0.3, perturbed=0.0)
    assert (np.diff(still.sample(np.random.default_rng(0), 100).x, axis=1) < 0).all()


def test_what_the_ledger_counts() -> None:
    assert (rising("base"), rising("instruct")) == ((3, 6), (0, 6))
    assert over_and_under() == (9, 3)
    assert [round(first_gain(other), 1) for other in ELSEWHERE] == [2.0, -0.3, 1.2]


def test_the_figure_shows_both_groups_of_both() -> None:
    found = null_split()
    left, right = draw_split(found).axes
    others, rising = (line.get_ydata() for line in left.lines)
    assert list(rising) == [PERTURBED.before, PERTURBED.final]
    assert list(others) == [UNPERTURBED.before, UNPERTURBED.final]
    np.testing.assert_array_equal(right.lines[1].get_ydata(), found.rising)
    np.testing.assert_array_equal(right.lines[0].get_ydata(), found.others)
