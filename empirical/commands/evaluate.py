"""`stopping evaluate`: does a rule solve more problems than plain decoding does?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from empirical.commands.options import (
    Asked,
    ModelChoice,
    batch_option,
    lens_option,
    max_new_tokens_option,
    model_options,
    norm_option,
    problems_options,
)
from empirical.evaluation.run import FORMAT
from empirical.evaluation.run import evaluate as run_evaluate
from empirical.evaluation.runner import Settings
from empirical.provenance import this_command
from stopping.cli.options import FILE, fresh_option, seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import refuse_ignored
from stopping.errors import UserError
from stopping.support.files import require_writable
from stopping.support.store import require_room

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
  stopping evaluate --model ./folder --rule search --problems 2000 --until-decided
"""
)
@model_options
@click.option(
    "--rule",
    "specs",
    multiple=True,
    required=True,
    metavar="SPEC",
    help="Rule or rival to evaluate, such as search, tolerance:tau=0.5, dola; may be repeated.",
)
@norm_option
@lens_option
@problems_options(2)
@seed_option
@max_new_tokens_option
@batch_option
@click.option(
    "--out",
    type=FILE,
    help="Results as JSON. Finished batches are kept beside it, so that a killed run resumes.",
)
@click.option(
    "--until-decided",
    is_flag=True,
    help="Look after every batch, and stop once every rule is decided; the level holds.",
)
@fresh_option
@with_json()
def evaluate(
    model: ModelChoice,
    specs: tuple[str, ...],
    norm: str | None,
    lens: Path | None,
    asked: Asked,
    seed: int,
    max_new_tokens: int,
    batch: int,
    out: Path | None,
    until_decided: bool,
    fresh: bool,
) -> Reply:
    """Compare rules with plain decoding by the problems that a model solves.

    Every problem is answered greedily, once plainly and once under each rule. An answer is right
    if it equals the problem's exactly; it is read from the first line that says "the answer is",
    else from the end of the text. Counted are the tokens whose characters are in a text: its end is
    none. The same command resumes, and with further rules it runs only those.
    """
    rules = read_rules(specs, norm)
    chosen = asked.choose(seed, references=False)
    require_writable((out, FORMAT.kind), inputs=asked.reads(lens))
    if out is None:
        refuse_ignored("without --out", "fresh")
    else:
        require_room(out, fresh)
    loaded = model.open(lens)
    settings = Settings(
        model.uses_chat(loaded), max_new_tokens, batch, seed, until_decided=until_decided
    )
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
            problems_seed=asked.seed(seed),
            command=this_command(),
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )
    files = [(out, lambda path: FORMAT.write(path, result))]
    return Reply(FORMAT.wrap(vars(result)), result, files)


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
