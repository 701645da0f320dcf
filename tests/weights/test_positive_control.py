"""A perturbed SmolLM2-135M-Instruct: a yes where the search cures, and only there.

`bash .ci/real-model.sh` fetches the weights; their path is in `SMOLLM2`.
"""

import os
from pathlib import Path

import pytest

from empirical.model.load import load_model
from empirical.report.verdict import Answer
from empirical.studies.control import Control, Design, Shape, Step
from empirical.studies.control.results import PLAIN
from empirical.studies.control.run import Settings, run_control
from empirical.studies.control.tables import cured, wins_back

OFF, ON = 0.0, 0.5
SETTINGS = Settings(sums=32, chat=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Control:
    """The model as it is, a perturbation that the search cures, and one that it cannot."""
    loaded = load_model(os.environ["SMOLLM2"], "float32", "cpu")
    out: Path = tmp_path_factory.mktemp("control") / "control.json"
    turns = [run_control(loaded, [Design()], [OFF, ON], SETTINGS, out=out)]
    turns += [run_control(loaded, [Design(Shape.SHARP)], [ON], SETTINGS, out=out)]
    first = turns[0]
    steps = tuple(step for turn in turns for step in turn.steps)
    return Control(first.provenance, first.alpha, first.unperturbed, steps)


def at(found: Control, shape: Shape, dial: float) -> Step:
    return next(s for s in found.steps if (s.design.shape, s.dial) == (shape, dial))


def test_the_model_itself_is_not_cured(found: Control) -> None:
    off = at(found, Shape.AFTER, OFF)
    assert off.correct[PLAIN] == found.unperturbed
    assert sum(found.unperturbed) > 0
    assert off.rises == pytest.approx(0, abs=1e-5)
    assert all(look.answer is not Answer.YES for look in off.looks)
    assert not wins_back(found, off)


def test_a_cure_is_seen_and_won_back(found: Control) -> None:
    off, on = at(found, Shape.AFTER, OFF), at(found, Shape.AFTER, ON)
    assert on.rises > off.rises + 0.25
    assert on.looks[0].answer is Answer.YES
    assert on.looks[0].log_loss.high < 0
    assert wins_back(found, on)


def test_the_raw_lens_defeats_the_same_search_through_a_wider_window(found: Control) -> None:
    short, wide = at(found, Shape.AFTER, ON).looks
    assert (short.K, wide.K) == (4, 10)
    assert wide.answer is not Answer.YES
    assert wide.log_loss.low > short.log_loss.high


def test_what_lowers_entropy_is_not_won_back(found: Control) -> None:
    """The negative control: an answer displaced by a surer one."""
    sharp = at(found, Shape.SHARP, ON)
    assert sharp.rises < 0
    assert sum(sharp.correct[PLAIN]) < sum(found.unperturbed)
    assert not wins_back(found, sharp)
    assert cured(found)
