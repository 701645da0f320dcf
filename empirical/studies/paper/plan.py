"""Which decoders answer the problems, at which temperature, for which table or figure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from empirical.evaluation.runner import PLAIN, Arm, Settings
from stopping.errors import UserError
from stopping.rules import FixedOffset, Search, Shifted, WindowMinimum

if TYPE_CHECKING:
    from empirical.decoding.custom import AbstractDecoder
    from stopping.rules import AbstractRule

SECTIONS = ("p", "variants", "rivals", "temperature", "difficulty")
"""What may be asked for besides plain decoding and the search."""
SHARES = (0.2, 0.4, 0.6, 0.8)
SHIFTS = (-2, -1, 1, 2)
OFFSETS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes
    ----------
    K : int
        Window of the search, steps back.
    sections : tuple of str
        Members of `SECTIONS`.
    temperatures : tuple of float
        Of the section `temperature`, each above 0.
    samples, sample_temperature
        Number of sampled plain runs by which the section `difficulty` ranks the problems, two at
        least, and their temperature.
    """

    K: int = 10
    sections: tuple[str, ...] = SECTIONS
    temperatures: tuple[float, ...] = (0.5, 1.0)
    samples: int = 4
    sample_temperature: float = 0.7

    def __post_init__(self) -> None:
        unknown = sorted(set(self.sections) - set(SECTIONS))
        if unknown:
            raise UserError(f"sections: unknown {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
        if self.K < 1:
            raise UserError(f"window: the search needs at least one step back, got {self.K}")
        if self.samples < 2:
            raise UserError(f"samples: ranking problems needs at least two, got {self.samples}")
        drawn = (*self.temperatures, self.sample_temperature)
        if not all(0 < t < float("inf") for t in drawn):
            raise UserError(f"temperatures must be positive numbers, got {drawn}")


@dataclass(frozen=True)
class PlannedArm:
    """One arm: its key among the answers, the section that it is for, and how it answers.

    `baseline` is the key of the arm that it is compared with, None for a baseline itself.
    """

    key: str
    name: str
    section: str
    arm: Arm
    baseline: str | None


def planned(plan: Plan, settings: Settings) -> tuple[PlannedArm, ...]:
    """List the arms of a plan, plain decoding and the search first."""
    search = Search(plan.K)
    arms = [
        _arm(None, "main", settings, None),
        _arm(search, "main", settings, PLAIN),
    ]
    arms += [_arm(rule, section, settings, PLAIN) for section, rule in _greedy(plan)]
    if "temperature" in plan.sections:
        for temperature in plan.temperatures:
            hot = replace(settings, temperature=temperature)
            plain = _arm(None, "temperature", hot, None)
            arms += [plain, _arm(search, "temperature", hot, plain.key)]
    if "difficulty" in plan.sections:
        for number in range(1, plan.samples + 1):
            drawn = replace(
                settings, temperature=plan.sample_temperature, seed=settings.seed + number
            )
            arms.append(_arm(None, "difficulty", drawn, None))
    return tuple(arms)


def _greedy(plan: Plan) -> Iterable[tuple[str, "AbstractRule | AbstractDecoder"]]:
    from empirical.decoding.rivals import SLED, Calm, DoLa, ReleasedScore

    K = plan.K
    if "p" in plan.sections:
        yield from (("p", Search(K, p)) for p in SHARES)
    if "variants" in plan.sections:
        yield from (("variants", Shifted(shift, K)) for shift in SHIFTS)
        yield from (("variants", FixedOffset(k)) for k in OFFSETS)
    if "rivals" in plan.sections:
        yield from (
            ("rivals", rival)
            for rival in (
                DoLa(divergence="released", norm=False),
                SLED(norm=False),
                Calm(K=K),
                WindowMinimum(K),
                ReleasedScore(K),
            )
        )


def _arm(
    rule: "AbstractRule | AbstractDecoder | None",
    section: str,
    settings: Settings,
    baseline: str | None,
) -> PlannedArm:
    spec = PLAIN if rule is None else rule.spec()
    name = "final layer" if rule is None else rule.name
    if settings.temperature > 0:
        spec = f"{spec} T={settings.temperature:g} seed={settings.seed}"
    return PlannedArm(spec, name, section, Arm(rule, settings), baseline)
