"""Writing files so that a killed process leaves either the old file or the new one, whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stopping.errors import UserError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, else removed.

    Raises
    ------
    UserError
        If the folder of `path` cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise UserError(
            f"{path}: cannot write here ({error.strerror}); name another folder"
        ) from error
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes files private; a finished result gets the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    with written_aside(path) as aside:
        aside.write_bytes(data)
