"""The survey notices each fault that it is there to notice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.book.browser import View, served
from tests.book.survey import Faults, survey

PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><link rel=icon href='data:,'>"
    "<meta name=viewport content='width=device-width'><h1>x</h1>{}"
)
VIEW = View("http", "phone", "light")

BROKEN = {
    "console": ("<script>console.warn('careful')</script>", "console warning: careful"),
    "error": ("<script>throw new Error('ouch')</script>", "error on the page: ouch"),
    "elsewhere": ("<script src='http://127.0.0.1:9/x.js'></script>", "request to elsewhere"),
    "missing": ("<script src='gone.js'></script>", "status 404"),
    "image": ("<img alt='a picture' src='data:image/png;base64,AAAA'>", "broken image"),
    "alt": (
        "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA='>",
        "image without alternative text",
    ),
    "label": ("<svg role=img></svg>", "drawing without a label"),
    "wide": ("<div style='width: 500px'>wide</div>", "wider than the screen"),
    "math": ("<span class=math>\\(x\\)</span>", "formula not set"),
    "red": (
        "<b class=math><mjx-container><svg><g data-mml-node=merror /></svg></mjx-container></b>",
        "formula in error",
    ),
}


DESK = View("http", "desktop", "light")
TABLE = "<div class=bd-article><div style='overflow-x: auto'><table><td>{}</table></div></div>"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    site = tmp_path_factory.mktemp("site")
    faults: Faults = {}
    for name, (body, _) in {**BROKEN, "sound": ("<p>all is well</p>", "")}.items():
        (site / f"{name}.html").write_text(PAGE.format(body), "utf-8")
    with served(site) as address:
        faults = survey({VIEW: [f"{name}.html" for name in (*BROKEN, "sound")]}, {VIEW: address})
    return lambda name: faults[str(VIEW), f"{name}.html"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_noticed(name: str, found: Callable[[str], list[str]]) -> None:
    assert any(BROKEN[name][1] in fault for fault in found(name)), found(name)


def test_a_table_that_is_cut_off_on_a_desk_is_noticed(tmp_path: Path) -> None:
    for name, width in (("fits", 100), ("cut", 2000)):
        held = TABLE.format(f"<p style='width: {width}px'>last</p>")
        (tmp_path / f"{name}.html").write_text(PAGE.format(held), "utf-8")
    with served(tmp_path) as address:
        faults = survey({DESK: ["fits.html", "cut.html"]}, {DESK: address})
    assert faults[str(DESK), "fits.html"] == []
    assert faults[str(DESK), "cut.html"] == ["table cut off: last"]


def test_a_sound_page_passes(found: Callable[[str], list[str]]) -> None:
    assert found("sound") == []
