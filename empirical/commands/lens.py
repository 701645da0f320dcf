"""`stopping lens`: fit a calibrated lens on held-out prompts, and look at one."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from empirical.analysis.projection_noise import measured_noise
from empirical.commands.lens_pools import pools
from empirical.commands.lens_tables import show_lens, show_noise
from empirical.commands.lens_transfer import transfer
from empirical.commands.options import (
    PATH,
    Asked,
    ModelChoice,
    max_new_tokens_option,
    mode_option,
    model_options,
    problems_options,
    problems_seed_option,
    training_tokens_option,
)
from empirical.model.load import require_models_extra
from empirical.problems import prompts_hash
from empirical.provenance import Mode, this_command
from empirical.texts import texts_of
from empirical.traces.files import read_traces
from stopping.cli.numbers import CountOr
from stopping.cli.options import FILE, seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, deliver, with_json
from stopping.cli.ui import json_option, refuse_ignored
from stopping.errors import UserError
from stopping.support.files import require_writable

if TYPE_CHECKING:
    from empirical.lenses import LensFile
    from empirical.lenses.states import Target

FULL = "full"


@click.group()
def lens() -> None:
    """Calibrated lenses: entropies that mean the same at every layer.

    Below the final layer a raw logit lens is seldom calibrated: it promises too little loss on most
    models, too much on some. `fit` finds a correction for each layer on prompts of their own,
    `show` prints what a lens does on prompts that had no part in fitting it; `stopping trace --lens
    FILE` traces with it.
    """


lens.add_command(pools)
lens.add_command(transfer)


@lens.command(
    epilog="""\b
Examples:
  stopping lens fit --model ./model.gguf --kind temperature --out model.safetensors
  stopping lens fit --model ./model.gguf --kind jacobian --final-too --out model.jacobian
  stopping lens fit --model ./model.gguf --kind affine --rank 16 --target final \\
      --problems 200 --seed 1 --out model.affine.safetensors
