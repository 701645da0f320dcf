"""Options that several commands have, each written once.

Sets come as one object: the traces that are asked, the `model` to load, the problems to answer.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from rich.console import Console

from empirical.analysis.final_reading import READING, with_own_temperature
from empirical.data import bundled_traces
from empirical.model.load import DTYPES, LoadedModel, load_model, require_models_extra
from empirical.problems import Problem, draw_problems, read_prompts
from empirical.texts import Chat, uses_chat
from empirical.traces.files import Traces, read_traces
from stopping.cli.numbers import BATCH, NATS, REPLICATES, SEED, WINDOW, at_least
from stopping.cli.options import FILE
from stopping.cli.progress import progress
from stopping.errors import UserError

C = TypeVar("C", bound=Callable[..., Any])
R = TypeVar("R")
DEFAULT_PROBLEMS = 100
PATH = click.Path(path_type=Path)

traces_argument = click.argument("traces", nargs=-1, type=PATH, metavar="[TRACES]...")
window_option = click.option(
    "--window",
    "K",
    type=WINDOW,
    default=10,
    help="Steps back from the final layer that the search may take.",
)
replicates_option = click.option(
    "--replicates",
    type=REPLICATES,
    default=1000,
    help="Resamples of the bootstrap over prompts.",
)
max_new_tokens_option = click.option(
    "--max-new-tokens",
    type=at_least(),
    default=160,
    help="Longest text to generate.",
)
batch_option = click.option("--batch", type=BATCH, default=8, help="Texts at once.")
norm_option = click.option(
    "--norm",
    type=click.Choice(["on", "off"]),
    help="off: DoLa and SLED read earlier layers without the final norm, as their published code.",
)
plan_option = click.option(
    "--plan",
    type=click.Choice(["fixed", "measured"]),
    default="fixed",
    help="measured: project as many layers together as is fastest here; texts may differ by "
    "roundings from run to run.",
)
mode_option = click.option(
    "--mode",
    type=click.Choice(["reference", "generated"]),
    default="reference",
    help="The prompts' own solutions, or what the model writes (greedily).",
)
storage_option = click.option(
    "--storage",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    help="Precision of the stored numbers.",
)
training_tokens_option = click.option(
    "--tokens",
    type=at_least(30, 1_000_000_000),
    default=3000,
    help="Most training tokens; validation and test take a third of it each.",
)
lens_option = click.option(
    "--lens",
    type=FILE,
    help="Read layers through this lens (see `stopping lens fit`) instead of the raw one.",
)

calibrate_final_option = click.option(
    "--calibrate-final",
    is_flag=True,
    help="Read the final layer at its own temperature, fitted on other prompts, in the choice "
    "alone; what it decodes stays as it is.",
)


def problems_seed_option(default: int, others: str) -> Callable[[C], C]:
    """`--seed`: of the problems too; `others` says which seeds have been used."""
    return click.option(
        "--seed",
        type=SEED,
        default=default,
        help=f"Seed of the problems and of every draw; {others}.",
    )


def material_option(default: float) -> Callable[[C], C]:
    """`--materiality NATS`: which difference counts."""
    return click.option(
        "--materiality",
        "material",
        type=NATS,
        default=default,
        help="Difference in log-loss, nats, that counts: less is called neither better nor worse.",
    )


def for_each(
    traces: Sequence[Path],
    what: str,
    compute: Callable[[Traces], R],
    bundled: Callable[[Traces], bool] = lambda _: True,
    own_temperature: int | None = None,
) -> list[tuple[str, R]]:
    """Read each trace file and compute its result, under a bar.

    Without any file the bundled ones are taken, those for which `bundled` is true. Where a seed
    `own_temperature` is given, the final layer is read so (`--calibrate-final`).
    """
    results = []
    with progress() as bar:
        for path in bar.track(list(traces) or [*bundled_traces().values()], description=what):
            read = read_traces(path)
            if traces or bundled(read):
                name = str(path) if traces else path.stem
                if own_temperature is not None:
                    read, name = with_own_temperature(read, own_temperature), f"{name}, {READING}"
                results.append((name, compute(read)))
    return results


@dataclass(frozen=True)
class ModelChoice:
    """The model that is asked for, and how it is loaded."""

    name: str
    chat: Chat
    device: str
    dtype: str

    def open(
        self, lens: Path | None = None, device: str | None = None, device_map: str | None = None
    ) -> LoadedModel:
        """Load the model, after a look at the lens file that goes with it."""
        if lens is not None:
            from empirical.lenses import require_lens

            require_lens(lens)
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        with errors.status(f"loading {Path(self.name).name}"):
            return load_model(self.name, self.dtype, device or self.device, device_map)

    def uses_chat(self, loaded: LoadedModel) -> bool:
        """Whether prompts go through the chat template."""
        return uses_chat(loaded, self.chat)


def model_options(command: C) -> C:
    """Give a command the options of a model; it gets them as `model`, if models can be run."""

    @click.option("--model", required=True, help="A .gguf file, a local folder, or a hub id.")
    @click.option(
        "--chat",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        help="Put prompts into the tokenizer's chat template.",
    )
    @click.option("--device", default="auto", help="cpu, cuda, cuda:1, ...")
    @click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="auto",
        help="Precision of the weights; auto is float32 on a CPU, bfloat16 on a GPU.",
    )
    @functools.wraps(command)
    def run(*args: Any, model: str, chat: Any, device: str, dtype: str, **options: Any) -> Any:
        require_models_extra()
        return command(*args, model=ModelChoice(model, chat, device, dtype), **options)

    return cast(C, run)


@dataclass(frozen=True)
class Asked:
    """The problems that are asked for: the user's prompts, or so many built-in ones."""

    prompts: Path | None
    count: int | None

    def reads(self, *others: Path | None) -> tuple[Path, ...]:
        """Files that are read: the prompts, and those of `others` that are given."""
        return tuple(path for path in (self.prompts, *others) if path is not None)

    def choose(
        self, seed: int, *, references: bool, default: int = DEFAULT_PROBLEMS
    ) -> tuple[Problem, ...]:
        """Read the user's prompts, or draw built-in problems.

        `references` says whether each prompt needs a solution of its own.

        Raises
        ------
        UserError
            If both are asked for, or the file cannot be read.
        """
        if self.prompts is not None and self.count is not None:
            raise UserError("give either --prompts or --problems, not both")
        if self.prompts is not None:
            return read_prompts(self.prompts, references)
        return draw_problems(self.count or default, seed)

    def seed(self, seed: int) -> int | None:
        """The seed that drew the problems; None for the user's own."""
        return None if self.prompts is not None else seed


def problems_options(least: int = 1) -> Callable[[C], C]:
    """Give a command `--prompts` and `--problems`; it gets them as `asked`."""

    def decorate(command: C) -> C:
        @click.option(
            "--prompts",
            type=PATH,
            help="JSONL file with your prompts; its field group names what some of them share.",
        )
        @click.option(
            "--problems",
            type=at_least(least),
            help=f"Number of built-in problems.  [default: {DEFAULT_PROBLEMS}]",
        )
        @functools.wraps(command)
        def run(*args: Any, prompts: Path | None, problems: int | None, **options: Any) -> Any:
            return command(*args, asked=Asked(prompts, problems), **options)

        return cast(C, run)

    return decorate
