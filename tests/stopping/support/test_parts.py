"""Finished parts in a folder: kept whole, not mixed with others, and nothing else thrown away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stopping.errors import Interrupted, UserError
from stopping.support.store import Parts, json_codec


@dataclass(frozen=True)
class Part:
    name: str
    values: tuple[float, ...]


CODEC = json_codec(Part)
ONE, TWO = Part("one", (0.5, 1.0)), Part("two", ())


def opened(out: Path, settings: dict[str, Any] | None = None, **how: bool) -> Parts[Part]:
    return Parts.open(out, settings or {"seed": 0}, CODEC, **how)


def test_what_is_kept_is_found_by_the_same_run(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    parts = opened(out)
    assert parts.part(3) is None
    assert not list(tmp_path.iterdir())  # nothing is left behind before there is a part
    assert parts.keep(3, ONE) is ONE
    parts.keep(3, TWO, of="search:K=2")
    again = opened(out)
    assert again.part(3) == ONE
    assert again.part(3, of="search:K=2") == TWO
    assert again.part(3, of="search:K=3") is None
    assert again.part(4) is None
    again.remove()
    assert not list(tmp_path.iterdir())


def test_other_settings_are_named_and_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    opened(out, {"seed": 0, "chat": True}).keep(0, ONE)
    with pytest.raises(UserError, match=r"chat was True, is None; seed was 0, is 1.*--fresh"):
        opened(out, {"seed": 1})
    assert opened(out, {"seed": 0, "chat": True}).part(0) == ONE
    assert opened(out, {"seed": 1}, fresh=True).part(0) is None


def test_parts_of_others_may_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    opened(out).keep(0, ONE)
    assert opened(out, replace=True).part(0) == ONE
    assert opened(out, {"seed": 1}, replace=True).part(0) is None
    assert opened(out).part(0) is None


def test_a_finished_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"exists already.*--fresh"):
        opened(out)
    opened(out, fresh=True)
    opened(out, replace=True).keep(0, ONE)
    assert opened(out).part(0) == ONE  # its run had not cleared up
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"name": "one"', '{"name": "o", "values": ["x"]}']
)
def test_a_damaged_part_is_told(tmp_path: Path, text: str) -> None:
    parts = opened(tmp_path / "out.json")
    parts.keep(0, ONE)
    (path,) = parts.folder.glob("part-*")
    path.write_text(text)
    with pytest.raises(UserError, match=r"part-00000\.json: damaged; delete it"):
        parts.part(0)


def test_damaged_settings_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    parts = opened(out)
    parts.keep(0, ONE)
    (parts.folder / "settings.json").write_text("{")
    with pytest.raises(UserError, match="damaged; start anew with --fresh"):
        opened(out)
    assert opened(out, replace=True).part(0) is None


def test_an_interruption_says_where_parts_are_once_there_is_one(tmp_path: Path) -> None:
    parts = opened(tmp_path / "out.json")
    with pytest.raises(KeyboardInterrupt) as found, parts.kept():
        raise KeyboardInterrupt
    assert not isinstance(found.value, Interrupted)
    parts.keep(0, ONE)
    with pytest.raises(Interrupted, match=r"kept in .*out\.json\.parts"), parts.kept():
        raise KeyboardInterrupt


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "part-00000.json.bak", "deep/part-1.json"])
def test_a_foreign_file_among_the_parts_is_not_thrown_away(
    tmp_path: Path, name: str, fresh: bool
) -> None:
    out = tmp_path / "out.json"
    parts = opened(out)
    parts.keep(0, ONE, of="rule")
    foreign = parts.folder / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")
    with pytest.raises(UserError, match="does not belong into the folder of an unfinished run"):
        opened(out, fresh=fresh)
    assert foreign.read_text() == "mine"
