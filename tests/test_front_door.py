"""What the README says of the bundled models is what their traces say."""

import re
from collections.abc import Mapping

import numpy as np
import pytest

from book._tools.front_door import (
    PICTURES,
    README,
    Model,
    models,
    picture,
    table,
    with_table,
)

NUMBER = re.compile(r"-?\d+\.?\d*")


@pytest.fixture(scope="module")
def found() -> Mapping[str, Model]:
    return models()


@pytest.mark.slow
def test_the_table_is_what_the_traces_say(found: Mapping[str, Model]) -> None:
    readme = README.read_text("utf-8")
    assert with_table(readme, table(found)) == readme, "python -m book._tools.front_door"


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_what_the_traces_say(found: Mapping[str, Model], name: str) -> None:
    kept, drawn = PICTURES[name].read_text("utf-8"), picture(found, narrow=bool(name))
    assert NUMBER.sub("0", kept) == NUMBER.sub("0", drawn), "python -m book._tools.front_door"
    # Sums may be added up in another order elsewhere: a hundredth of a point is not seen.
    numbers = [np.array([float(n) for n in NUMBER.findall(text)]) for text in (kept, drawn)]
    np.testing.assert_allclose(numbers[0], numbers[1], atol=0.01)


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), target
