"""The built site loads nothing from the network.

MathJax comes from the package `sphinx-mathjax-offline`. Of its parts only those are copied that set
TeX in web fonts, and a page loads a third of what the bundle with all fonts inside would be
(`mathjax3_config` names them); as a Sphinx extension that package would copy all 24 MB.
`sphinx-thebe`, which Jupyter Book 1 always loads, is silenced: it names a CDN and declares the
same constant twice on every page, an error on the console.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HOME = "sphinx-mathjax-offline/static/mathjax/"
PARTS = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/",
    "output/chtml.js",
    "output/chtml/fonts/",
    "a11y/assistive-mml.js",
)


def copy_mathjax(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    package = distribution("sphinx-mathjax-offline")
    for file in package.files or ():
        part = file.as_posix().removeprefix(HOME)
        if part.startswith(PARTS):
            target = Path(app.outdir) / "_static" / "mathjax" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(package.locate_file(file)), target)


def silence_thebe(app: Sphinx) -> None:
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if one.handler.__module__ != "sphinx_thebe"]
    styles = app.registry.css_files
    styles[:] = [style for style in styles if style[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> dict[str, Any]:
    silence_thebe(app)
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
