"""How often a table of rules says *better* or *worse* where neither is true.

Two kinds of traces whose truth is known:

*exchangeable*: every layer's log-loss is drawn from one distribution, with an effect of the prompt,
whatever the entropies say, so that no rule differs from the final layer in the mean;

*resampled*: bundled traces as a population. Each rule's losses on the tokens that it moves are
shifted by a constant, so that its mean difference to the final layer is exactly zero; then prompts,
or groups of prompts, are drawn with replacement. Rules that move few tokens, win a little on most
and lose much on some stay what they are.

A run errs if any rule of the table is called better or worse. `old` is what an earlier version did:
the percentile bootstrap over prompts, Bonferroni, with no least number of prompts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.measure import save_as_found
from empirical.analysis.decisions import (
    ClusterSums,
    Comparison,
    Contest,
    compare,
    step_down,
)
from empirical.analysis.validate.core import default_rules
from empirical.data import bundled_traces
from empirical.intervals import bonferroni, tail_replicates
from empirical.traces.files import Traces, read_traces
from empirical.traces.window import take_sample
from stopping.rules import choose_streams
from stopping.support.statistics import Interval, clopper_pearson, multiplicities
from stopping.types import IntArray

K, TOKENS = 10, 60
Draw = Callable[[int, np.random.Generator], ClusterSums]


@dataclass(frozen=True)
class Population:
    """Units to draw from (prompts or groups), each with the rules' sums; differences centred."""

    name: str
    units: ClusterSums
    prompts: IntArray
    """Prompts of each unit with moved tokens, shape (m, n)."""


@dataclass(frozen=True)
class Errors:
    """Share of runs with a false verdict, its exact 95 % interval, and the false *better* alone."""

    population: str
    unit: str
    drawn: int
    method: str
    runs: int
    false: Interval
    better: float


def contests_of(traces: Traces, seed: int = 0) -> list[Contest]:
    """The zoo on some traces."""
    sample, rules = take_sample(traces, K, seed, 100), default_rules(K)
    rng = np.random.default_rng(seed)
    return [
        Contest.of_choice(sample.log_loss, choose_streams(rule, sample.x, traces.prompt, rng))
        for rule in rules[1:]
    ]


def centred(contest: Contest) -> Contest:
    """The contest with a constant on its moved tokens that makes the mean difference zero."""
    moved = contest.moved
    shift = np.where(moved, contest.difference.sum() / max(moved.sum(), 1), 0.0)
    return replace(
        contest,
        difference=contest.difference - shift,
        worst=contest.worst - shift,
        best=contest.best - shift,
    )


def population(name: str, traces: Traces, by_group: bool) -> Population:
    """The bundled traces as a population of prompts, or of groups."""
    prompt = np.unique(traces.prompt, return_inverse=True)[1].ravel()
    units = traces.clusters if by_group else prompt
    contests = [centred(contest) for contest in contests_of(traces)]
    sums = ClusterSums.of(contests, prompt, units)
    pairs = [np.unique(np.stack([units, prompt])[:, c.moved], axis=1)[0] for c in contests]
    moved = np.array([np.bincount(pair, minlength=len(sums.tokens)) for pair in pairs])
    return Population(name, sums, moved)


def drawn(whole: Population, count: int, rng: np.random.Generator) -> ClusterSums:
    """Draw units with replacement."""
    units = rng.integers(len(whole.units.tokens), size=count)
    cut = {name: getattr(whole.units, name)[:, units] for name in ("difference", "worst", "best")}
    moved = whole.prompts[:, units]
    return ClusterSums(
        **cut,
        tokens=whole.units.tokens[units],
        prompts=moved.sum(axis=1),
        groups=(moved > 0).sum(axis=1),
    )


def exchangeable(prompts: int, rng: np.random.Generator) -> ClusterSums:
    """Prompts of `TOKENS` tokens whose layers differ by chance alone."""
    n = prompts * TOKENS
    prompt = np.repeat(np.arange(prompts), TOKENS)
    loss = rng.gamma(0.5, 2.0, (n, K + 1)) * rng.gamma(2.0, 0.5, (prompts, K + 1))[prompt]
    entropy = np.minimum(rng.gamma(1.0, 1.0, (n, K + 1)), 9.0)
    traces = Traces.of(
        entropy,
        log_prob=-loss,
        top1=np.zeros((n, K + 1), int),
        token=np.zeros(n, int),
        prompt=prompt,
    )
    return ClusterSums.of(contests_of(traces), prompt, prompt)


def new(sums: ClusterSums, seed: int) -> list[Comparison]:
    """Verdicts of this version."""
    return [decision.comparison for decision in step_down(sums, seed)]


def old(sums: ClusterSums, seed: int) -> list[Comparison]:
    """Verdicts of the percentile bootstrap, Bonferroni: the negative control."""
    level = bonferroni(len(sums.difference))
    draws = multiplicities(np.random.default_rng(seed), len(sums.tokens), tail_replicates(level))
    means = (draws @ sums.difference.T) / (draws @ sums.tokens)[:, None]
    ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [compare(Interval(0.0, float(low), float(high), level)) for low, high in ends.T]


METHODS = {"new": new, "old": old}


def errors(
    name: str, unit: str, count: int, method: str, draw: Draw, runs: int, seed: int
) -> Errors:
    """Run the null many times."""
    rng = np.random.default_rng(seed)
    said = [METHODS[method](draw(count, rng), seed + run) for run in range(runs)]
    false = sum(any(s is not Comparison.UNDECIDED for s in table) for table in said)
    better = sum(Comparison.BETTER in table for table in said) / runs
    return Errors(name, unit, count, method, runs, clopper_pearson(false, runs), better)


def table(runs: int, seed: int = 0) -> Iterator[Errors]:
    """Every population, from the least number of units up."""
    for count in (30, 100):
        for method in METHODS:
            yield errors("exchangeable", "prompt", count, method, exchangeable, runs, seed)
    names = [name for name in bundled_traces() if "reference" in name]
    for name in sorted(names, key=lambda name: "temperature" not in name):
        path = bundled_traces()[name]
        traces = read_traces(path)
        # A rare and large loss is hardest to see for many prompts: where it is about to be seen.
        many = (200,) if "temperature" in name else ()
        for unit, counts in (("prompt", (30, 80, *many)), ("group", (10, 20))):
            whole = population(name, traces, unit == "group")
            for count in counts:
                for method in METHODS:
                    yield errors(name, unit, count, method, partial(drawn, whole), runs, seed)


@click.command()
@click.option("--runs", default=400, show_default=True, help="Runs of each row.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def levels(runs: int, seed: int, out: Path | None) -> None:
    """How often a table of rules says better or worse where neither is true."""

    def line(found: Errors) -> str:
        return (
            f"{found.population}: {found.drawn} {found.unit}s, {found.method}: "
            f"{found.false.estimate:.1%} [{found.false.low:.1%}, {found.false.high:.1%}]"
        )

    save_as_found("levels", table(runs, seed), line, {"runs": runs, "seed": seed}, out)
