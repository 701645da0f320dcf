"""The published token statistics that an audit is set beside, as data.

Source: Zhang et al., *Deeper is Not Always Better: Mitigating the Alignment Tax via Confident
Layer Decoding*, arXiv:2606.21906 (2026). Shares are fractions, entropies nats. The keys are those
of `empirical.audit.Statistic`. The paper states no intervals, and its statistics come from runs of
different length (202,935 and 76,637 tokens), so that two of them which are the same number on one
set of tokens (rising last layer, search leaves) differ there.
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
"""Edges of the bins of last-layer entropy, nats; each bin is closed below and open above."""

SUBSTITUTION_BY_ENTROPY: tuple[float | None, ...] = (0.0, None, 0.090, 0.148)
"""Substitution rate in each bin; the paper gives "about 0" for the first, none for the second."""

VALLEY_BY_DECILE: dict[int, float] = {1: 0.097, 7: 0.134, 10: 0.080}
"""Share of tokens that leave the last layer, by decile of the position; three are published."""


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
