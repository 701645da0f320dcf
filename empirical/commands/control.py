"""`stopping control`: would the instruments say yes, if there were something to cure?"""

from pathlib import Path

import click

from empirical.commands.options import (
    ModelChoice,
    batch_option,
    model_options,
    replicates_option,
)
from empirical.figures.control import draw_control
from empirical.provenance import this_command
from stopping.cli.numbers import Number, Numbers, at_least
from stopping.cli.options import FILE, figure_option, fresh_option, seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import refuse_ignored
from stopping.figures.theme import saving
from stopping.support.files import FIGURE, require_writable
from stopping.support.store import require_room

SHAPES = ("after", "inside", "sharp", "tuned")


@click.command(
    epilog="""\b
Examples:
  stopping control --model HuggingFaceTB/SmolLM2-135M-Instruct
  stopping control --model ./model.gguf --dial 0,0.25,0.5,1,2 --out control.json
  stopping control --model ./folder --shape after --shape sharp --dial 0.5 --figure control.svg
  stopping control --model ./model.gguf --dial 0,0.5 --json
"""
)
@model_options
@click.option(
    "--dial",
    "dials",
    type=Numbers(Number(0, 1000)),
    default="0,0.25,0.5,1",
    help="Sizes of the perturbation: length of all writes, in units of the state's; share of the "
    "tuned weights.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    type=click.Choice(SHAPES),
    help="after: appended layers write towards generic words; inside: the model's own last layers "
    "do; sharp: towards one word, which the search cannot cure; tuned: they are tuned to prefer "
    "a generic answer. May be repeated.  [default: all]",
)
@click.option(
    "--writes",
    type=click.IntRange(1, 100),
    default=4,
    help="Layers that write, and steps back of the first window.",
)
@click.option(
    "--window",
    "wide",
    type=click.IntRange(1, 1000),
    default=10,
    help="Steps back of the second window, which reaches below the writes.",
)
@click.option(
    "--problems",
    type=at_least(2, 400),
    default=32,
    help="Built-in problems with short solutions to trace; below 30 no verdict can be yes.",
)
@click.option(
    "--sums",
    type=click.IntRange(2, 81),
    default=16,
    help="Sums of two numbers to solve.",
)
@click.option(
    "--max-new-tokens",
    type=at_least(),
    default=16,
    help="Longest text to generate for a sum.",
)
@batch_option
@replicates_option
@seed_option
@click.option(
    "--out",
    type=FILE,
    help="Results as JSON. Finished turns are kept beside it, so that a killed run resumes.",
)
@figure_option("entropies and sums solved")
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 unless the search cures `after` at some dial, and nothing at dial 0 or in "
    "`sharp`.",
)
@fresh_option
@with_json()
def control(
    model: ModelChoice,
    dials: tuple[float, ...],
    shapes: tuple[str, ...],
    writes: int,
    wide: int,
    problems: int,
    sums: int,
    max_new_tokens: int,
    batch: int,
    replicates: int,
    seed: int,
    out: Path | None,
    figure: Path | None,
    check: bool,
    fresh: bool,
) -> Reply:
    """Perturb a model on purpose, and see whether the instruments find it.

    Late layers that displace the answer and raise entropy are made by construction, their size a
    dial. At each turn the model is traced, audited, fitted, validated, judged and certified, and it
    solves sums under plain decoding and under the search; none of these is told.
    """
    from empirical.studies.control.design import Design, Shape
    from empirical.studies.control.results import FORMAT
    from empirical.studies.control.run import Settings, run_control
    from empirical.studies.control.tables import cured

    require_writable((out, FORMAT.kind), (figure, FIGURE), inputs=())
    if out is None:
        refuse_ignored("without --out", "fresh")
    else:
        require_room(out, fresh)
    loaded = model.open()
    settings = Settings(
        problems=problems, sums=sums, wide=wide, max_new_tokens=max_new_tokens,
        chat=model.uses_chat(loaded), batch=batch, seed=seed, replicates=replicates,
    )  # fmt: skip
    designs = [Design(Shape(shape), writes, seed) for shape in shapes or SHAPES]
    with progress() as bar:
        task = bar.add_task("turns of the dial", total=len(designs) * len(dials))
        result = run_control(
            loaded, designs, dials, settings, out=out, fresh=fresh,
            command=this_command(),
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    files = [
        (out, lambda path: FORMAT.write(path, result)),
        (figure, saving(draw_control, result.panels())),
    ]
    code = 1 if check and not cured(result) else 0
    return Reply(FORMAT.wrap(vars(result)), result, files, code)
