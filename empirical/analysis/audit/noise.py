"""A1 and A2 by way of T9: what noise each token needs; and the verdicts on A1, A2, A3.

`G` is latent, so A1 to A3 cannot be read off a trace one by one. What T9 gives for each token is
the least `eps_max` at which *some* world with A1 to A4 produces it. What explains the tokens at
one common noise level, and what A3 then says of their rises, is the subject of `levels`.

What these numbers can show: a share that is refuted under a ceiling is a fact. What they cannot:
that the assumptions are *true* of the rest. A1 and A2 trade against each other (any rise is
explained by enough noise, any noise by enough rising), and the least `eps_max` of a token is a
lower bound on the noise that hit it.
"""

from dataclasses import dataclass

import numpy as np

from empirical.analysis.audit.levels import NoiseLevel, Scan, noise_level, partition, scan_tokens
from empirical.analysis.audit.verdicts import Verdict, judge_share
from empirical.intervals import Ratio, mean
from empirical.traces.window import Sample
from stopping.support.statistics import Interval
from stopping.types import BoolArray, FloatArray

CEILINGS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Ceilings on `eps_max`, nats."""
PROBABILITIES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BIN_WIDTH, BINS = 0.05, 80


@dataclass(frozen=True)
class Quantile:
    """The value, in nats, below which a share `probability` of the tokens lies."""

    probability: float
    value: float


@dataclass(frozen=True)
class Refuted:
    """Share of tokens that no `eps_max` up to `ceiling` explains (A1 to A4 refuted jointly)."""

    ceiling: float
    share: Interval


@dataclass(frozen=True)
class NoiseDistribution:
    """Least `eps_max` that explains a token (T9), over all tokens or those of one group.

    `difficulty` is set for a group of that difficulty, `layer` for the tokens whose turning point,
    at their least `eps_max`, is the layer of that number.
    """

    difficulty: int | None
    layer: int | None
    tokens: int
    mean: Interval
    quantiles: tuple[Quantile, ...]
    refuted: tuple[Refuted, ...]

    @property
    def label(self) -> str:
        """Name of the group."""
        if self.layer is not None:
            return f"layer {self.layer}"
        return "all" if self.difficulty is None else f"difficulty {self.difficulty or 'unknown'}"

    def quantile(self, probability: float) -> float:
        """Return one of the listed quantiles."""
        return next(q.value for q in self.quantiles if q.probability == probability)


@dataclass(frozen=True)
class Histogram:
    """Counts of tokens between consecutive `edges` (nats), and of those beyond the last edge."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    above: int


@dataclass(frozen=True)
class Refinement:
    """A1 as far as it can be seen: steps at or below the valley `V^` that go up.

    Attributes
    ----------
    up_steps : Interval
        Share of the steps of `[l_min, V^]` that go up. Noise makes some even where A1 holds.
    up_size : Interval
        Their mean size, nats.
    rises : Interval
        Share of tokens whose largest rise on `[l_min, V^]` exceeds `2 eps_max` at the ceiling.
    rise_quantiles : tuple of Quantile
        Quantiles of that rise; half of it is the least noise that A1 needs.
    """

    up_steps: Interval
    up_size: Interval
    rises: Interval
    rise_quantiles: tuple[Quantile, ...]


@dataclass(frozen=True)
class Noise:
    """A1 to A3 on these tokens.

    Attributes
    ----------
    ceiling : float
        The noise level, nats, that the verdicts are about.
    gentle : Interval
        Share of the tokens put to the test by A3 at the ceiling (late rise or too gentle) that are
        too gentle; NaN if there is none.
    """

    ceiling: float
    overall: NoiseDistribution
    by_difficulty: tuple[NoiseDistribution, ...]
    by_layer: tuple[NoiseDistribution, ...]
    histogram: Histogram
    levels: tuple[NoiseLevel, ...]
    refinement: Refinement
    gentle: Interval
    verdicts: tuple[Verdict, Verdict, Verdict]