"""
)
@model_options
@click.option("--out", type=FILE, required=True, help="Lens file.")
@click.option(
    "--kind",
    type=click.Choice(["temperature", "affine", "jacobian"]),
    default="temperature",
    help="One temperature per layer; or a translation of the state too: trained (a tuned lens), or "
    "the mean Jacobian from the layer to the final one.",
)
@click.option(
    "--rank",
    type=CountOr(FULL, 1_000_000),
    metavar=f"R|{FULL}",
    default="16",
    help="Rank of an affine lens.",
)
@click.option(
    "--target",
    type=click.Choice(["final", "reference"]),
    help="Match the final layer's distribution (KL), or the reference tokens (log-loss).  "
    "[default: reference for temperatures, final for an affine lens, of a Jacobian lens "
    "the temperatures alone are fitted: reference]",
)
@problems_options()
@problems_seed_option(1, "the bundled traces are of problems of seed 0")
@mode_option
@click.option(
    "--layers",
    type=click.IntRange(2, 1000),
    default=12,
    help="How many layers to fit, counted from the last; that one stays as it is by default.",
)
@click.option(
    "--final-too",
    is_flag=True,
    help="Correct the final layer like the others, so that a search is not held there by its own "
    "gap: the decoder reads it so, and what it decodes there stays the model's own. Of a lens that "
    "was trained on reference tokens, the fair baseline.",
)
@training_tokens_option
@click.option(
    "--epochs",
    type=click.IntRange(0, 10_000),
    default=8,
    help="Most passes over the training tokens, of an affine lens; 0: linear regression only.",
)
@max_new_tokens_option
@json_option
def fit(
    model: ModelChoice,
    out: Path,
    kind: Any,
    rank: int | None,
    target: "Target | None",
    asked: Asked,
    seed: int,
    mode: Mode,
    layers: int,
    final_too: bool,
    tokens: int,
    epochs: int,
    max_new_tokens: int,
    as_json: bool,
) -> None:
    """Fit a lens and report what it does on prompts that had no part in fitting it.

    Prompts are dealt to training, validation and test at 3 : 1 : 1. Use prompts (or a --seed)
    other than those that you will trace: a lens judged on its own prompts looks better than it
    is. An interrupted run goes on after its last finished layer when the same command is given.
    """
    if kind != "affine":
        refuse_ignored(f"with --kind {kind}", "rank", "epochs")
    if mode == "reference":
        refuse_ignored("with --mode reference", "max_new_tokens")
    from empirical.lenses import Origin, fit_lens, head_hash
    from empirical.lenses.files import FORMAT
    from empirical.model.anatomy import Anatomy, last_layers

    require_writable((out, FORMAT.kind), inputs=asked.reads())
    chosen = asked.choose(seed, references=mode == "reference")
    loaded = model.open()
    anatomy = Anatomy.of(loaded.model)
    in_chat = model.uses_chat(loaded)
    depth = len(anatomy.layers)
    origin = Origin(
        kind=kind,
        rank=rank if kind == "affine" else None,
        # A temperature cannot learn the kind of text; on reference tokens it closes the gap.
        target=target or ("final" if kind == "affine" else "reference"),
        layers=last_layers(depth, layers),
        model=loaded.name,
        architecture=type(loaded.model).__name__,
        depth=depth,
        hidden=int(loaded.text_config.hidden_size),
        vocabulary=anatomy.vocabulary_size,
        head=head_hash(anatomy),
        weights=loaded.weights,
        mode=mode,
        chat=in_chat,
        prompts_hash=prompts_hash(chosen),
        prompts=len(chosen),
        seed=seed,
        tokens=tokens,
        epochs=epochs if kind == "affine" else 0,
        final_too=final_too,
        dtype=loaded.dtype,
    )
    finished: list[LensFile] = []
    try:
        with progress() as bar:
            task = bar.add_task("reading prompts", total=2 * len(chosen) + len(origin.layers))

            texts = texts_of(
                loaded, chosen, origin.mode, in_chat, max_new_tokens, lambda n: bar.advance(task, n)
            )
            fit_lens(
                anatomy,
                texts,
                origin,
                out,
                this_command(),
                advance=lambda: bar.advance(task),
                tell=lambda text: bar.update(task, description=text),
                fitted=finished.append,
            )
    finally:  # the result is printed even if it cannot be written
        for content in finished:
            text = partial(show_lens, file=str(out), content=content)
            deliver(Reply(_plain(out, content), text), as_json)


@lens.command(
    epilog="""\b
Examples:
  stopping lens show model.safetensors
  stopping lens show model.safetensors --traces raw.parquet calibrated.parquet
"""
)
@click.argument("file", type=PATH)
@click.option(
    "--traces",
    type=PATH,
    nargs=2,
    metavar="RAW CALIBRATED",
    help="Measure the projection noise on traces of the raw and of this lens.",
)
@seed_option
@with_json()
def show(file: Path, traces: tuple[Path, Path] | None, seed: int) -> Reply:
    """Print what a lens was fitted on, and what it does on its test prompts."""
    require_models_extra()
    from empirical.lenses import read_lens

    content = read_lens(file)
    noise = None
    if traces is not None:
        raw, calibrated = (read_traces(path) for path in traces)
        if calibrated.provenance.lens != content.name:
            raise UserError(
                f"{traces[1]}: traced with the lens {calibrated.provenance.lens!r}, while {file} "
                f"is {content.name!r}"
            )
        noise = measured_noise(raw, calibrated, seed)
    extra = {} if noise is None else {"noise_on_traces": noise}

    def text(out: Console) -> None:
        show_lens(out, str(file), content)
        if noise is not None:
            show_noise(out, noise, "on the traces")

    return Reply(_plain(file, content) | extra, text)


def _plain(path: Path, content: "LensFile") -> dict[str, Any]:
    return {
        "file": path.name,
        "lens": content.name,
        "origin": content.origin,
        "report": content.report,
        "versions": dict(content.versions),
        "date": content.date,
        "command": content.command,
    }
