"""`stopping paper`: the paper's tables and figures for any model."""

import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import click
from rich.console import Console

from empirical.commands.options import (
    chat_option,
    chosen_problems,
    device_option,
    dtype_option,
    fresh_option,
    max_new_tokens_option,
    model_option,
    prompts_option,
)
from empirical.commands.targets import count, estimate, narrow, number, percent, sentences
from empirical.evaluation.run import Settings
from empirical.model.load import load_model, require_models_extra
from empirical.problems import Problem
from empirical.provenance import command_line
from empirical.studies.paper.files import FORMAT
from empirical.studies.paper.page import PAGE, render_page
from empirical.studies.paper.plan import SECTIONS, Plan
from empirical.studies.paper.results import ArmResult, ModelResult, PaperResult
from empirical.studies.paper.run import contrast, require_problems, run_model
from empirical.texts import Chat, uses_chat
from stopping.cli.numbers import BATCH, WINDOW, Number, Numbers, at_least
from stopping.cli.ui import json_option, output, progress, refuse_ignored, seed_option
from stopping.errors import UserError
from stopping.support.files import require_writable, write_atomic


@click.command(
    epilog="""\b
Examples:
  stopping paper --model Qwen/Qwen3-0.6B --out paper
  stopping paper --model Qwen/Qwen3-0.6B --against Qwen/Qwen3-0.6B-Base --problems 200
  stopping paper --model ./model.gguf --prompts gpqa.jsonl --sections p --sections rivals
  stopping paper --model ./folder --problems 20 --max-new-tokens 80 --json
"""
)
@model_option
@click.option("--against", help="A second model, such as the base model of the first.")
@click.option("--problems", type=at_least(4), help="Number of built-in problems.  [100]")
@prompts_option
@click.option(
    "--sections",
    multiple=True,
    type=click.Choice(SECTIONS),
    help="What to run besides plain decoding and the search; may be repeated.  [default: all]",
)
@click.option("--window", "K", type=WINDOW, default=10, show_default=True)
@click.option(
    "--temperatures",
    type=Numbers(Number(0, 1000, min_open=True)),
    default="0.5,1.0",
    show_default=True,
    help="Of the temperature sweep, besides 0.",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 1000),
    default=4,
    show_default=True,
    help="Plain runs at temperature 0.7 that rank the problems by difficulty.",
)
@seed_option
@max_new_tokens_option
@click.option("--batch", type=BATCH, default=8, show_default=True)
@chat_option
@device_option
@dtype_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("paper"),
    show_default=True,
    help="Folder for paper.json and paper.html. Finished batches are kept there, so that a killed "
    "run goes on.",
)
@fresh_option
@json_option
def paper(
    model: str,
    against: str | None,
    problems: int | None,
    prompts: Path | None,
    sections: tuple[str, ...],
    K: int,
    temperatures: tuple[float, ...],
    samples: int,
    seed: int,
    max_new_tokens: int,
    batch: int,
    chat: str,
    device: str,
    dtype: str,
    out: Path,
    fresh: bool,
    as_json: bool,
) -> None:
    """Make the paper's tables and figures for a model, beside the paper's own values.

    Every problem is answered by plain decoding, by the search, and by what the paper sets beside
    it. The same command resumes, and with more sections it runs only
    those.
    """
    require_models_extra()
    for option, section in (("temperatures", "temperature"), ("samples", "difficulty")):
        if section not in (sections or SECTIONS):
            refuse_ignored(f"without --sections {section}", option)
    plan = Plan(K, sections or SECTIONS, temperatures, samples)
    chosen = chosen_problems(prompts, problems, seed, references=False)
    require_problems(chosen)
    data, page = out / "paper.json", out / "paper.html"
    require_writable((data, FORMAT.kind), (page, PAGE), inputs=filter(None, (prompts,)))
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    names = [model] if against is None else [model, against]
    settings = Settings(False, max_new_tokens, batch, seed)
    found: list[ModelResult] = []
    for name in names:
        result = _one(
            name, chosen, plan, settings, cast(Chat, chat), device, dtype, out, fresh,
            None if prompts else seed, errors,
        )  # fmt: skip
        if result.provenance.model in {other.provenance.model for other in found}:
            raise UserError(f"--against names {name} again; name another model")
        found.append(result)
    both = len(found) == 2
    whole = PaperResult(tuple(found), contrast(found[0], found[1], seed) if both else None)
    text = FORMAT.text(whole)
    try:
        write_atomic(data, text + "\n")
        write_atomic(page, render_page(whole))
    finally:  # the result is printed even if it cannot be written
        if as_json:
            click.echo(text)
        else:
            show(whole)
    if not as_json:
        output().print(sentences(f"Tables and figures: {page}"))


