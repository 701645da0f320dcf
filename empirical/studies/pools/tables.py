"""How pools are shown: one table, one sentence."""

from empirical.studies.pools.results import ALONE, BASELINES, HINDSIGHT, OWN, Pools
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent, table

MATERIAL = 0.005
"""Nats below which a difference, however certain, is called nothing."""


def report(pools: Pools) -> Report:
    """Every predictor, and what earlier layers add."""
    rows = table(
        f"{pools.model}: layers {pools.layers[0]} to {pools.layers[-1]}, "
        f"{pools.tokens:,} test tokens of {count(pools.prompts, 'prompt')}",
        *("predictor", "log-loss", "minus own temperature", "accuracy", "from earlier layers"),
        caption=f"nats; trained on {pools.training:,} tokens, stopped on {pools.validation:,}, of "
        f"other prompts; intervals over {pools.clusters} clusters, 95%, the last column's for all "
        f"{len(BASELINES)} together: minus the same without the earlier layers",
    )
    for row in pools.rows:
        earlier = row.earlier
        rows.add_row(
            row.name,
            number(row.log_loss.estimate, ".3f"),
            "" if row.name == OWN else estimate(row.log_loss_vs_own, "+.3f"),
            f"{percent(row.accuracy).estimate:.1f}%",
            "" if earlier is None else estimate(earlier, "+.3f"),
        )
    yield rows
    yield sentence(pools)


def sentence(pools: Pools) -> str:
    """Say what earlier layers add, what the same training gives the final state, and hindsight."""
    rows = [(row, row.earlier) for row in pools.rows if row.earlier is not None]
    best, gain = min(rows, key=lambda pair: pair[1].estimate)
    won = [row for row, earlier in rows if earlier.high < -MATERIAL]
    said = (
        f"{len(won) or 'None'} of {len(rows)} ways to use earlier layers can be said to gain more "
        f"than {MATERIAL:g} nats beyond the final layer alone, at 5% for all together"
    )
    alone, hindsight = (pools[name].log_loss_vs_own for name in (ALONE, HINDSIGHT))
    return (
        f"{said}; the most is a change of {estimate(gain, '+.3f')} nats ({best.name}). The same "
        f"training changes the final state alone by {estimate(alone, '+.3f')}, and hindsight "
        f"would by {number(hindsight.estimate, '+.3f')}."
    )
