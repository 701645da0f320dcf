"""`{explorer} T1`: the explorer within a page, with its sliders where a theorem is sharp.

A directive and not a cell, so that the page's notebook asks for nothing but the installed package.
"""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from reruns import note
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "book" / "_tools"


class Explorer(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if str(TOOLS) not in sys.path:
            sys.path.insert(0, str(TOOLS))
        from explorer import presets, simulated

        (name,) = self.arguments
        shown = simulated(presets()[name], hedge=name == "T7")
        files = [Path(getattr(module, "__file__", None) or "") for module in sys.modules.values()]
        ours = [ROOT / name for name in ("book", "empirical", "stopping")]
        note(self.env, [file for file in files if any(map(file.is_relative_to, ours))])
        return [nodes.raw("", shown.data, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("explorer", Explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
