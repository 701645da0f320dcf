"""The bet of `stopping certify` beside those of confseq and MAPIE: how often is a share certified?

Prompts of bundled traces are a population. For a pool of the final layer with the search's, each
prompt has a mean excess over plain decoding, `X <= B = log(1 / share)` nats, and none from below:
a prompt may gain much. Of prompts drawn with replacement it is asked, at an error of `delta`,
whether `E X < alpha`:

*bet*: `stopping.support.betting`, which needs no bound from below;
*confseq*: its hedged betting martingale (Waudby-Smith and Ramdas), one-sided, its own stakes;
*MAPIE*: the p-value of Hoeffding and Bentkus in its risk control (learn then test).

The last two want values in [0, 1], so gains beyond `B` are cut off for them, which is safe.
*power* is the rate at `alpha`, *error* that at the population's own mean, where it must not exceed
`delta`. What is not installed is left out.
"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine, save
from empirical.analysis.certify.core import choose, excess, units_of
from empirical.data import bundled_traces
from empirical.traces.files import read_traces
from stopping.rules import Search
from stopping.support.betting import p_value
from stopping.theory.mixtures import pool_bound
from stopping.types import FloatArray

Test = Callable[[FloatArray, float, float], float]
"""From values, the largest possible one and a level to a p-value of "the mean is that or more"."""

UNITS = (50, 200)
SHARES = (0.95, 0.8, 0.5)
ALPHAS = (0.005, 0.02, 0.05)


def scaled(x: FloatArray, upper: float, level: float) -> tuple[FloatArray, float]:
    """Values cut off at `-upper`, and the level, both from [-upper, upper] to [0, 1]."""
    return (np.maximum(x, -upper) + upper) / (2 * upper), (level + upper) / (2 * upper)


def contenders() -> dict[str, Test]:
    """Tests whose library is installed."""
    found: dict[str, Test] = {"bet": p_value}
    try:
        from confseq.betting import betting_mart

        def confseq(x: FloatArray, upper: float, level: float) -> float:
            values, m = scaled(x, upper, level)
            wealth = betting_mart(1 - values, 1 - m, alpha=0.1, theta=1)
            return min(1.0, 1 / max(float(np.nanmax(wealth)), 1e-300))

        found["confseq"] = confseq
    except ImportError:
        pass
    try:
        from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

        def mapie(x: FloatArray, upper: float, level: float) -> float:
            values, m = scaled(x, upper, level)
            found = compute_hoeffding_bentkus_p_value(np.array([values.mean()]), len(values), m)
            return float(found[0, 0])

        found["MAPIE"] = mapie
    except ImportError:
        pass
    return found


@click.command()
@click.option("--replicates", default=100, show_default=True, help="Samples of prompts.")
@click.option("--delta", default=0.1, show_default=True, help="Error of a test.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="JSON file, by default among the results that the book quotes.",
)
def risk(replicates: int, delta: float, seed: int, out: Path | None) -> None:
    """Compare the bet of `stopping certify` with confseq and MAPIE, on power and error."""
    known = contenders()
    rows = []
    for number, path in enumerate(bundled_traces().values()):
        traces = read_traces(path)
        if traces.provenance.mode != "reference":
            continue
        _, labels = units_of(traces, "prompt", seed)
        choice = choose(Search(10), traces, np.random.default_rng(seed))
        for share in SHARES:
            upper = pool_bound(share)
            population = excess(traces, choice, labels, "log-loss", share)
            mean = float(population.mean())
            # At its own mean the null is true; one at or beyond the bound cannot be bet against.
            levels = [(a, "power") for a in ALPHAS if mean < a < upper] + [(mean, "error")]
            for n in UNITS:
                rng = np.random.default_rng([seed, number, n])
                samples = population[rng.integers(0, len(population), (replicates, n))]
                for level, what in levels:
                    rates = {
                        name: float(np.mean([test(x, upper, level) <= delta for x in samples]))
                        for name, test in known.items()
                    }
                    rows.append(
                        {"traces": path.stem, "share": share, "mean": mean, "prompts": n}
                        | {"alpha": level, "what": what, **rates}
                    )
    table = Table(title=f"Share of {replicates} samples in which E X < alpha is said")
    columns = ("traces", "share", "mean", "prompts", "alpha", "what", *known)
    for column in columns:
        table.add_column(column)
    for row in rows:
        cells = (row[column] for column in columns)
        table.add_row(*(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells))
    Console().print(table)
    made = machine("numpy", "confseq", "mapie")
    save("risk", made | {"replicates": replicates, "delta": delta, "seed": seed}, rows, out)
