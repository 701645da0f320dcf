"""Pages as notebooks: offered beside the page, and run with nothing but the installed packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = ("rule", "random-noise")
WITHOUT = ("explorer", "performance", "best-rule")
"""Pages that need the repository's own files offer none."""


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("page", SAMPLE)
def test_a_notebook_runs_where_only_the_packages_are(page: str, site: Path, tmp_path: Path) -> None:
    script = tmp_path / "cells.py"
    # As where the book's own libraries are not: numbers and figures are shown below their cells.
    script.write_text(
        "import sys\nsys.modules['myst_nb'] = None\n" + code_of(site / "pages" / f"{page}.ipynb")
    )
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", WITHOUT)
def test_a_page_that_needs_the_repository_offers_none(page: str, site: Path) -> None:
    assert (site / "pages" / f"{page}.html").is_file()
    assert not (site / "pages" / f"{page}.ipynb").exists()


def test_the_foot_names_license_citation_and_notebook(site: Path) -> None:
    foot = (site / "pages" / "rule.html").read_text("utf-8").split('class="colophon"')[1]
    assert "Apache License 2.0" in foot
    assert "about.html" in foot
    assert 'href="rule.ipynb"' in foot
