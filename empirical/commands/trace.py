"""`stopping trace`: a model and prompts in, a trace file out."""

import os
import time
from pathlib import Path
from typing import Any

import click

from empirical.capture.run import (
    AbstractSource,
    InTransformers,
    Settings,
    Summary,
    fitted_here,
    trace_problems,
)
from empirical.commands.options import (
    DEFAULT_PROBLEMS,
    Asked,
    ModelChoice,
    lens_option,
    max_new_tokens_option,
    mode_option,
    model_options,
    problems_options,
    storage_option,
)
from empirical.provenance import FORMAT, this_command
from empirical.traces.split import choose_shard, local_device
from stopping.cli.lazy import WithMore
from stopping.cli.numbers import BATCH, CountOr, Number, WholeNumbers, at_least
from stopping.cli.options import FILE, fresh_option, seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import refuse_ignored
from stopping.errors import UserError
from stopping.support.files import require_writable
from stopping.support.results import Report
from stopping.support.store import require_room

# Enough for any `--tokens` that one sits through; generating them takes a moment.
_SUPPLY = 2000


@click.command(
    cls=WithMore,
    more={
        "merge": "empirical.commands.trace_merge:merge",
        "problems": "empirical.commands.trace_problems:problems",
    },
    epilog="""\b
Examples:
  stopping trace --model HuggingFaceTB/SmolLM2-135M-Instruct --tokens 2000 --out smol.parquet
  stopping trace --model ./model.gguf --prompts mine.jsonl --mode generated --out mine.parquet
  stopping trace --model ./folder --problems 400 --out big.parquet --shard 1/4
  stopping trace --model ./folder --engine vllm --gpus 4 --out big.parquet
  stopping trace --model ./folder --prompts mine.jsonl --states ./states --out mine.parquet
  torchrun --nproc-per-node 4 --no-python stopping trace --model ./folder --out big.parquet
""",
)
@model_options
@click.option("--out", type=FILE, required=True, help="Trace file.")
@problems_options()
@seed_option
@mode_option
@click.option(
    "--tokens",
    type=at_least(most=1_000_000_000),
    help="Stop once at least so many tokens are traced; built-in problems then are as many as it "
    "needs.",
)
@click.option(
    "--layers",
    type=CountOr("all", 1000),
    metavar="N|all",
    default="12",
    help="How many layers to read, counted from the last.",
)
@lens_option
@click.option(
    "--batch",
    type=BATCH,
    default=8,
    help="Texts per forward pass; a part is twice as many.",
)
@max_new_tokens_option
@click.option(
    "--device-map",
    type=click.Choice(["auto"]),
    help="Spread a large model over all GPUs and the CPU (by accelerate), instead of --device.",
)
@click.option(
    "--engine",
    type=click.Choice(["transformers", "vllm"]),
    default="transformers",
    help="What runs the model; vllm (--mode reference alone) needs the extra serving.",
)
@click.option("--gpus", type=at_least(), help="GPUs that --engine vllm splits each layer over.")
@click.option(
    "--states",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read layers' states from safetensors files in this folder, as vLLM's "
    "extract_hidden_states writes them, after a check of each against the model.",
)
@click.option(
    "--state-layers",
    type=WholeNumbers(Number(0, 1000)),
    metavar="N,N,...",
    help="Numbers of the files' layers; 0 is the embeddings.  [default: all, from 0 on]",
)
@storage_option
@click.option(
    "--shard",
    metavar="i/n",
    help="Trace only shard i of n, into a file of its own; join them with `stopping trace merge`. "
    "Processes of torchrun and accelerate launch take one each by themselves.",
)
@fresh_option
@with_json()
def trace(
    model: ModelChoice,
    out: Path,
    asked: Asked,
    seed: int,
    mode: Any,
    tokens: int | None,
    layers: int | None,
    lens: Path | None,
    batch: int,
    max_new_tokens: int,
    device_map: str | None,
    engine: str,
    gpus: int | None,
    states: Path | None,
    state_layers: tuple[float, ...] | None,
    storage: Any,
    shard: str | None,
    fresh: bool,
) -> Reply:
    """Record what every traced layer of a model says about every token.

    Each token's entropy, log-probability and best guess at each of the last layers go into a
    Parquet file, with all that is needed to make it again. The work is done in parts: an
    interrupted run, however it ended, resumes when the same command is given again.
    """
    if mode == "reference":
        refuse_ignored("with --mode reference", "max_new_tokens")
    if states is None:
        refuse_ignored("without --states", "state_layers")
    else:
        refuse_ignored("with --states", "engine", "gpus")
        if mode != "reference":
            raise UserError(
                "--states are those of texts that are given: let them be the solutions of "
                "--prompts (--mode reference)"
            )
    if engine == "vllm":
        refuse_ignored("with --engine vllm", "device", "device_map", "batch")
        if mode != "reference":
            raise UserError(
                "--engine vllm reads texts that are given: write the model's own with your "
                "server, and trace them as the solutions of --prompts (--mode reference)"
            )
    else:
        refuse_ignored("without --engine vllm", "gpus")
    default = _SUPPLY if tokens else DEFAULT_PROBLEMS
    chosen = asked.choose(seed, references=mode == "reference", default=default)
    own = choose_shard(shard, os.environ)
    file = out if own is None else own.file(out)
    require_writable((file, FORMAT.kind), inputs=asked.reads(lens))
    require_room(file, fresh)
    place = model.device if device_map else local_device(model.device, os.environ)
    source: AbstractSource
    if engine == "vllm":
        from empirical.serving.tracing import InEngine

        source = InEngine(model.name, lens, model.dtype, gpus or 1)
    else:
        source = whole = InTransformers(model.open(lens, place, device_map), lens)
        if states is not None:
            from empirical.capture.stored import InFiles

            numbers = None if state_layers is None else [int(n) for n in state_layers]
            source = InFiles(whole, states, numbers)
    if lens is not None:
        from empirical.lenses import require_lens

        if warning := fitted_here(require_lens(lens).origin, chosen):
            click.echo(f"Warning: {warning}", err=True)
    chat = model.uses_chat(source.loaded)
    settings = Settings(mode, chat, layers, tokens, batch, max_new_tokens, storage)
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

        def advance(traced: int, done: int) -> None:
            rate = f"{traced / (time.monotonic() - began):.0f} tokens/s"
            bar.update(task, completed=traced if tokens else done, rate=rate)

        summary = trace_problems(
            source,
            chosen,
            settings,
            out,
            shard=own,
            fresh=fresh,
            seed=asked.seed(seed),
            command=this_command(),
            report=advance,
        )
    return Reply(summary, report(summary))


def report(summary: Summary) -> Report:
    """What was traced, how fast, and what the stored precision costs."""
    loss = summary.provenance.storage
    yield (
        f"{summary.file}: {summary.tokens} tokens of {summary.prompts} prompts at "
        f"{summary.layers} layers, {summary.bytes / 1e6:.2f} MB; {summary.seconds:.0f} s, "
        f"{summary.tokens_per_second:.1f} tokens/s"
    )
    if loss is not None and loss.dtype != "float32":
        yield (
            f"stored as {loss.dtype}: entropies off by at most {loss.entropy_max:.2g} nats "
            f"(mean {loss.entropy_mean:.2g}), log-probabilities by {loss.log_prob_max:.2g} "
            f"(mean {loss.log_prob_mean:.2g}); this rounding changes the search's layer on "
            f"{loss.moved_share:.2%} of the tokens"
        )
