"""The mixing probability's worst case against linear programs over all worlds."""

import numpy as np
import pytest
from scipy.optimize import linprog

from stopping.errors import UserError
from stopping.theory.certificates import expected_certificate
from stopping.theory.guarded import hedged_search
from stopping.theory.mixing import best_mixing_probability, mixing_worst_case


def mixing_by_lp(p: float, eps: float, K: int, tax_max: float) -> float:
    """Maximise `p excess(V^) + (1-p) excess(L)` over (G, noise), for each pair (V*, V^).

    Variables are `G` and the noise; the pair of layers turns the rule into linear constraints.
    """
    layers = K + 1
    eye = np.eye(layers)
    none = np.zeros(layers)
    worst = 0.0
    for v in range(layers):
        for stop in range(v + 1):
            rows, limits = [], []
            for k in range(1, layers):
                step = eye[k] - eye[k - 1]
                rows.append(np.concatenate([step if k <= v else -step, none]))
                limits.append(0.0 if k <= v else -2 * eps)
                # Observed: rises strictly on (stop, L], does not rise into `stop`.
                if k > stop:
                    rows.append(np.concatenate([-step, -step]))
                    limits.append(0.0)
                elif k == stop:
                    rows.append(np.concatenate([step, step]))
                    limits.append(0.0)
            rows.append(np.concatenate([eye[-1] - eye[v], none]))
            limits.append(tax_max)
            gain = p * (eye[stop] - eye[v]) + (1 - p) * (eye[-1] - eye[v])
            found = linprog(
                np.concatenate([-gain, none]),
                A_ub=np.array(rows),
                b_ub=limits,
                bounds=[(0, None)] + [(None, None)] * (layers - 1) + [(-eps, eps)] * layers,
            )
            if found.status == 0:
                worst = max(worst, -float(found.fun or 0.0))
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("K", [1, 2, 3, 4])
@pytest.mark.parametrize("tax_max", [0.15, 0.5, 3.0])
def test_theorem_equals_linear_programming(K: int, tax_max: float) -> None:
    eps = 0.1
    for p in (0.0, 0.3, 0.5, 0.8, 1.0):
        exact = float(mixing_worst_case(p, eps, K, tax_max))
        assert exact == pytest.approx(mixing_by_lp(p, eps, K, tax_max), abs=1e-6)


def test_the_formula_of_one_step_is_wrong_for_two() -> None:
    """The negative control: max in the place of the sum is beaten by the program."""
    assert mixing_by_lp(0.5, 0.1, 2, 0.5) > float(mixing_worst_case(0.5, 0.1, 1, 0.5)) + 0.05


def test_ends_and_infinite_tax() -> None:
    curve = mixing_worst_case(np.array([0.0, 0.5, 1.0]), 0.1, 4)
    assert curve.tolist() == [np.inf, np.inf, 0.2]
    assert mixing_worst_case([0.0, 1.0], 0.1, 4, 2.0).tolist() == [2.0, 0.2]


def test_only_the_search_itself_survives_two_steps_or_more() -> None:
    p = np.linspace(0, 1, 101)
    for K in (2, 5, 10):
        curve = mixing_worst_case(p, 0.1, K, 0.201)
        assert (np.diff(curve) < 0).all()
        assert best_mixing_probability(0.1, K, 0.201) == 1.0


def test_best_constant_for_one_step() -> None:
    p = np.linspace(0, 1, 10_001)
    for tax in (0.21, 0.5, 5.0):
        best = best_mixing_probability(0.1, 1, tax)
        curve = mixing_worst_case(p, 0.1, 1, tax)
        assert float(mixing_worst_case(best, 0.1, 1, tax)) <= curve.min()
        assert best == pytest.approx(p[curve.argmin()], abs=1e-4)
        assert float(mixing_worst_case(best, 0.1, 1, tax)) == pytest.approx(0.2 * tax / (0.2 + tax))
    assert best_mixing_probability(0.1, 1) == 1.0
    assert best_mixing_probability(0.1, 1, 0.2) == 0.0


def test_per_observation_a_constant_grows_and_the_hedge_does_not() -> None:
    eps = 0.1
    for rise in (0.05, 0.19, 1.0, 10.0):
        x = np.array([[0.0, rise]])
        mixing = expected_certificate([[0.5, 0.5]], x, eps)[0]
        assert mixing == pytest.approx(0.5 * (2 * eps + rise))
        assert expected_certificate(hedged_search(x, eps), x, eps)[0] < eps


@pytest.mark.parametrize(
    ("p", "eps", "K", "tax"),
    [
        (1.1, 0.1, 2, 1.0),
        (np.nan, 0.1, 2, 1.0),
        (0.5, -0.1, 2, 1.0),
        (0.5, 0.1, 0, 1.0),
        (0.5, 0.1, 2, -1.0),
        (0.5, 0.1, 2, np.nan),
    ],
)
def test_bad_input_is_the_users_error(p: float, eps: float, K: int, tax: float) -> None:
    with pytest.raises(UserError):
        mixing_worst_case(p, eps, K, tax)
