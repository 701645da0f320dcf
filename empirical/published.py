"""The published figures that audits and `stopping paper` are set beside, as data.

Source: Zhang et al., *Deeper is Not Always Better: Mitigating the Alignment Tax via Confident
Layer Decoding*, arXiv:2606.21906 (2026). Shares are fractions, entropies nats. The keys are those
of `empirical.analysis.audit.Statistic`. The paper states no intervals, and its statistics come from
runs of different length (202,935 and 76,637 tokens), so that two of them which are the same number
on one set of tokens (rising final layer, search leaves) differ there.
"""

from dataclasses import dataclass

SOURCE = "Zhang et al. (2026), arXiv:2606.21906"
SETTING = "Qwen3.5-35B-A3B on GPQA-Diamond"


@dataclass(frozen=True)
class PaperFigure:
    """One published number: what it is, its value and the model it was measured on."""

    key: str
    value: float
    setting: str = SETTING


FIGURES: tuple[PaperFigure, ...] = (
    PaperFigure("perturbed", 0.162),
    PaperFigure("last_rise", 0.37),
    PaperFigure("valley_entropy", 0.52),
    PaperFigure("last_fall", -2.52),
    PaperFigure("leaves", 0.115),
    PaperFigure("argmax_changed_when_leaving", 0.214),
    PaperFigure("argmax_changed", 0.0247),
    PaperFigure("relative_drop_argmax_kept", 0.431),
    PaperFigure("confident_when_staying", 0.720),
    # "Valleys within 5 layers of the end", said of all of them.
    PaperFigure("within_five", 1.0),
)

OTHER_MODELS: tuple[PaperFigure, ...] = (
    PaperFigure("perturbed", 0.474, "Qwen3.5-9B on GPQA-Diamond"),
    PaperFigure("last_rise", 0.34, "Qwen3.5-9B on GPQA-Diamond"),
    PaperFigure("leaves", 0.104, "base model"),
    PaperFigure("leaves", 0.128, "instruct model"),
    PaperFigure("argmax_changed", 0.0236, "base model"),
    PaperFigure("argmax_changed", 0.0260, "instruct model"),
)

ENTROPY_EDGES: tuple[float, ...] = (0.0, 0.01, 0.05, 0.10, float("inf"))
"""Edges of the bins of final-layer entropy, nats; each bin is closed below and open above."""

SUBSTITUTION_BY_ENTROPY: tuple[float | None, ...] = (0.0, None, 0.090, 0.148)
"""Substitution rate in each bin; the paper gives "about 0" for the first, none for the second."""

VALLEY_BY_DECILE: dict[int, float] = {1: 0.097, 7: 0.134, 10: 0.080}
"""Share of tokens that leave the final layer, by decile of the position; three are published."""


@dataclass(frozen=True)
class Published:
    """One published pair of accuracies, per cent: plain decoding, and Confident Decoding."""

    model: str
    benchmark: str
    plain: float
    confident: float


def _rows(model: str, *pairs: tuple[float, float]) -> tuple[Published, ...]:
    return tuple(Published(model, b, *pair) for b, pair in zip(BENCHMARKS, pairs, strict=True))


BENCHMARKS = ("GPQA-Diamond", "HLE", "LiveCodeBench v6", "Omni-MATH")
ACCURACY: tuple[Published, ...] = (
    *_rows("Qwen3.5-27B", (78.2, 79.4), (16.0, 16.8), (63.9, 73.3), (76.0, 76.2)),
    *_rows("Qwen3.5-35B-A3B", (76.3, 82.8), (9.2, 11.2), (70.1, 74.4), (72.3, 73.0)),
    *_rows("Qwen3.5-122B-A10B", (83.3, 85.4), (14.7, 16.5), (76.8, 79.2), (78.3, 78.5)),
    *_rows("Gemma-4-31B", (76.8, 80.8), (9.2, 11.0), (75.1, 78.3), (68.3, 69.0)),
    *_rows("gpt-oss-20b", (58.1, 60.8), (6.2, 6.3), (77.1, 77.6), (61.3, 61.0)),
    *_rows("gpt-oss-120b", (76.3, 80.8), (10.8, 12.6), (83.1, 84.5), (70.2, 71.0)),
    *_rows("Qwen3.5-9B", (64.6, 62.1), (5.2, 6.1), (41.1, 47.7), (49.1, 47.1)),
)
"""The paper's table of accuracies, in its order of models."""


@dataclass(frozen=True)
class Elsewhere:
    """The same pair in another of the paper's tables: the gain in points, the pair where stated."""

    model: str
    benchmark: str
    gain: float
    pair: tuple[float, float] | None = None


ELSEWHERE: tuple[Elsewhere, ...] = (
    Elsewhere("Qwen3.5-35B-A3B", "HLE", 2.4, (7.1, 9.5)),
    Elsewhere("gpt-oss-20b", "Omni-MATH", 0.7),
    Elsewhere("Qwen3.5-27B", "GPQA-Diamond", 0.0, (80.0, 80.0)),
)
"""Pairs of `ACCURACY` for which other tables of the paper give other figures."""


@dataclass(frozen=True)
class GroupMeans:
    """Mean entropies of a group of tokens at the layers L-1 and L, nats."""

    tokens: int
    before: float
    final: float


PERTURBED = GroupMeans(32_879, 0.64, 0.90)
UNPERTURBED = GroupMeans(170_056, 2.81, 0.42)
"""The paper's two groups on the main setting, split by the sign of `x[L] - x[L-1]`; digitised from
its figure, so good to a hundredth or two."""

P_SWEEP: dict[float, float] = {0.0: 76.3, 0.2: 78.3, 0.4: 79.8, 0.6: 80.0, 0.8: 81.8, 1.0: 82.8}
"""Accuracy by `p`, per cent, at temperature 0 on the main setting."""

RIVALS: dict[str, float] = {"final layer": 76.3, "dola": 77.3, "sled": 78.8, "search": 82.8}
"""Accuracy of decoders, per cent, on the main setting; keys are kinds of specs."""

GAIN_BY_TUNING: dict[str, float] = {"base": 1.1, "instruct": 2.6}
"""Average gain, points, of a base model and of its instruct model."""

BY_QUARTER: dict[int, tuple[float, float]] = {1: (1.1, 23.5), 4: (97.0, 92.7)}
"""Accuracy of gpt-oss-20b on Omni-MATH, per cent, plain and confident: hardest (1) and easiest (4)
quarter; the others are not in our notes."""


def figure(key: str) -> float | None:
    """Return the published value of a statistic on the main setting, None if there is none."""
    return next((f.value for f in FIGURES if f.key == key), None)


@dataclass(frozen=True)
class PaperCost:
    """The published cost of Qwen3.5-35B-A3B, per token; "FLOPs" there are multiply-adds.

    `lazy` is the published number of extra projections of a lazy scan. Shares are of `forward`.
    """

    hidden: int = 2560
    vocabulary: int = 151_936
    window: int = 10
    forward: float = 5212e6
    projection: float = 389e6
    projection_share: float = 0.0746
    full_scan: float = 3890e6
    full_scan_share: float = 0.7464
    lazy: float = 0.116
    lazy_flops: float = 45e6
    lazy_share: float = 0.0087
    latency_share: float = 0.02


COST = PaperCost()
