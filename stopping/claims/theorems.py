"""The theorems as data: what each asks, how far it is settled, and the functions that compute it.

The statements and proofs are the book's, the checks are the registry's claims of the same label.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How far a theorem is settled; each includes the one before."""

    PROVED = "proved"
    TIGHT = "proved, tight"
    CERTIFIED = "proved, constants certified"


@dataclass(frozen=True)
class Theorem:
    """One theorem.

    Attributes
    ----------
    label, title : str
    status : Status
        TIGHT: worlds attain the bound, or come as near as one likes. CERTIFIED: its constants are
        bracketed by arithmetic that is rounded outwards.
    assumes : tuple of str
        Which of A0 to A4 and of C2's premise it needs of a model's tokens; an audit says whether
        they hold. Empty: it holds of any token, or of a world that is given.
    functions : tuple of str
        Below `stopping`, as `room.module.name`.
    """

    label: str
    title: str
    status: Status
    assumes: tuple[str, ...]
    functions: tuple[str, ...]


_WORLD = ("A1", "A2", "A3", "A4")
_SEARCH = ("A2", "A3", "A4")

THEOREMS: tuple[Theorem, ...] = (
    Theorem("T1", "containment", Status.TIGHT, _SEARCH, ("theory.bounds.containment_margin",)),
    Theorem("T2", "excess", Status.TIGHT, _SEARCH, ("theory.bounds.excess_bound",)),
    Theorem("T3", "overshoot", Status.TIGHT, _SEARCH, ("theory.bounds.overshoot_bound",)),
    Theorem("T4", "the final layer", Status.TIGHT, ("A2",), ("theory.bounds.final_layer_bound",)),
    Theorem("T5", "tolerance", Status.PROVED, _SEARCH, ("theory.bounds.tolerance_bound",)),
    Theorem(
        "T6",
        "the search is minimax",
        Status.TIGHT,
        _WORLD,
        ("theory.games.deterministic_value", "theory.guarded.guarded_search"),
    ),
    Theorem(
        "T7",
        "randomising halves it",
        Status.TIGHT,
        _WORLD,
        ("theory.games.randomised_value", "theory.guarded.hedged_search"),
    ),
    Theorem("T8", "certificate", Status.TIGHT, _WORLD, ("theory.certificates.certify",)),
    Theorem("T9", "identification", Status.PROVED, _WORLD, ("theory.identification.identify",)),
    Theorem(
        "T10",
        "tails",
        Status.PROVED,
        ("A1", "A4"),
        ("theory.bounds.stop_above_bound", "theory.bounds.excess_tail_bound"),
    ),
    Theorem("T11", "the e − 2 law", Status.TIGHT, ("A1", "A4"), ("theory.bounds.run_bound",)),
    Theorem(
        "T12", "exact distribution", Status.PROVED, (), ("theory.exact.stopping_distribution",)
    ),
    Theorem(
        "T13",
        "the average case",
        Status.CERTIFIED,
        ("A1", "A4"),
        (
            "theory.averages.average_case",
            "theory.uniform_average.uniform_average",
            "theory.adaptive_average.adaptive_bound",
        ),
    ),
    Theorem("T14", "dependent noise", Status.PROVED, ("A1", "A4"), ("theory.dependent",)),
    Theorem(
        "T15",
        "what A3 buys",
        Status.TIGHT,
        ("A2",),
        (
            "theory.hedged_minimum.hedged_minimum",
            "theory.hedged_minimum.window_game_value",
        ),
    ),
    Theorem(
        "T16",
        "a rounded valley",
        Status.TIGHT,
        ("A2", "A4"),
        ("theory.bounds.rounded_valley_bound",),
    ),
    Theorem(
        "T17", "adaptive guard", Status.PROVED, _WORLD, ("theory.adaptive_guard.running_guard",)
    ),
    Theorem(
        "C1",
        "from entropy to log-loss",
        Status.TIGHT,
        (),
        ("theory.calibration_budget.log_loss_change",),
    ),
    Theorem(
        "C2",
        "calibrated given the entropies",
        Status.PROVED,
        ("C2",),
        ("theory.calibration_budget.final_layer_budget",),
    ),
    Theorem(
        "C3",
        "calibrated given the latent entropies",
        Status.PROVED,
        ("C2", *_SEARCH),
        ("theory.calibration_budget.turning_point_budget",),
    ),
    Theorem(
        "C4",
        "the winner's curse",
        Status.TIGHT,
        ("A0",),
        ("theory.calibration_budget.curse_bound",),
    ),
    Theorem(
        "M1",
        "linear pool",
        Status.TIGHT,
        (),
        ("theory.mixtures.pool_loss", "theory.mixtures.pool_bound"),
    ),
    Theorem("M2", "log-linear pool", Status.PROVED, (), ("theory.mixtures.pool_loss",)),
    Theorem("M3", "certificate of a share", Status.PROVED, (), ("support.betting.log_wealth",)),
    Theorem("S1", "backward induction", Status.PROVED, (), ("optimal.chain.solve",)),
    Theorem("S2", "the bracket", Status.PROVED, (), ("optimal.regression.fit_policy",)),
    Theorem("S3", "the Bayes rule", Status.PROVED, (), ("optimal.rules.Bayes",)),
)
