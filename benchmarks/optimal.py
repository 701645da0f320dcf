"""Brackets of hard stopping problems beside the published ones, and the regression's speed.

A row draws its training paths, its rule's mean and its two duals from streams of its own. Speed is
that of the regression alone, as a ratio to least-squares Monte Carlo in one screen of numpy on
paths of the same number.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.measure import interleave, machine
from stopping.optimal.bases import Polynomial
from stopping.optimal.dual import Dual
from stopping.optimal.problem import AbstractGaussianProblem
from stopping.optimal.published import FRACTIONAL, MAX_CALL, Fractional, MaxCall
from stopping.optimal.regression import fit_policy
from stopping.simulation.montecarlo import estimate
from stopping.support.files import write_atomic

RESULTS = Path(__file__).parents[1] / "book" / "_data" / "optimal.json"
MOST = 20
"""Stocks of the largest row: with fifty a row takes longer than two minutes."""


@dataclass(frozen=True)
class Effort:
    """Bases, and numbers of paths: of the regression, the rule's mean, and the two duals."""

    basis: Polynomial
    control: Polynomial
    fit: int
    rule: int
    regression: int
    nested: int
    inner: int


FEW = Effort(Polynomial(3, 3), Polynomial(2, 2), 50_000, 200_000, 4000, 6000, 32)
SOME = Effort(Polynomial(2, 2), Polynomial(1, 1), 50_000, 200_000, 4000, 4000, 32)
MANY = Effort(Polynomial(2, 2), Polynomial(1, 1), 30_000, 100_000, 4000, 1500, 32)
PAST = Effort(Polynomial(2, 2), Polynomial(1, 1), 6000, 20_000, 20_000, 500, 16)


@click.command("optimal")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all streams.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Of the speed.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULTS)
def optimal_benchmark(seed: int, rounds: int, out: Path) -> None:
    """Max-calls and fractional Brownian motion in brackets; about five minutes on one core."""
    found = {
        "command": f"python -m benchmarks optimal --seed {seed}",
        "provenance": machine("numpy", "scipy"),
        "max_call": [
            {
                "stocks": d,
                "spot": spot,
                "published": MAX_CALL[d, spot],
                **row(problem, effort, seed),
            }
            for d, spot, problem, effort in max_calls()
        ],
        "fractional": [
            {"hurst": hurst, "published": value, **row(Fractional(hurst), PAST, seed)}
            for hurst, value in FRACTIONAL.items()
        ],
        "speed": speed(rounds),
    }
    write_atomic(out, json.dumps(found, indent=1) + "\n")


def max_calls() -> Iterator[tuple[int, int, MaxCall, Effort]]:
    """Rows of the published table, small ones first."""
    for d, spot in MAX_CALL:
        if d <= MOST:
            yield d, spot, MaxCall(d, float(spot)), FEW if d <= 3 else SOME if d <= 5 else MANY


def row(problem: AbstractGaussianProblem, effort: Effort, seed: int) -> dict[str, Any]:
    """One bracket, and the processor seconds of its four parts."""
    clock = [time.process_time()]
    streams = np.random.SeedSequence(seed).generate_state(5)

    def bound(draw: Any, n: int, stream: int) -> dict[str, float]:
        found = estimate(draw, n, int(stream))
        clock.append(time.process_time())
        return {"estimate": -found.mean, "stderr": found.stderr, "n": n}

    policy = fit_policy(
        problem, effort.basis, np.random.default_rng(streams[0]), effort.fit, control=effort.control
    )
    clock.append(time.process_time())
    made = {
        "lower": bound(policy.draw, effort.rule, streams[1]),
        "regression": bound(Dual(policy, 0, 1).draw, effort.regression, streams[2]),
        "nested": bound(Dual(policy, effort.inner, 1).draw, effort.nested, streams[3]),
    }
    parts = zip(("fit", *made), np.diff(clock), strict=True)
    click.echo(f"{problem}: {made['lower']['estimate']:.4f} to {made['nested']['estimate']:.4f}")
    return {
        **made,
        "paths": effort.fit,
        "inner": effort.inner,
        "basis": effort.basis.settings(),
        "control": effort.control.settings(),
        "seconds": {name: float(seconds) for name, seconds in parts},
    }


def speed(rounds: int) -> dict[str, Any]:
    """Ours over plain, two stocks, the same number of paths and of columns."""
    problem, paths = MaxCall(2), 20_000
    contenders = {
        "ours": lambda: fit_policy(problem, Polynomial(3, 3), np.random.default_rng(1), paths),
        "plain": lambda: plain(problem, np.random.default_rng(1), paths),
    }
    times = interleave(contenders, rounds)
    ratio = times.ratio("ours", "plain")
    click.echo(f"regression against plain numpy: {ratio}")
    return {"paths": paths, "ratio": ratio.median, "low": ratio.low, "high": ratio.high}


def plain(problem: MaxCall, rng: np.random.Generator, n: int) -> float:
    """Longstaff and Schwartz on cubic monomials of the payoff and the sorted prices."""
    step = problem.years / problem.dates
    drift = (problem.rate - problem.dividend - problem.volatility**2 / 2) * step
    shocks = rng.standard_normal((n, problem.dates, problem.stocks))
    moved = np.cumsum(drift + problem.volatility * math.sqrt(step) * shocks, axis=1)
    prices = problem.spot * np.exp(moved)
    discount = math.exp(-problem.rate * step)
    paid = np.maximum(prices[:, -1].max(axis=1) - problem.strike, 0)
    for t in range(problem.dates - 2, -1, -1):
        paid *= discount
        payoff = np.maximum(prices[:, t].max(axis=1) - problem.strike, 0)
        inside = payoff > 0
        ranked = np.sort(prices[inside, t], axis=1)[:, ::-1] / problem.strike
        features = np.column_stack([payoff[inside] / problem.strike, ranked])
        exponents = [e for e in np.ndindex(*(4,) * features.shape[1]) if sum(e) <= 3]
        columns = np.column_stack([np.prod(features**e, axis=1) for e in exponents])
        weights = np.linalg.lstsq(columns, paid[inside], rcond=None)[0]
        stop = payoff[inside] > columns @ weights
        paid[np.flatnonzero(inside)[stop]] = payoff[inside][stop]
    return float(paid.mean() * discount)
