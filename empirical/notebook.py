"""Tables, figures and numbers of the book's pages, which run as notebooks too.

In the book a number stands in the prose under its name; in a notebook, which may lack myst_nb,
what would be glued is shown below its cell.

Figures are drawn into the page as SVG whose black is the colour of the text around it and whose
colours are the palette's, so they suit the light and the dark theme alike and grow with the column.

The book runs a page again when a module that it imports has changed, so what only some pages need,
and what brings half of the package with it, is imported where it is needed.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import HTML, Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from empirical.numbers import GAP, maths
from stopping.figures.inline import coloured, renamed
from stopping.figures.theme import BLUE, GREEN, MUTED, PURPLE, VERMILION
from stopping.simulation.montecarlo import Relation

if TYPE_CHECKING:
    from empirical.studies.ledger import Entry, Evidence
    from empirical.traces.files import Traces
    from stopping.claims import Finding

__all__ = [
    "ALL_MODELS",
    "BLUE",
    "GREEN",
    "MODELS",
    "MUTED",
    "PURPLE",
    "VERMILION",
    "bundled",
    "claims_table",
    "figure",
    "ledger_table",
    "numbers",
    "table",
    "text_before",
]

mpl.rcParams.update(
    {
        "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, PURPLE, MUTED]),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "figure.figsize": (5.4, 3.1),
        "font.size": 10,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "savefig.transparent": True,
        "svg.hashsalt": "layer-stopping",
    }
)
REM_PER_INCH = 6.5
"""Figures of any width have letters of one size, a little smaller than the text's."""
_count = itertools.count()

MODELS = {
    "SmolLM2-135M-Instruct.Q4_1": "SmolLM2-135M",
    "qwen2.5-coder-0.5b-instruct-q4_k_m": "Qwen2.5-Coder-0.5B",
}
"""Short names of the bundled models that were traced through both lenses, on both kinds of text."""
ALL_MODELS = {
    "SmolLM2-135M-Instruct.Q4_1": "SmolLM2-135M",
    "gemma-3-270m-q4_k_m": "Gemma-3-270M (base)",
    "qwen2.5-coder-0.5b-instruct-q4_k_m": "Qwen2.5-Coder-0.5B",
    "qwen2.5-coder-1.5b-instruct-q4_k_m": "Qwen2.5-Coder-1.5B",
}
"""Short names of all bundled models, smallest first."""


def bundled(
    mode: str = "reference", lens: str = "raw", models: Mapping[str, str] = MODELS
) -> dict[str, Traces]:
    """Return the traces of `models` of one mode and kind of lens by short names, in their order."""
    from empirical.data import bundled_traces
    from empirical.traces.files import read_traces

    found = {}
    for path in bundled_traces().values():
        traces = read_traces(path)
        kind = traces.provenance.lens.partition(",")[0]
        if (traces.provenance.mode, kind) == (mode, lens) and traces.provenance.model in models:
            found[models[traces.provenance.model]] = traces
    return {name: found[name] for name in models.values() if name in found}


def text_before(traces: Traces, row: int, tokens: int = 8) -> str:
    """Return the end of the completion that stands before token `row`."""
    first = max(row - tokens, row - int(traces.position[row]))
    return "".join(traces.vocabulary[int(t)] for t in traces.token[first:row])


def figure(name: str, fig: Figure, alt: str) -> None:
    """Keep a figure under `name` for the page's `glue:figure`; `alt` is for who cannot see it.

    A row of panels is drawn twice, the second time as a column; the style sheet shows one of both.
    """
    wide = _svg(fig, alt)
    panels = _row_of_panels(fig)
    if panels:
        _stack(fig, panels)
        narrow = _svg(fig, alt).replace("book-figure", "book-figure book-narrow", 1)
        wide = wide.replace("book-figure", "book-figure book-wide", 1) + narrow
    plt.close(fig)
    _keep(name, HTML(wide))


def _keep(name: str, value: HTML | Markdown) -> None:
    try:
        from myst_nb import glue
    except ImportError:
        display(value if isinstance(value, HTML) else Markdown(f"{name}: {value.data}"))
    else:
        glue(name, value, display=False)


def _row_of_panels(fig: Figure) -> list[Axes]:
    """Return the panels of a figure that is one row of several, else nothing."""
    places = [ax.get_subplotspec() for ax in fig.axes]
    if len(places) < 2 or any(place is None for place in places):
        return []
    grids = [place.get_gridspec() for place in places if place is not None]
    one_row = all((grid.nrows, grid.ncols) == (1, len(places)) for grid in grids)
    return fig.axes if one_row else []


def _stack(fig: Figure, panels: Sequence[Axes]) -> None:
    grid = fig.add_gridspec(len(panels), 1)
    label = panels[0].get_ylabel()
    for row, ax in enumerate(panels):
        ax.set_subplotspec(grid[row, 0])
        ax.yaxis.set_tick_params(labelleft=True)
        if not ax.get_ylabel():
            ax.set_ylabel(label)
    fig.set_size_inches(4.0, len(panels) * fig.get_figheight())


