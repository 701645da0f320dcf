"""Claims on what the layers do to tokens: phases, and the statistics of the search."""

from collections.abc import Callable, Sequence
from typing import Literal

from empirical.analysis.phases import PUBLISHED, LayerProfile, Phase
from empirical.numbers import number, percent
from empirical.published import FIGURES, OTHER_MODELS, PaperFigure
from empirical.studies.ledger.entry import Entry, Topic, Verdict
from empirical.studies.ledger.evidence import Evidence, ModelEvidence

_GUESS, _MIDDLE, _LAST = PUBLISHED
PHASES_COMMAND, AUDIT_COMMAND = "stopping audit phases", "stopping audit"
_WORDS: dict[str, tuple[str, Literal["share", "nats"]]] = {
    "perturbed": ("tokens whose entropy rises at the final layer", "share"),
    "last_rise": ("the mean rise there", "nats"),
    "valley_entropy": ("mean entropy at their valley", "nats"),
    "last_fall": ("mean change at the final layer of the other tokens", "nats"),
    "leaves": ("the search leaves the final layer", "share"),
    "argmax_changed_when_leaving": ("the most probable token changes when it leaves", "share"),
    "argmax_changed": ("the most probable token changes, of all tokens", "share"),
    "relative_drop_argmax_kept": ("entropy falls where the token is kept, by", "share"),
    "confident_when_staying": ("final-layer entropy below 0.01 where it stays", "share"),
    "within_five": ("valleys lie within five layers of the end", "share"),
}


def _text(key: str, value: float) -> str:
    return percent(value) if _WORDS[key][1] == "share" else f"{number(value)} nats"


def _statistic(figure: PaperFigure) -> Entry:
    """A published statistic of a model that is not here, with the bundled models' beside it."""

    def ours(evidence: Evidence) -> str:
        return evidence.lines(lambda m: _text(figure.key, m.statistic(figure.key).estimate))

    return Entry(
        f"{figure.key}, {figure.setting}",
        Topic.TOKENS,
        f"{_WORDS[figure.key][0]} ({figure.setting})",
        _text(figure.key, figure.value),
        ours,
        Verdict.NOT_TESTABLE,
        "weights of that size, and a GPU",
        AUDIT_COMMAND,
    )


def _bins(model: ModelEvidence) -> tuple[float, ...]:
    return tuple(b.substituted.estimate for b in model.audit.statistics.by_entropy)


def _deciles(model: ModelEvidence) -> str:
    deciles = {d.decile: d.leaves.estimate for d in model.audit.statistics.by_position}
    return " → ".join(percent(deciles[d]) for d in (1, 7, 10))


def _range(layers: tuple[LayerProfile, ...]) -> str:
    if not layers:
        return "none"
    first, last = layers[0].layer, layers[-1].layer
    norm = _span([layer.norm.mean for layer in layers])
    cosine = _span([layer.cosine.mean for layer in layers])
    where = f"layer {first}" if first == last else f"layers {first}–{last}"
    return f"{where}, norm {norm}, cosine {cosine}"


def _span(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _phase(phase: Phase) -> Callable[[Evidence], str]:
    return lambda evidence: evidence.lines(lambda m: _range(m.phases.of(phase)))


def _middle_norm_within(model: ModelEvidence) -> bool:
    low, high = _MIDDLE.norm
    return low <= model.phases.middle_norm <= high


def _rewrites_early(model: ModelEvidence) -> bool:
    guess = model.phases.of(Phase.GUESS)
    largest = max((layer.norm.mean for layer in guess), default=0.0)
    return len(guess) < 0.15 * model.phases.depth and largest > _GUESS.norm[0]


def _perturbed_without_a_phase(evidence: Evidence) -> bool:
    """Whether some model lacks the phase, and its entropy rises more often than where it is."""
    rises: dict[bool, list[float]] = {True: [], False: []}
    for model in evidence.models:
        phase = bool(model.phases.of(Phase.PERTURB))
        rises[phase].append(model.statistic("perturbed").estimate)
    return bool(rises[False]) and min(rises[False]) > max(rises[True], default=0.0)


TOKENS: tuple[Entry, ...] = (
    Entry(
        "guess",
        Topic.PHASES,
        "guess: the first layers, about 15 % of them, rewrite the state",
        f"layer 1: norm {number(_GUESS.norm[0])}, cosine {number(_GUESS.cosine[0])}",
        _phase(Phase.GUESS),
        Verdict.REPRODUCED,
        "a shorter phase, with larger rewrites",
        PHASES_COMMAND,
        lambda e: e.all(_rewrites_early),
    ),
    Entry(
        "refine",
        Topic.PHASES,
        "refine: the middle layers make small updates that keep the direction",
        f"norm {number(_MIDDLE.norm[0])} to {number(_MIDDLE.norm[1])}, cosine "
        f"{number(_MIDDLE.cosine[0])} to {number(_MIDDLE.cosine[1])}",
        _phase(Phase.REFINE),
        Verdict.REPRODUCED,
        "a typical middle layer lies within the paper's range; single layers do not",
        PHASES_COMMAND,
        lambda e: e.all(_middle_norm_within),
    ),
    Entry(
        "perturb",
        Topic.PHASES,
        "perturb: the last layers make large updates again",
        f"final layer: 2 to 3 times the middle's norm, cosine {number(_LAST.cosine[0])}",
        _phase(Phase.PERTURB),
        Verdict.NOT_SEEN,
        "not on every model: one of the two has no such phase, and rises at the final layer more "
        "often than the other",
        PHASES_COMMAND,
        _perturbed_without_a_phase,
    ),
    *(_statistic(figure) for figure in (*FIGURES, *OTHER_MODELS)),
    Entry(
        "substitution-by-entropy",
        Topic.TOKENS,
        "substitutions grow with the entropy of the final layer",
        "about 0 below 0.01; 9.0 % in [0.05, 0.10); 14.8 % from 0.10",
        lambda e: e.lines(lambda m: " → ".join(percent(share) for share in _bins(m))),
        Verdict.REPRODUCED,
        "in direction; in order of entropy, below 0.01, 0.05, 0.10 nats and above",
        AUDIT_COMMAND,
        lambda e: e.all(lambda m: list(_bins(m)) == sorted(_bins(m)) and _bins(m)[0] < 0.01),
    ),
    Entry(
        "valleys-by-position",
        Topic.TOKENS,
        "valleys grow more frequent through a text and fall off at its end (deciles 1, 7, 10)",
        "9.7 % → 13.4 % → 8.0 %",
        lambda e: e.lines(_deciles),
        Verdict.NOT_TESTABLE,
        "long chains of thought; here texts are short solutions",
        AUDIT_COMMAND,
    ),
)
