"""Documents: what is written is read, and whatever else lies there is told in plain words."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cattrs
import numpy as np
import pytest
from numpy.typing import NDArray

from stopping.errors import UserError
from stopping.support.documents import Format, plain, read_text, structured
from stopping.support.statistics import Interval

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


@dataclass(frozen=True)
class Part:
    title: str
    error: float


@dataclass(frozen=True, eq=False)
class Paper:
    title: str
    error: float
    best: float | None
    layers: NDArray[np.intp]
    means: NDArray[np.float64]
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if not self.title:
            raise UserError("title: a paper needs one")


def test_a_dataclass_is_written_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    means = np.array([1, np.nan])
    paper = Paper("outer", math.nan, None, np.arange(3), means, (Part("inner", 0.5),))
    FORMAT.write(path, paper)
    content = FORMAT.read(path)
    assert (content["error"], content["layers"], content["means"]) == (None, [0, 1, 2], [1.0, None])
    found = FORMAT.load(path, Paper)
    assert math.isnan(found.error)
    assert found.best is None
    assert found.layers.dtype == np.intp
    np.testing.assert_array_equal(found.means, means)
    assert found.parts == paper.parts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": ""}, "incomplete or damaged .*title: a paper needs one.*; write one"),
        ({"error": "x"}, r"\$\.error"),
        ({"layers": [0.5]}, "whole numbers are needed"),
        ({"means": [[1], [2, 3]]}, r"\$\.means"),
        ({"parts": [{"title": "t"}]}, r"required field missing @ \$\.parts\[0\]\.error"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    good = {"title": "t", "error": 1, "best": None, "layers": [], "means": []}
    FORMAT.write(path, good | change)
    with pytest.raises(UserError, match=message) as told:
        FORMAT.load(path, Paper)
    assert "d.json: the test paper" in str(told.value)


def test_numbers_that_json_lacks_may_be_words() -> None:
    words = plain({"a": [math.inf, -math.inf, math.nan, 1.0]}, lacking=str)
    assert words == {"a": ["inf", "-inf", "nan", 1.0]}
    found = structured(words["a"], tuple[float, ...])
    assert found[:2] == (math.inf, -math.inf)
    assert math.isnan(found[2])


def test_an_unknown_field_is_an_error_where_asked() -> None:
    content = {"estimate": 0, "low": 0, "high": 0, "width": 1}
    assert structured(content, Interval).level == 0.95
    with pytest.raises(cattrs.BaseValidationError):
        structured(content, Interval, exact=True)
