"""Nothing is destroyed: links are followed, devices and pipes written into, other files left."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from stopping.errors import UserError
from stopping.figures.theme import blank, save
from stopping.support.documents import Format
from stopping.support.files import FIGURE, Kind, require_writable, write_atomic, written_aside
from stopping.support.store import Journal

TEXT = Kind("greeting", b"hello")


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    link.symlink_to(real)  # to nothing yet
    for content in ("hello", "hello again"):
        require_writable((link, TEXT))
        write_atomic(link, content)
        assert link.is_symlink()
        assert real.read_text() == content
    assert sorted(path.name for path in real.parent.iterdir()) == ["real"]


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match="loop"):
        write_atomic(loop, "x")
    with pytest.raises(UserError, match="loop"):
        require_writable((loop, TEXT))
    assert loop.is_symlink()


@pytest.mark.parametrize("through_link", [False, True])
def test_a_pipe_gets_the_bytes_and_stays(tmp_path: Path, through_link: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    given = link if through_link else pipe
    require_writable((given, TEXT))  # does not wait for a reader
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomic(given, "hello")
    reader.join()
    assert got == [b"hello"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


def test_devices_stay_devices(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        require_writable((path, TEXT))
        write_atomic(path, "hello")
        assert stat.S_ISCHR(path.stat().st_mode)


def test_an_open_file_is_written_into_not_replaced(tmp_path: Path) -> None:
    """As `--out /dev/stdout > file` asks for: the shell holds the file open."""
    with (tmp_path / "redirected").open("wb") as file:
        before = os.fstat(file.fileno()).st_ino
        write_atomic(Path(f"/dev/fd/{file.fileno()}"), "hello")
    assert (tmp_path / "redirected").read_text() == "hello"
    assert (tmp_path / "redirected").stat().st_ino == before


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^/dev/full: cannot write here \(No space.*make room"):
        write_atomic(Path("/dev/full"), "x")
    target = tmp_path / "file"
    write_atomic(target, "old")

    def fill() -> None:
        with written_aside(target) as aside:
            aside.write_text("half")
            raise OSError(errno.ENOSPC, "half is written")

    with pytest.raises(UserError, match=r"file: cannot write here \(No space"):
        fill()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for act in (lambda p: write_atomic(p, "x"), lambda p: require_writable((p, TEXT))):
        with pytest.raises(UserError, match="is a folder; name a file"):
            act(tmp_path)
        with pytest.raises(UserError, match="cannot write here"):
            act(Path(__file__) / "below" / "deeper")


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(mode=0o600)
    write_atomic(target, "x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("n" * 255), "x")
    with pytest.raises(UserError, match="name too long"):
        require_writable((tmp_path / ("n" * 256), TEXT))


def test_checking_writes_nothing(tmp_path: Path) -> None:
    require_writable((tmp_path / "new" / "folder" / "file", TEXT), (None, TEXT))
    assert not list(tmp_path.iterdir())


def test_only_a_file_of_its_own_kind_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("my thesis")
    with pytest.raises(UserError, match="is no greeting, so it is left as it is"):
        require_writable((target, TEXT))
    for content in (b"", b"hello", bytes(1 << 17) + b"hello" + bytes(1 << 17)):
        target.write_bytes(content)
        require_writable((target, TEXT))


def test_formats_are_told_apart(tmp_path: Path) -> None:
    one, other = (Format(name, 1, name, "") for name in ("ours one", "ours other"))
    one.write(tmp_path / "file", {})
    require_writable((tmp_path / "file", one.kind))
    with pytest.raises(UserError, match="is no ours other"):
        require_writable((tmp_path / "file", other.kind))


@pytest.mark.parametrize("file_format", ["svg", "pdf", "png"])
def test_figures_are_known_as_such(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / f"figure.{file_format}"
    save(blank(), path, file_format)
    require_writable((path, FIGURE))


def test_inputs_and_other_outputs_are_not_written(tmp_path: Path) -> None:
    here, link = tmp_path / "here", tmp_path / "link"
    here.write_text("hello")
    link.symlink_to(here)
    with pytest.raises(UserError, match=r"link: cannot be written, since .*here is read"):
        require_writable((link, TEXT), inputs=[here])
    with pytest.raises(UserError, match="is written as greeting"):
        require_writable((link, TEXT), (here, TEXT))


def test_a_write_protected_place_is_refused_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_text("hello")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write whatever the mode says
    with pytest.raises(UserError, match="write-protected"):
        require_writable((target, TEXT))


def test_finished_cells_are_kept_in_ordinary_files_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(UserError):
            Journal.open(path, {})


def test_a_cell_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cells"
    journal = Journal.open(path, {})
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cells: cannot write here \(No space"):
        journal.keep("cell", {})
