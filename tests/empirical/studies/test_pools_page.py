"""The pools that the book keeps are whole, and say what its page says of them."""

import json
from pathlib import Path

import pytest

from empirical.studies.pools import Pools
from empirical.studies.pools.results import ALL, ALONE, BASELINES, HINDSIGHT
from empirical.studies.pools.tables import MATERIAL
from stopping.support.documents import structured

DATA = Path(__file__).parents[3] / "book" / "_data"
KEPT = sorted(DATA.glob("pools.*.json"))


def test_the_page_has_several_models() -> None:
    assert len(KEPT) > 1


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_page_is_right_about_what_is_kept(path: Path) -> None:
    found = structured(json.loads(path.read_text(encoding="utf-8"))["pools"], Pools)
    gains = {name: found[name].earlier for name in BASELINES}
    for name, gain in gains.items():
        assert gain is not None
        assert (gain.high > -MATERIAL) is (name != ALL), name
    gained = found[ALL].log_loss_vs_own.estimate
    assert found[ALONE].log_loss_vs_own.estimate < 0.8 * gained < 0
    assert found[HINDSIGHT].log_loss_vs_own.estimate < 0
