"""Docstrings are written to be read in an editor: indented formulas are set as they stand.

reStructuredText would take an indented block for a quotation, reflow it and stumble over `|x|`; a
table in Markdown it does not know.
"""

import re

UNDERLINE = re.compile(r"-{3,}$")


def keep_formulas(lines: list[str]) -> list[str]:
    """Return a docstring's lines with what is indented before its sections marked as literal."""
    kept: list[str] = []
    literal = False
    sections = next((i - 1 for i, line in enumerate(lines) if UNDERLINE.match(line)), len(lines))
    for line in lines[:sections]:
        if line.startswith("|"):  # a table, or an absolute value
            line = f"    {line}"
        indented = line.startswith("    ")
        if indented and not literal and kept and not kept[-1].strip():
            kept += ["::", ""]
            literal = True
        elif line.strip() and not indented:
            literal = False
        kept.append(line)
    return [*kept, *lines[sections:]]
