"""What the kernels that run the pages inherit: the book's own tools, and the inline backend."""

import os
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

TOOLS = Path(__file__).parent.parent / "_tools"


def setup(app: Sphinx) -> dict[str, Any]:
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(TOOLS), inherited)))
    # A backend named in the environment would overrule the kernel's and leave out every figure.
    os.environ.pop("MPLBACKEND", None)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
