"""The Monte Carlo engine against plain numpy and against drawing its random numbers alone."""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.measure import Row, interleave, machine, save, show
from benchmarks.plain import BINS, HIGH, loop
from benchmarks.plain import simulate as plain_simulate
from stopping.model.noise import GaussianNoise, UniformNoise
from stopping.model.process import Process
from stopping.rules import (
    AbstractRule,
    Final,
    FixedOffset,
    ForwardExit,
    Guarded,
    Patience,
    Search,
    Tolerance,
    WindowMinimum,
    zoo,
)
from stopping.simulation.engine import simulate
from stopping.simulation.engine.model import Model
from stopping.simulation.engine.plans import plan
from stopping.simulation.engine.simulate import BLOCK, block_tally
from stopping.support.parallel import Workers, in_order

LAYERS = 40
WORLD = Process(LAYERS, UniformNoise(0.3), K=10, drift=0.05, rise=0.7, perturbed=1.0, start=2.1)
"""Every token turns somewhere in the last ten layers; A3 holds for the uniform noise."""
WORLDS = {
    f"{noise}, {rises}": replace(WORLD, noise=law, rise_excess=excess)
    for noise, law in (("uniform", UniformNoise(0.3)), ("Gaussian", GaussianNoise(0.17)))
    for rises, excess in (("fixed rises", 0.0), ("random rises", 0.2))
}
TEN = (
    Final(),
    FixedOffset(1),
    Search(LAYERS - 1),
    Search(),
    Tolerance(0.02),
    Patience(2),
    Guarded(0.1),
    WindowMinimum(),
    WindowMinimum(LAYERS - 1),
    ForwardExit(0.25, LAYERS - 1),
)
RULES: dict[str, tuple[AbstractRule, ...]] = {
    "ten rules, some over all 40 layers": TEN,
    "zoo, 18 rules, window of all 40 layers": zoo(LAYERS - 1),
    "zoo, 18 rules, window of 11 layers": zoo(),
}
ROW = 1 << 14
SHARE, LOOP_SHARE = 16, 256
"""Plain numpy and the loop get one token in so many: as long as the engine takes for several."""


