"""`conformance_tests`: the requirements as a parametrised pytest test."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from stopping.errors import UserError
from stopping.testing.decoder import decoder_suite
from stopping.testing.entropy import entropy_suite
from stopping.testing.requirement import ConformanceError, Status
from stopping.testing.selection import selection_suite
from stopping.testing.suite import Suite, patterns

Kind: TypeAlias = Literal["selection", "entropy", "decoder"]
SUITES: dict[Kind, Callable[..., Suite[Any]]] = {
    "selection": selection_suite,
    "entropy": entropy_suite,
    "decoder": decoder_suite,
}


def suite(function: Callable[..., Any], kind: Kind, **options: Any) -> Suite[Any]:
    """Return the suite of `kind`; options as of `check_selection` and the like.

    Raises
    ------
    UserError
        If the kind or an option is unknown or impossible, or the function unusable.
    """
    if kind not in SUITES:
        raise UserError(f"kind: choose from {', '.join(SUITES)}, got {kind!r}")
    try:
        return SUITES[kind](function, **options)
    except TypeError as error:
        raise UserError(f"{kind}: {error}") from None


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
    is left out.

    Parameters
    ----------
    function : callable
    kind : "selection", "entropy" or "decoder"
    only, without : names of requirements, or patterns such as "*window"
        Ask those of `only` alone, whatever they presuppose; leave those of `without` out.
    options
        As of `check_selection`, `check_entropy`, `check_decoder`.
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
