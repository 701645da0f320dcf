"""The pools that the book keeps are whole, and say what its page says of them."""

import json
from pathlib import Path

from empirical.studies.pools import Pools
from empirical.studies.pools.results import ALL, ALONE, BASELINES
from empirical.studies.pools.tables import MATERIAL
from stopping.support.documents import structured

KEPT = sorted((Path(__file__).parents[3] / "book" / "_data").glob("pools.*.json"))


def test_the_page_is_right_about_what_is_kept() -> None:
    assert len(KEPT) == 1  # "One model has been measured so far."
    found = structured(json.loads(KEPT[0].read_text(encoding="utf-8"))["pools"], Pools)
    gains = {name: found[name].earlier for name in BASELINES}
    for name, gain in gains.items():
        assert gain is not None
        assert (gain.high > -MATERIAL) is (name != ALL), name
    gained = found[ALL].log_loss_vs_own.estimate
    assert found[ALONE].log_loss_vs_own.estimate < 0.8 * gained < 0
    assert found.settings.epochs == 6
