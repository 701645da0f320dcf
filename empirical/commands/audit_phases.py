"""`stopping audit phases`: what each layer writes; where guess, refine and perturb lie."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from empirical.analysis.phases import (
    DEVIATIONS,
    FACTOR,
    PUBLISHED,
    PUBLISHED_DEPTH,
    LayerProfile,
    Phase,
    Phases,
    Spread,
    find_phases,
)
from empirical.commands.options import for_each, replicates_option, traces_argument
from empirical.figures.phases import draw_phases
from empirical.published import SOURCE
from stopping.cli.options import figure_option, seed_option
from stopping.cli.reply import Reply, of_each, with_json
from stopping.cli.ui import table
from stopping.figures.theme import saving
from stopping.support.files import FIGURE, require_writable
from stopping.support.results import Report
from stopping.support.tables import count, number


@click.command(
    epilog="""\b
Examples:
  stopping audit phases                               the bundled traces
  stopping audit phases my.parquet --figure out.svg   own traces, with a figure
  stopping audit phases --json > phases.json          machine-readable
"""
)
@traces_argument
@click.option("--brief", is_flag=True, help="Phases and summary, without the table of layers.")
@figure_option("the profiles")
@replicates_option
@seed_option
@with_json("brief")
def phases(
    traces: tuple[Path, ...], brief: bool, figure: Path | None, replicates: int, seed: int
) -> Reply:
    """Mark the guess, refine and perturb phases of a model's layers.

    TRACES are trace files (see `stopping trace`); without any, the bundled ones that tell what
    layers write are shown. A layer is large if its mean contribution norm lies above a band
    around the middle layers'; guess and perturb are the runs of large layers at the two ends of
    the stack.
    """
    require_writable((figure, FIGURE), inputs=traces)
    # What layers write does not depend on the lens: the raw lens's files say it all.
    results = for_each(
        traces,
        "phases",
        lambda t: find_phases(t, seed, replicates),
        bundled=lambda t: t.provenance.lens == "raw" and t.holds("residual_norm"),
    )
    draw = saving(draw_phases, [result for _, result in results])
    return of_each(
        results, "phases", lambda name, result: report(name, result, brief), [(figure, draw)]
    )


def report(name: str, result: Phases, brief: bool) -> Report:
    """The tables and the summary of a model."""
    yield Text.assemble(
        (result.model, "bold"),
        "" if name == result.model else f" ({name})",
        f": {count(result.tokens, 'token')} of {count(result.prompts, 'prompt')}, "
        f"{count(result.depth, 'layer')}",
    )
    if not brief:
        yield layer_table(result)
    yield phase_table(result)
    yield verdict(result)


def layer_table(result: Phases) -> Table:
    """One line per layer."""
    rows = table(
        "What each layer writes: mean, 95% interval over prompts, quartiles of the tokens",
        *("layer", "phase", "norm", "95%", "quartiles", "cosine", "95%", "quartiles"),
        caption="norm: |h(l) − h(l−1)| / |h(l−1)|; "
        f"band of the middle layers {result.band[0]:.2f} to {result.band[1]:.2f} "
        f"(at least a factor {FACTOR:g}, or {DEVIATIONS:g} deviations); * above it",
    )
    for layer in result.layers:
        phase = f"{layer.phase}{'*' if layer.outlier else ''}"
        rows.add_row(str(layer.layer), phase, *_cells(layer.norm), *_cells(layer.cosine))
    return rows


def phase_table(result: Phases) -> Table:
    """The phases beside the paper's."""
    rows = table(
        "Phases",
        *("phase", "layers", "share of depth", "norm", "cosine", "paper: norm", "paper: cosine"),
        caption=f"ranges of the layers' means; paper: {PUBLISHED_DEPTH} layers, {SOURCE}: "
        "layer 1, the middle, the final layer",
    )
    for published in PUBLISHED:
        members = result.of(published.phase)
        numbers = [layer.layer for layer in members]
        rows.add_row(
            str(published.phase),
            _span(numbers) if numbers else "none",
            number(len(members) / result.depth, ".0%"),
            _range([layer.norm.mean for layer in members]),
            _range([layer.cosine.mean for layer in members]),
            _range(published.norm),
            _range(published.cosine),
        )
    return rows


def verdict(result: Phases) -> str:
    """Say where the phases lie, and whether the final layer does what the paper's does."""
    guess, perturb = result.of(Phase.GUESS), result.of(Phase.PERTURB)
    outliers = [str(layer.layer) for layer in result.layers if layer.outlier]
    last = result.layers[-1]
    ratio = last.norm.mean / result.middle_norm
    size = (
        f"the final layer writes {ratio:.1f} times what a middle layer does, at cosine "
        f"{last.cosine.mean:.2f} (paper: 2 to 3 times, 0.69)"
    )
    parts = [
        f"Guess: {_named(guess)} ({len(guess) / result.depth:.0%} of the depth; paper about 15%).",
        f"Perturb: {_named(perturb)}; {size}." if perturb else f"No perturb phase by size: {size}.",
    ]
    if outliers:
        parts.append(f"Large, but inside the refine phase: {', '.join(outliers)}.")
    parts.append(f"Both boundaries are the same in {result.stability:.0%} of the resamples.")
    return " ".join(parts)


def _named(members: Sequence[LayerProfile]) -> str:
    numbers = [layer.layer for layer in members]
    if not numbers:
        return "none"
    return f"layer {numbers[0]}" if len(numbers) == 1 else f"layers {_span(numbers)}"


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, high = number(min(values), ".2f"), number(max(values), ".2f")
    return low if low == high else f"{low} to {high}"


def _cells(spread: Spread) -> tuple[str, str, str]:
    ends = f"[{number(spread.low, '.2f')}, {number(spread.high, '.2f')}]"
    quartiles = f"{number(spread.lower_quartile, '.2f')} to {number(spread.upper_quartile, '.2f')}"
    return number(spread.mean, ".2f"), ends, quartiles
