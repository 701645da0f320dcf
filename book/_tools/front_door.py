"""The README's picture and its table of verdicts, made from the bundled traces.

python -m book._tools.front_door     writes both, and the picture as a column, for a phone
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from empirical.analysis.audit import Audit, audit
from empirical.analysis.audit.means import BASE, INSTRUCT, RAW, audit_means, read_means
from empirical.analysis.validate import Comparison, Validation, validate
from empirical.data import bundled_traces, public_means
from empirical.numbers import interval, number, percent, points
from empirical.report.calibration import CalibrationEffect, calibration_effects
from empirical.report.verdict import SEARCH, covering_level, judge
from empirical.traces.files import Traces, read_traces
from stopping.figures.theme import BLUE, INK, VERMILION
from stopping.rules import Search

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PICTURES = {name: ROOT / "book" / "_images" / f"valley{name}.svg" for name in ("", "-narrow")}
BEGIN, END = "<!-- table: python -m book._tools.front_door -->", "<!-- end of table -->"
NAMES = {
    "SmolLM2-135M-Instruct.Q4_1": "SmolLM2-135M-Instruct",
    "gemma-3-270m-q4_k_m": "Gemma-3-270M (base)",
    "qwen2.5-coder-0.5b-instruct-q4_k_m": "Qwen2.5-Coder-0.5B-Instruct",
    "qwen2.5-coder-1.5b-instruct-q4_k_m": "Qwen2.5-Coder-1.5B-Instruct",
}
K = 10
PALE = "#f6e3d5"


@dataclass(frozen=True)
class Model:
    """All that the front door says of one model."""

    traces: Traces
    audit: Audit
    validation: Validation
    effect: CalibrationEffect | None


def models() -> Mapping[str, Model]:
    """Read and judge the bundled models, by their names in print."""
    loaded = [read_traces(path) for path in bundled_traces().values()]
    raw = {
        t.provenance.model: t
        for t in loaded
        if (t.provenance.mode, t.provenance.lens) == ("reference", "raw")
    }
    effects = {e.model: e for e in calibration_effects(loaded, K, 0, 1000)}
    return {
        name: Model(raw[key], audit(raw[key], K), validate(raw[key], None, K), effects.get(key))
        for key, name in NAMES.items()
    }


def rows(model: Model) -> Iterator[tuple[str, str]]:
    """What the table says of one model, line by line."""
    search = model.validation[SEARCH]
    verdict = judge(model.audit, model.validation, "raw")
    effect, tokens = model.effect, model.validation.tokens
    yield "tokens (prompts)", f"{tokens:,} ({model.validation.prompts})"
    yield "search leaves the final layer", percent(search.overall.moved.estimate, 0)
    yield (
        "log-loss, search minus final layer, nats",
        interval(search.overall.log_loss_vs_final, signed=True),
    )
    yield (
        "accuracy, search minus final layer, points",
        points(search.overall.accuracy_vs_final, unit=False),
    )
    yield (
        "log-loss minus entropy, mean of the window (A0: zero)",
        number(model.audit.calibration.window_gap.estimate, signed=True),
    )
    yield (
        "noise that explains nine tokens in ten, `eps_max`, nats",
        number(covering_level(model.audit).eps_max),
    )
    rules = [row for row in model.validation.rows if row.comparison is not None]
    yield (
        f"rules better than the final layer, of {len(rules)}",
        str(sum(row.comparison is Comparison.BETTER for row in rules)),
    )
    yield (
        "the same search through a calibrated lens, nats",
        interval(effect.calibrated.log_loss, signed=True) if effect else "not traced",
    )
    yield (
        "**does the guarantee apply? switch it on?**",
        f"**{verdict.guarantee.short.lower()}; {verdict.headline.lower()}**",
    )


def table(found: Mapping[str, Model]) -> str:
    """The table, in the README's Markdown."""
    columns = [list(rows(model)) for model in found.values()]
    lines = [f"| | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for cells in zip(*columns, strict=True):
        lines.append(f"| {cells[0][0]} | {' | '.join(cell for _, cell in cells)} |")
    return "\n".join((*lines, "", *larger_models()))


def larger_models() -> Iterator[str]:
    """What published means say of larger models, as a sentence and a table."""
    found = audit_means(read_means(public_means()), K)
    rows = {(row.model, row.variant, row.lens): row for row in found.rows}
    lenses = list(dict.fromkeys(row.lens for row in found.rows))
    over = sum(row.window_gap > 0 for row in found.of(lens=RAW))
    yield (
        f"Larger models err in both directions: by published means, the raw lens is over-confident "
        f"in {over} of {len(found.of(lens=RAW))} and under-confident in the others "
        "([what means can tell](book/pages/ledger.md))."
    )
    yield ""
    yield (
        "| base / instruct, nats | "
        + " | ".join(f"log-loss minus entropy, {lens} lens" for lens in lenses)
        + " | entropy of the final layer minus the one before |"
    )
    yield "|---" * (len(lenses) + 2) + "|"
    for model in dict.fromkeys(row.model for row in found.rows):
        pairs = [(lens, "window_gap") for lens in lenses] + [(RAW, "rise")]
        cells = (
            " / ".join(
                number(getattr(rows[model, variant, lens], field), signed=True)
                for variant in (BASE, INSTRUCT)
            )
            for lens, field in pairs
        )
        yield f"| {model} | {' | '.join(cells)} |"


def picture(found: Mapping[str, Model], narrow: bool = False) -> str:
    """One token's valley, and what entropy promises against what is paid; SVG on a light card."""
    settings = {
        "font.size": 9.5,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "legend.frameon": False,
        "svg.hashsalt": "layer-stopping",
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with style.context(["default", settings]):
        size, names = ((4.5, 7.2), ["tt", "ab", "cd"]) if narrow else ((9.2, 4.8), ["tab", "tcd"])
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        first, *others = figure.subplot_mosaic("\n".join(names)).values()
        draw_token(first, list(found.values())[-1].traces)
        for ax, (name, model) in zip(others, found.items(), strict=True):
            draw_promise(ax, name, model.traces)
        if narrow:
            figure.legend(*others[0].get_legend_handles_labels(), loc="outside lower center")
            for ax in others:
                ax.title.set_fontsize(7)
        else:
            others[0].legend(loc="upper right", fontsize=8.5)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def draw_token(ax: Axes, traces: Traces) -> None:
    """The token on which the search turns a right prediction wrong at the greatest loss."""
    x = traces.entropy[:, -K - 1 :].astype(float)
    tokens, stop = np.arange(len(x)), Search(K).choose(x)
    loss, says = -traces.log_prob[:, -K - 1 :].astype(float), traces.top1[:, -K - 1 :]
    right = says == traces.token[:, None]
    lost = right[:, -1] & ~right[tokens, stop] & (stop < K - 2)
    # A word that can be seen in print.
    words = np.array([bool(traces.vocabulary[int(t)].strip()) for t in says[tokens, stop]])
    row = int(np.where(lost & words, loss[tokens, stop] - loss[:, -1], -np.inf).argmax())
    layers, at = traces.layers[-K - 1 :], int(stop[row])
    ax.plot(layers, x[row], "o-", color=BLUE, ms=4)
    ax.plot(layers[at], x[row, at], "o", ms=12, mfc="none", mec=VERMILION, mew=2)
    for column in (at, K):
        word = traces.vocabulary[int(says[row, column])].strip()
        ax.annotate(
            f"“{word}”",
            (layers[column], x[row, column]),
            (0, 12),
            textcoords="offset points",
            ha="center" if column == at else "right",
        )
    goes_on = traces.vocabulary[int(traces.token[row])].strip()
    ax.set(xlabel="layer", ylabel="entropy, nats", ylim=(-0.5, 1.25 * x[row].max()))
    title = f"Back from the final layer: what each layer says\n(the text goes on with “{goes_on}”)"
    ax.set_title(title, fontsize=9.5)


def draw_promise(ax: Axes, name: str, traces: Traces) -> None:
    """Mean entropy and mean log-loss by layer."""
    promised, paid = traces.entropy.mean(axis=0), -traces.log_prob.mean(axis=0)
    ax.fill_between(traces.layers, promised, paid, color=PALE, lw=0)
    ax.plot(traces.layers, paid, "s--", color=VERMILION, ms=4, label="log-loss: what it pays")
    ax.plot(traces.layers, promised, "o-", color=BLUE, ms=4, label="entropy: what it promises")
    ax.set(xlabel="layer", ylim=(0, 16), xticks=traces.layers[::-3])
    ax.set_title(f"{name}\nmean over tokens, nats", fontsize=9.5)


def with_table(readme: str, made: str) -> str:
    """The README with this table between its two marks."""
    pattern = re.escape(BEGIN) + r".*?" + re.escape(END)
    replaced, times = re.subn(pattern, lambda _: f"{BEGIN}\n{made}\n{END}", readme, flags=re.DOTALL)
    assert times == 1, "README.md must have the two marks of the table, once"
    return replaced


if __name__ == "__main__":
    everything = models()
    README.write_text(with_table(README.read_text("utf-8"), table(everything)), "utf-8")
    for name, path in PICTURES.items():
        path.write_text(picture(everything, narrow=bool(name)), "utf-8")
