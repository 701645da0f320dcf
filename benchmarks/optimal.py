"""Brackets of hard stopping problems beside the published ones, bases beside each other, and speed.

A row draws its training paths, its rule's mean and its two duals from streams of its own. Bases are
compared on one max-call, one fractional Brownian motion and the change-point models of the bundled
traces, with the same paths and the same budget of the dual bound. Speed is that of the regression
alone, as a ratio to least-squares Monte Carlo in one screen of numpy on paths of the same number.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import click
import numpy as np

from benchmarks.measure import Row, interleave, machine, save
from empirical.data import bundled_traces, stored_parts
from empirical.report import fitting
from empirical.report.results import FULL, WINDOW
from empirical.report.sources import read_sources
from empirical.report.stored import read_store
from stopping.changepoint import ChangePointModel
from stopping.optimal.bases import AbstractBasis, Polynomial, RandomNetwork, Trees
from stopping.optimal.budget import TRAINING, dual_bound
from stopping.optimal.dual import Dual
from stopping.optimal.layers import LayerProblem
from stopping.optimal.pathwise import optimised
from stopping.optimal.problem import AbstractControlledProblem, AbstractGaussianProblem
from stopping.optimal.published import FRACTIONAL, MAX_CALL, Fractional, MaxCall
from stopping.optimal.regression import fit_policy
from stopping.simulation.montecarlo import Draw, Estimate, estimate


@dataclass(frozen=True)
class Effort:
    """Bases, and numbers of paths: of the regression, the rule's mean, and the two duals."""

    basis: AbstractBasis
    control: AbstractBasis
    fit: int
    rule: int
    regression: int
    nested: int
    inner: int


FEW = Effort(Polynomial(3, 3), Polynomial(2, 2), 50_000, 200_000, 4000, 6000, 32)
SOME = Effort(Polynomial(2, 2), Polynomial(1, 1), 50_000, 200_000, 4000, 4000, 32)
MANY = Effort(Polynomial(2, 2), Polynomial(1, 1), 30_000, 100_000, 4000, 1500, 32)
MOST = Effort(Polynomial(2, 2), Polynomial(1, 1), 30_000, 50_000, 2000, 800, 32)
PAST = Effort(Polynomial(2, 2), Polynomial(1, 1), 6000, 20_000, 20_000, 500, 16)
LONG = Effort(RandomNetwork(64), RandomNetwork(32), 12_000, 20_000, 20_000, 1000, 16)
"""Above H = 1/2, where a trend goes on: the worth of waiting has kinks no parabola follows."""

BASES: tuple[AbstractBasis, ...] = (Polynomial(2, 2), Polynomial(3, 3), RandomNetwork(64), Trees())
MARTINGALES = (
    ("regression", 0, 0.0),
    ("pathwise", 0, TRAINING),
    ("nested", 8, 0.0),
    ("nested", 32, 0.0),
)
"""Method, continuations of each history, share of the budget for training."""
COST = 0.02
"""Of a projection, nats; that of `stopping solve`."""


@click.command("optimal")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all streams.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Of the speed.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/.")
def optimal_benchmark(seed: int, rounds: int, out: Path | None) -> None:
    """Max-calls, fractional Brownian motion, bases, speed; about ten minutes on one core."""
    made = machine("numpy", "scipy", "scikit-learn") | {
        "command": f"python -m benchmarks optimal --seed {seed}"
    }
    rows: list[Row] = []
    for found in chain(
        bases(seed), martingales(seed), max_calls(seed), fractional(seed), speed(rounds)
    ):
        rows.append(found)
        click.echo(f"{found['table']}: {found['name']}", err=True)
        path = save("optimal", made, rows, out)
    click.echo(path.name)


def max_calls(seed: int) -> Iterator[Row]:
    """Rows of the published table, small ones first."""
    for d, spot in MAX_CALL:
        effort = FEW if d <= 3 else SOME if d <= 5 else MANY if d <= 20 else MOST
        known = {"stocks": d, "spot": spot, "published": MAX_CALL[d, spot]}
        name = f"{d} stocks, {spot}"
        yield {"table": "max-call", "name": name} | known | row(MaxCall(d, spot), effort, seed)


def fractional(seed: int) -> Iterator[Row]:
    """Rows of the other published table."""
    for hurst, value in FRACTIONAL.items():
        effort = LONG if hurst > 0.5 else PAST
        known = {"name": f"H = {hurst}", "hurst": hurst, "published": value}
        yield {"table": "fractional"} | known | row(Fractional(hurst), effort, seed)


