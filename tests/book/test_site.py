"""The search and the theme button, as readers use them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.book.browser import PATIENCE, View

VIEWS = (View("http", "desktop", "light"), View("http", "phone", "dark"))


@pytest.fixture(params=VIEWS, ids=str)
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(**request.param.options)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def test_search_finds_a_word_of_the_book(page: Page, address: str) -> None:
    page.goto(address + "index.html")
    page.locator("button:visible[class*=search-button]").first.click()
    page.keyboard.type("certificate")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=certificate")
    expect(page.locator("#search-results li").first).to_be_visible()


def test_search_finds_nothing_for_no_word(page: Page, address: str) -> None:
    page.goto(address + "search.html?q=quxquxqux")
    expect(page.locator("#search-results")).to_contain_text("did not match any documents")
    expect(page.locator("#search-results li")).to_have_count(0)


def test_the_theme_button_changes_the_theme_and_the_page_with_it(page: Page, address: str) -> None:
    page.goto(address + "pages/explorer.html")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    seen = set()
    for _ in range(3):  # light, dark, and as the system has it
        page.locator("button.theme-switch-button:visible").first.click()
        seen.add(page.evaluate(ground))
    assert len(seen) == 2
