"""`stopping lens`: fit a calibrated lens on held-out prompts, and look at one."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console

from empirical.analysis.projection_noise import measured_noise
from empirical.commands.lens_tables import show_lens, show_noise
from empirical.commands.options import (
    chat_option,
    chosen_problems,
    device_option,
    dtype_option,
    max_new_tokens_option,
    model_option,
    prompts_option,
)
from empirical.model.load import LoadedModel, load_model, require_models_extra
from empirical.problems import Problem, prompts_hash
from empirical.provenance import Mode, command_line
from empirical.texts import Chat, Text, generated_texts, reference_texts, uses_chat
from empirical.traces.files import read_traces
from stopping.cli.numbers import SEED, CountOr, at_least
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, progress, refuse_ignored, seed_option
from stopping.errors import UserError
from stopping.support.files import require_writable

if TYPE_CHECKING:
    from empirical.lenses import LensFile
    from empirical.lenses.states import Target

_BATCH = 8
FULL = "full"
Advance = Callable[[int], None]


@click.group()
def lens() -> None:
    """Calibrated lenses: entropies that mean the same at every layer.

    A raw logit lens is over-confident below the final layer. `fit` finds a correction for each
    layer on prompts of their own, `show` prints what a lens does on prompts that had no part in
    fitting it; `stopping trace --lens FILE` traces with it.
    """


@lens.command(
    epilog="""\b
Examples:
  stopping lens fit --model ./model.gguf --kind temperature --out model.safetensors
  stopping lens fit --model ./model.gguf --kind affine --rank 16 --target final \\
      --problems 200 --seed 1 --out model.affine.safetensors
"""
)
@model_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Lens file."
)
@click.option(
    "--kind",
    type=click.Choice(["temperature", "affine"]),
    default="temperature",
    show_default=True,
    help="One temperature per layer; or a translation of the state too (a tuned lens).",
)
@click.option(
    "--rank",
    type=CountOr(FULL, 1_000_000),
    metavar=f"R|{FULL}",
    default="16",
    show_default=True,
    help="Rank of an affine lens.",
)
@click.option(
    "--target",
    type=click.Choice(["final", "reference"]),
    help="Match the final layer's distribution (KL), or the reference tokens (log-loss).  "
    "[default: reference for temperatures, final for an affine lens]",
)
@prompts_option
@click.option("--problems", type=at_least(), help="Number of built-in problems.  [default: 100]")
@click.option(
    "--seed",
    type=SEED,
    default=1,
    show_default=True,
    help="Seed of the problems and of every draw; the bundled traces are of problems of seed 0.",
)
@click.option(
    "--mode",
    type=click.Choice(["reference", "generated"]),
    default="reference",
    show_default=True,
    help="Fit on the prompts' own solutions, or on what the model writes (greedily).",
)
@click.option(
    "--layers",
    type=click.IntRange(2, 1000),
    default=12,
    show_default=True,
    help="How many layers to fit, counted from the last; that one stays as it is by default.",
)
@click.option(
    "--final-too",
    is_flag=True,
    help="Correct the final layer like the others: the fair baseline for a lens that was trained "
    "on reference tokens.",
)
@click.option(
    "--tokens",
    type=at_least(30, 1_000_000_000),
    default=3000,
    show_default=True,
    help="Most training tokens; validation and test take a third of it each.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0, 10_000),
    default=8,
    show_default=True,
    help="Most passes over the training tokens, of an affine lens; 0: linear regression only.",
)
@max_new_tokens_option
@chat_option
@device_option
@dtype_option
@json_option
def fit(
    model: str,
    out: Path,
    kind: str,
    rank: int | None,
    target: str | None,
    prompts: Path | None,
    problems: int | None,
    seed: int,
    mode: str,
    layers: int,
    final_too: bool,
    tokens: int,
    epochs: int,
    max_new_tokens: int,
    chat: str,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Fit a lens and report what it does on prompts that had no part in fitting it.

    Prompts are dealt to training, validation and test at 3 : 1 : 1. Use prompts (or a --seed)
    other than those that you will trace: a lens judged on its own prompts looks better than it
    is. An interrupted run goes on after its last finished layer when the same command is given.
    """
    require_models_extra()
    if kind == "temperature":
        refuse_ignored("with --kind temperature", "rank", "epochs")
    if mode == "reference":
        refuse_ignored("with --mode reference", "max_new_tokens")
    from empirical.lenses import Origin, fit_lens, head_hash
    from empirical.lenses.files import FORMAT
    from empirical.model.anatomy import Anatomy

    require_writable((out, FORMAT.kind), inputs=filter(None, (prompts,)))

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    chosen = chosen_problems(prompts, problems, seed, references=mode == "reference")
    with errors.status(f"loading {Path(model).name}"):
        loaded = load_model(model, dtype, device)
        anatomy = Anatomy.of(loaded.model)
        in_chat = uses_chat(loaded, cast(Chat, chat))
        depth = len(anatomy.layers)
        origin = Origin(
            kind="affine" if kind == "affine" else "temperature",
            rank=rank if kind == "affine" else None,
            target=_target(target, kind),
            layers=tuple(range(max(1, depth - layers + 1), depth + 1)),
            model=loaded.name,
            architecture=type(loaded.model).__name__,
            depth=depth,
            hidden=int(loaded.text_config.hidden_size),
            vocabulary=anatomy.vocabulary_size,
            head=head_hash(anatomy),
            weights=loaded.weights,
            mode="generated" if mode == "generated" else "reference",
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

            texts = _texts(
                loaded, chosen, origin.mode, in_chat, max_new_tokens, lambda n: bar.advance(task, n)
            )
            fit_lens(
                anatomy,
                texts,
                origin,
                out,
                command_line(["stopping", *sys.argv[1:]]),
                advance=lambda: bar.advance(task),
                tell=lambda text: bar.update(task, description=text),
                fitted=finished.append,
            )
    finally:  # the result is printed even if it cannot be written
        for content in finished:
            if as_json:
                click.echo(to_json(_plain(out, content)))
            else:
                show_lens(output(), str(out), content)


@lens.command(
    epilog="""\b
Examples:
  stopping lens show model.safetensors
  stopping lens show model.safetensors --traces raw.parquet calibrated.parquet
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--traces",
    type=click.Path(path_type=Path),
    nargs=2,
    metavar="RAW CALIBRATED",
    help="Measure the projection noise on traces of the raw and of this lens.",
)
@seed_option
@json_option
def show(file: Path, traces: tuple[Path, Path] | None, seed: int, as_json: bool) -> None:
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
    if as_json:
        extra = {} if noise is None else {"noise_on_traces": noise}
        click.echo(to_json(_plain(file, content) | extra))
        return
    out = output()
    show_lens(out, str(file), content)
    if noise is not None:
        show_noise(out, noise, "on the traces")


def _target(given: str | None, kind: str) -> "Target":
    # A temperature cannot learn the kind of text; on reference tokens it closes the gap.
    if given is None:
        return "final" if kind == "affine" else "reference"
    return "final" if given == "final" else "reference"


def _texts(
    loaded: LoadedModel,
    problems: Sequence[Problem],
    mode: Mode,
    chat: bool,
    max_new_tokens: int,
    advance: Advance,
) -> list[Text]:
    numbered = list(enumerate(problems))
    found: list[Text] = []
    for start in range(0, len(numbered), _BATCH):
        some = numbered[start : start + _BATCH]
        if mode == "generated":
            found += generated_texts(loaded, some, chat, max_new_tokens)
        else:
            found += reference_texts(loaded, some, chat)
        advance(len(some))
    return found


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
