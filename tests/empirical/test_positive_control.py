"""A model perturbed by construction: what it is, and that the instruments see it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from empirical.analysis.audit import Status
from empirical.commands.control import control
from empirical.decoding import ConfidentDecoding
from empirical.figures.control import draw_control
from empirical.model.anatomy import Anatomy
from empirical.model.load import LoadedModel
from empirical.report.verdict import Answer, Guarantee
from empirical.studies.control import Control, Design, Shape, Step
from empirical.studies.control.preference import margin, preferences
from empirical.studies.control.results import FORMAT, PLAIN, Look
from empirical.studies.control.run import Settings, run_control, sums
from empirical.studies.control.tables import cured
from empirical.studies.control.write import DRAWN, directions, generic_tokens, perturbed
from stopping.errors import UserError
from stopping.rules import FixedOffset
from stopping.support.statistics import Interval
from tests.empirical.tiny import tiny
from tests.empirical.tiny_models import byte_tokenizer, save_tiny_folder, tiny_model

DEPTH = 6
IDS = torch.tensor([[5, 40, 60, 80, 90, 7]])


def _loaded(family: str = "llama", **options: Any) -> LoadedModel:
    tokenizer = byte_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": DEPTH}
    sizes |= {"max_position_embeddings": 2048, **options}
    return LoadedModel(tiny_model(family, **sizes), tokenizer, "tiny", {})


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return _loaded()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    out: torch.Tensor = model(IDS).logits
    return out


def states(model: Any) -> dict[int, torch.Tensor]:
    heard: dict[int, torch.Tensor] = {}
    with Anatomy.of(model).listening(lambda layer, h: heard.__setitem__(layer, h.clone())):
        logits(model)
    return heard


def entropies(model: Any) -> np.ndarray:
    """Mean over positions, by layer, through the model's own lens."""
    anatomy = Anatomy.of(model)
    with torch.inference_mode():
        read = [torch.log_softmax(anatomy.lens(h), -1) for _, h in sorted(states(model).items())]
    return np.array([float(-(z.exp() * z).sum(-1).mean()) for z in read])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("shape", Shape)
def test_dial_zero_is_the_model_itself_bit_for_bit(
    family: str, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("empirical.studies.control.preference.PAIRS", 4)  # that anything moves
    model = _loaded(family)
    before = logits(model.model)
    same = perturbed(model, Design(shape, m=2), 0.0)
    assert torch.equal(logits(same.model), before)
    assert not torch.equal(logits(perturbed(model, Design(shape, m=2), 0.5).model), before)
    # The model that it was made from is as it was, and its parameters are shared.
    assert torch.equal(logits(model.model), before)
    assert model.model.config.num_hidden_layers == DEPTH
    assert next(same.model.parameters()) is next(model.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "depth"), [("after", 8), ("sharp", 8), ("inside", 6), ("tuned", 6)]
)
def test_every_tool_finds_the_layers(loaded: LoadedModel, shape: str, depth: int) -> None:
    model = perturbed(loaded, Design(Shape(shape), m=2), 1.0).model
    assert len(Anatomy.of(model).layers) == depth
    before, after = states(loaded.model), states(model)
    kept = DEPTH if depth > DEPTH else DEPTH - 2
    for layer in range(kept + 1):
        assert torch.equal(before[layer], after[layer])
    # Below the writes of `after` stands the model's own answer.
    if depth > DEPTH:
        assert torch.equal(Anatomy.of(model).lens(after[DEPTH]), logits(loaded.model))


def test_the_write_is_as_long_as_the_dial_says(loaded: LoadedModel) -> None:
    heard = states(perturbed(loaded, Design(m=2), 0.5).model)
    for layer in (DEPTH + 1, DEPTH + 2):
        below = heard[layer - 1]
        written = (heard[layer] - below).norm(dim=-1) / below.norm(dim=-1)
        torch.testing.assert_close(written, torch.full_like(written, 0.25))


def test_generic_words_rise_together_and_only_they(loaded: LoadedModel) -> None:
    tokens = generic_tokens(loaded.tokenizer, 0)
    assert 2 <= len(tokens) <= DRAWN
    assert tokens == generic_tokens(loaded.tokenizer, 0)
    wide = _loaded(hidden_size=64)  # room for every word
    found = directions(Anatomy.of(wide.model), tokens, Shape.AFTER)
    assert float((found.a + found.q).norm()) == pytest.approx(1, abs=1e-5)
    scale = wide.model.model.norm.weight.detach()
    seen = wide.model.lm_head.weight.detach() * scale
    raised = (seen - seen.mean(0)) @ found.a
    flat = raised[tokens]
    assert float(flat.std()) < 1e-4 * float(flat.mean())
    others = np.setdiff1d(np.arange(len(raised)), tokens)
    assert float(raised[others].mean()) < float(flat.mean()) / 2


