"""How often *holds*, *fails*, *applies*, *better* and *worse* are said where they are not true.

Prompts of `TOKENS` tokens on a window of five layers with one below. Most tokens fall to the final
layer, a fifth turn two layers before it and rise again; log-losses have a mean of the entropy,
times an effect of the prompt of mean one. Then something is changed:

*right*          nothing: every *fails* is an error, and *holds* and *applies* are not
*gap*            every layer, or the final one alone, pays exactly the 0.05 nats that do not count
                 more than its entropy
*share*          on exactly 5 % of the tokens the entropies contradict A1 and A2 (they jump up and
                 down by more than noise can); of those that turn, 5 % rise too gently (A3); another
                 5 % fall on below the window (A4)
*beyond*         the same, twice as much: *holds* and *applies* are errors

At the edge *holds*, *fails* and *applies* are each an error in the limit: the truth stands where an
error is likeliest. Prompts differ in their shares, by beta distributions whose parameters sum to
`alike`: most of what breaks comes from few prompts where that is small.

The negative control is the percentile bootstrap over prompts, on which earlier verdicts stood.

Of `stopping evaluate`, *better* and *worse* are simulated on groups of problems within which a rule
and plain decoding may be exchanged, and on groups of which most gain one problem and a few lose
all that they had. There the control takes problems for independent (McNemar's test).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.measure import save_as_found
from empirical.analysis.audit import Audit, Status, at_most, audit
from empirical.analysis.audit.calibration import MATERIALITY
from empirical.analysis.audit.verdicts import TOLERATED
from empirical.analysis.validate import validate
from empirical.evaluation.comparison import decided
from empirical.evaluation.paired import paired
from empirical.intervals import bonferroni
from empirical.report.verdict import Guarantee, judge_guarantee
from empirical.traces.files import Traces
from stopping.rules import Search
from stopping.support.statistics import Interval, clopper_pearson
from stopping.types import BoolArray, IntArray

K, TOKENS, REPLICATES = 4, 40, 300
TURNED = 0.2
"""Share of tokens that turn two layers before the final one."""
ALIKE, UNLIKE = 20.0, 2.0
FALLING = np.arange(K + 1, -1, -1) * 0.5
TURNING = np.array([2.0, 1.5, 1.0, 0.0, 0.6, 1.2])
GENTLE = np.array([1.5, 1.0, 0.0, 0.3, 0.52, 0.74])
JUMPING = np.array([6.0, 6.0, 0.0, 6.0, 0.0, 6.0])
BELOW = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.25])
"""Entropies above a token's own level, nats; the first layer stands below the window."""
SHARES = ("A1", "A2", "A3", "A4")


@dataclass(frozen=True)
class Truth:
    """What is changed: a gap in nats, at the final layer alone or at all, and shares of tokens."""

    gap: float = 0.0
    share: float = 0.0
    alike: float = ALIKE
    final_alone: bool = False

    def of(self, label: str) -> tuple[float, float]:
        """Return the truth that a word is about, and how much of it does not count."""
        return (self.share, TOLERATED) if label in SHARES else (self.gap, MATERIALITY)


TRUTHS = {
    "right": Truth(),
    "gap at edge": Truth(gap=MATERIALITY),
    "gap at edge, final layer alone": Truth(gap=MATERIALITY, final_alone=True),
    "share at edge": Truth(share=TOLERATED),
    "share at edge, in few prompts": Truth(share=TOLERATED, alike=UNLIKE),
    "beyond": Truth(2 * MATERIALITY, 2 * TOLERATED),
}


@dataclass(frozen=True)
class Said:
    """Share of runs in which a word was said of an assumption, of the guarantee or of a rule.

    `drawn` counts prompts, or groups of problems; `method` is "new", or "old" for the control.
    """

    truth: str
    drawn: int
    of: str
    word: str
    method: str
    runs: int
    share: Interval
    is_error: bool


def traces_of(truth: Truth, prompts: int, rng: np.random.Generator) -> Traces:
    """Draw tokens."""
    n = prompts * TOKENS
    prompt = np.repeat(np.arange(prompts), TOKENS)

    def some() -> BoolArray:
        """Whether each token is one of those that break an assumption."""
        if not truth.share:
            return np.zeros(n, np.bool_)
        own = rng.beta(truth.alike * truth.share, truth.alike * (1 - truth.share), prompts)
        found: BoolArray = rng.random(n) < own[prompt]
        return found

    turned, jumps, gentle, below = rng.random(n) < TURNED, some(), some(), some()
    kinds = [below & ~jumps, jumps, turned & gentle, turned]
    added = np.select([kind[:, None] for kind in kinds], [BELOW, JUMPING, GENTLE, TURNING], FALLING)
    entropy = rng.gamma(2.0, 0.5, (n, 1)) + added
    effect = rng.gamma(400.0, 1 / 400, (prompts, 1))[prompt]
    loss = entropy * effect * rng.gamma(16.0, 1 / 16, (n, 1))
    loss[:, -1 if truth.final_alone else 0 :] += truth.gap
    zero = np.zeros(n, int)
    top1 = np.zeros((n, K + 2), int)
    return Traces.of(entropy, log_prob=-loss, top1=top1, token=zero, prompt=prompt)