def _one(
    name: str,
    problems: tuple[Problem, ...],
    plan: Plan,
    settings: Settings,
    chat: Chat,
    device: str,
    dtype: str,
    out: Path,
    fresh: bool,
    problems_seed: int | None,
    errors: Console,
) -> ModelResult:
    gc.collect()  # the model before, whose modules and hooks refer to each other
    with errors.status(f"loading {Path(name).name}"):
        loaded = load_model(name, dtype, device)
    label = loaded.name.replace("/", "--")
    with progress() as bar:
        task = bar.add_task(label[:24], total=None)
        return run_model(
            loaded,
            problems,
            plan,
            replace(settings, chat=uses_chat(loaded, chat)),
            out=out / f"{label}.json",
            fresh=fresh,
            command=command_line(["stopping", *sys.argv[1:]]),
            problems_seed=problems_seed,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )


def show(result: PaperResult) -> None:
    """Print the table of accuracies and a dry summary."""
    console = output()
    for model in result.models:
        at = model.provenance
        console.print(
            sentences(
                f"{at.model}: {count(model.problems, 'problem')}, up to "
                f"{model.settings.max_new_tokens} tokens, window of {model.plan.K} steps. Plain "
                f"decoding solves {estimate(percent(model.plain), '.1f')}%; {model.ended:.0%} of "
                "its texts end by themselves."
            )
        )
        rows = narrow(
            "Against plain decoding at the same temperature, on the same problems",
            *("decoder", "T", "solved %", "minus plain (points)", "p", "adjusted", "moved"),
            "other token",
            caption="p: McNemar's exact test; adjusted for all rows; moved: tokens from an earlier "
            "layer; other token: than the final layer's",
        )
        for arm in model.arms:
            rows.add_row(*_cells(arm))
        console.print(rows)
        console.print(sentences(_summary(model)))
    if result.contrast is not None:
        c = result.contrast
        console.print(
            sentences(
                f"Gain of the search on {c.first} minus that on {c.second}, same problems: "
                f"{estimate(percent(c.gain), '+.1f')} points."
            )
        )


def _cells(arm: ArmResult) -> tuple[str, ...]:
    m = arm.overall
    return (
        arm.name,
        f"{arm.temperature:g}",
        number(100 * m.accuracy.estimate, ".1f"),
        estimate(percent(m.difference), "+.1f"),
        number(m.p_value, ".3f"),
        number(arm.p_adjusted, ".3f"),
        number(arm.moved.estimate, ".1%"),
        number(arm.substituted.estimate, ".1%"),
    )


def _summary(model: ModelResult) -> str:
    better = sum(a.p_adjusted < 0.05 and a.overall.fixed > a.overall.regressed for a in model.arms)
    worse = sum(a.p_adjusted < 0.05 and a.overall.fixed < a.overall.regressed for a in model.arms)
    leaves, changed = model.tokens["leaves"].ours, model.tokens["argmax_changed"].ours
    floor = (
        " Plain decoding solves so few problems that no decoder can be told worse: a floor."
        if model.plain.estimate < 0.1
        else ""
    )
    return (
        f"Of {count(len(model.arms), 'comparison')}: better {better}, worse {worse}, undecided "
        f"{len(model.arms) - better - worse} (5% for all together). The search leaves the last "
        f"layer on {leaves.estimate:.1%} of its tokens and says another token on "
        f"{changed.estimate:.1%}.{floor}"
    )
