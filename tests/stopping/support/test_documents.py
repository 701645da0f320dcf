"""Documents: what is written is read, and whatever else lies there is told in plain words."""

import json
from pathlib import Path

import pytest

from stopping.errors import UserError
from stopping.support.documents import Format, read_text

FORMAT = Format("layer-stopping test", 2, "test paper", "write one")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    FORMAT.write(path, {"a": [1, 2.5, None], "b": {"c": "d"}})
    assert FORMAT.read(path) == {"a": [1, 2.5, None], "b": {"c": "d"}}
    assert json.loads(path.read_text())["version"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .no such file.; write one"),
        (b"", "no test paper"),
        (b"\xff\xfe\x00", "no test paper"),
        (b"[1, 2]", "no test paper"),
        (b"[" * 100_000, "no test paper"),
        (b'{"format": "layer-stopping test", "version"', "no test paper"),
        (b'{"format": "layer-stopping test"}', "no test paper"),
        (b'{"format": "another", "version": 2}', "no test paper.*'layer-stopping test'"),
        (b'{"format": "layer-stopping test", "version": 3}', "version 3, .* up to 2; upgrade"),
    ],
)
def test_what_is_none_is_told(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        FORMAT.read(path)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    FORMAT.write(path, {"a": "b"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert FORMAT.read(path) == {"a": "b"}
    assert json.loads(read_text(path)) == FORMAT.wrap({"a": "b"})


def test_a_text_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "d.txt"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"d\.txt: not UTF-8 text \(byte 3\)"):
        read_text(path)
    with pytest.raises(UserError, match=f"{tmp_path.name}: cannot be read"):
        read_text(tmp_path)


def test_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('{"format": "layer-stopping test", "version": 1, "a": 1}')
    assert FORMAT.read(path) == {"a": 1}


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        FORMAT.write(tmp_path / "d.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())
