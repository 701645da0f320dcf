"""`stopping trace problems`: the built-in reasoning problems, to look at or to keep."""

from pathlib import Path

import click

from empirical.problems import DIFFICULTIES, draw_problems, prompts_hash, to_jsonl, to_row
from stopping.cli.numbers import at_least
from stopping.cli.options import FILE, seed_option
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import table
from stopping.support.files import Kind, require_writable, write_atomic
from stopping.support.tables import count

# What users write by themselves names no template.
PROBLEMS = Kind("file of built-in problems", b'"template": "')


@click.command()
@click.option("--n", type=at_least(), default=20, help="How many.")
@seed_option
@click.option(
    "--difficulty",
    "difficulties",
    type=click.IntRange(min(DIFFICULTIES), max(DIFFICULTIES)),
    multiple=True,
    help="1 (one or two steps) to 4 (five or more); may be given several times. Default: all.",
)
@click.option(
    "--out", type=FILE, help="Write JSON Lines to this file instead of showing the problems."
)
@with_json()
def problems(n: int, seed: int, difficulties: tuple[int, ...], out: Path | None) -> Reply:
    """Choose multi-step reasoning problems with worked solutions and exact answers.

    The same seed gives the same problems, and a larger --n only adds to them; even and odd seeds
    have none in common. The file has one object a line, with prompt, reference, answer,
    difficulty, family, template and id.

    \b
    Examples:
      stopping trace problems --n 5 --difficulty 3
      stopping trace problems --n 400 --seed 1 --out problems.jsonl
      stopping trace problems --n 100 --difficulty 1 --difficulty 4 --json > problems.json
    """
    require_writable((out, PROBLEMS))
    drawn = draw_problems(n, seed, difficulties or DIFFICULTIES)
    about = {"n": n, "seed": seed, "hash": prompts_hash(drawn)}
    if out is not None:
        write_atomic(out, to_jsonl(drawn))
        line = f"{out}: {count(n, 'problem')}, hash {prompts_hash(drawn)}"
        return Reply(about | {"out": str(out)}, line)
    shown = table(count(n, "problem"), "problem", "question and solution", "answer")
    shown.show_lines = True
    shown.columns[1].justify = "left"
    for problem in drawn:
        shown.add_row(problem.id, f"{problem.prompt}\n\n{problem.solution}", problem.answer)
    return Reply(about | {"problems": [to_row(problem) for problem in drawn]}, shown)
