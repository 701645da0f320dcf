"""What a table of means by layer can tell of A0, and what it cannot.

Where nobody publishes tokens, means are often published: the entropy `H[l]` of each layer's lens,
and its divergence `K[l] = KL(final || layer)`. If the final layer's distribution is taken for the
truth, a layer's expected log-loss is `H[L] + K[l]`, so

    gap[l] = H[L] + K[l] - H[l]

is what A0 says is zero: positive where the lens is over-confident, negative where it is
under-confident, and zero at `L` by definition. `rise = H[L] - H[L-1]` is what the final layer adds
to mean entropy.

Means say nothing of a single token: no valley, no layer where a rule would stop, no noise, none of
A1 to A4, no accuracy. A gap of zero on average may hide tokens that are wrong both ways; a gap that
is not zero refutes A0. There is no interval: prompts are not told apart.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stopping.errors import UserError
from stopping.support.documents import read_text
from stopping.support.results import Report, Result
from stopping.types import FloatArray

WINDOW = 10
COLUMNS = ("model", "variant", "lens", "tokens", "layer", "mean_entropy", "mean_kl_final")
RAW, BASE, INSTRUCT = "raw", "base", "instruct"
CANNOT = (
    "Means tell nothing of single tokens: no valley, no layer where a rule would stop, no noise, "
    "none of A1 to A4, no accuracy, and no interval. The final layer is taken for the truth, on "
    "the model's own text."
)


@dataclass(frozen=True)
class LayerMeans:
    """Means by layer of one model, variant and lens; arrays have shape (L + 1,), nats."""

    model: str
    kind: str
    variant: str
    lens: str
    tokens: int
    entropy: FloatArray
    divergence: FloatArray

    @property
    def gap(self) -> FloatArray:
        """Expected log-loss minus entropy of each layer: A0 says zero."""
        gap: FloatArray = self.entropy[-1] + self.divergence - self.entropy
        return gap

    @property
    def rise(self) -> float:
        """What the final layer adds to mean entropy."""
        return float(self.entropy[-1] - self.entropy[-2])


@dataclass(frozen=True)
class MeansRow:
    """What means tell of one model, variant and lens.

    Attributes
    ----------
    window_gap : float
        Mean gap of the `window` layers below `L`, nats.
    over, under : int
        How many of these layers have a positive, a negative gap.
    worst_gap, worst_layer : float, int
        The gap furthest from zero among them, and its layer, counted from 0.
    rise : float
        `H[L] - H[L-1]`, nats.
    """

    model: str
    kind: str
    variant: str
    lens: str
    tokens: int
    window: int
    final_entropy: float
    window_gap: float
    over: int
    under: int
    worst_gap: float
    worst_layer: int
    rise: float


@dataclass(frozen=True)
class Contrast:
    """Two rows that differ in one thing, `first` to `second`: how gap and rise change, nats."""

    what: str
    model: str
    within: str
    first: str
    second: str
    gap_change: float
    rise_change: float


@dataclass(frozen=True, repr=False)
class MeansAudit(Result):
    """Every row, every contrast of two rows, and what cannot be told."""

    rows: tuple[MeansRow, ...]
    contrasts: tuple[Contrast, ...]
    cannot: str = CANNOT

    def items(self) -> Sequence[MeansRow]:
        """One record for each model, variant and lens."""
        return self.rows

    def of(self, variant: str | None = None, lens: str | None = None) -> tuple[MeansRow, ...]:
        """Rows of one variant, of one lens, or of both."""
        return tuple(
            row for row in self.rows if variant in (None, row.variant) and lens in (None, row.lens)
        )

    def report(self) -> Report:
        """Tables, sentences, and what means cannot tell."""
        from empirical.analysis.audit.means_tables import report

        return report(self)


def audit_means(means: Iterable[LayerMeans], window: int = WINDOW) -> MeansAudit:
    """Audit A0, and the final layer's rise, by means alone.

    Raises
    ------
    UserError
        If there is no row, or one has fewer than `window` layers below its final one.
    """
    rows = tuple(_row(one, window) for one in means)
    if not rows:
        raise UserError("means: the table has no rows")
    contrasts = (
        *_contrasts(rows, "variant", BASE, INSTRUCT),
        *(
            contrast
            for lens in dict.fromkeys(row.lens for row in rows if row.lens != RAW)
            for contrast in _contrasts(rows, "lens", RAW, lens)
        ),
    )
    return MeansAudit(rows, contrasts)


def _row(means: LayerMeans, window: int) -> MeansRow:
    last = len(means.entropy) - 1
    if not 1 <= window <= last:
        raise UserError(
            f"means: {means.model}, {means.variant}, {means.lens}: a window of {window} steps "
            f"needs {window} layers below the final one, the table has {last}"
        )
    gap = means.gap[-window - 1 : -1]
    worst = int(np.abs(gap).argmax())
    return MeansRow(
        *(means.model, means.kind, means.variant, means.lens, means.tokens, window),
        final_entropy=float(means.entropy[-1]),
        window_gap=float(gap.mean()),
        over=int((gap > 0).sum()),
        under=int((gap < 0).sum()),
        worst_gap=float(gap[worst]),
        worst_layer=last - window + worst,
        rise=means.rise,
    )


def _contrasts(rows: Sequence[MeansRow], field: str, first: str, second: str) -> Iterable[Contrast]:
    """Pairs of rows that differ in `field` alone."""
    other = "lens" if field == "variant" else "variant"
    by_place = {(row.model, getattr(row, other), getattr(row, field)): row for row in rows}
    for (model, within, value), row in by_place.items():
        partner = by_place.get((model, within, second))
        if value == first and partner is not None:
            yield Contrast(
                *(f"{first} to {second}", model, within, first, second),
                gap_change=partner.window_gap - row.window_gap,
                rise_change=partner.rise - row.rise,
            )


def read_means(path: Path) -> tuple[LayerMeans, ...]:
    """Read a CSV table with the columns `COLUMNS`, one row for each layer from 0 up to `L`.

    A column `last_layer`, if any, says which layer is `L`, a column `kind` what sort of model it is
    (dense, mixture of experts); other columns are ignored.

    Raises
    ------
    UserError
        If the file cannot be read, a column is missing, a number is none or out of range, or the
        layers of one model, variant and lens are not 0, 1, ..., `L`, each once.
    """
    path = Path(path)
    found = csv.DictReader(io.StringIO(read_text(path)))
    missing = [name for name in COLUMNS if name not in (found.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path}: no table of layer means, without column {', '.join(missing)}; "
            f"needed are {', '.join(COLUMNS)}"
        )
    groups: dict[tuple[str, str, str], list[tuple[int, Mapping[str, str]]]] = defaultdict(list)
    for line, row in enumerate(found, start=2):
        groups[row["model"], row["variant"], row["lens"]].append((line, row))
    return tuple(_means(path, key, rows) for key, rows in groups.items())


def _means(
    path: Path, key: tuple[str, str, str], rows: Sequence[tuple[int, Mapping[str, str]]]
) -> LayerMeans:
    where = f"{path}: {', '.join(key)}"
    layers = [int(_number(path, line, row, "layer")) for line, row in rows]
    line, first = rows[0]
    last = int(_number(path, line, first, "last_layer")) if "last_layer" in first else max(layers)
    if sorted(layers) != list(range(last + 1)) or last < 1:
        raise UserError(
            f"{where}: need each layer from 0 to {max(last, 1)} once, got {len(layers)} rows, "
            f"layers {min(layers)} to {max(layers)}"
        )
    ordered = [rows[index] for index in np.argsort(layers)]
    entropy, divergence = (
        np.array([_number(path, line, row, name) for line, row in ordered])
        for name in ("mean_entropy", "mean_kl_final")
    )
    if abs(divergence[-1]) > 1e-3:
        raise UserError(
            f"{where}: the divergence of the final layer from itself is {divergence[-1]:g}, not 0; "
            "is this column KL(final || layer)?"
        )
    tokens = int(_number(path, line, first, "tokens"))
    return LayerMeans(key[0], first.get("kind") or "", *key[1:], tokens, entropy, divergence)


def _number(path: Path, line: int, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{path}, line {line}: {name}: need a number >= 0, got {row[name]!r}")
    return value