def floor(process: Process, rules: tuple[AbstractRule, ...], n: int) -> Callable[[], None]:
    """Draw the numbers that `n` tokens need, in float32 by numpy's fastest generator, no more."""
    model = Model.of(process)
    values = 1 + max(plan(rule, process.layers).scan.steps for rule in rules)
    rises = float(model.weight @ (model.layers - model.random_from())) if n else 0.0
    rng = np.random.Generator(np.random.SFC64(0))
    row = np.empty(ROW, dtype=np.float32)
    fill = rng.standard_normal if model.gaussian else rng.random

    def run() -> None:
        for _ in range(values * n // ROW):
            fill(out=row, dtype=np.float32)
        for _ in range(round(rises * n / ROW)):
            rng.standard_exponential(out=row, dtype=np.float32)

    return run


def engine_rows(n: int, rounds: int) -> list[Row]:
    """Ratios and rates for every world and set of rules."""
    rows = []
    for world, process in WORLDS.items():
        for what, rules in RULES.items():
            times = interleave(
                {
                    "engine": lambda p=process, r=rules: simulate(p, r, n, 0, bins=BINS, high=HIGH),
                    "plain": lambda p=process, r=rules: plain_simulate(p, r, n // SHARE, 0),
                    "floor": floor(process, rules, n),
                },
                rounds,
            )
            plain, over = times.ratio("plain", "engine"), times.ratio("engine", "floor")
            rows.append(
                {
                    "world": world,
                    "rules": what,
                    "plain / engine": SHARE * plain.median,
                    "quartiles": [SHARE * plain.low, SHARE * plain.high],
                    "engine / floor": over.median,
                    "floor quartiles": [over.low, over.high],
                    "engine, ns per token": 1e9 * times.median("engine") / n,
                    "floor, ns per token": 1e9 * times.median("floor") / n,
                    "tokens per second": n / times.median("engine"),
                }
            )
    return rows


def loop_rows(n: int, rounds: int) -> list[Row]:
    """A loop in plain Python that follows the search alone, against ten rules of the engine."""
    rows = []
    for world, process in WORLDS.items():
        times = interleave(
            {
                "engine": lambda p=process: simulate(p, TEN, n, 0, bins=BINS, high=HIGH),
                "loop": lambda p=process: loop(p, Search().K, n // LOOP_SHARE, 0),
            },
            rounds,
        )
        found = times.ratio("loop", "engine")
        rows.append(
            {
                "world": world,
                "loop with one rule / engine with ten": LOOP_SHARE * found.median,
                "quartiles": [LOOP_SHARE * found.low, LOOP_SHARE * found.high],
            }
        )
    return rows


def timed_block(index: int) -> float:
    """CPU seconds of one block, measured where it runs."""
    process = WORLDS["uniform, fixed rises"]
    plans = tuple(plan(rule, LAYERS) for rule in RULES["zoo, 18 rules, window of all 40 layers"])
    began = time.process_time()
    block_tally(Model.of(process), plans, 0, index, BLOCK, BINS, HIGH)
    return time.process_time() - began


def scaling_rows(blocks: int, rounds: int) -> list[Row]:
    """Two workers against one: by the clock on the wall, and by CPU time."""
    work = [partial(timed_block, index) for index in range(blocks)]
    spent: dict[int, list[float]] = {1: [], 2: []}

    def run(workers: int) -> Callable[[], None]:
        return lambda: spent[workers].append(sum(in_order(work, Workers(workers))))

    times = interleave({"one": run(1), "two": run(2)}, rounds, time.perf_counter)
    speedup = times.ratio("one", "two")
    slowdown = float(np.median(np.array(spent[2][1:]) / np.array(spent[1][1:])))
    return [
        {
            "what": "two workers against one",
            "speed-up on the wall": speedup.median,
            "quartiles": [speedup.low, speedup.high],
            "CPU time, two / one": slowdown,
            "speed-up if both cores were free": 2.0 / slowdown,
        }
    ]


def memory_rows(blocks: int) -> list[Row]:
    """Largest memory of a worker beyond the interpreter and its libraries."""
    rows = []
    for what, rules in RULES.items():
        process = WORLDS["uniform, random rises"]
        for n in (BLOCK, blocks * BLOCK):
            tracemalloc.start()
            simulate(process, rules, n, 0, bins=BINS, high=HIGH)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            rows.append({"rules": what, "tokens": n, "peak MB": peak / 1e6})
    return rows


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(min=2))
@click.option("--quick", is_flag=True, help="A small run, to see that it works.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: benchmarks/results/montecarlo.json.",
)
def montecarlo(rounds: int, quick: bool, out: Path | None) -> None:
    """Measure the Monte Carlo engine: speed, floor, workers, memory.

    \b
    Examples:
      OMP_NUM_THREADS=1 python -m benchmarks montecarlo
      OMP_NUM_THREADS=1 python -m benchmarks montecarlo --quick --out /tmp/look.json
    """
    made = {**machine("numpy", "scipy", "joblib"), "rounds": 2 if quick else rounds}
    engine = engine_rows(1 << 16 if quick else 1 << 18, 2 if quick else rounds)
    show("Engine", [{k: v for k, v in row.items() if "quartiles" not in k} for row in engine])
    looped = loop_rows(1 << 16 if quick else 1 << 18, 2 if quick else rounds)
    show("Loop", looped)
    scaling = scaling_rows(4 if quick else 8, 2 if quick else rounds)
    show("Workers", scaling)
    memory = memory_rows(2 if quick else 8)
    show("Memory", memory)
    rows = [
        *({"table": "engine", **row} for row in engine),
        *({"table": "loop", **row} for row in looped),
        *({"table": "workers", **row} for row in scaling),
        *({"table": "memory", **row} for row in memory),
    ]
    click.echo(f"Wrote {save('montecarlo', made, rows, out)}")
