"""The study behind a fit's words, small: it resumes, and its negative control is refuted."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from empirical.commands.fit import fit as command
from empirical.fitting.check import check
from empirical.fitting.worlds import WORLDS, autoregressive, heavy
from stopping.errors import UserError


@pytest.mark.slow
def test_what_is_called_identified_is_covered_and_misfit_is_said() -> None:
    asked = ("prompt effects", "weak rises", "AR(1) noise", "t3 noise")
    found = {row.world: row for row in check(3, prompts=30, tokens=30, seed=3, worlds=asked).rows}
    right, weak = found["prompt effects"], found["weak rises"]
    assert right.turns == 1
    assert right.coverage is None or right.coverage > 0.85
    # Misfit in two of three has a probability of 0.007 at 5 %.
    assert right.misfit.estimate <= 0.5
    assert weak.misfit.estimate <= 0.5
    assert right.excess == 1 or right.misfit.estimate > 0
    assert weak.excess < 0.5
    # Standard errors alone call turning points identified where nothing shows that anything turns.
    assert weak.turns < 0.5
    assert weak.identified < weak.naive / 2
    for world in ("AR(1) noise", "t3 noise"):
        assert found[world].misfit.estimate > 0.5
    assert found["AR(1) noise"].naive_coverage is not None
    assert found["AR(1) noise"].naive_coverage < 0.85


def test_noise_is_what_it_is_called() -> None:
    rng = np.random.default_rng(0)
    noise = autoregressive(rng, (40_000, 4))
    assert np.corrcoef(noise.T)[0, 1:] == pytest.approx([0.8, 0.64, 0.512], abs=0.03)
    assert noise.std(axis=0) == pytest.approx(1.0, abs=0.03)
    assert np.median(np.abs(heavy(rng, (40_000, 2)))) == pytest.approx(
        0.7649 / np.sqrt(3), abs=0.01
    )


@pytest.mark.slow
def test_a_study_resumes_and_refuses_other_settings(tmp_path: Path) -> None:
    journal, one = tmp_path / "runs.jsonl", ["well specified"]
    small = {"prompts": 8, "tokens": 30, "worlds": one, "journal": journal}
    first = check(1, **small)  # type: ignore[arg-type]
    lines = journal.read_text().count("\n")
    again = check(2, **small)  # type: ignore[arg-type]
    assert journal.read_text().count("\n") == lines + 1
    assert check(2, 8, 30, worlds=one).rows == again.rows
    assert first.rows[0].runs == 1
    with pytest.raises(UserError):
        check(1, 8, 31, worlds=one, journal=journal)


@pytest.mark.slow
def test_the_command_says_it_as_text_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its data sets are as large as a study needs; what it says is the same of small ones.
    small = partial(check, prompts=12, tokens=30)
    monkeypatch.setattr(sys.modules[command.callback.__module__], "check", small)
    asked = ["--check", "--runs", "1", "--jobs", "1", "--resume", str(tmp_path / "runs.jsonl")]
    text = CliRunner().invoke(command, asked)
    assert text.exit_code == 0, text.exception
    for word in ("well specified", "AR(1) noise", "misfit said"):
        assert word in text.output
    found = CliRunner().invoke(command, [*asked, "--json"])
    content = json.loads(found.output[found.output.index("{") :])
    assert [row["world"] for row in content["rows"]] == list(WORLDS)
