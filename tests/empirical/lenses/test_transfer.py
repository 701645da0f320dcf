"""A lens that is calibrated on one text and not on the other is told from one that is on both."""

import json
from pathlib import Path

import pytest
import torch

from empirical.lenses.calibrated import Correction
from empirical.lenses.states import States
from empirical.lenses.transfer import transfer
from tests.empirical.lenses.test_lenses import (
    LINEAR,
    lens_command,
    random_states,
    sampled,
    states_of,
)
from tests.empirical.tiny_models import save_tiny_folder


def text(factor: float, seed: int) -> States:
    """Layer 1 says the final layer's logits times a factor."""
    h = random_states(600, seed)
    return states_of({1: factor * h, 3: h}, sampled(h, seed + 1))


@pytest.mark.parametrize(("factor", "transfers"), [(2.0, True), (3.0, False)])
def test_what_transfers_and_what_does_not(factor: float, transfers: bool) -> None:
    """The temperature 2 is right for a layer that says everything twice as loudly."""
    found = transfer(LINEAR, {1: Correction(2.0)}, text(2.0, 0), text(factor, 10), "lens", 0)
    (row,) = found.layers
    assert row.reference.estimate == pytest.approx(0.0, abs=1e-4)
    assert row.change.estimate == pytest.approx(row.own.estimate - row.reference.estimate)
    assert ("does not transfer" in str(found)) is not transfers
    if transfers:
        assert row.change.estimate == pytest.approx(0.0, abs=1e-4)
    else:
        assert row.own.low > 0.05  # too loud: over-confident


def test_gaps_are_those_of_distributions_written_out() -> None:
    states = text(3.0, 4)
    (row,) = transfer(LINEAR, {1: Correction()}, states, states, "lens", 0).layers
    with torch.no_grad():
        p = LINEAR.lens(states.final[None])[0].softmax(1)
        q = LINEAR.lens(states.layers[1][None])[0].log_softmax(1)
    gap = (-(p * q).sum(1) + (q.exp() * q).sum(1)).mean()
    assert row.own.estimate == row.reference.estimate == pytest.approx(float(gap), abs=1e-4)
    assert row.change.estimate == 0.0


def test_command_measures_both_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = save_tiny_folder(tmp_path / "tiny", chat=True), tmp_path / "lens.safetensors"
    options = ("--problems", 10, "--tokens", 60, "--layers", 3)
    assert lens_command("fit", "--model", folder, "--out", out, *options) == 0
    capsys.readouterr()
    asked = ("--problems", 3, "--tokens", 30, "--max-new-tokens", 8)
    assert lens_command("transfer", out, "--model", folder, *asked, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["warning"] == ""
    assert content["model"] == "tiny"
    assert len(content["prompts_hash"]) == 64
    assert content["weights"]
    assert [row["layer"] for row in content["transfer"]["layers"]] == [1, 2]
    assert lens_command("transfer", out, "--model", folder, *asked, "--seed", 1) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "gap to the final layer's distribution" in said
    assert "fitted on 3 of the 3 prompts" in said