def audit_noise(sample: Sample, ceiling: float, tolerated: float) -> Noise:
    """Ask T9 of every token's window."""
    scan = scan_tokens(sample.x)
    least = scan.identified.least_eps_max
    overall = _distribution(sample, least, np.ones(len(least), dtype=np.bool_))
    at_layer = sample.layers[scan.identified.turning_point]
    origins = {
        "median of tokens": overall.quantile(0.5),
        "90% of tokens": overall.quantile(0.9),
        **{f"ceiling {c:g}": c for c in CEILINGS},
    }
    if ceiling not in CEILINGS:
        origins[f"ceiling {ceiling:g}"] = ceiling
    levels = tuple(noise_level(sample, scan, eps, origin) for origin, eps in origins.items())
    refinement = _refinement(sample, scan, ceiling)
    at_ceiling = next(level for level in levels if level.origin == f"ceiling {ceiling:g}")
    classes = partition(scan, ceiling)
    tested = classes["late_rise"] | classes["too_gentle"]
    asked = mean(classes["too_gentle"], tested)
    gentle = sample.intervals({"gentle": asked})["gentle"]
    edges = BIN_WIDTH * np.arange(BINS + 1)
    return Noise(
        ceiling=ceiling,
        overall=overall,
        by_difficulty=tuple(
            _distribution(sample, least, mask, difficulty=d) for d, mask in sample.groups().items()
        ),
        by_layer=tuple(
            _distribution(sample, least, at_layer == layer, layer=int(layer))
            for layer in np.unique(at_layer)
        ),
        histogram=Histogram(
            edges=tuple(edges.round(10).tolist()),
            counts=tuple(np.histogram(least[least <= edges[-1]], edges)[0].tolist()),
            above=int((least > edges[-1]).sum()),
        ),
        levels=levels,
        refinement=refinement,
        gentle=gentle,
        verdicts=(
            _refinement_verdict(sample, scan, refinement, ceiling, tolerated),
            _noise_verdict(sample, least, overall, ceiling, tolerated),
            _dominance_verdict(sample, asked, at_ceiling, tolerated),
        ),
    )


def _distribution(
    sample: Sample,
    least: FloatArray,
    mask: BoolArray,
    difficulty: int | None = None,
    layer: int | None = None,
) -> NoiseDistribution:
    found = sample.intervals(
        {"mean": mean(least, mask)} | {f"{c}": mean(least > c, mask) for c in CEILINGS}
    )
    return NoiseDistribution(
        difficulty=difficulty,
        layer=layer,
        tokens=int(mask.sum()),
        mean=found["mean"],
        quantiles=_quantiles(least[mask]),
        refuted=tuple(Refuted(c, found[f"{c}"]) for c in CEILINGS),
    )


def _quantiles(values: FloatArray) -> tuple[Quantile, ...]:
    found = np.quantile(values, PROBABILITIES)
    return tuple(Quantile(p, float(v)) for p, v in zip(PROBABILITIES, found, strict=True))


def _refinement(sample: Sample, scan: Scan, ceiling: float) -> Refinement:
    up = ~scan.late & (scan.steps > 0)
    ups = up.sum(axis=1).astype(np.float64)
    found = sample.intervals(
        {
            "share": Ratio(ups, (~scan.late).sum(axis=1).astype(np.float64)),
            "size": Ratio(np.where(up, scan.steps, 0.0).sum(axis=1), ups),
            "rises": mean(scan.rise / 2 > ceiling),
        }
    )
    return Refinement(found["share"], found["size"], found["rises"], _quantiles(scan.rise))


def _refinement_verdict(
    sample: Sample, scan: Scan, refinement: Refinement, ceiling: float, tolerated: float
) -> Verdict:
    status, missing = judge_share(sample, mean(scan.rise / 2 > ceiling), tolerated)
    return Verdict(
        "A1",
        "refinement",
        status,
        f"{refinement.up_steps.estimate:.0%} of the steps at or below the valley go up; "
        f"{refinement.rises.estimate:.0%} of tokens rise there by more than noise of "
        f"{ceiling:g} nats can ({2 * ceiling:g}){missing}",
    )


def _noise_verdict(
    sample: Sample,
    least: FloatArray,
    overall: NoiseDistribution,
    ceiling: float,
    tolerated: float,
) -> Verdict:
    refutes = least > ceiling
    status, missing = judge_share(sample, mean(refutes), tolerated)
    return Verdict(
        "A2",
        "bounded noise",
        status,
        f"half of the tokens need eps_max ≥ {overall.quantile(0.5):.2f} nats, a tenth ≥ "
        f"{overall.quantile(0.9):.2f}; {refutes.mean():.0%} refute a ceiling of {ceiling:g}"
        f"{missing}",
    )


def _dominance_verdict(
    sample: Sample, gentle: Ratio, level: NoiseLevel, tolerated: float
) -> Verdict:
    status, missing = judge_share(sample, gentle, tolerated)
    tested = float(gentle.denominator.sum())
    if not tested:
        sentence = (
            f"at noise {level.eps_max:g} no token has a rise that is more than noise: dominance is "
            "not put to the test"
        )
    else:
        sentence = (
            f"at noise {level.eps_max:g}, {tested / len(sample.x):.0%} of tokens put it to the "
            "test (a late rise above noise), of which "
            f"{gentle.numerator.sum() / tested:.0%} rise too gently; "
            f"{level.steps_certain.estimate:.0%} of the steps above the valley dominate "
            f"for sure{missing}"
        )
    return Verdict("A3", "dominance", status, sentence)
