"""`stopping verify --figures`: every figure of the theory as a file."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from stopping.cli.progress import counting
from stopping.cli.result import Result
from stopping.errors import UserError
from stopping.support.files import FIGURE, require_writable


def figures(names: Sequence[str], folder: Path, suffix: str, quick: bool, seed: int) -> Result:
    """Draw the figures of these names into `folder`, all of them for none.

    Each file is written whole or not at all, and is the same for the same seed.
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

    return Result({"seed": seed, "quick": quick, "figures": written}, show)
