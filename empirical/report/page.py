"""The page: typed results through templates into one HTML file that needs nothing else.

Style and figures are inside the file, there is no script, and no address is loaded. Whatever comes
from trace files (model names, commands, token texts) is escaped.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from empirical import numbers
from empirical.analysis.audit import Status
from empirical.analysis.validate import Comparison, Row
from empirical.analysis.validate.tables import hindsight
from empirical.fitting.views import disagreement
from empirical.published import SETTING, SOURCE
from empirical.report.fitting import SHOWN, profiles_svg
from empirical.report.illustrations import (
    Illustration,
    audit_illustrations,
    rule_illustrations,
)
from empirical.report.results import ModelResult, Report
from empirical.report.summary import HEADINGS
from empirical.report.verdict import COVERED, MATERIAL, SEARCH, Answer, Guarantee, lens_kind
from stopping.claims import LOOKS, Finding, tally
from stopping.figures.inline import style_variables
from stopping.simulation.montecarlo import Relation, Verdict

TONES: dict[str, str] = {
    Answer.YES: "good",
    Answer.HARMS: "bad",
    Answer.NO_EVIDENCE: "open",
    Answer.CANNOT_SAY: "mute",
    Guarantee.APPLIES: "good",
    Guarantee.REFUTED: "bad",
    Guarantee.TOO_WEAK: "open",
    Guarantee.UNDECIDED: "open",
    Status.HOLDS: "good",
    Status.FAILS: "bad",
    Status.UNDECIDED: "open",
    Verdict.VIOLATED: "bad",
    Comparison.BETTER: "good",
    Comparison.WORSE: "bad",
}
"""Colour and symbol of a status; the word always stands beside them."""


def render_page(report: Report) -> str:
    """Return the whole page as HTML."""
    figure = profiles_svg(report.fits)
    return (
        environment("empirical.report")
        .get_template("page.html.j2")
        .render(
            report=report,
            sections=[_section(model, f"m{i}") for i, model in enumerate(report.models, 1)],
            headings=[heading.replace("\n", " ") for heading in HEADINGS],
            material=MATERIAL,
            covered=COVERED,
            search=SEARCH,
            hindsight=hindsight,
            paper=SOURCE,
            paper_setting=SETTING,
            claims_said=tally(report.claims),
            claims_most=2 ** (LOOKS - 1),
            fit_figure=None if figure is None else Markup(figure),
            fit_shown=SHOWN,
            fit_disagreement=disagreement,
        )
    )


def _section(model: ModelResult, name: str) -> dict[str, Any]:
    """Return a model with its figures; `name` is its anchor on the page."""
    return {
        "name": name,
        "model": model,
        "audit_figures": _plates(audit_illustrations(model, name)),
        "rule_figures": _plates(rule_illustrations(model, name)),
        "by_difficulty": [] if model.reference is None else rows_by_difficulty(model),
    }


def _plates(shown: Sequence[Illustration]) -> list[tuple[Markup, Illustration]]:
    """Figures whose SVG text goes onto the page as it is."""
    return [(Markup(figure.svg), figure) for figure in shown]


def rows_by_difficulty(model: ModelResult) -> list[Row]:
    """Return the rows worth a breakdown: the search, the best other rule, the oracle."""
    validation = model.main.validation
    if not validation.final.by_difficulty:
        return []
    others = [row for row in validation.rows if row.decisive is not None and row.name != SEARCH]
    best = min(others, key=lambda row: row.overall.log_loss_vs_final.estimate)
    return [validation[SEARCH], best, validation.oracle]


def claim_found(finding: Finding) -> str:
    """Write what a check found: the largest draw, or the mean with its standard error."""
    if finding.relation in (Relation.ALWAYS_AT_MOST, Relation.ALWAYS_BELOW):
        return f"largest {numbers.maths(finding.greatest)}"
    mean, stderr = finding.estimate.mean, finding.estimate.stderr
    return f"mean {numbers.number(mean, 4)} ± {numbers.number(stderr, 4)}"


def environment(package: str) -> Environment:
    """Return the templates of a package, with the one style and the ways of writing numbers."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "percent": numbers.percent,
        "interval": numbers.interval,
        "percent_interval": numbers.percent_interval,
        "points": numbers.points,
        "quantity": numbers.quantity,
        "plain_quantity": numbers.plain_quantity,
        "count": numbers.count,
        "level": numbers.level,
        "general": numbers.general,
        "found": claim_found,
        "sentence": numbers.sentence,
        "spaced": numbers.spaced,
        "maths": numbers.maths,
        "lens_kind": lens_kind,
        "tone": lambda status: TONES.get(status, "open"),
    }
    css = files("empirical.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(f"{style_variables()}\n{css}")
    return environment
