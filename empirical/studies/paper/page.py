"""The page of `stopping paper`: tables and figures in one HTML file that needs nothing else."""

from markupsafe import Markup

from empirical.published import (
    ACCURACY,
    BENCHMARKS,
    GAIN_BY_TUNING,
    OTHER_MODELS,
    RIVALS,
    SETTING,
    SOURCE,
)
from empirical.report.page import environment
from empirical.studies.paper.figures import arm_label, illustrations
from empirical.studies.paper.results import PaperResult
from empirical.studies.paper.substitutions import CATEGORIES
from stopping.support.files import Kind

PAGE = Kind("page of the paper's tables", b'content="layer-stopping paper"')


def render_page(result: PaperResult) -> str:
    """Return the whole page as HTML."""
    templates = environment("empirical.studies.paper")
    templates.filters["arm"] = arm_label
    published: dict[str, list[tuple[float, float]]] = {}
    for row in ACCURACY:
        published.setdefault(row.model, []).append((row.plain, row.confident))
    return templates.get_template("paper.html.j2").render(
        result=result,
        figures=[
            [(Markup(f.svg), f) for f in illustrations(model, f"m{i}")]
            for i, model in enumerate(result.models, 1)
        ],
        source=SOURCE,
        setting=SETTING,
        benchmarks=BENCHMARKS,
        published=published,
        rivals=RIVALS,
        tuning=GAIN_BY_TUNING,
        others=OTHER_MODELS,
        categories=CATEGORIES,
    )