def row(problem: AbstractGaussianProblem, effort: Effort, seed: int) -> Row:
    """One bracket, and the processor seconds of its four parts."""
    clock = [time.process_time()]
    streams = np.random.SeedSequence(seed).generate_state(5)

    def bound(draw: Draw, n: int, stream: int) -> Row:
        # Blocks of what fits the memory of a small machine, with fifty stocks too.
        found = estimate(draw, n, int(stream), block=4096 if n > 10_000 else 1 << 15)
        clock.append(time.process_time())
        return reward(found)

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
    return {
        **made,
        "paths": effort.fit,
        "inner": effort.inner,
        "basis": effort.basis.settings(),
        "control": effort.control.settings(),
        "seconds": {name: float(seconds) for name, seconds in parts},
    }


def reward(found: Estimate, sign: int = -1) -> Row:
    """An estimate of a loss as one of a reward, or as it is."""
    return {"estimate": sign * found.mean, "stderr": found.stderr, "n": found.n}


@dataclass(frozen=True)
class Task:
    """A problem on which bases are compared; `sign` turns its loss into what is printed."""

    name: str
    problem: AbstractControlledProblem
    paths: int
    rule: int
    budget: int
    sign: int


def tasks() -> Iterator[Task]:
    """One of each published table, and the fits of the bundled traces."""
    yield Task("max-call, 2 stocks, 100", MaxCall(2), 20_000, 100_000, 300_000, -1)
    yield Task("max-call, 5 stocks, 100", MaxCall(5), 20_000, 100_000, 300_000, -1)
    yield Task("fractional, H = 0.7", Fractional(0.7), 6000, 10_000, 300_000, -1)
    for name, model in fitted_models().items():
        yield Task(name, LayerProblem(model, COST), 3000, 3000, 15_000, 1)


def fitted_models() -> dict[str, ChangePointModel]:
    """Models of the bundled traces of reference text, raw lens, as the report keeps them."""
    sources = read_sources(list(bundled_traces().values()))
    store = read_store(stored_parts())
    found = {}
    for job in fitting.fit_jobs(sources, None, WINDOW, 0, FULL.replicates, FULL.refits):
        kept = store.find(fitting.KIND, job.inputs, fitting.FileFit)
        if kept and kept.fit and (kept.lens, kept.mode) == ("raw", "reference"):
            found[kept.model] = kept.fit.model
    return found


def bases(seed: int) -> Iterator[Row]:
    """Every basis on every task: value of its rule, dual bound of one budget, seconds of both."""
    for task in tasks():
        for basis in BASES:
            streams = np.random.SeedSequence(seed).generate_state(3)
            began = time.process_time()
            policy = fit_policy(
                task.problem,
                basis,
                np.random.default_rng(streams[0]),
                task.paths,
                control=Polynomial(1, 1),
            )
            fitted = time.process_time()
            rule = estimate(policy.draw, task.rule, int(streams[1]), block=4096)
            dual = dual_bound(policy, task.budget, int(streams[2]))
            yield {
                "table": "bases",
                "name": task.name,
                "basis": basis.settings(),
                "paths": task.paths,
                "budget": task.budget,
                "rule": reward(rule, task.sign),
                "dual": reward(dual.estimate, task.sign)
                | {"inner": dual.inner, "pathwise": dual.pathwise},
                "seconds": {"fit": fitted - began, "bounds": time.process_time() - fitted},
            }


def martingales(seed: int) -> Iterator[Row]:
    """Dual bounds of one regression's martingale, that optimised pathwise, and nested ones.

    Each on the same budget of steps, of which the optimisation takes a tenth.
    """
    for task in tasks():
        horizon, budget = task.problem.horizon, 50_000 if task.sign > 0 else 150_000
        streams = np.random.SeedSequence(seed).generate_state(3)
        fit = np.random.default_rng(streams[0])
        policy = fit_policy(
            task.problem, Polynomial(2, 2), fit, task.paths, control=Polynomial(1, 1)
        )
        for method, inner, share in MARTINGALES:
            began = time.process_time()
            chosen, rng = policy, np.random.default_rng(streams[1])
            if share:
                tuned = optimised(policy, rng, int(share * budget / horizon))
                if tuned is None:  # too few paths for its coefficients
                    continue
                chosen = tuned
            n = int((1 - share) * budget / horizon / (1 + inner))
            found = estimate(Dual(chosen, inner).draw, n, int(streams[2]), block=1024)
            yield {
                "table": "martingales",
                "name": task.name,
                "method": method,
                "inner": inner,
                "budget": budget,
                "dual": reward(found, task.sign),
                "seconds": time.process_time() - began,
            }


def speed(rounds: int) -> Iterator[Row]:
    """Ours over plain, two stocks, the same number of paths and of columns."""
    problem, paths = MaxCall(2), 20_000
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: fit_policy(problem, Polynomial(3, 3), np.random.default_rng(1), paths),
        "plain": lambda: plain(problem, np.random.default_rng(1), paths),
    }
    ratio = interleave(contenders, rounds).ratio("ours", "plain")
    quartiles = {"ratio": ratio.median, "low": ratio.low, "high": ratio.high}
    yield {"table": "speed", "name": "regression over plain numpy", "paths": paths} | quartiles


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
