"""`stopping conformance`: somebody's implementation against the theory's requirements."""

import importlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from stopping.cli.numbers import WINDOW, Number, at_least
from stopping.cli.options import seed_option
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.cli.ui import refuse_ignored, table
from stopping.errors import UserError

# Hypothesis is an extra: the package that needs it is imported when the command runs.
if TYPE_CHECKING:
    from stopping.testing import Report

WIDTH = 80
COLOURS = {"passed": "green", "failed": "red", "not asked": "yellow"}
KINDS = ("selection", "entropy", "decoder", "lens")
FLAGS = {"K": "window", "batched": "one-by-one"}
"""Options of the command that are not called after their convention."""


@click.command()
@click.argument("target", metavar="MODULE:FUNCTION")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    required=True,
    help="What it computes: layers from entropies, entropies from logits, or from states the "
    "logits of the chosen layer (decoder) or of every layer (lens).",
)
@click.option("--window", "K", type=WINDOW, help="Most steps back (default 10).")
@click.option("-p", "p", type=Number(0, 1), help="Probability of the search (default 1).")
@click.option(
    "--layer-axis", type=click.IntRange(-3, 2), help="Axis of the layers (default: the second)."
)
@click.option(
    "--order",
    type=click.Choice(("deep-last", "deep-first")),
    help="Where the final layer lies on that axis.",
)
@click.option("--layers", type=(WINDOW, WINDOW), help="Least and most layers that it accepts.")
@click.option(
    "--returns", type=click.Choice(("index", "depth")), help="What a selection gives back."
)
@click.option("--one-by-one", is_flag=True, help="It takes one token at a time, without a batch.")
@click.option("--final-normed", is_flag=True, help="The final state comes with the norm applied.")
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(("float64", "float32", "bfloat16", "float16")),
    help="Precision of its input; repeat it for entropies.",
)
@click.option("--tolerance", type=Number(0, 1000, min_open=True), help="Largest error.")
@click.option(
    "--level",
    type=Number(0, 1, min_open=True, max_open=True),
    help="Level of the tests of frequencies.",
)
@click.option(
    "--framework",
    type=click.Choice(("auto", "numpy", "torch")),
    default="auto",
    help="Arrays that it takes.",
)
@click.option("--device", default="cpu", help="Device of torch tensors.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Ask the requirements of this name or pattern alone; repeat it for more.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="NAME",
    help="Leave the requirements of this name or pattern out; repeat it for more.",
)
@click.option(
    "--examples",
    type=at_least(),
    default=100,
    help="Most cases for each requirement.",
)
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to import from.",
)
@seed_option
@with_json()
def conformance(
    target: str,
    kind: str,
    one_by_one: bool,
    only: tuple[str, ...],
    without: tuple[str, ...],
    examples: int,
    path: Path,
    seed: int,
    **options: Any,
) -> Reply:
    """Test an implementation of confident layer decoding: MODULE:FUNCTION.

    A function of --kind selection gets entropies (tokens, layers) in nats and gives back layers;
    entropy gets logits (rows, vocabulary) and gives back nats; decoder and lens get residual
    states (tokens, layers, hidden) and a `stopping.testing.Head` and give back logits, of the
    chosen layer or of every layer. The smallest counterexample of each requirement that fails is
    printed as code. Exit code 1 if any fails, 2 if the function cannot be used. Needs the extra
    `conformance`.

    \b
    Examples:
      stopping conformance my_engine.search:choose --kind selection
      stopping conformance kernels:trough --kind selection --window 7 --order deep-first
      stopping conformance my_engine.logits:entropy --kind entropy --framework torch --json
      stopping conformance my_engine.decode:step --kind decoder --path ~/my_engine
      stopping conformance my_engine.lens:read --kind lens --final-normed
      stopping conformance kernels:trough --kind selection --without nan
    """
    import_testing()
    conventions = chosen(kind, one_by_one, options) | {"examples": examples, "seed": seed}
    start = time.perf_counter()
    # What the function prints must not get into JSON.
    with importable(path), redirect_stdout(sys.stderr):
        report = examine(load(target), kind, only, without, conventions)
    return Reply(
        {"function": target, "kind": kind, "seed": seed, "report": report},
        partial(show, report=report, target=target, seconds=time.perf_counter() - start),
        code=0 if report.passed else 1,
    )


