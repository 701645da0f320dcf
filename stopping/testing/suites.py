"""The four kinds: whom their requirements ask, as a report and as a pytest test."""

from collections.abc import Callable, Iterable
from typing import Any

from stopping.errors import UserError
from stopping.testing.conventions import KNOWN, Kind
from stopping.testing.decoder import Decoder
from stopping.testing.decoder_requirements import DECODER
from stopping.testing.entropy import Entropy
from stopping.testing.entropy_requirements import ENTROPY
from stopping.testing.lens import Lens
from stopping.testing.lens_requirements import LENS
from stopping.testing.requirement import ConformanceError, Report, Requirement, Status
from stopping.testing.selection import Selection
from stopping.testing.selection_requirements import SELECTION
from stopping.testing.subject import AbstractSubject
from stopping.testing.suite import Suite, patterns
from stopping.testing.target import name_of

KINDS: dict[Kind, tuple[type[AbstractSubject], tuple[Requirement[Any], ...]]] = {
    "selection": (Selection, SELECTION),
    "entropy": (Entropy, ENTROPY),
    "decoder": (Decoder, DECODER),
    "lens": (Lens, LENS),
}


def suite(
    function: Callable[..., Any],
    kind: Kind = "selection",
    *,
    examples: int = 100,
    seed: int = 0,
    **conventions: Any,
) -> Suite[Any]:
    """Return the suite of a kind for a function; see `check`.

    Raises
    ------
    UserError
        If the kind is unknown, a convention unknown or impossible, or the function unusable.
    """
    if kind not in KINDS:
        raise UserError(f"kind: choose from {', '.join(KINDS)}, got {kind!r}")
    for name in conventions:
        if name not in KNOWN[kind]:
            raise UserError(f"{name}: no convention of {kind}; it has {', '.join(KNOWN[kind])}")
    subject, requirements = KINDS[kind]
    return Suite(
        kind, name_of(function), subject(function, **conventions), requirements, examples, seed
    )


def check(
    function: Callable[..., Any],
    kind: Kind = "selection",
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    examples: int = 100,
    seed: int = 0,
    **conventions: Any,
) -> Report:
    """Test a function against what its kind requires.

    Parameters
    ----------
    function : callable
        Of kind "selection" from entropies to layers, "entropy" from logits to entropies,
        "decoder" from states and a `Head` to the chosen layer's logits, "lens" from states and a
        `Head` to the logits of every layer.
    kind : "selection", "entropy", "decoder" or "lens"
    only, without : names of requirements, or patterns such as `*window`
        Ask those of `only` alone, whatever they presuppose; leave those of `without` out.
    examples, seed
        Most cases for each requirement, and their seed.
    conventions
        What it takes and gives: attributes of `Conventions`, those that the kind knows.

    Returns
    -------
    Report
        With `passed`, `failures`, and `require()` that raises `ConformanceError`.

    Raises
    ------
    UserError
        If a convention is unknown or impossible, or the function cannot be called on trivial
        input.
    """
    asked = suite(function, kind, examples=examples, seed=seed, **conventions)
    return asked.report(only, without)


def conformance_tests(
    function: Callable[..., Any],
    kind: Kind = "selection",
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    **options: Any,
) -> Callable[[str], None]:
    """Return a test with one case for each requirement; give it a name that starts with `test_`.

        test_choose = conformance_tests(choose, "selection", K=8)

    A requirement whose presupposed one has failed is skipped: it would say nothing new. So is what
    is left out. Parameters are those of `check`.
    """
    import pytest

    asked = suite(function, kind, **options)
    wanted = patterns(only)
    left_out = set(asked.requirements) - set(asked.chosen(wanted, without))

    @pytest.mark.parametrize("requirement", asked.applicable())
    def test_conformance(requirement: str) -> None:
        if requirement in left_out:
            pytest.skip("left out")
        result = asked.result(requirement, bool(wanted), left_out)
        if result.status is Status.NOT_ASKED:
            pytest.skip(result.note)
        if result.failure is not None:
            raise ConformanceError(str(result.failure))

    return test_conformance
