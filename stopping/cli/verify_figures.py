"""`stopping figures`: every figure of the theory as a file."""

from pathlib import Path

import click

from stopping.cli.ui import as_json as to_json
from stopping.cli.ui import json_option, output, progress, seed_option
from stopping.errors import UserError
from stopping.support.files import FIGURE, require_writable


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("figures"),
    show_default=True,
    help="Folder of the files; made if missing.",
)
@click.option(
    "--only", "names", multiple=True, metavar="NAME", help="Draw this figure alone; repeatable."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(("svg", "png", "pdf")),
    default="svg",
    show_default=True,
    help="File format.",
)
@click.option("--quick", is_flag=True, help="Fewer draws and layers: seconds in place of a minute.")
@seed_option
@json_option
def figures(
    out: Path, names: tuple[str, ...], file_format: str, quick: bool, seed: int, as_json: bool
) -> None:
    """Draw the theory: bounds, games, certificates, laws and the robustness table.

    Each file is written whole or not at all, and is the same for the same seed.

    \b
    Examples:
      stopping figures                                  all of them, as SVG, into figures/
      stopping figures --quick --format png --out /tmp/look
      stopping figures --only values --only certificate --format pdf
    """
    # Imported here: no other command needs matplotlib.
    from stopping.figures.draw import FIGURES, save, settings

    known = [plate.name for plate in FIGURES]
    for name in names:
        if name not in known:
            raise UserError(f"--only {name!r}: no such figure; there are {', '.join(known)}")
    chosen = [plate for plate in FIGURES if not names or plate.name in names]
    paths = {plate.name: out / f"{plate.name}.{file_format}" for plate in chosen}
    require_writable(*((path, FIGURE) for path in paths.values()))
    written = []
    with progress() as bar:
        task = bar.add_task("figures", total=len(chosen))
        for plate in chosen:
            bar.update(task, description=plate.name)
            path = paths[plate.name]
            figure = plate.figure(seed, quick)
            with settings():
                save(figure, path, file_format)
            written.append({"name": plate.name, "label": plate.label, "path": str(path)})
            bar.advance(task)
    if as_json:
        click.echo(to_json({"seed": seed, "quick": quick, "figures": written}))
    else:
        for entry in written:
            output().print(f"{entry['path']}  {entry['label']}", soft_wrap=True)
