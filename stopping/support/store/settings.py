"""What all stores of finished parts do: tell other settings apart, and say where parts are kept."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stopping.errors import Interrupted, UserError


@contextmanager
def kept_in(path: Path | None, any_part: Callable[[], bool]) -> Iterator[None]:
    """Let an interruption of this work say where its finished parts are, if there are any.

    Raises
    ------
    Interrupted
        In place of KeyboardInterrupt, where there is a path, and a part is kept there.
    """
    try:
        yield
    except KeyboardInterrupt:
        if path is None or not any_part():
            raise
        raise Interrupted(
            f"finished parts are kept in {path}; give the same command again to go on"
        ) from None


def require_equal_settings(
    where: Path, before: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Raise a UserError that names the differences to the settings that `where` was begun with."""
    different = [
        f"{name} was {before.get(name)!r}, is {settings.get(name)!r}"
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if different:
        raise UserError(
            f"{where}: an unfinished run with other settings is here "
            f"({'; '.join(different)}); repeat its settings to go on, or start anew with --fresh"
        )
