"""`stopping trace`: a model and prompts in, a trace file out."""

import os
import sys
import time
from pathlib import Path
from typing import cast

import click
from rich.console import Console

from empirical.capture.run import Settings, Summary, trace_problems
from empirical.commands.options import (
    DEFAULT_PROBLEMS,
    chat_option,
    chosen_problems,
    device_option,
    dtype_option,
    fresh_option,
    max_new_tokens_option,
    model_option,
    prompts_option,
)
from empirical.model.load import load_model, require_models_extra
from empirical.provenance import FORMAT, command_line
from empirical.texts import Chat, uses_chat
from empirical.traces.parts import require_room
from empirical.traces.split import choose_shard, local_device
from stopping.cli.numbers import BATCH, CountOr, at_least
from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, progress, prose, refuse_ignored, seed_option
from stopping.support.files import require_writable

# Enough for any `--tokens` that one sits through; generating them takes a moment.
_SUPPLY = 2000


@click.command(
    epilog="""\b
Examples:
  stopping trace --model HuggingFaceTB/SmolLM2-135M-Instruct --tokens 2000 --out smol.parquet
  stopping trace --model ./model.gguf --prompts mine.jsonl --mode generated --out mine.parquet
  stopping trace --model ./folder --problems 400 --out big.parquet --shard 1/4
  torchrun --nproc-per-node 4 --no-python stopping trace --model ./folder --out big.parquet
"""
)
@model_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Trace file."
)
@prompts_option
@click.option(
    "--problems",
    type=at_least(),
    help=f"Number of built-in problems.  [default: {DEFAULT_PROBLEMS}, or as --tokens needs]",
)
@seed_option
@click.option(
    "--mode",
    type=click.Choice(["reference", "generated"]),
    default="reference",
    show_default=True,
    help="Trace the prompts' own solutions, or what the model writes (greedily).",
)
@click.option(
    "--tokens",
    type=at_least(most=1_000_000_000),
    help="Stop once at least so many tokens are traced.",
)
@click.option(
    "--layers",
    type=CountOr("all", 1000),
    metavar="N|all",
    default="12",
    show_default=True,
    help="How many layers to read, counted from the last.",
)
@click.option(
    "--lens",
    "lens_file",
    type=click.Path(path_type=Path),
    help="Read layers through this lens (see `stopping lens fit`) instead of the raw one.",
)
@click.option(
    "--batch",
    type=BATCH,
    default=8,
    show_default=True,
    help="Texts per forward pass; a part is twice as many.",
)
@max_new_tokens_option
@chat_option
@device_option
@click.option(
    "--device-map",
    type=click.Choice(["auto"]),
    help="Spread a large model over all GPUs and the CPU (by accelerate), instead of --device.",
)
@dtype_option
@click.option(
    "--storage",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Precision of the stored numbers.",
)
@click.option(
    "--shard",
    metavar="i/n",
    help="Trace only shard i of n, into a file of its own; join them with `stopping merge`. "
    "Processes of torchrun and accelerate launch take one each by themselves.",
)
@fresh_option
@json_option
def trace(
    model: str,
    out: Path,
    prompts: Path | None,
    problems: int | None,
    seed: int,
    mode: str,
    tokens: int | None,
    layers: int | None,
    lens_file: Path | None,
    batch: int,
    max_new_tokens: int,
    chat: str,
    device: str,
    dtype: str,
    storage: str,
    device_map: str | None,
    shard: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Record what every traced layer of a model says about every token.

    Each token's entropy, log-probability and best guess at each of the last layers go into a
    Parquet file, with all that is needed to make it again. The work is done in parts: an
    interrupted run, however it ended, resumes when the same command is given again.
    """
    require_models_extra()
    if mode == "reference":
        refuse_ignored("with --mode reference", "max_new_tokens")
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    default = _SUPPLY if tokens else DEFAULT_PROBLEMS
    chosen = chosen_problems(prompts, problems, seed, default, references=mode == "reference")
    own = choose_shard(shard, os.environ)
    file = out if own is None else own.file(out)
    require_writable((file, FORMAT.kind), inputs=filter(None, (prompts, lens_file)))
    require_room(file, fresh)
    place = device if device_map else local_device(device, os.environ)
    if lens_file is not None:
        from empirical.lenses import require_lens

        require_lens(lens_file)
    with errors.status(f"loading {Path(model).name}"):
        loaded = load_model(model, dtype, place, device_map)
    settings = Settings(
        mode="generated" if mode == "generated" else "reference",
        chat=uses_chat(loaded, cast(Chat, chat)),
        layers=layers,
        tokens=tokens,
        batch=batch,
        max_new_tokens=max_new_tokens,
        storage="float32" if storage == "float32" else "float16",
    )
    began = time.monotonic()
    bar = progress("{task.fields[rate]}", alike=True)
    # Of several processes on one terminal, the first one shows how far it is.
    bar.disable = own is not None and own.number > 1
    with bar:
        task = bar.add_task(
            "tokens" if tokens else "prompts",
            total=(tokens or len(chosen)) // (own.count if own else 1),
            rate="",
        )

        def report(traced: int, done: int) -> None:
            rate = f"{traced / (time.monotonic() - began):.0f} tokens/s"
            bar.update(task, completed=traced if tokens else done, rate=rate)

        summary = trace_problems(
            loaded,
            chosen,
            settings,
            out,
            shard=own,
            fresh=fresh,
            seed=None if prompts else seed,
            command=command_line(["stopping", *sys.argv[1:]]),
            report=report,
            lens_file=lens_file,
        )
    if as_json:
        click.echo(to_json(summary))
    else:
        _print(summary)


def _print(summary: Summary) -> None:
    console = output()
    loss = summary.provenance.storage
    console.print(
        prose(
            f"{summary.file}: {summary.tokens} tokens of {summary.prompts} prompts at "
            f"{summary.layers} layers, {summary.bytes / 1e6:.2f} MB; {summary.seconds:.0f} s, "
            f"{summary.tokens_per_second:.1f} tokens/s"
        )
    )
    if loss is not None and loss.dtype != "float32":
        console.print(
            prose(
                f"stored as {loss.dtype}: entropies off by at most {loss.entropy_max:.2g} nats "
                f"(mean {loss.entropy_mean:.2g}), log-probabilities by {loss.log_prob_max:.2g} "
                f"(mean {loss.log_prob_mean:.2g}); this rounding changes the search's layer on "
                f"{loss.moved_share:.2%} of the tokens"
            )
        )
