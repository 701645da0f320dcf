"""What the certificate's contenders are given is what the bet is given, but for large gains."""

import numpy as np
import pytest

from benchmarks.risk import contenders, scaled


def test_scaling_keeps_what_is_asked() -> None:
    x = np.array([-3.0, -0.2, 0.0, 0.1, 0.2])
    values, level = scaled(x, 0.2, 0.05)
    np.testing.assert_allclose(values, [0.0, 0.0, 0.5, 0.75, 1.0])
    assert level == pytest.approx((0.05 + 0.2) / 0.4)
    # Cutting gains off makes the mean larger only, so less is said, and nothing false.
    assert values.mean() * 0.4 - 0.2 >= x.mean()


@pytest.mark.parametrize("name", list(contenders()))
def test_every_contender_tells_none_from_all(name: str) -> None:
    test = contenders()[name]
    assert test(np.zeros(400), 0.2, 0.05) < 1e-3
    assert test(np.full(400, 0.1), 0.2, 0.05) > 0.5
