"""Options that the commands which run a model have in common."""

from pathlib import Path

import click

from empirical.model.load import DTYPES
from empirical.problems import Problem, generate, read_prompts
from stopping.cli.numbers import at_least
from stopping.errors import UserError

DEFAULT_PROBLEMS = 100

model_option = click.option(
    "--model", required=True, help="A .gguf file, a local folder, or a hub id."
)
prompts_option = click.option(
    "--prompts", type=click.Path(path_type=Path), help="JSONL file with your prompts."
)
max_new_tokens_option = click.option(
    "--max-new-tokens",
    type=at_least(),
    default=160,
    show_default=True,
    help="Longest text to generate.",
)
chat_option = click.option(
    "--chat",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Put prompts into the tokenizer's chat template.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ..."
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="auto",
    show_default=True,
    help="Precision of the weights; auto is float32 on a CPU, bfloat16 on a GPU.",
)
norm_option = click.option(
    "--norm",
    type=click.Choice(["on", "off"]),
    help="off: DoLa and SLED read earlier layers without the final norm, as their published code.",
)
plan_option = click.option(
    "--plan",
    type=click.Choice(["fixed", "measured"]),
    default="fixed",
    show_default=True,
    help="measured: project as many layers together as is fastest here; texts may differ by "
    "roundings from run to run.",
)
fresh_option = click.option(
    "--fresh", is_flag=True, help="Throw away what an earlier run left, and start anew."
)


def chosen_problems(
    prompts: Path | None,
    problems: int | None,
    seed: int,
    default: int = DEFAULT_PROBLEMS,
    *,
    references: bool,
) -> tuple[Problem, ...]:
    """Read the user's prompts, or generate `problems` (else `default`) built-in ones.

    `references` says whether each prompt needs a solution of its own.

    Raises
    ------
    UserError
        If both are asked for, or the file cannot be read.
    """
    if prompts is not None and problems is not None:
        raise UserError("give either --prompts or --problems, not both")
    if prompts is not None:
        return read_prompts(prompts, references)
    return generate(problems or default, seed)
