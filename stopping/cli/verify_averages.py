"""`stopping verify averages`: T13, the largest expected excess over all drifts."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import click
import numpy as np

from stopping.cli.options import seed_option, workers_options
from stopping.cli.progress import counting
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.model.densities import LAWS
from stopping.support.parallel import Workers
from stopping.support.results import Report
from stopping.theory.averages import AverageCase, average_table

SHOWN = 4
"""Falls of the worst drifts to print; those further below `V*` are loose."""


@click.command()
@click.option(
    "--layers",
    type=click.IntRange(min=1, max=12),
    default=8,
    help="Largest number of layers below V* whose falls are searched.",
)
@seed_option
@workers_options
@with_json()
def averages(layers: int, seed: int, workers: Workers) -> Reply:
    """Largest expected excess over all drifts, by the exact distribution (T13).

    The bounds T2 and T10 hold for the worst noise and for any sub-Gaussian noise. Here the noise
    is random with a known law and only the drifts are the worst: how much of each bound is left?

    \b
    Examples:
      stopping verify averages                the table, within a minute
      stopping verify averages --layers 4     faster; the remainder says what is missed
      stopping verify averages --json         all falls and constants, machine-readable
    """
    with counting("averages", len(LAWS)) as advance:
        cases = average_table(
            np.random.default_rng(seed), max_layers=layers, workers=workers, advance=advance
        )
    content = {"seed": seed, "layers": layers, "cases": cases}
    return Reply(content, report(cases, seed))


def report(cases: Sequence[AverageCase], seed: int) -> Report:
    """Constants, gaps and worst falls, one column for each law."""
    rows = table("Largest expected excess over all drifts", "", *(case.law for case in cases))
    for section in SECTIONS:
        for name, cell in section:
            rows.add_row(name, *map(cell, cases))
        rows.add_section()
    yield rows
    yield (
        "at least: attained by the worst falls found. at most: proved for all falls and "
        "windows, exactly for uniform noise, else against an adversary who sees too much. "
        "difference bound: E (eps - eps')+. T10 is silent where noise is not sub-Gaussian, T2 "
        "where it is unbounded."
    )
    for case in cases:
        whole = "E[excess]" if case.contained else "E[excess; V^ <= V*]"
        yield (
            f"{case.law}: {whole} <= {_above(case.upper)} {case.unit}, "
            f"{case.difference_bound / case.upper:.1f} times below the difference bound."
        )
    loose = [case.law for case in cases if not all(worst.converged for worst in case.worst)]
    yield f"not converged: {', '.join(loose) or 'none'}; seed {seed}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _above(value: float) -> str:
    """Six decimals, rounded up, so that what is printed is still a bound."""
    return f"{math.ceil(value * 1e6) / 1e6:.6f}"


def _fall(j: int) -> Callable[[AverageCase], str]:
    def cell(case: AverageCase) -> str:
        falls = case.worst[-1].drifts
        return _number(falls[j]) if j < len(falls) else "-"

    return cell


Line: TypeAlias = tuple[str, Callable[[AverageCase], str]]
SECTIONS: tuple[tuple[Line, ...], ...] = (
    (
        ("unit", lambda case: case.unit),
        ("at least", lambda case: f"{case.constant:.6f}"),
        ("at most", lambda case: _above(case.upper)),
        ("  with one layer below V*", lambda case: f"{case.worst[0].constant:.6f}"),
    ),
    (
        ("T2: 2 eps_max", lambda case: _number(case.excess_bound)),
        ("  gap", lambda case: _number(case.excess_gap)),
        ("T10: sigma sqrt(pi)", lambda case: _number(case.tail_bound)),
        ("  gap", lambda case: _number(case.tail_gap)),
        ("difference bound", lambda case: _number(case.difference_bound)),
        ("  gap", lambda case: _number(case.difference_gap)),
        ("any distribution", lambda case: _number(case.any_distribution_bound)),
    ),
    (
        *((f"worst fall, {j + 1} below V*", _fall(j)) for j in range(SHOWN)),
        ("layers below V*", lambda case: str(case.worst[-1].layers_below)),
        ("starts that agree", lambda c: f"{c.worst[-1].agreeing} of {c.worst[-1].starts}"),
    ),
)
