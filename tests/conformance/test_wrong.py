"""Every wrong implementation is caught by the requirement that names its mistake, and no other."""

import contextlib
import io
import re

import pytest

from stopping.testing import DECODER, ENTROPY, LENS, SELECTION, Failure, Status, suite
from tests.conformance import right_numpy, right_torch
from tests.conformance.wrong import Wrong
from tests.conformance.wrong.at_random import WRONG as AT_RANDOM
from tests.conformance.wrong.decoder import WRONG as DECODERS
from tests.conformance.wrong.entropy import WRONG as ENTROPIES
from tests.conformance.wrong.lens import WRONG as LENSES
from tests.conformance.wrong.scores import WRONG as SCORES
from tests.conformance.wrong.scores import perplexity
from tests.conformance.wrong.selection import WRONG as SELECTIONS

ALL = (*SELECTIONS, *ENTROPIES, *DECODERS, *SCORES, *LENSES)
RIGHT = {
    ("selection", "numpy"): (right_numpy, "select"),
    ("entropy", "numpy"): (right_numpy, "entropy"),
    ("entropy", "torch"): (right_torch, "entropy"),
    ("decoder", "numpy"): (right_numpy, "decode"),
    ("lens", "numpy"): (right_numpy, "read"),
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ALL, ids=str)
def test_exactly_the_requirement_that_names_the_mistake_catches_it(wrong: Wrong) -> None:
    asked = suite(wrong.function, wrong.kind, examples=12, **wrong.options)
    report = asked.report()
    assert [failure.requirement for failure in report.failures] == [wrong.caught_by]
    # Whatever was not asked is out of place, or presupposes what failed.
    for result in report.results:
        if result.status is Status.NOT_ASKED and result.note.startswith("presupposes"):
            assert wrong.caught_by in asked.requirements[result.requirement].presupposes
    if hasattr(wrong.function, "__qualname__") and not wrong.options.get("p"):
        shows_the_mistake(report.failures[0], wrong)


def shows_the_mistake(failure: Failure, wrong: Wrong) -> None:
    """The printed code gives something else for the wrong function than for a right one."""
    module, name = RIGHT[wrong.kind, wrong.options.get("framework", "numpy")]
    mine = wrong.function.__name__
    right = failure.code.replace(wrong.function.__module__, module.__name__)
    right = re.sub(rf"\b{mine}\b", name, right)
    assert right != failure.code
    shown, right_shown = printed(failure.code), printed(right)
    assert shown != right_shown
    if failure.requirement != "nan":
        assert "Error" not in right_shown


def printed(code: str) -> str:
    """What running the code prints, or how it ends."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        try:
            exec(code, {})
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return re.sub(r"dtype=\S+|, grad_fn=\S+", "", out.getvalue())


@pytest.mark.parametrize(
    ("requirements", "wrongs"),
    [
        (SELECTION, SELECTIONS),
        (ENTROPY, ENTROPIES),
        (DECODER, (*DECODERS, *SCORES)),
        (LENS, LENSES),
    ],
    ids=["selection", "entropy", "decoder", "lens"],
)
def test_every_requirement_catches_somebody(
    requirements: tuple[object, ...], wrongs: tuple[Wrong, ...]
) -> None:
    names = {requirement.name for requirement in requirements}  # type: ignore[attr-defined]
    kinds = {wrong.kind for wrong in wrongs}
    by_chance = [wrong for wrong in AT_RANDOM if wrong.kind in kinds]
    assert names == {wrong.caught_by for wrong in (*wrongs, *by_chance)}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", SCORES, ids=str)
def test_only_states_of_several_shapes_tell_scores_apart(wrong: Wrong) -> None:
    report = suite(wrong.function, "decoder", examples=5, **wrong.options).report(
        without=["entropy"]
    )
    report.require()


@pytest.mark.slow
def test_an_increasing_function_of_entropy_is_as_good_as_entropy() -> None:
    suite(perplexity, "decoder", examples=20, **SCORES[0].options).report().require()
