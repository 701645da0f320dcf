"""A page loads what it shows: bytes as they are on disk, before a server compresses them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Response, expect

from tests.book.browser import PATIENCE

PLAIN, FORMULAS = 1.0e6, 1.6e6
"""Most bytes that a page loads beside its own text: without a formula, and with formulas."""


@pytest.mark.parametrize(
    ("name", "most"), [("about", PLAIN), ("choosing", FORMULAS), ("bounds", FORMULAS)]
)
def test_a_page_loads_no_more_than_it_needs(
    browser: Browser, address: str, site: Path, name: str, most: float
) -> None:
    loaded: list[str] = []

    def note(answer: Response) -> None:
        loaded.append(answer.url.removeprefix(address).partition("?")[0])

    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("response", note)
    page.goto(f"{address}pages/{name}.html", wait_until="networkidle")
    files = {site / path for path in loaded} - {site / "pages" / f"{name}.html"}
    assert sum(file.stat().st_size for file in files if file.is_file()) <= most
    assert not any("searchindex" in path for path in loaded)
    context.close()


def test_every_icon_of_a_page_is_drawn(browser: Browser, address: str) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{address}pages/rule.html", wait_until="load")
    expect(page.locator("svg.svg-inline--fa").first).to_be_attached()
    expect(page.locator("i.fa-solid")).to_have_count(0)  # one that was cut stays as it is
    context.close()
