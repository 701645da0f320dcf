"""`stopping lens pools`: is there anything to gain from earlier layers at all?"""

from typing import Any

import click

from empirical.commands.options import (
    Asked,
    ModelChoice,
    model_options,
    problems_options,
    problems_seed_option,
    training_tokens_option,
)
from empirical.problems import prompts_hash
from empirical.provenance import now, this_command
from empirical.texts import texts_of
from stopping.cli.numbers import at_least
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import show


@click.command(
    epilog="""\b
Examples:
  stopping lens pools --model ./model.gguf
  stopping lens pools --model ./model.gguf --problems 300 --layers 4 --held-out groups
  stopping lens pools --model ./model.gguf --json > pools.json
"""
)
@model_options
@problems_options()
@problems_seed_option(1, "the bundled traces are of problems of seed 0")
@click.option(
    "--held-out",
    type=click.Choice(["prompts", "groups"]),
    default="prompts",
    help="What is dealt to training and test whole; of groups (templates), none is in both.",
)
@click.option(
    "--layers",
    type=click.IntRange(2, 1000),
    default=5,
    help="How many layers to pool, counted from the last.",
)
@click.option("--rank", type=at_least(), default=16, help="Of the corrections.")
@training_tokens_option
@click.option(
    "--epochs",
    type=click.IntRange(0, 10_000),
    default=8,
    help="Most passes over the training tokens.",
)
@with_json()
def pools(
    model: ModelChoice,
    asked: Asked,
    seed: int,
    held_out: Any,
    layers: int,
    rank: int,
    tokens: int,
    epochs: int,
) -> Reply:
    """Measure what earlier layers add to the final one, on prompts that trained nothing.

    Linear and log-linear pools of the last layers, with global weights and with weights from their
    entropies, and a low-rank correction of the final state from all of these states. Beside each
    stands the same thing without the earlier layers: what it gains beyond that is theirs, the rest
    is a temperature or the wording of the training text.
    """
    from empirical.lenses.fit import sample_of
    from empirical.model.anatomy import Anatomy, last_layers
    from empirical.studies.pools import Settings
    from empirical.studies.pools.data import Head
    from empirical.studies.pools.study import Parts, pool

    chosen = asked.choose(seed, references=True)
    loaded = model.open()
    anatomy = Anatomy.of(loaded.model)
    head = Head.of(anatomy)
    numbers = last_layers(len(anatomy.layers), layers)
    with progress() as bar:
        task = bar.add_task("reading prompts", total=2 * len(chosen) + 7)
        texts = texts_of(
            loaded, chosen, "reference", model.uses_chat(loaded), 0, lambda n: bar.advance(task, n)
        )
        sample = sample_of(
            anatomy, texts, numbers, tokens, seed, lambda: bar.advance(task), by=held_out
        )
        found = pool(
            head,
            Parts.of(anatomy, sample),
            Settings(layers, rank, epochs, seed),
            model=loaded.name,
            layers=numbers,
            clusters={text.prompt: text.group for text in texts if text.group},
            tell=lambda text: bar.update(task, description=text),
            advance=lambda: bar.advance(task),
        )
    content = {
        "held_out": held_out,
        "prompts_hash": prompts_hash(chosen),
        "weights": dict(loaded.weights),
        "date": now(),
        "command": this_command(),
        "pools": found,
    }
    return Reply(content, lambda out: show(out, found.report()))