def words(truth: Truth, prompts: int, seed: int) -> dict[tuple[str, str], str]:
    """What is said of each assumption and of the guarantee, by method and label."""
    traces = traces_of(truth, prompts, np.random.default_rng(seed))
    found = audit(traces, K, seed, REPLICATES)
    said = {("new", verdict.assumption): str(verdict.status) for verdict in found.verdicts}
    validation = validate(traces, [Search(K)], K, seed, REPLICATES)
    guarantee, _ = judge_guarantee(found, validation)
    applies = "applies" if guarantee is Guarantee.APPLIES else "not said"
    return said | control(found) | {("new", "T2"): applies}


def control(found: Audit) -> dict[tuple[str, str], str]:
    """What percentiles of a bootstrap over prompts would have said of the shares."""
    refuted = {one.ceiling: one.share for one in found.noise.overall.refuted}
    shares = (
        found.noise.refinement.rises,
        refuted[found.noise.ceiling],
        found.noise.gentle,
        found.window.at_edge,
    )
    by_percentiles = (at_most(share, TOLERATED) for share in shares)
    return {("old", a): str(s) for a, s in zip(SHARES, by_percentiles, strict=True)}


def is_error(truth: Truth, of: str, word: str) -> bool:
    """Whether the word is wrong, or no more than the edge allows."""
    value, limit = truth.of(of)
    if word == "applies" and truth.share > TOLERATED:
        return True
    return value <= limit if word == Status.FAILS else value >= limit


LABELS = ("A0", *SHARES, "T2")


def audits(runs: int, seed: int, sizes: Sequence[int]) -> Iterator[Said]:
    """Every truth, from the least number of prompts up."""
    for prompts in sizes:
        for name, truth in TRUTHS.items():
            found = [words(truth, prompts, seed + run) for run in range(runs)]
            for method in ("new", "old"):
                for of in LABELS if method == "new" else SHARES:
                    for word in ("applies",) if of == "T2" else ("holds", "fails"):
                        times = sum(said[method, of] == word for said in found)
                        share = clopper_pearson(times, runs)
                        wrong = is_error(truth, of, word)
                        yield Said(name, prompts, of, word, method, runs, share, wrong)


PROBLEMS, RULES = 6, 5
"""Problems of a group, and rules that are compared with plain decoding."""
KINDS = ("exchangeable", "gains in most groups, loses in few")


def solved(kind: str, groups: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Problems of each group that a rule and plain decoding solve, alike in the mean, (groups,)."""
    plain = np.full(groups, PROBLEMS - 2)
    if kind == "exchangeable":
        other = rng.integers(0, PROBLEMS + 1, groups)
        swapped = rng.random(groups) < 0.5
        return np.where(swapped, plain, other), np.where(swapped, other, plain)
    loses = rng.random(groups) < 1 / (PROBLEMS - 1)
    moved = rng.random(groups) < 0.6
    return np.where(moved, np.where(loses, 0, plain + 1), plain), plain


def answers(runs: int, seed: int, sizes: Iterable[int] = (25, 100)) -> Iterator[Said]:
    """The words of `stopping evaluate`, where a rule is neither better nor worse."""
    for kind in KINDS:
        for groups in sizes:
            rng = np.random.default_rng([seed, groups])
            said: dict[str, list[set[str]]] = {"new": [], "old": []}
            for _ in range(runs):
                tables = [solved(kind, groups, rng) for _ in range(RULES)]
                for method, found in said.items():
                    found.append({_of_answers(*one, method) for one in tables})
            for method, found in said.items():
                for word in ("better", "worse"):
                    share = clopper_pearson(sum(word in one for one in found), runs)
                    yield Said(kind, groups, "a rule", word, method, runs, share, True)


def _of_answers(rule: IntArray, plain: IntArray, method: str) -> str:
    within, groups = np.arange(PROBLEMS), np.repeat(np.arange(len(rule)), PROBLEMS)
    found = paired(
        *((within < solves[:, None]).ravel() for solves in (rule, plain)),
        bonferroni(RULES),
        groups if method == "new" else None,
    )
    return decided(min(1.0, RULES * found.p_value), found).value


def table(runs: int, seed: int = 0, sizes: Sequence[int] = (30, 100)) -> Iterator[Said]:
    """All of it."""
    yield from answers(runs, seed)
    yield from audits(runs, seed, sizes)


@click.command("words")
@click.option("--runs", default=300, show_default=True, help="Runs of each row.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def words_benchmark(runs: int, seed: int, out: Path | None) -> None:
    """How often the words of a verdict are said where they are not true."""

    def line(found: Said) -> str:
        return (
            f"{found.truth}: {found.drawn}, {found.method}: {found.of} {found.word}: "
            f"{found.share.estimate:.1%}{' (error)' if found.is_error else ''}"
        )

    save_as_found("words", table(runs, seed), line, {"runs": runs, "seed": seed}, out)
