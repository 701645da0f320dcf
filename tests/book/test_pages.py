"""Every page of the built book, as readers see it: nothing broken, nothing from elsewhere."""

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


SITE = built_site()
# Listings of source code are one template, of which one view says all.
SEEN = {
    view: [page for page in pages_of(SITE) if view is VIEWS[1] or not page.startswith("_modules")]
    for view in VIEWS
}


@pytest.fixture(scope="module")
def faults() -> Faults:
    with served(SITE) as address:
        bases = {"http": address, "file": SITE.as_uri() + "/"}
        return survey(SEEN, {view: bases[view.scheme] for view in VIEWS})


@pytest.mark.parametrize(
    ("view", "page"), [(view, page) for view, pages in SEEN.items() for page in pages], ids=str
)
def test_nothing_is_wrong_with_the_page(view: View, page: str, faults: Faults) -> None:
    assert faults[str(view), page] == []
