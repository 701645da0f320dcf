"""Numbers and signs as readers expect them in print."""

import pytest

from empirical.numbers import general, maths


@pytest.mark.parametrize(
    ("ascii_text", "printed"),
    [
        ("-4.927e-05 (every draw <= 1e-09)", "−4.927 × 10⁻⁵ (every draw ≤ 1 × 10⁻⁹)"),
        ("half need eps_max >= 0.4", "half need ε_max ≥ 0.4"),
        ("V^ - V*, (-0.2, -0.1)", "V̂ − V*, (−0.2, −0.1)"),
        ("5-6 layers, a one-off, x[l-1]", "5-6 layers, a one-off, x[l-1]"),
    ],
)
def test_signs_are_the_mathematical_ones(ascii_text: str, printed: str) -> None:
    assert maths(ascii_text) == printed


@pytest.mark.parametrize(
    ("value", "printed"), [(0.0, "0"), (-0.25, "−0.25"), (3e-16, "3 × 10⁻¹⁶"), (0.02, "0.02")]
)
def test_rounding_errors_are_powers_of_ten(value: float, printed: str) -> None:
    assert general(value) == printed
