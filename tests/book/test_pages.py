"""Every page of the built book, as readers see it: nothing broken, nothing from elsewhere."""

from pathlib import Path

import pytest

from tests.book.browser import View, served
from tests.book.conftest import built_site
from tests.book.survey import Faults, pages_of, survey

VIEWS = (
    View("http", "desktop", "light"),
    View("http", "phone", "dark"),
    View("file", "desktop", "dark"),
    View("file", "phone", "light"),
)


@pytest.fixture(scope="module")
def faults(site: Path) -> Faults:
    with served(site) as address:
        bases = {"http": address, "file": site.as_uri() + "/"}
        return survey(pages_of(site), {view: bases[view.scheme] for view in VIEWS})


@pytest.mark.parametrize("page", pages_of(built_site()))
@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_nothing_is_wrong_with_the_page(page: str, view: View, faults: Faults) -> None:
    assert faults[str(view), page] == []
