"""The built site that the tests open: book/_build/html, or what BOOK_SITE names."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.book.browser import CHROMIUM, FLAGS, PATIENCE, served

ROOT = Path(__file__).parents[2]


def built_site() -> Path:
    site = Path(os.environ.get("BOOK_SITE", ROOT / "book" / "_build" / "html"))
    if not (site / "index.html").is_file():
        raise pytest.UsageError(f"{site}: no built book; build it with `make book`")
    if not Path(CHROMIUM).is_file():
        raise pytest.UsageError(f"{CHROMIUM}: no browser; apt-get install chromium fonts-dejavu")
    return site.resolve()


@pytest.fixture(scope="session")
def site() -> Path:
    return built_site()


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with served(site) as base:
        yield base


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()
