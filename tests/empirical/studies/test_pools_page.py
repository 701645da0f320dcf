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


def pools(path: Path) -> Pools:
    return structured(json.loads(path.read_text(encoding="utf-8"))["pools"], Pools)


def test_the_page_has_several_models() -> None:
    assert len(KEPT) == 4


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_mixing_gains_nothing_and_a_correction_needs_no_earlier_layer(path: Path) -> None:
    found = pools(path)
    for name in set(BASELINES) - {ALL}:
        gain = found[name].earlier
        assert gain is not None
        assert gain.high > -MATERIAL, name
    gained = found[ALL].log_loss_vs_own
    assert gained.high < 0
    assert found[ALONE].log_loss_vs_own.estimate < 0.75 * gained.estimate
    assert found[HINDSIGHT].log_loss_vs_own.high < 0
