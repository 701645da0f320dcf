"""A page loads what it shows: bytes as they are on disk, before a server compresses them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Response, expect

from tests.book.browser import PATIENCE
from tests.book.conftest import built_site
from tests.book.survey import pages_of

MOST, PLAIN = 1.5e6, 0.6e6
"""Most bytes that any page loads, its own text included, and one without a formula or a figure."""
PAGES = [page for page in pages_of(built_site()) if not page.startswith("_modules")]


def weight(browser: Browser, address: str, site: Path, name: str) -> int:
    """Bytes of all that a page loads for a reader who comes first to it."""
    loaded = {name}

    def note(answer: Response) -> None:
        loaded.add(answer.url.removeprefix(address).partition("?")[0])

    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("response", note)
    page.goto(f"{address}{name}", wait_until="networkidle")
    context.close()
    if name != "search.html":
        assert not any("searchindex" in path for path in loaded)
    return sum((site / path).stat().st_size for path in loaded if (site / path).is_file())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light(browser: Browser, address: str, site: Path, name: str) -> None:
    assert weight(browser, address, site, name) <= MOST


def test_a_page_without_formulas_loads_no_part_of_mathjax(
    browser: Browser, address: str, site: Path
) -> None:
    assert weight(browser, address, site, "pages/about.html") <= PLAIN


def test_every_icon_of_a_page_is_drawn(browser: Browser, address: str) -> None:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(f"{address}pages/rule.html", wait_until="load")
    expect(page.locator("svg.svg-inline--fa").first).to_be_attached()
    expect(page.locator("i.fa-solid")).to_have_count(0)  # one that was cut stays as it is
    context.close()
