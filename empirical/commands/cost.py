"""`stopping cost`: what Confident Decoding adds to a step, predicted from bytes and FLOPs."""

from dataclasses import asdict, dataclass

import click
from rich.table import Table

from empirical.published import COST, SOURCE
from empirical.studies.cost import (
    DEVICES,
    SHAPES,
    Count,
    Device,
    Load,
    Overhead,
    Shape,
    Step,
    counts,
    overheads,
    plain_step,
    read_device,
    read_shape,
)
from stopping.cli.numbers import Number
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.support.results import Report

PAPER_RATE = 0.104
"""Rate at which the mean depth is the paper's 0.116: the root of `q + q^2 + ... = 0.116`."""


@dataclass(frozen=True)
class Prediction:
    """A plain step of one batch, and what each design adds to it."""

    load: Load
    plain: Step
    overheads: tuple[Overhead, ...]


@click.command(
    epilog=f"""\b
Examples:
  stopping cost --config 8b --batch 1 --batch 8 --batch 64
  stopping cost --config paper-35b-a3b                     the paper's cost table, and ours
  stopping cost --config path/to/config.json --rate 0.5 --device h100
  stopping cost --config 32b --batch 64 --json > cost.json

\b
Models:  {", ".join(SHAPES)}, or the config.json of any decoder of transformers.
Devices: {", ".join(DEVICES)}, or a JSON file with bytes_per_second, flops_per_second
and, if wanted, kernel_seconds, name and source.
"""
)
@click.option("--config", required=True, metavar="NAME|FILE", help="The model's sizes.")
@click.option(
    "--batch",
    type=click.IntRange(1, 4096),
    multiple=True,
    default=(1, 8, 64),
    help="Rows that are decoded at once; may be given several times.",
)
@click.option(
    "--rate",
    type=Number(0, 1),
    default=PAPER_RATE,
    help="Share of rows that go on after a layer; see `stopping generate` for a model's own.",
)
@click.option(
    "--window",
    type=click.IntRange(0, 1000),
    default=COST.window,
    help="Most steps back, K.",
)
@click.option("--device", default="h200", metavar="NAME|FILE")
@click.option(
    "--context",
    type=click.IntRange(0, 1_000_000_000),
    default=1024,
    help="Tokens in each row's cache.",
)
@click.option(
    "--width",
    type=Number(0, 64, min_open=True),
    default=2.0,
    help="Bytes of a weight and of a logit.",
)
@with_json()
def cost(
    config: str,
    batch: tuple[int, ...],
    rate: float,
    window: int,
    device: str,
    context: int,
    width: float,
) -> Reply:
    """Predict what reading earlier layers adds to a decode step, for each way of doing it.

    A roofline: every part takes the longer of reading its bytes and doing its FLOPs. Steps of a
    real engine are longer, so real shares are smaller; what is compared is the designs.
    """
    shape, on = read_shape(config), read_device(device)
    window = min(window, shape.layers - 1)
    loads = [Load(rows, rate, window, context, width) for rows in batch]
    found = [Prediction(at, plain_step(shape, on, at), overheads(shape, on, at)) for at in loads]
    counted = counts(shape, loads[0])
    paper = shape.name == "paper-35b-a3b"
    content = {
        "shape": shape,
        "device": asdict(on) | {"free_rows": on.free_rows},
        "steps": found,
        "counts": counted,
        "paper": asdict(COST) if paper else None,
    }

    def report() -> Report:
        yield step_table(shape, on, found)
        yield count_table(shape, counted, paper)
        yield from summary(on, found, counted)
        if shape.note:
            yield f"\nNote: {shape.note}."

    return Reply(content, report())


def step_table(shape: Shape, device: Device, found: list[Prediction]) -> Table:
    """The designs, a column for each batch."""
    at = found[0].load
    rows = table(
        f"Added to a decode step of {shape.name} on {device.name}, K = {at.window}, "
        f"rate {at.rate:g}, context {at.context:,}",
        "",
        *(f"batch {one.load.batch}" for one in found),
        caption=f"Roofline with {device.bytes_per_second / 1e12:.3g} TB/s and "
        f"{device.flops_per_second / 1e12:.4g} TFLOP/s ({device.source or 'given'}).",
    )
    rows.add_row("plain step", *(f"{1e3 * one.plain.total:.3g} ms" for one in found))
    head = (f"{one.plain.head / one.plain.total:.1%}" for one in found)
    rows.add_row("  of which the head", *head, end_section=True)
    for i, first in enumerate(found[0].overheads):
        rows.add_row(first.design, *(_added(one.overheads[i]) for one in found))
    return rows


def _added(overhead: Overhead) -> str:
    seconds = 1e3 * overhead.seconds
    return f"{seconds:.3g} ms  {overhead.share:+.2%}" if seconds else "0"


def count_table(shape: Shape, counted: tuple[Count, ...], paper: bool) -> Table:
    """Multiply-adds for each token, beside the paper's for its own model."""
    published = {
        0: f"{COST.projection / 1e6:,.0f} M, {COST.projection_share:+.2%}",
        1: f"{COST.full_scan / 1e6:,.0f} M, {COST.full_scan_share:+.2%}",
        3: f"{COST.lazy} projections, {COST.lazy_flops / 1e6:.0f} M, {COST.lazy_share:+.2%}",
    }
    forward = (shape.active + shape.head) / 1e6
    rows = table(
        f"For each token, beside a forward pass of {forward:,.0f} M multiply-adds",
        *("", "projections", "multiply-adds", "of a forward"),
        *(["published"] if paper else []),
        caption=f"published: {SOURCE}; its FLOPs are multiply-adds" if paper else None,
    )
    for i, one in enumerate(counted):
        cells = [one.what, f"{one.projections:.3f}", f"{one.multiply_adds / 1e6:,.0f} M"]
        rows.add_row(*cells, f"{one.share:+.2%}", *([published.get(i, "–")] if paper else []))
    return rows


def summary(device: Device, found: list[Prediction], counted: tuple[Count, ...]) -> list[str]:
    """Say which design is cheapest where, and how many candidates are free."""
    lines = []
    for one in found:
        best = min(one.overheads, key=lambda o: o.seconds)
        free = max(int(2 * device.free_rows / one.load.width) // one.load.batch - 1, 0)
        ours = next(o for o in one.overheads if o.design == "piggybacked")
        many = f"{free} candidate{'s' * (free != 1)}"
        text = f"Batch {one.load.batch}: {many} of all rows cost nothing; "
        text += f"least is {best.design!r} ({best.share:+.2%})"
        lines.append(text + ("." if best is ours else f", {ours.design!r} {ours.share:+.2%}."))
    lines.append(
        f"A lazy search makes {counted[4].projections:.3f} projections for each token, not "
        f"{counted[3].projections:.3f}: that is its mean depth."
    )
    return lines
