"""Failures on a screen of 80 columns: prose is wrapped, code folded where Python allows it."""

import re
import textwrap
from functools import partial

WIDTH = 80

_fill = partial(textwrap.wrap, break_long_words=False, break_on_hyphens=False)


def wrapped(text: str, label: str = "") -> list[str]:
    """Lines of `text` after `label`; what is carried over stands under its beginning."""
    indent = " " * (len(label) or 2)
    return _fill(text, WIDTH, initial_indent=label, subsequent_indent=indent)


def folded(code: str) -> list[str]:
    """Lines of code, the long literals among them broken after commas, inside their brackets."""
    lines = []
    for line in code.splitlines():
        literal = re.match(r"\w+ = .*\(", line)
        lines += _fill(line, WIDTH - 4, subsequent_indent="    ") if literal else [line]
    return lines
