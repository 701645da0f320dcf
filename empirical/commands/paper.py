"""`stopping paper`: the paper's tables and figures for any model."""

import gc
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from empirical.commands.options import (
    Asked,
    ModelChoice,
    batch_option,
    max_new_tokens_option,
    model_options,
    problems_options,
    window_option,
)
from empirical.evaluation.runner import Settings
from empirical.problems import Problem
from empirical.provenance import this_command
from empirical.studies.paper.page import PAGE, render_page
from empirical.studies.paper.plan import SECTIONS, Plan
from empirical.studies.paper.results import FORMAT, ArmResult, ModelResult, PaperResult
from empirical.studies.paper.run import contrast, require_problems, run_model
from stopping.cli.numbers import Number, Numbers
from stopping.cli.options import FOLDER, fresh_option, seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import refuse_ignored, table
from stopping.errors import UserError
from stopping.support.files import require_writable, write_atomic
from stopping.support.results import Report
from stopping.support.tables import count, estimate, number, percent


@click.command(
    epilog="""\b
Examples:
  stopping paper --model Qwen/Qwen3-0.6B --out paper
  stopping paper --model Qwen/Qwen3-0.6B --against Qwen/Qwen3-0.6B-Base --problems 200
  stopping paper --model ./model.gguf --prompts gpqa.jsonl --sections p --sections rivals
  stopping paper --model ./folder --problems 20 --max-new-tokens 80 --json
"""
)
@model_options
@click.option("--against", help="A second model, such as the base model of the first.")
@problems_options(4)
@click.option(
    "--sections",
    multiple=True,
    type=click.Choice(SECTIONS),
    help="What to run besides plain decoding and the search; may be repeated.  [default: all]",
)
@window_option
@click.option(
    "--temperatures",
    type=Numbers(Number(0, 1000, min_open=True)),
    default="0.5,1.0",
    help="Of the temperature sweep, besides 0.",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 1000),
    default=4,
    help="Plain runs at temperature 0.7 that rank the problems by difficulty.",
)
@seed_option
@max_new_tokens_option
@batch_option
@click.option(
    "--out",
    type=FOLDER,
    default=Path("paper"),
    help="Folder for paper.json and paper.html. Finished batches are kept there, so that a killed "
    "run resumes.",
)
@fresh_option
@with_json()
def paper(
    model: ModelChoice,
    against: str | None,
    asked: Asked,
    sections: tuple[str, ...],
    K: int,
    temperatures: tuple[float, ...],
    samples: int,
    seed: int,
    max_new_tokens: int,
    batch: int,
    out: Path,
    fresh: bool,
) -> Reply:
    """Make the paper's tables and figures for a model, beside the paper's own values.

    Every problem is answered by plain decoding, by the search, and by what the paper sets beside
    it. The same command resumes, and with more sections it runs only
    those.
    """
    for option, section in (("temperatures", "temperature"), ("samples", "difficulty")):
        if section not in (sections or SECTIONS):
            refuse_ignored(f"without --sections {section}", option)
    plan = Plan(K, sections or SECTIONS, temperatures, samples)
    chosen = asked.choose(seed, references=False)
    require_problems(chosen)
    data, page = out / "paper.json", out / "paper.html"
    require_writable((data, FORMAT.kind), (page, PAGE), inputs=asked.reads())
    settings = Settings(False, max_new_tokens, batch, seed)
    run = partial(
        _one, problems=chosen, plan=plan, settings=settings, out=out, fresh=fresh,
        problems_seed=asked.seed(seed),
    )  # fmt: skip
    found = [run(model)]
    if against is not None:
        gc.collect()  # the model before, whose modules and hooks refer to each other
        found.append(run(replace(model, name=against)))
        if found[0].provenance.model == found[1].provenance.model:
            raise UserError(f"--against names {against} again; name another model")
    both = len(found) == 2
    whole = PaperResult(tuple(found), contrast(found[0], found[1], chosen, seed) if both else None)
    return Reply(
        FORMAT.wrap(vars(whole)),
        report(whole),
        [
            (data, lambda path: FORMAT.write(path, whole)),
            (page, lambda path: write_atomic(path, render_page(whole))),
        ],
    )


def _one(
    model: ModelChoice,
    problems: tuple[Problem, ...],
    plan: Plan,
    settings: Settings,
    out: Path,
    fresh: bool,
    problems_seed: int | None,
) -> ModelResult:
    loaded = model.open()
    label = loaded.name.replace("/", "--")
    with progress() as bar:
        task = bar.add_task(label[:24], total=None)
        return run_model(
            loaded,
            problems,
            plan,
            replace(settings, chat=model.uses_chat(loaded)),
            out=out / f"{label}.json",
            fresh=fresh,
            command=this_command(),
            problems_seed=problems_seed,
            report=lambda done, total: bar.update(task, completed=done, total=total),
        )


def report(result: PaperResult) -> Report:
    """The table of accuracies and a dry summary."""
    for model in result.models:
        at = model.provenance
        yield (
            f"{at.model}: {count(model.problems, 'problem')}, up to "
            f"{model.settings.max_new_tokens} tokens, window of {model.plan.K} steps. Plain "
            f"decoding solves {estimate(percent(model.plain), '.1f')}%; {model.ended:.0%} of "
            "its texts end by themselves."
        )
        rows = table(
            "Against plain decoding at the same temperature, on the same problems",
            *("decoder", "T", "solved %", "minus plain (points)", "p", "adjusted", "moved"),
            "other token",
            caption="p: exact test of whole groups (McNemar's, where there are none); adjusted for "
            "all rows; moved: tokens from an earlier layer; other token: than the final layer's",
        )
        for arm in model.arms:
            rows.add_row(*_cells(arm))
        yield rows
        yield _summary(model)
    if result.contrast is not None:
        c = result.contrast
        yield (
            f"Gain of the search on {c.first} minus that on {c.second}, same problems: "
            f"{estimate(percent(c.gain), '+.1f')} points."
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
    better, worse = model.told
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
