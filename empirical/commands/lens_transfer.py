"""`stopping lens transfer`: is a lens calibrated on what the model writes itself?"""

from pathlib import Path

import click
import numpy as np
from rich.console import Console

from empirical.commands.options import (
    PATH,
    Asked,
    ModelChoice,
    max_new_tokens_option,
    model_options,
    problems_options,
    problems_seed_option,
)
from empirical.problems import prompts_hash
from empirical.provenance import now, this_command
from empirical.texts import texts_of
from stopping.cli.numbers import at_least
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import prose, show


@click.command(
    epilog="""\b
Examples:
  stopping lens transfer model.affine.safetensors --model ./model.gguf
  stopping lens transfer model.affine.safetensors --model ./model.gguf --problems 40 --json
"""
)
@click.argument("file", type=PATH)
@model_options
@problems_options(2)
@problems_seed_option(2, "a lens is fitted to problems of seed 1")
@click.option(
    "--tokens",
    type=at_least(2, 1_000_000_000),
    default=1000,
    help="Most tokens of either text.",
)
@max_new_tokens_option
@with_json()
def transfer(
    file: Path, model: ModelChoice, asked: Asked, seed: int, tokens: int, max_new_tokens: int
) -> Reply:
    """Compare a lens's calibration on reference text with that on the model's own greedy text.

    Each layer's gap is that of its entropy to the log-loss that it would have if tokens were drawn
    from the final layer's distribution, which can be asked of both texts alike.
    """
    from empirical.capture.run import fitted_here
    from empirical.lenses import load_lens, require_lens
    from empirical.lenses.states import gather
    from empirical.lenses.transfer import transfer as measure
    from empirical.model.anatomy import Anatomy

    origin = require_lens(file).origin
    chosen = asked.choose(seed, references=True)
    warning = fitted_here(origin, chosen)
    loaded = model.open(file)
    anatomy = Anatomy.of(loaded.model)
    lens = load_lens(file, anatomy)
    rng = np.random.default_rng(seed)
    states = []
    with progress() as bar:
        task = bar.add_task("reading prompts", total=4 * len(chosen))
        for mode in ("reference", "generated"):
            texts = texts_of(
                loaded,
                chosen,
                mode,
                model.uses_chat(loaded),
                max_new_tokens,
                lambda n: bar.advance(task, n),
            )
            written = [text for text in texts if text.completion_ids]
            layers = list(lens.corrections)
            states.append(gather(anatomy, written, layers, tokens, rng, lambda: bar.advance(task)))
        found = measure(anatomy, lens.corrections, states[0], states[1], lens.name, seed)

    def text(out: Console) -> None:
        show(out, found.report())
        if warning:
            out.print(prose(f"Warning: {warning}"))

    content = {
        "warning": warning,
        "model": loaded.name,
        "weights": dict(loaded.weights),
        "prompts_hash": prompts_hash(chosen),
        "date": now(),
        "command": this_command(),
        "transfer": found,
    }
    return Reply(content, text)
