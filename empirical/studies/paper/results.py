"""What `stopping paper` finds, as typed results and as a JSON file."""

from dataclasses import dataclass
from pathlib import Path

from empirical.analysis.audit import TokenStatistics
from empirical.analysis.validate import Comparison
from empirical.evaluation import Group, Paired
from empirical.evaluation.comparison import decided
from empirical.evaluation.runner import Settings
from empirical.provenance import Provenance
from empirical.studies.paper.difficulty import Difficulty
from empirical.studies.paper.plan import Plan
from empirical.studies.paper.substitutions import Substitutions
from stopping.support.documents import Format
from stopping.support.statistics import Interval

FORMAT = Format(
    "layer-stopping paper tables", 2, "file of paper tables", "make one with `stopping paper`"
)


@dataclass(frozen=True)
class ArmResult:
    """One decoder against plain decoding at the same temperature, on the same problems.

    Attributes
    ----------
    section : str
        Table or figure that it belongs to.
    overall : Paired
        Accuracies, difference with its 95 % interval, p-value of the exact test: for itself alone.
    p_adjusted : float
        The p-value times the number of comparisons of this model (Bonferroni), at most 1.
    moved, substituted : Interval
        Shares of tokens taken from an earlier layer, and of tokens other than the final layer's.
    length : float
        Mean tokens per text.
    """

    name: str
    spec: str
    section: str
    temperature: float
    overall: Paired
    p_adjusted: float
    moved: Interval
    substituted: Interval
    length: float


@dataclass(frozen=True)
class ModelResult:
    """Everything about one model.

    Attributes
    ----------
    plain : Interval
        Share of problems that plain greedy decoding solves.
    ended : float
        Share of its texts that come to their end before the limit.
    arms : tuple of ArmResult
        The search first, then the other decoders in the order of the plan.
    tokens : TokenStatistics
        The paper's token statistics, of the tokens that the search wrote.
    by_level : tuple of Group
        The search by the problems' own difficulty, 0 being unknown.
    difficulty : Difficulty or None
        By quarters of the baseline, where asked for.
    solved : tuple of tuple
        For each problem, whether plain decoding and the search solved it.
    """

    provenance: Provenance
    settings: Settings
    plan: Plan
    problems: int
    plain: Interval
    ended: float
    arms: tuple[ArmResult, ...]
    tokens: TokenStatistics
    substitutions: Substitutions
    by_level: tuple[Group, ...]
    difficulty: Difficulty | None
    solved: tuple[tuple[bool, bool], ...]

    @property
    def search(self) -> ArmResult:
        """The paper's search at temperature 0."""
        return self.arms[0]

    @property
    def told(self) -> tuple[int, int]:
        """How many arms are better than plain decoding, and how many worse, as `evaluate` says."""
        said = [decided(arm.p_adjusted, arm.overall) for arm in self.arms]
        return said.count(Comparison.BETTER), said.count(Comparison.WORSE)

    def of(self, section: str) -> tuple[ArmResult, ...]:
        """Arms of one section."""
        return tuple(arm for arm in self.arms if arm.section == section)


@dataclass(frozen=True)
class Contrast:
    """Two models on the same problems: the gain of the search in one minus that in the other.

    `gain` has a 95 % interval over problems, each of which is paired.
    """

    first: str
    second: str
    gain: Interval


@dataclass(frozen=True)
class PaperResult:
    """One model, or two and their contrast."""

    models: tuple[ModelResult, ...]
    contrast: Contrast | None


def read_paper(path: Path) -> PaperResult:
    """Read `paper.json` as `stopping paper` wrote it.

    Raises
    ------
    UserError
        If the file is missing, of another kind or a newer format, or incomplete.
    """
    return FORMAT.load(path, PaperResult)
