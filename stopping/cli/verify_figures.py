"""`stopping verify figures`: every figure of the theory as a file."""

from pathlib import Path

import click
from rich.console import Console

from stopping.cli.options import FOLDER, seed_option
from stopping.cli.progress import counting
from stopping.cli.reply import Reply, with_json
from stopping.errors import UserError
from stopping.support.files import FIGURE, require_writable


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    default=Path("figures"),
    help="Folder of the files; made if missing.",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(("svg", "png", "pdf")),
    default="svg",
    help="File format.",
)
@click.option("--quick", is_flag=True, help="Fewer draws and layers: seconds in place of a minute.")
@seed_option
@with_json()
def figures(names: tuple[str, ...], folder: Path, suffix: str, quick: bool, seed: int) -> Reply:
    """Draw the theory: bounds, games, certificates, laws and the robustness table.

    NAMES are those of the figures, all by default. Each file is written whole or not at all, and
    is the same for the same seed.

    \b
    Examples:
      stopping verify figures                                  all, as SVG, into figures/
      stopping verify figures --quick --format png --out /tmp/look
      stopping verify figures values certificate --format pdf
    """
    # Imported here: no other command needs matplotlib.
    from stopping.figures.draw import FIGURES
    from stopping.figures.theme import save, settings

    known = [plate.name for plate in FIGURES]
    for name in names:
        if name not in known:
            raise UserError(f"{name!r}: no such figure; there are {', '.join(known)}")
    chosen = [plate for plate in FIGURES if not names or plate.name in names]
    paths = {plate.name: folder / f"{plate.name}.{suffix}" for plate in chosen}
    require_writable(*((path, FIGURE) for path in paths.values()))
    with counting("figures", len(chosen)) as advance:
        for plate in chosen:
            figure = plate.figure(seed, quick)
            with settings():
                save(figure, paths[plate.name], suffix)
            advance(1)
    written = [
        {"name": plate.name, "label": plate.label, "path": str(paths[plate.name])}
        for plate in chosen
    ]

    def show(out: Console) -> None:
        for entry in written:
            out.print(f"{entry['path']}  {entry['label']}", soft_wrap=True)

    return Reply({"seed": seed, "quick": quick, "figures": written}, show)