def chosen(kind: str, one_by_one: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Return the conventions that were given, or say which one the kind does not know."""
    from stopping.testing.conventions import KNOWN

    known = KNOWN[kind]  # type: ignore[index]  # click has checked the kind
    if options["framework"] == "numpy":
        refuse_ignored("with --framework numpy", "device")
    dtypes = options.pop("dtypes")
    given = {name: value for name, value in options.items() if value not in (None, False)}
    if one_by_one:
        given["batched"] = False
    if dtypes and "dtypes" in known:
        given["dtypes"] = dtypes
    elif dtypes:
        if len(dtypes) > 1:
            raise UserError(f"--dtype: a {kind} is tested with one precision at a time")
        given["dtype"] = dtypes[0]
    for name in given:
        if name not in known:
            said = FLAGS.get(name, name.replace("_", "-"))
            raise UserError(f"--{said}: has no meaning for --kind {kind}")
    return given


def import_testing() -> None:
    """Raise `UserError` if the extra is missing, before anything else needs it."""
    importlib.import_module("stopping.testing")


@contextmanager
def importable(path: Path) -> Iterator[None]:
    """Let modules of `path` be imported, and leave no folder of Hypothesis behind."""
    from hypothesis.configuration import set_hypothesis_home_dir

    entry = str(path.expanduser().resolve())
    sys.path.insert(0, entry)
    try:
        with TemporaryDirectory() as folder:
            set_hypothesis_home_dir(folder)
            yield
    finally:
        set_hypothesis_home_dir(None)
        with suppress(ValueError):  # the tested module may have put the path in order
            sys.path.remove(entry)


def load(target: str) -> Callable[..., Any]:
    """Import `module:function`.

    Raises
    ------
    UserError
        If the text is of another form, the module cannot be imported or has no such function.
    """
    from stopping.testing.target import in_short

    module_name, _, name = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise UserError(f"{target!r}: {expected(module_name, name)}")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if module_name.endswith(".py"):
            raise UserError(f"{target!r}: {expected(module_name, name)}") from None
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            advice = "pass --path with the folder that it lies in"
            raise UserError(f"{module_name}: no module {error.name!r}; {advice}") from None
        raise UserError(f"{module_name}: importing it failed: {error}") from None
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        raised = f"importing it raised {in_short(error)} ({where})"
        raise UserError(f"{module_name}: {raised}") from None
    for part in name.split("."):
        holder = getattr(found, "__name__", type(found).__name__)
        found = getattr(found, part, None)
        if found is None:
            raise UserError(f"{target}: {holder} has no {part!r}")
    if not callable(found):
        raise UserError(f"{target}: a {type(found).__name__} cannot be called")
    function: Callable[..., Any] = found
    return function


def expected(module: str, name: str) -> str:
    """Say what a target looks like; whoever gave a file finds its module in the answer."""
    file = Path(module)
    if file.suffix != ".py":
        return "expected MODULE:FUNCTION, such as my_engine.search:choose"
    folder = "" if file.parent == Path() else f" --path {file.parent}"
    return f"expected a module, not a file: {file.stem}:{name or 'FUNCTION'}{folder}"


def examine(
    function: Callable[..., Any],
    kind: str,
    only: tuple[str, ...],
    without: tuple[str, ...],
    conventions: dict[str, Any],
) -> "Report":
    """Run the suite under a progress bar."""
    from stopping.testing import suite

    asked = suite(function, kind, **conventions)  # type: ignore[arg-type]  # click has checked the kind
    with progress() as bar:
        task = bar.add_task(kind, total=len(asked.chosen(only, without)))

        def advance(name: str) -> None:
            bar.update(task, description=name)
            bar.advance(task)

        return asked.report(only, without, advance)


def show(out: Console, report: "Report", target: str, seconds: float) -> None:
    """Print the table, the failures and the summary, on 80 columns."""
    rows = table(f"{report.kind}: {target}", "requirement", "source", "what it must do", "verdict")
    for column in rows.columns:
        column.justify = "left"
    for column in rows.columns[:2]:
        column.no_wrap = True
    for result in report.results:
        verdict = Text(str(result.status), style=COLOURS[result.status])
        if result.note:
            verdict.append(f": {result.note}")
        rows.add_row(result.requirement, result.source, Text(result.statement), verdict)
    out.print(rows, width=min(out.width, WIDTH))
    for failure in report.failures:
        out.print()
        out.print(str(failure), markup=False, soft_wrap=True)
    counts = [f"{sum(r.status == status for r in report.results)} {status}" for status in COLOURS]
    if report.left_out:
        counts.append(f"{len(report.left_out)} left out")
    out.print(f"\n{', '.join(counts)} ({seconds:.1f} s)")
