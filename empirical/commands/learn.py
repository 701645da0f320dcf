"""`stopping learn`: does any rule that looks at the window beat the final layer on new prompts?"""

import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from empirical.analysis.decisions import MATERIAL
from empirical.analysis.validate import Comparison
from empirical.commands.options import (
    PATH,
    material_option,
    replicates_option,
    traces_argument,
    window_option,
)
from empirical.data import bundled_traces
from empirical.fitting.learning import Learned, learn, observe
from empirical.fitting.learning.crossfit import FOLDS
from empirical.fitting.learning.regressors import require_sklearn
from empirical.traces.files import read_traces
from empirical.traces.window import headline
from stopping.cli.numbers import NATS
from stopping.cli.options import seed_option, workers_options
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, of_each, with_json
from stopping.cli.ui import refuse_ignored, table
from stopping.errors import UserError
from stopping.support.parallel import Workers
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent, status_text


@dataclass(frozen=True)
class Job:
    """Traces whose layers may be decoded, and the same tokens through another lens."""

    name: str
    path: Path
    other: Path | None


@click.command("learn")
@traces_argument
@click.option(
    "--with",
    "other",
    type=PATH,
    help="The same tokens through another lens, whose columns may be looked at too.",
)
@click.option(
    "--cost",
    type=NATS,
    default=0.02,
    help="Cost of a projection for the Snell rule, nats.",
)
@click.option("--no-theory", is_flag=True, help="Skip the rules of a fitted model.")
@window_option
@material_option(MATERIAL)
@replicates_option
@seed_option
@workers_options
@with_json()
def learn_command(
    traces: tuple[Path, ...],
    other: Path | None,
    cost: float,
    no_theory: bool,
    K: int,
    material: float,
    replicates: int,
    seed: int,
    workers: Workers,
) -> Reply:
    """Learn which layer to decode on some prompts, and judge it on others.

    Two regressions predict each layer's log-loss from what the window shows (entropies, top-1
    agreements, residual updates) and the layer of least prediction is decoded. Beside them stand
    the rules that a model fitted on other prompts recommends (Bayes, Snell), the paper's search
    and the hindsight oracle. Without TRACES, the bundled ones that have enough prompts, with both
    lenses where there are two. Needs the extra `learn`.

    \b
    Examples:
      stopping learn                                       the bundled traces, some minutes
      stopping learn my.parquet --no-theory --jobs 4
      stopping learn raw.parquet --with calibrated.parquet
      stopping learn my.parquet --materiality 0.01
      stopping learn my.parquet --json > learned.json
    """
    require_sklearn()
    if no_theory:
        refuse_ignored("with --no-theory", "cost")
    if other is not None and len(traces) != 1:
        raise UserError("--with: give one trace file, whose tokens the other lens read too")
    jobs = [Job(str(path), path, other) for path in traces] or bundled_jobs()
    results: list[tuple[str, Learned]] = []
    with progress() as bar:
        task = bar.add_task("learn", total=len(jobs) * (2 if no_theory else 3))
        for job in jobs:
            bar.update(task, description=job.name)
            second = None if job.other is None else read_traces(job.other)
            observations = observe(read_traces(job.path), second, K, seed, replicates)
            found = learn(
                observations,
                with_lens=None if second is None else second.provenance.lens,
                cost=cost,
                theory=not no_theory,
                seed=seed,
                workers=workers,
                material=material,
                advance=lambda _: bar.advance(task),
            )
            results.append((job.name, found))
    return of_each(results, "learned", report)


def bundled_jobs() -> list[Job]:
    """Bundled traces whose groups are enough for the folds, with two lenses where there are two."""
    paths = {
        name: path
        for name, path in bundled_traces().items()
        if len(np.unique(read_traces(path).clusters)) >= 2 * FOLDS
    }
    jobs = [Job(name, path, None) for name, path in paths.items()]
    for name, path in paths.items():
        raw = name.removesuffix(".temperature")
        if raw != name and raw in paths:
            jobs.append(Job(f"{raw} + temperature", paths[raw], path))
            jobs.append(Job(f"{name} + raw", path, paths[raw]))
    return jobs


def report(name: str, found: Learned) -> Report:
    """Print the rules, why they win or lose, and how many tokens a gain would need."""
    yield headline(name, found.model, found.tokens, found.prompts, found.K)
    rows = table(
        f"Held-out change against the final layer ({number(found.last_log_loss, '.3f')} nats)",
        *(
            "rule",
            "log-loss, nats",
            "accuracy, points",
            "moved",
            "expected",
            "projections",
            "verdict",
        ),
        caption="expected: by the rule itself, of log-loss (learned) or entropy (theory); verdict: "
        f"5% for all {len(found.rows) - 1} rules together, better or worse by more than "
        f"{found.material:g} nats",
    )
    for row in found.rows:
        rows.add_row(
            row.name,
            estimate(row.log_loss, "+.4f"),
            estimate(percent(row.accuracy), "+.2f"),
            f"{row.moved.estimate:.1%}",
            number(row.promised, "+.4f"),
            number(row.projections, ".1f"),
            status_text(None if row.comparison is None else str(row.comparison)),
        )
    yield rows
    yield from (*why(found), needed(found), verdict(found))


def why(found: Learned) -> list[str]:
    """One sentence or two for each regression."""
    lines = []
    for d in found.diagnoses:
        known = [share for share in d.explained if not math.isnan(share)]
        explained = (
            f"explains {min(known):.0%} to {max(known):.0%} of the variance of a layer's difference"
            if known
            else "finds no difference that varies"
        )
        curve = ", ".join(f"{number(gain, '+.4f')} with {share:.0%}" for share, gain in d.curve)
        best = (
            "no margin would have been a gain"
            if d.best >= 0
            else f"the best margin in hindsight gives {number(d.best, '+.4f')}"
        )
        lines.append(
            f"{d.regressor}: {explained}. Without a margin it expects "
            f"{number(d.promised, '+.4f')} nats and gets {number(d.delivered, '+.4f')}; {best}. "
            f"Of the training prompts: {curve}."
        )
    return lines


def needed(found: Learned) -> str:
    """How many tokens would show a gain."""
    sizes = "; ".join(f"{n.size:g} nats: {n.tokens:,} tokens" for n in found.power)
    return f"A gain would be found four times in five with ({sizes})."


def verdict(found: Learned) -> str:
    """The dry end."""
    if found.reference_is_own_text:
        return "The references are the model's own greedy text: no verdict about gains."
    better = [row.name for row in found.rows if row.comparison is Comparison.BETTER]
    if better:
        return f"Better than the final layer on new prompts: {', '.join(better)}."
    oracle = found.rows[-1].log_loss.estimate
    return (
        f"None of {count(len(found.rows) - 1, 'rule')} beats the final layer "
        f"on new prompts; hindsight would gain {number(-oracle, '.3f')} nats."
    )
