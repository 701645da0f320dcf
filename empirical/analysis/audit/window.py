"""A4: does the turning point lie within the window?

`V*` is latent. What can be seen: a token whose turning point lies below the window makes the search
run to the window's edge (T1: if A4 fails, `V^ = l_min`), so under A2 and A3 the share of tokens
that stop at the edge is an upper bound on the share that breaks A4. It is not an estimate of it:
a turning point exactly at `l_min` is admissible. Where layers below the window were traced, the
share whose entropy goes on falling below the edge, and the share whose least entropy over all
traced layers lies outside the window, say more; the latter also counts tokens that were low early
and rose again in between, which the search never sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from empirical.analysis.audit.verdicts import Status, Verdict, judge_share
from empirical.intervals import mean
from empirical.traces.window import Sample
from stopping.rules import Search
from stopping.support.statistics import Interval


@dataclass(frozen=True)
class Window:
    """A4 on these tokens.

    Attributes
    ----------
    layers_below : int
        Traced layers below the window; the last two shares are None without any.
    at_edge : Interval
        Share of tokens whose search stops at `l_min`.
    falls_below : Interval or None
        Share whose search would go on below `l_min`.
    minimum_at_or_below : Interval or None
        Share whose least entropy over all traced layers lies at `l_min` or below.
    """

    layers_below: int
    at_edge: Interval
    falls_below: Interval | None
    minimum_at_or_below: Interval | None
    verdict: Verdict


def audit_window(sample: Sample, tolerated: float, others: Sequence[Verdict] = ()) -> Window:
    """Look at the window's edge, and below it where layers were traced.

    `others` are the verdicts on A2 and A3: where one of them fails, the edge bounds nothing, and
    A4 is not said to hold.
    """
    K = sample.x.shape[1] - 1
    everything = sample.traces.entropy.astype(float)
    below = everything.shape[1] - K - 1
    edge = Search(K).choose(sample.x) == 0
    ratios = {"edge": mean(edge)}
    if below:
        ratios["falls"] = mean(edge & (everything[:, below - 1] < everything[:, below]))
        ratios["minimum"] = mean(everything.argmin(axis=1) <= below)
    found = sample.intervals(ratios)
    falls = found.get("falls")
    status, missing = judge_share(sample, ratios["edge"], tolerated)
    if status is Status.FAILS and (
        falls is None or judge_share(sample, ratios["falls"], tolerated)[0] is not Status.FAILS
    ):
        status = Status.UNDECIDED  # the edge itself is an admissible turning point
    sentence = (
        f"{found['edge'].estimate:.1%} of searches stop at the edge of the window of {K} steps"
    )
    if falls is not None:
        sentence += f", {falls.estimate:.1%} would go on below it"
    sentence += missing
    broken = [
        v.assumption for v in others if v.assumption in ("A2", "A3") and v.status is Status.FAILS
    ]
    if status is Status.HOLDS and broken:
        status = Status.UNDECIDED
        sentence += f"; that bounds nothing where {' and '.join(broken)} fail"
        sentence += "s" if len(broken) == 1 else ""
    return Window(
        layers_below=below,
        at_edge=found["edge"],
        falls_below=falls,
        minimum_at_or_below=found.get("minimum"),
        verdict=Verdict("A4", "window", status, sentence),
    )