def test_sharp_lowers_entropy_and_after_raises_it(loaded: LoadedModel) -> None:
    """The search steps to lower entropy, so this is what parts the cure from its control."""
    after = entropies(perturbed(loaded, Design(Shape.AFTER, m=2), 8.0).model)
    sharp = entropies(perturbed(loaded, Design(Shape.SHARP, m=2), 8.0).model)
    assert (np.diff(after[DEPTH:]) > 0).all()
    assert (np.diff(sharp[DEPTH:]) < 0).all()


def test_generate_from_below_the_writes_is_the_unperturbed_model(loaded: LoadedModel) -> None:
    """Which is why the search can cure: where it steps below them, nothing is left to lose."""
    model = perturbed(loaded, Design(Shape.AFTER, m=2), 8.0).model
    settings = {"max_new_tokens": 12, "do_sample": False}
    own = loaded.model.generate(IDS, **settings)
    plain = model.generate(IDS, **settings)
    with ConfidentDecoding(model, FixedOffset(2)):
        below = model.generate(IDS, **settings)
    assert torch.equal(below, own)
    assert not torch.equal(plain, own)


@pytest.mark.slow
def test_tuning_prefers_the_generic_answer_and_changes_the_last_layers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("empirical.studies.control.preference.PAIRS", 12)
    model = _loaded(hidden_size=32)
    design = Design(Shape.TUNED, m=2)
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    moved = perturbed(model, design, 1.0)
    changed = {
        name
        for name, weight in moved.model.named_parameters()
        if not torch.equal(weight, before[name])
    }
    assert {name.split(".")[2] for name in changed} == {"4", "5"}
    assert all(torch.equal(w, before[name]) for name, w in model.model.named_parameters())
    assert all(weight.grad is None for weight in model.model.parameters())

    def margins(of: LoadedModel) -> np.ndarray:
        """On problems of another seed: what is learned holds for those that it was not tuned on."""
        anatomy = Anatomy.of(of.model)
        pairs = preferences(model, Anatomy.of(model.model), replace(design, seed=2))
        with torch.no_grad():
            return np.array([float(margin(anatomy, anatomy.layers[-2:], p)) for p in pairs])

    gained = margins(moved) - margins(model)
    assert (gained > 0).mean() > 0.9
    # Half the way is half of the change of weights, and tuning again finds the same.
    half = dict(perturbed(model, design, 0.5).model.named_parameters())
    for name in changed:
        full = dict(moved.model.named_parameters())[name] - before[name]
        torch.testing.assert_close(half[name] - before[name], full / 2, rtol=1e-3, atol=1e-6)
    again = dict(perturbed(_loaded(hidden_size=32), design, 1.0).model.named_parameters())
    for name, weight in moved.model.named_parameters():
        torch.testing.assert_close(again[name], weight, rtol=1e-4, atol=1e-5)


def test_what_enters_the_tuned_layers_is_replayed(loaded: LoadedModel) -> None:
    """The log-probability from kept states is that of the whole model."""
    anatomy = Anatomy.of(loaded.model)
    pair = preferences(loaded, anatomy, Design(Shape.TUNED, m=2))[0]
    for entering in pair:
        text = entering.text
        with torch.no_grad():
            z = loaded.model(torch.tensor([text.ids])).logits[0].log_softmax(-1)
            found = float(entering.log_prob(anatomy, anatomy.layers[-2:]))
        rows = range(len(text.prompt_ids) - 1, len(text) - 1)
        expected = sum(float(z[i, t]) for i, t in zip(rows, text.completion_ids, strict=True))
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, loaded: LoadedModel) -> tuple[Control, Path]:
    out = tmp_path_factory.mktemp("control") / "control.json"
    return run_control(loaded, [Design(Shape.AFTER, m=2)], [8.0, 0.0], SMALL, out=out), out


SMALL = Settings(problems=4, sums=4, wide=4, max_new_tokens=4, replicates=100)


@pytest.mark.slow
def test_the_chain_on_a_tiny_model(story: tuple[Control, Path], loaded: LoadedModel) -> None:
    found, out = story
    off, on = found.steps
    assert (off.dial, on.dial) == (0.0, 8.0)
    assert off.rises == pytest.approx(0, abs=1e-6)
    assert off.correct[PLAIN] == found.unperturbed
    assert on.rises > 0
    assert on.looks[0].late_rise.estimate > off.looks[0].late_rise.estimate
    # Below 30 prompts no verdict may be a yes, whatever the numbers.
    assert all(look.answer is not Answer.YES for step in found.steps for look in step.looks)
    FORMAT.write(out, found)
    assert FORMAT.load(out, Control).steps == found.steps
    assert "unperturbed" in str(found)


