"""Writing files so that nothing is destroyed: not an earlier result, not what is not ours.

A file is written aside and renamed, so that a killed process leaves either the old file or the new
one, whole. Links are followed; pipes and devices are written into, for a rename would replace them.
What a command will write is checked before it works: see `require_writable`.
"""

import errno
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stopping.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Kind:
    """A kind of file that this package writes.

    Attributes
    ----------
    what : str
        What a reader calls it, such as "trace file".
    mark : bytes
        Bytes that stand in every file of the kind, and in hardly any other.
    suffixes : tuple of str
        How its name may end; empty for any way.
    """

    what: str
    mark: bytes
    suffixes: tuple[str, ...] = ()


FIGURE = Kind("figure drawn by this package", b"atplotlib", (".svg", ".pdf", ".png"))


def require_writable(*outputs: tuple[Path | None, Kind], inputs: Iterable[Path] = ()) -> None:
    """Raise before any work is done if its results could not be written, or would destroy a file.

    Nothing is written and no folder is made. A file that exists is replaced only by one of its own
    kind.

    Parameters
    ----------
    outputs : (path, kind)
        Where results will stand, and what they are; a path may be None for no such output.
    inputs : iterable of Path
        Files that are read, none of which may be written.

    Raises
    ------
    UserError
        If the place cannot be written to, is a folder or a file of another kind, an input or
        another output, or has a name of another kind.
    """
    taken = {os.path.realpath(path): f"{path} is read" for path in inputs}
    for path, kind in outputs:
        if path is None:
            continue
        require_suffix(path, kind)
        target, is_stream = _destination(path)
        if is_stream:
            continue
        if (why := taken.get(str(target))) is not None:
            raise UserError(f"{path}: cannot be written, since {why}; name another file")
        taken[str(target)] = f"{path} is written as {kind.what}"
        with explained(path):
            if target.exists():
                _require_kind(path, target, kind)
            _try_writing(target)


def require_suffix(path: Path, kind: Kind) -> None:
    """Raise a UserError unless the name ends as one of this kind does, in either case."""
    if kind.suffixes and Path(path).suffix.lower() not in kind.suffixes:
        *most, last = (f"*{suffix}" for suffix in kind.suffixes)
        raise UserError(f"{path}: name a {kind.what.split()[0]} {', '.join(most)} or {last}")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success its content stands at `path`, else nothing has changed.

    The temporary file lies beside `path` and is renamed; only where `path` is a pipe or a device
    are the bytes copied into it.

    Raises
    ------
    UserError
        If `path` cannot be written: a folder, no permission, no room.
    """
    target, is_stream = _destination(path)
    with explained(path):
        if not is_stream:
            target.parent.mkdir(parents=True, exist_ok=True)
        # A part of the name suffices, and leaves a long one as long as file systems allow.
        handle, name = tempfile.mkstemp(
            dir=None if is_stream else target.parent, prefix=f".{target.name[:40]}.", suffix=".part"
        )
        os.close(handle)
        aside = Path(name)
        try:
            yield aside
            if is_stream:
                with aside.open("rb") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            else:
                aside.chmod(_permissions(target))
                aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content` to `path`, whole or not at all; raises as `written_aside`."""
    data = content.encode() if isinstance(content, str) else content
    with written_aside(path) as aside:
        aside.write_bytes(data)


def require_file_or_nothing(path: Path) -> None:
    """Raise a UserError if there is something at `path` that is no ordinary file."""
    if _destination(path)[1]:
        raise UserError(f"{path}: no ordinary file; name another")


def _destination(path: Path) -> tuple[Path, bool]:
    """Follow links; also say whether the place is a stream: to be written into, not replaced."""
    path = Path(path)
    with explained(path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: is a folder; name a file")
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or _is_open_file(path):
        return path, True
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: neither a file nor a pipe; name another file")
    return Path(os.path.realpath(path)), False


def _is_open_file(path: Path) -> bool:
    """Whether this names a file that a process holds open, such as /dev/stdout or /dev/fd/3."""
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100  # links are not to be followed
    return folder in (Path("/dev"), Path("/dev/fd")) or folder.is_relative_to("/proc")


def _require_kind(path: Path, target: Path, kind: Kind) -> None:
    if not os.access(target, os.W_OK):
        raise UserError(f"{path}: is write-protected; name another file")
    if target.stat().st_size == 0:
        return
    with target.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # From the end: there Parquet files say what they are.
        if content.find(kind.mark, 0, 1 << 16) < 0 and content.rfind(kind.mark) < 0:
            raise UserError(
                f"{path}: exists already and is no {kind.what}, so it is left as it is; "
                "name another file, or delete this one"
            )


def _try_writing(target: Path) -> None:
    """Write a few bytes into a nameless file in the folder, or in the one where it will be made."""
    folder = next(parent for parent in target.parents if parent.exists())
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(1 << 12))


def _permissions(target: Path) -> int:
    """Those of the file that is replaced, or of any new file; temporary ones are private."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a write to `path` into a UserError."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = f"{'make room, or ' if error.errno in _FULL else ''}name another file"
        raise UserError(f"{path}: cannot write here ({reason}); {remedy}") from error