def _svg(fig: Figure, alt: str) -> str:
    drawn = io.StringIO()
    fig.savefig(drawn, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = re.sub(r"\n +", "\n", svg[svg.index("<svg") :])
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Identifiers are unique in a drawing, not on a page with several.
    svg = coloured(renamed(svg, f"f{next(_count)}"), anywhere=True).replace(
        "#000000", "currentColor"
    )
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: _short(path[0]), svg)
    svg = svg.replace('<g id="', '<g style="fill: currentColor" id="', 1)
    label = html.escape(alt, quote=True)
    widest = f"max-width: {fig.get_figwidth() * REM_PER_INCH:.3g}rem"
    svg = re.sub(
        r'<svg ([^>]*?)width="[^"]*"',
        rf'<svg class="book-figure" role="img" aria-label="{label}" style="{widest}" \1',
        svg,
        count=1,
    )
    return re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)


def _short(path: str) -> str:
    """Return a path to a hundredth of a point, which is enough, without blanks around letters."""
    return re.sub(r"\s*([A-Z])\s*", r"\1", re.sub(r"(\.\d\d)\d+", r"\1", path), flags=re.I)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], align: str = "") -> Markdown:
    """Return a table; `align` has one of `l`, `r`, `c` per column, the left being the default.

    A cell may break between a number and its interval, which text may not.
    """
    rules = {"l": ":--", "r": "--:", "c": ":-:"}
    marks = [rules[side] for side in align.ljust(len(header), "l")]
    lines = [header, marks, *rows]
    text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return Markdown(text.replace(f"{GAP}[", " ["))


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", r"\|")


def numbers(**values: object) -> None:
    """Keep values for the page's prose, each under its own name; floats to four digits."""
    for name, value in values.items():
        _keep(name, Markdown(_cell(value)))


def claims_table(findings: Iterable[Finding]) -> HTML:
    """Return the table of claims: the finding beside the bound, and what the negative control got.

    As HTML, since its rows become blocks on a narrow screen.
    """
    from stopping.claims import CLAIMS

    printed = {claim.name: claim.printed for claim in CLAIMS}
    rows = "".join(
        f"<tr><td><code>{html.escape(f.name)}</code> {tex(printed[f.name])}</td>"
        f"<td><b>{f.verdict}</b> {html.escape(_found(f))}</td>"
        f"<td><b>{f.control_verdict}</b> {html.escape(_greek(f.control))}</td></tr>"
        for f in findings
    )
    head = "<tr><th>claim</th><th>finding</th><th>negative control</th></tr>"
    return HTML(f'<table class="table claims"><thead>{head}</thead><tbody>{rows}</tbody></table>')


def tex(text: str) -> str:
    """Return a claim's statement as HTML in which MathJax finds the formulas."""
    parts = text.split("$")
    return "".join(
        f'<span class="math notranslate">\\({html.escape(part)}\\)</span>'
        if i % 2
        else html.escape(part)
        for i, part in enumerate(parts)
    )


def _greek(text: str) -> str:
    """Write the ASCII names of quantities in a line of text as their letters."""
    text = text.replace("eps_max", "ε_max")
    return re.sub(rf"\b({'|'.join(GREEK)})\b", lambda m: GREEK[m.group()], maths(text))


GREEK = {"delta": "δ", "sigma": "σ", "tau": "τ", "gamma": "γ", "kappa": "κ", "rho": "ρ", "eps": "ε"}


def ledger_table(entries: Iterable[Entry], evidence: Evidence) -> HTML:
    """Return the claims of the paper beside what is found here; rows become blocks on a phone."""
    rows = "".join(
        f"<tr><td>{_lines(entry.claim)}<small>{_lines(entry.paper)}</small></td>"
        f"<td>{_lines(entry.ours(evidence)) or '–'}</td>"
        f'<td><b class="verdict-{entry.verdict.name.lower()}">{entry.verdict}</b> '
        f"{_lines(entry.why)} <code>{html.escape(entry.command)}</code></td></tr>"
        for entry in entries
    )
    head = "<tr><th>claim, and the paper's figure</th><th>here</th><th>verdict</th></tr>"
    return HTML(
        f'<table class="table claims ledger"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    )


def _lines(text: str) -> str:
    return "<br>".join(html.escape(_greek(line)) for line in text.split("\n"))


def _found(finding: Finding) -> str:
    e, bound = finding.estimate, f"{finding.relation} {finding.bound:.4g}"
    if finding.relation in (Relation.ALWAYS_AT_MOST, Relation.ALWAYS_BELOW):
        return maths(f"greatest of {e.n:,}: {finding.greatest} ({bound})")
    return maths(f"{e.mean:.4f} ± {e.stderr:.4f} ({bound})")