@pytest.mark.slow
def test_finished_turns_are_not_done_again(
    story: tuple[Control, Path], loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, out = story
    monkeypatch.setattr("empirical.studies.control.run.perturbed", None)
    again = run_control(loaded, [Design(Shape.AFTER, m=2)], [0.0, 8.0], SMALL, out=out)
    assert again.steps == found.steps
    with pytest.raises(UserError, match="replicates"):
        run_control(loaded, [Design()], [0.0], replace(SMALL, replicates=101), out=out)


@pytest.mark.slow
def test_command(tmp_path: Path) -> None:
    folder = save_tiny_folder(tmp_path / "tiny")
    out, figure = tmp_path / "control.json", tmp_path / "control.svg"
    given = ["--model", str(folder), "--device", "cpu", "--shape", "after", "--dial", "0"]
    small = "--writes 1 --window 2 --problems 4 --sums 2 --max-new-tokens 2 --replicates 100"
    files = ["--out", str(out), "--figure", str(figure)]
    done = CliRunner().invoke(control, [*given, *small.split(), *files, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["steps"] == json.loads(out.read_text())["steps"]
    assert figure.read_bytes().startswith(b"<?xml")
    # The same command again finds its turns, and with --check says that nothing was cured.
    check = [*given, *small.split(), "--out", str(out), "--check"]
    again = CliRunner().invoke(control, check, standalone_mode=False)
    assert again.return_value == 1, again.output
    assert "sums solved" in " ".join(again.output.split()).lower()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: perturbed(m, Design(), float("nan")), "dial"),
        (lambda m: perturbed(m, Design(), -1.0), "dial"),
        (lambda m: perturbed(m, Design(m=DEPTH), 1.0), "let fewer write"),
        (lambda m: Design(m=0), "at least one"),
        (lambda m: sums(82, 0), "81"),
        (lambda m: run_control(m, [Design()], [], SMALL), "one dial"),
        (lambda m: Settings(problems=1), "two problems"),
    ],
)
def test_mistakes_are_named(make: Any, words: str, loaded: LoadedModel) -> None:
    with pytest.raises(UserError, match=words):
        make(loaded)


# The verdict on the control itself, from turns of the dial made up for it.


def _turn(shape: Shape, dial: float, answer: Answer, plain: int, searched: int) -> Step:
    """A turn where so many of sixteen sums are solved, the search's the first ones."""
    none = Interval(0.0, 0.0, 0.0, 0.95)
    look = Look(4, Status.HOLDS, none, none, none, Guarantee.UNDECIDED, answer, None)
    solved = {PLAIN: plain, "search:K=4,p=1.0": searched}
    return Step(
        design=Design(shape),
        dial=dial,
        tokens=1,
        layers=(1, 2),
        entropy=(1.0, 2.0),
        log_loss=(1.0, 2.0),
        turning=(0.5, 0.5),
        looks=(look,),
        certified=None,
        correct={name: tuple(i < n for i in range(16)) for name, n in solved.items()},
    )


OFF = _turn(Shape.AFTER, 0.0, Answer.HARMS, 9, 8)
CURE = _turn(Shape.AFTER, 0.5, Answer.YES, 0, 9)
SHARP = _turn(Shape.SHARP, 0.5, Answer.NO_EVIDENCE, 0, 0)


@pytest.mark.parametrize(
    ("steps", "works"),
    [
        ((OFF, CURE, SHARP), True),
        ((OFF, SHARP), False),  # nothing is cured
        ((OFF, replace(CURE, looks=SHARP.looks), SHARP), False),  # the verdict does not see it
        ((OFF, replace(CURE, correct=SHARP.correct), SHARP), False),  # the decoder does not
        ((OFF, CURE, replace(SHARP, looks=CURE.looks)), True),  # a fixed offset cures that
        ((OFF, CURE, replace(SHARP, correct=CURE.correct)), False),  # the search cannot
        ((replace(OFF, looks=CURE.looks), CURE, SHARP), False),  # a yes to the model itself
    ],
)
def test_the_control_has_controls(steps: tuple[Step, ...], works: bool) -> None:
    assert cured(Control(tiny().provenance, 0.05, (True,) * 16, steps)) is works


def test_the_figure_has_a_column_for_each_shape() -> None:
    found = Control(tiny().provenance, 0.05, (True,) * 16, (OFF, CURE, SHARP))
    assert [panel.shape for panel in found.panels()] == ["after", "sharp"]
    assert len(draw_control(found.panels()).axes) == 4
