"""`stopping evaluate`: does a rule solve more problems than plain decoding does?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from rich.console import Console

from empirical.commands.options import (
    DEFAULT_PROBLEMS,
    chat_option,
    chosen_problems,
    device_option,
    dtype_option,
    fresh_option,
    max_new_tokens_option,
    model_option,
    norm_option,
)
from empirical.evaluation.files import FORMAT
from empirical.evaluation.run import Settings
from empirical.evaluation.run import evaluate as run_evaluate
from empirical.model.load import load_model, require_models_extra
from empirical.provenance import command_line
from empirical.texts import Chat, uses_chat
from empirical.traces.parts import require_room
from stopping.cli.numbers import BATCH, at_least
from stopping.cli.ui import json_option, output, progress, refuse_ignored, seed_option, show
from stopping.errors import UserError
from stopping.support.files import require_writable

if TYPE_CHECKING:
    from empirical.decoding.custom import AbstractDecoder
    from stopping.rules import AbstractRule


@click.command(
    epilog="""\b
Examples:
  stopping evaluate --model HuggingFaceTB/SmolLM2-135M-Instruct --rule search
  stopping evaluate --model ./model.gguf --rule search --rule tolerance:tau=0.5 \\
      --problems 200 --out results.json
  stopping evaluate --model ./folder --rule guarded:guard=0.5 --prompts mine.jsonl --json
  stopping evaluate --model ./folder --rule search --rule dola --rule sled --norm off
"""
)
@model_option
@click.option(
    "--rule",
    "specs",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="Rule or rival to evaluate, such as search, tolerance:tau=0.5, dola; may be repeated.",
)
@norm_option
@click.option(
    "--lens",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Lens file (see `stopping lens`); default the raw lens.",
)
@click.option(
    "--problems",
    type=at_least(2),
    help=f"Number of built-in problems.  [default: {DEFAULT_PROBLEMS}]",
)
@click.option(
    "--prompts", type=click.Path(path_type=Path), help="JSONL file with your prompts and answers."
)
@seed_option
@max_new_tokens_option
@click.option(
    "--batch",
    type=BATCH,
    default=8,
    show_default=True,
    help="Problems answered at once.",
)
@chat_option
@device_option
@dtype_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Results as JSON. Finished batches are kept beside it, so that a killed run goes on.",
)
@fresh_option
@json_option
def evaluate(
    model: str,
    specs: tuple[str, ...],
    norm: str | None,
    lens: Path | None,
    problems: int | None,
    prompts: Path | None,
    seed: int,
    max_new_tokens: int,
    batch: int,
    chat: str,
    device: str,
    dtype: str,
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Compare rules with plain decoding by the problems that a model solves.

    Every problem is answered greedily, once plainly and once under each rule. An answer is right
    if it equals the problem's exactly; it is read from the first line that says "the answer is",
    else from the end of the text. Counted are the tokens whose characters are in a text: its end is
    none. The same command resumes, and with
    further rules it runs only those.
    """
    require_models_extra()
    rules = read_rules(specs, norm)
    chosen = chosen_problems(prompts, problems, seed, references=False)
    require_writable((out, FORMAT.kind), inputs=filter(None, (prompts, lens)))
    if out is None:
        refuse_ignored("without --out", "fresh")
    else:
        require_room(out, fresh)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if lens is not None:
        from empirical.lenses import require_lens

        require_lens(lens)
    with errors.status(f"loading {Path(model).name}"):
        loaded = load_model(model, dtype, device)
    settings = Settings(uses_chat(loaded, cast(Chat, chat)), max_new_tokens, batch, seed)
    with progress() as bar:
        task = bar.add_task("batches", total=None)
        result = run_evaluate(
            loaded,
            chosen,
            rules,
            settings,
            lens=lens,
            out=out,
            fresh=fresh,
            problems_seed=None if prompts else seed,
            command=command_line(["stopping", *sys.argv[1:]]),
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    try:
        if out is not None:
            FORMAT.write(out, result)
    finally:  # the result is printed even if it cannot be written
        if as_json:
            click.echo(FORMAT.text(result))
        else:
            show(output(), result.report())


def read_rules(specs: tuple[str, ...], norm: str | None) -> "list[AbstractRule | AbstractDecoder]":
    """Parse rules and rivals; `norm` is for those among them that have such a setting.

    Raises
    ------
    UserError
        If a spec is not understood, or none has the setting that is given.
    """
    from empirical.decoding.rivals import AbstractContrast, parse_decoder

    read = [parse_decoder(spec) for spec in specs]
    if norm is None:
        return read
    if not any(isinstance(rule, AbstractContrast) for rule in read):
        raise UserError("--norm belongs to the rivals dola and sled; none of them is given")
    given = norm == "on"
    return [
        parse_decoder(spec, norm=given) if isinstance(rule, AbstractContrast) else rule
        for spec, rule in zip(specs, read, strict=True)
    ]
