"""What only the repository can give to a page: stored benchmarks, and which page proves what.

All else is `empirical.notebook`, whose names are here too.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML

from empirical.notebook import *  # noqa: F403
from empirical.notebook import tex


def benchmark(name: str) -> dict[str, Any]:
    """Read the results of a benchmark: `provenance`, and `rows` by the `table` they belong to."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def measured_on(made: dict[str, Any]) -> str:
    """Say in one sentence what results were measured with."""
    versions = ", ".join(f"{library} {version}" for library, version in made["versions"].items())
    return (
        f"{made['processor']}, {made['cores']} cores, load {made['load'][0]:g} at the start, "
        f"{made['date'][:10]}, commit {made['commit']}; {versions}"
    )


def pages_of_theorems() -> dict[str, str]:
    pages = Path(__file__).parents[1] / "pages"
    return {
        label: page.stem
        for page in pages.glob("*.md")
        for label in re.findall(r"^:label: thm:(\S+)$", page.read_text("utf-8"), re.MULTILINE)
    }


def results_table(premises: Mapping[str, Mapping[str, str]], page_of: Mapping[str, str]) -> HTML:
    """Return every theorem: what is claimed, how far it is settled, where it is, where it applies.

    Parameters
    ----------
    premises : mapping of str to mapping of str to str
        For each model the status of each assumption.
    page_of : mapping of str to str
        The book's page that proves each theorem.
    """
    from stopping.claims import CLAIMS, THEOREMS  # half of the package: see `empirical.notebook`

    rows = []
    for theorem in THEOREMS:
        claims = [claim for claim in CLAIMS if claim.label == theorem.label]
        said = "".join(
            f"<li>{tex(claim.printed)} <code>{html.escape(claim.name)}</code></li>"
            for claim in claims
        )
        functions = " ".join(
            f"<code>{name.replace('.', '.<wbr>').replace('_', '_<wbr>')}</code>"
            for name in theorem.functions
        )
        applies = _applies({m: _premises(theorem.assumes, found) for m, found in premises.items()})
        rows.append(
            f'<tr><td><b><a href="{page_of[theorem.label]}.html#thm:{theorem.label}">'
            f"{theorem.label}</a> {html.escape(theorem.title)}</b>"
            f"<small>{theorem.status}; needs {', '.join(theorem.assumes) or 'nothing of a model'}"
            f"</small>{functions}</td><td><ul>{said}</ul></td>"
            f"<td>{applies if theorem.assumes else 'always'}</td></tr>"
        )
    head = "<tr><th>theorem</th><th>what is checked</th><th>do its premises hold?</th></tr>"
    return HTML(
        '<table class="table claims results">'
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _applies(said: Mapping[str, str]) -> str:
    """Say of which models what is said, those of which the same is said together."""
    together: dict[str, list[str]] = {}
    for model, answer in said.items():
        together.setdefault(answer, []).append(model)
    return "<br>".join(
        f"<b>{'all' if len(models) == len(said) else ', '.join(models)}</b>: {answer}"
        for answer, models in together.items()
    )


def _premises(assumes: Sequence[str], found: Mapping[str, str]) -> str:
    """Say whether all premises hold of a model, and if not which fail or are undecided."""
    unasked = [a for a in assumes if a not in found]
    others: dict[str, list[str]] = {}
    for a in assumes:
        if found.get(a, "holds") != "holds":
            others.setdefault(found[a], []).append(a)
    if not others:
        return "yes" if not unasked else f"as far as can be asked; {', '.join(unasked)} cannot"
    listed = (
        f"{', '.join(names)} {'fail' if status == 'fails' and len(names) > 1 else status}"
        for status, names in others.items()
    )
    return ("no: " if "fails" in others else "open: ") + "; ".join(listed)
