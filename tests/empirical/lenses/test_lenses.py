"""Lenses fitted where the truth is known: scaled logits, distorted streams, sampled tokens."""

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from empirical.analysis.projection_noise import measured_noise, noise_between
from empirical.capture.batch import capture
from empirical.lenses import (
    Correction,
    LensFile,
    Origin,
    RawLens,
    Translation,
    fit_lens,
    head_hash,
    load_lens,
    read_lens,
    write_lens,
)
from empirical.lenses import fit as fitting
from empirical.lenses.affine import Task, cross_entropy, fit_translation
from empirical.lenses.states import (
    States,
    Target,
    expected_logit,
    finite_logits,
    gather,
    split_prompts,
)
from empirical.lenses.temperature import best_temperature, fit_temperature
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy
from empirical.provenance import Provenance
from empirical.texts import Text
from stopping.cli.main import exit_code
from stopping.errors import UserError
from stopping.support.documents import plain
from stopping.support.store import Parts
from tests.empirical.tiny_models import LAYERS, VOCABULARY, save_tiny_folder, tiny_model

HIDDEN, WORDS = 12, 40
# Newton stops after a relative step below 1e-3, which leaves about its square.
CLOSE = 1e-5


class LinearHead(nn.Module):
    """A head without norm: logits are linear in the state, so that scales are known."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(WORDS, HIDDEN, generator=generator))

    def forward(self, inputs_embeds: Tensor) -> Any:
        return SimpleNamespace(logits=inputs_embeds @ self.weight.T)


def linear_anatomy(depth: int = 3) -> Anatomy:
    layers = tuple(nn.Linear(1, 1) for _ in range(depth))
    return Anatomy(layers, nn.Linear(1, 1), (), LinearHead(), WORDS)


LINEAR = linear_anatomy()


def random_states(n: int, seed: int) -> Tensor:
    return torch.randn(n, HIDDEN, generator=torch.Generator().manual_seed(seed))


def sampled(h: Tensor, seed: int, temperature: float = 1.0) -> Tensor:
    """Tokens drawn from the head's distribution at a temperature."""
    with torch.no_grad():
        p = (LINEAR.lens(h[None])[0] / temperature).softmax(1)
    return torch.multinomial(p, 1, generator=torch.Generator().manual_seed(seed))[:, 0]


def states_of(layers: dict[int, Tensor], token: Tensor, prompts: int = 20) -> States:
    return States(np.arange(len(token), dtype=np.int32) * prompts // len(token), token, layers)


# Temperature -------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5, 7.0])
def test_temperature_of_scaled_logits_is_the_factor(factor: float) -> None:
    """A layer that says the final layer's logits times a factor needs the factor as temperature."""
    h = random_states(300, 0)
    states = states_of({1: factor * h, 3: h}, sampled(h, 1))
    assert fit_temperature(LINEAR, states, 1, "final") == pytest.approx(factor, rel=CLOSE)


def test_temperature_of_sampled_tokens() -> None:
    """Maximum likelihood: within four standard errors, by the Fisher information of log T."""
    h = random_states(4000, 2)
    states = states_of({1: h, 3: h}, sampled(h, 3, temperature=1.7))
    found = fit_temperature(LINEAR, states, 1, "reference")
    with torch.no_grad():
        z = LINEAR.lens(h[None])[0] / 1.7
        p = z.softmax(1)
        variance = (p * z.square()).sum(1) - (p * z).sum(1).square()
    error = 1 / math.sqrt(float(variance.sum()))
    assert math.log(found) == pytest.approx(math.log(1.7), abs=4 * error)
    assert abs(math.log(found)) > 8 * error  # the raw temperature is rejected


def test_best_temperature_restores_a0_on_its_tokens() -> None:
    """Stationarity of the likelihood is: mean entropy equals mean log-loss."""
    h = random_states(500, 4)
    states = states_of({1: 3 * h + random_states(500, 5), 3: h}, sampled(h, 6))

    def gap(temperature: float) -> float:
        with torch.no_grad():
            logits = Correction(temperature).read(LINEAR, states.layers[1][None])[0]
        found = read_logits(logits, states.token)
        return float((-found.log_prob - found.entropy).double().mean())

    best = fit_temperature(LINEAR, states, 1, "reference")
    assert gap(best) == pytest.approx(0.0, abs=1e-4)
    assert gap(1.0) > 1.0
    assert gap(1.05 * best) < -0.01 < 0.01 < gap(best / 1.05)


def test_temperature_ignores_masked_words_and_stays_in_bounds() -> None:
    z = finite_logits(torch.tensor([[[1.0, 0.0, -math.inf]], [[0.0, 1.0, -math.inf]]])[:, 0][None])
    # Half of the time right: no temperature but the largest will do.
    assert best_temperature(lambda: iter([(z, torch.tensor([0.0, 1.0]))])) == pytest.approx(
        100, rel=2e-3
    )
    # Always right: so small that a float32 tells no difference any more.
    right = torch.tensor([1.0, 1.0])
    assert 0.01 <= best_temperature(lambda: iter([(z, right)])) < 0.02


def test_expected_logit_under_both_targets() -> None:
    h = random_states(7, 7)
    states = states_of({1: h, 3: 2 * h}, sampled(h, 8))
    z = torch.randn(7, WORDS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        p = (2 * LINEAR.lens(h[None])[0]).softmax(1)
    expected = {"final": (p * z).sum(1), "reference": z[torch.arange(7), states.token]}
    for target, value in expected.items():
        found = expected_logit(LINEAR, states, "final" if target == "final" else "reference", z)
        torch.testing.assert_close(found, value)


# Translation -------------------------------------------------------------------------------------

RANK = 2


def distortion() -> tuple[Tensor, Tensor, Tensor]:
    """Two directions, distorted equally."""
    generator = torch.Generator().manual_seed(9)
    first, second = (
        torch.linalg.qr(torch.randn(HIDDEN, RANK, generator=generator))[0] for _ in range(2)
    )
    return first, second.T, 0.3 * torch.randn(HIDDEN, generator=generator)


def distorted(n: int, seed: int, shuffled: bool = False) -> States:
    """Layer 1 is the final state behind `h -> (h - b) (1 + D U)^-1`: a rank-2 lens undoes it."""
    first, second, bias = distortion()
    h = random_states(n, seed)
    inverse = torch.linalg.inv(torch.eye(HIDDEN) + first @ second)
    final = h[torch.randperm(n, generator=torch.Generator().manual_seed(1))] if shuffled else h
    return states_of({1: (h - bias) @ inverse, 3: final}, sampled(h, seed + 1))


def divergence(states: States, translation: Translation | None) -> float:
    with torch.no_grad():
        crossed = cross_entropy(LINEAR, states, 1, "final", Correction(1.0, translation))
        own = cross_entropy(LINEAR, states, 3, "final", Correction())
    return float((crossed - own).mean())


@pytest.mark.parametrize("rank", [RANK, None])
def test_affine_lens_undoes_an_affine_distortion(rank: int | None) -> None:
    task = Task(LINEAR, distorted(600, 10), distorted(200, 20), 1, "final", rank)
    fitted = fit_translation(task, epochs=20, seed=0)
    test = distorted(200, 30)
    before, after = divergence(test, None), divergence(test, fitted.best)
    assert before > 0.4
    # The true map is in the family, and the head is the final layer's own.
    assert after < 1e-4


def test_too_low_a_rank_or_shuffled_targets_do_not() -> None:
    """The negative controls of the test above."""
    test = distorted(200, 30)
    low = Task(LINEAR, distorted(600, 10), distorted(200, 20), 1, "final", 1)
    assert divergence(test, fit_translation(low, 20, 0).best) > 0.1 * divergence(test, None)
    noise = Task(
        LINEAR, distorted(600, 10, shuffled=True), distorted(200, 20, shuffled=True), 1, "final", 2
    )
    # All that is left to learn is how to know nothing, which helps nobody here.
    assert divergence(test, fit_translation(noise, 20, 0).best) > divergence(test, None)


def disguised(n: int, seed: int) -> States:
    """Tokens follow a rank-1 translation of layer 1; the final state is noise."""
    h = random_states(n, seed)
    first, second, _ = distortion()
    token = sampled(h + 1.5 * h @ first[:, :1] @ second[:1], seed + 1)
    return states_of({1: h, 3: random_states(n, seed + 2)}, token)


@pytest.mark.slow
def test_training_finds_what_regression_cannot() -> None:
    """Regression on a final state of noise is worse than nothing; the log-loss is trained on."""
    train, validation, test = (disguised(n, s) for n, s in ((3000, 40), (800, 50), (800, 60)))

    def loss(states: States, translation: Translation | None) -> float:
        correction = Correction(1.0, translation)
        with torch.no_grad():
            return float(cross_entropy(LINEAR, states, 1, "reference", correction).mean())

    task = Task(LINEAR, train, validation, 1, "reference", 1)
    assert fit_translation(task, epochs=0, seed=0).best is None  # the identity was better
    fitted = fit_translation(task, epochs=30, seed=0)
    first, second, _ = distortion()
    truth = Translation((1.5 * first[:, :1], second[:1]), torch.zeros(HIDDEN))
    gain = loss(test, None) - loss(test, truth)
    assert gain > 0.2
    assert loss(test, None) - loss(test, fitted.best) > 0.8 * gain
    assert fitted.epoch > 0
    assert min(fitted.losses) < fitted.losses[0]


def test_validation_keeps_the_best_epoch() -> None:
    """On forty training tokens a full matrix overfits: the kept map is the validation's best."""
    validation = disguised(800, 50)
    task = Task(LINEAR, disguised(40, 40), validation, 1, "reference", None)
    fitted = fit_translation(task, epochs=300, seed=0)
    assert len(fitted.losses) < 300
    assert fitted.losses[-1] > min(fitted.losses)
    assert task.judge(fitted.best) == pytest.approx(min(fitted.losses), rel=1e-6)


def test_translation_leaves_the_model_untouched() -> None:
    head = LINEAR.headless.get_parameter("weight")
    before = head.clone()
    task = Task(LINEAR, distorted(100, 10), distorted(50, 20), 1, "final", 1)
    fit_translation(task, epochs=1, seed=0)
    assert head.grad is None
    assert torch.equal(head, before)


def test_states_of_several_lanes_are_one_long_vector() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, 3, 4, 5, generator=generator)
    factor, bias = torch.randn(20, 20, generator=generator), torch.randn(20, generator=generator)
    moved = Translation((factor,), bias)(h)
    expected = h.reshape(6, 20) @ (torch.eye(20) + factor) + bias
    torch.testing.assert_close(moved, expected.reshape(h.shape))
    assert Translation((factor,), bias)(h.bfloat16()).dtype == torch.bfloat16


# A whole lens on a tiny model --------------------------------------------------------------------


def texts_of(count: int) -> list[Text]:
    rng = np.random.default_rng(11)
    return [
        Text(
            prompt=number,
            prompt_ids=tuple(rng.integers(3, VOCABULARY, 3).tolist()),
            completion_ids=tuple(rng.integers(3, VOCABULARY, 8).tolist()),
        )
        for number in range(count)
    ]


TEXTS = texts_of(20)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return Anatomy.of(tiny_model())


def origin_of(anatomy: Anatomy, **changes: Any) -> Origin:
    settings: dict[str, Any] = {
        "kind": "affine",
        "rank": 2,
        "target": "final",
        "layers": tuple(range(1, LAYERS + 1)),
        "model": "tiny",
        "architecture": "Tiny",
        "depth": LAYERS,
        "hidden": 32,
        "vocabulary": VOCABULARY,
        "head": head_hash(anatomy),
        "weights": {},
        "mode": "reference",
        "chat": False,
        "prompts_hash": "",
        "prompts": len(TEXTS),
        "seed": 3,
        "tokens": 90,
        "epochs": 2,
    }
    return Origin(**settings | changes)


@pytest.fixture(scope="module")
def fitted(anatomy: Anatomy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LensFile]:
    path = tmp_path_factory.mktemp("lens") / "tiny.safetensors"
    return path, fit_lens(anatomy, TEXTS, origin_of(anatomy), path)


def assert_equal(one: LensFile, other: LensFile) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.corrections.keys() == other.corrections.keys()
    for layer, correction in one.corrections.items():
        same = other.corrections[layer]
        assert correction.temperature == same.temperature
        assert (correction.translation is None) == (same.translation is None)
        if correction.translation is not None and same.translation is not None:
            for a, b in zip(correction.translation.factors, same.translation.factors, strict=True):
                assert torch.equal(a, b)
            assert torch.equal(correction.translation.bias, same.translation.bias)


def test_file_round_trip_is_exact(anatomy: Anatomy, fitted: tuple[Path, LensFile]) -> None:
    path, content = fitted
    found = read_lens(path)
    assert_equal(found, content)
    assert found.origin == content.origin
    assert found.report == content.report
    assert (found.name, found.epochs, found.date) == (content.name, content.epochs, content.date)
    h = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    lens = load_lens(path, anatomy)
    for layer in range(1, LAYERS + 1):
        assert torch.equal(lens.read(layer, h), content.lens(anatomy).read(layer, h))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_final_layer_is_the_model_itself(
    anatomy: Anatomy, fitted: tuple[Path, LensFile], tmp_path: Path
) -> None:
    h = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    lens = fitted[1].lens(anatomy)
    assert lens.keeps_final
    assert torch.equal(lens.read(LAYERS, h), RawLens(anatomy).read(LAYERS, h))
    assert not torch.equal(lens.read(1, h), RawLens(anatomy).read(1, h))
    # Unless a temperature is asked for.
    own = origin_of(anatomy, kind="temperature", target="reference", final_too=True)
    other = fit_lens(anatomy, TEXTS, own, tmp_path / "own.safetensors")
    assert not other.lens(anatomy).keeps_final
    temperature = other.corrections[LAYERS].temperature
    assert temperature > 1.1  # the reference tokens are random
    scaled = other.lens(anatomy).read(LAYERS, h) * temperature
    torch.testing.assert_close(scaled, anatomy.lens(h))


@pytest.mark.slow
def test_final_layer_can_be_adapted_to_reference_tokens(anatomy: Anatomy) -> None:
    """Tokens follow a translation of the *final* state: the fair baseline learns it."""
    parts = fitting.Sample(*(disguised(n, s) for n, s in ((3000, 40), (800, 50), (800, 60))))
    parts = fitting.Sample(
        *(replace(p, layers={3: p.layers[1]}) for p in (parts.train, parts.validation, parts.test))
    )
    origin = origin_of(anatomy, target="reference", rank=1, depth=3, epochs=30)
    found, epoch = fitting.fit_layer(LINEAR, parts, origin, 3, lambda text: None)
    assert found.translation is not None
    assert epoch
    with torch.no_grad():
        before, after = (
            float(cross_entropy(LINEAR, parts.test, 3, "reference", correction).mean())
            for correction in (Correction(), found)
        )
    assert before - after > 0.2
    # To its own distribution there is nothing to adapt.
    own, none = fitting.fit_layer(LINEAR, parts, replace(origin, target="final"), 3, lambda t: None)
    assert own.translation is None
    assert none is None
    assert own.temperature == pytest.approx(1.0, rel=CLOSE)


def test_temperature_lens_never_changes_a_top_token(anatomy: Anatomy, tmp_path: Path) -> None:
    own = origin_of(anatomy, kind="temperature", rank=None, target="reference")
    content = fit_lens(anatomy, TEXTS, own, tmp_path / "t.safetensors")
    h = torch.randn(1, 50, 32, generator=torch.Generator().manual_seed(0))
    for layer in range(1, LAYERS):
        read = content.lens(anatomy).read(layer, h)
        assert torch.equal(read.argmax(-1), anatomy.lens(h).argmax(-1))
        assert not torch.equal(read, anatomy.lens(h))


def test_groups_are_dealt_whole() -> None:
    texts = [replace(text, group=f"g{i % 12}") for i, text in enumerate(texts_of(60))]
    parts = split_prompts(texts, np.random.default_rng(0), "groups")
    groups = [{text.group for text in part} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 12
    assert sum(map(len, parts)) == 60
    # Negative control: prompts that are dealt one by one share their groups.
    mixed = split_prompts(texts, np.random.default_rng(0))
    assert len({t.group for t in mixed[0]} & {t.group for t in mixed[2]}) > 3
    with pytest.raises(UserError, match="group"):
        split_prompts([replace(t, group="one") for t in texts], np.random.default_rng(0), "groups")


def test_report_is_of_test_prompts_alone(anatomy: Anatomy, fitted: tuple[Path, LensFile]) -> None:
    """Recomputed from scratch: entropies and log-losses of the test tokens of each layer."""
    content = fitted[1]
    origin = content.origin
    parts = fitting.sample_of(anatomy, TEXTS, origin.layers, origin.tokens, origin.seed)
    prompts = [set(part.prompt.tolist()) for part in (parts.train, parts.validation, parts.test)]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == len(TEXTS)
    report = content.report
    assert report is not None
    assert (report.tokens, report.prompts) == (len(parts.test), 4)
    lens = content.lens(anatomy)
    assert [row.layer for row in report.layers] == [1, 2, 3]
    for row in report.layers:
        # A translation looks too good on the tokens that trained it, and so would a temperature.
        correction = replace(content.corrections[row.layer], temperature=1.0)
        expected = fit_temperature(anatomy, parts.validation, row.layer, "final", correction)
        assert row.temperature == pytest.approx(expected, rel=1e-6)
        with torch.no_grad():
            state = parts.test.layers[row.layer][None]
            for quality, z in (
                (row.raw, anatomy.lens(state)[0]),
                (row.fitted, lens.read(row.layer, state)[0]),
            ):
                log_p = z.double().log_softmax(1)
                entropy = -(log_p.exp() * log_p).sum(1).mean()
                log_loss = -log_p[torch.arange(len(z)), parts.test.token].mean()
                final = anatomy.lens(parts.test.final[None])[0].double().log_softmax(1)
                divergence = (final.exp() * (final - log_p)).sum(1).mean()
                assert quality.entropy.estimate == pytest.approx(float(entropy), abs=1e-5)
                assert quality.log_loss.estimate == pytest.approx(float(log_loss), abs=1e-5)
                assert quality.divergence.estimate == pytest.approx(float(divergence), abs=1e-5)
                gap = quality.log_loss.estimate - quality.entropy.estimate
                assert quality.gap.estimate == pytest.approx(gap, abs=1e-9)
                assert quality.gap.low <= quality.gap.estimate <= quality.gap.high


def test_interrupted_fit_goes_on_and_ends_the_same(
    anatomy: Anatomy,
    fitted: tuple[Path, LensFile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "again.safetensors"
    fitted_layers: list[int] = []
    real = fitting.fit_layer

    def failing(
        anatomy: Anatomy, parts: fitting.Sample, origin: Origin, layer: int, *more: Any
    ) -> tuple[Correction, int | None]:
        if layer == 3 and not fitted_layers[2:]:
            fitted_layers.append(0)
            raise KeyboardInterrupt
        fitted_layers.append(layer)
        return real(anatomy, parts, origin, layer, *more)

    monkeypatch.setattr(fitting, "fit_layer", failing)
    with pytest.raises(KeyboardInterrupt):
        fit_lens(anatomy, TEXTS, origin_of(anatomy), path)
    assert not path.exists()
    content = fit_lens(anatomy, TEXTS, origin_of(anatomy), path)
    assert fitted_layers == [1, 2, 0, 3]
    assert_equal(content, fitted[1])
    assert content.report == fitted[1].report
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("layer", [None, 1, 2])
def test_an_interruption_says_that_parts_are_kept_once_there_is_one(
    anatomy: Anatomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: int | None
) -> None:
    real = fitting.fit_layer

    def interrupted(*arguments: Any) -> Any:
        if arguments[3] == layer:
            raise KeyboardInterrupt
        return real(*arguments)

    def gathered(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "fit_layer", interrupted)
    if layer is None:
        monkeypatch.setattr(fitting, "gather", gathered)
    path = tmp_path / "l.safetensors"
    with pytest.raises(KeyboardInterrupt) as found:
        fit_lens(anatomy, TEXTS, origin_of(anatomy), path)
    kept = path.with_name("l.safetensors.parts")
    assert kept.exists() == (layer == 2)
    assert (f"finished parts are kept in {kept}" in str(found.value)) == (layer == 2)


def test_parts_of_another_fit_are_not_used(
    anatomy: Anatomy, fitted: tuple[Path, LensFile], tmp_path: Path
) -> None:
    path = tmp_path / "l.safetensors"
    wrong = {layer: Correction(9.0) for layer in range(1, LAYERS)}
    other = origin_of(anatomy, seed=4)
    parts = Parts.open(path, plain(other), fitting.LAYERS)
    for layer, correction in wrong.items():
        parts.keep(layer, LensFile(other, corrections={layer: correction}))
    content = fit_lens(anatomy, TEXTS, origin_of(anatomy), path)
    assert_equal(content, fitted[1])


# Refusals ----------------------------------------------------------------------------------------


def test_lens_of_another_model_is_refused(anatomy: Anatomy, fitted: tuple[Path, LensFile]) -> None:
    path = fitted[0]
    with pytest.raises(UserError, match="final norm and head have other weights"):
        load_lens(path, Anatomy.of(tiny_model(seed=1)))
    with pytest.raises(UserError, match="4 layers and 97 entries; this model has 3"):
        load_lens(path, Anatomy.of(tiny_model(num_hidden_layers=3)))
    load_lens(path, Anatomy.of(tiny_model()))  # the same weights, loaded again


def test_head_hash_sees_head_and_norm_but_no_precision() -> None:
    model = tiny_model()
    base = head_hash(Anatomy.of(model))
    assert head_hash(Anatomy.of(tiny_model().bfloat16())) == base
    model.model.layers[0].mlp.up_proj.weight.data += 1
    assert head_hash(Anatomy.of(model)) == base
    for name in ("lm_head.weight", "model.norm.weight"):
        other = tiny_model()
        weight = other.get_parameter(name)
        weight.data[3] *= 1.5
        assert head_hash(Anatomy.of(other)) != base


def test_damaged_foreign_newer_and_unfinished_files(
    anatomy: Anatomy, fitted: tuple[Path, LensFile], tmp_path: Path
) -> None:
    whole = fitted[0].read_bytes()
    file = tmp_path / "l.safetensors"
    with pytest.raises(UserError, match="no such file"):
        load_lens(file, anatomy)
    for cut in (0, 5, 200, len(whole) - 7):
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged, truncated"):
            load_lens(file, anatomy)
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match="no lens file"):
        load_lens(file, anatomy)
    with safe_open(fitted[0], framework="pt") as reader:
        tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
        content = json.loads(reader.metadata()["layer-stopping"])
    save_file(tensors, file, metadata={"layer-stopping": json.dumps(content | {"version": 2})})
    with pytest.raises(UserError, match="version 2, this package reads up to 1"):
        load_lens(file, anatomy)
    del content["origin"]["head"]
    save_file(tensors, file, metadata={"layer-stopping": json.dumps(content)})
    with pytest.raises(UserError, match="incomplete"):
        load_lens(file, anatomy)
    write_lens(file, replace(fitted[1], report=None))
    with pytest.raises(UserError, match="unfinished"):
        load_lens(file, anatomy)


WRONG = [
    ("layer.002.bias", torch.zeros(31)),
    ("layer.002.bias", torch.zeros(1, 32)),
    ("layer.002.bias", torch.zeros(32, dtype=torch.int64)),
    ("layer.002.bias", torch.full((32,), torch.nan)),
    ("layer.002.factor.0", torch.zeros(2, 32)),
    ("layer.002.factor.0", torch.zeros(32)),
    ("layer.002.factor.1", torch.zeros(3, 32)),
    ("layer.002.factor.1", torch.zeros(())),
    ("layer.002.factor.2", torch.zeros(32, 32)),
    ("layer.002.temperature", torch.tensor(0.0)),
    ("layer.002.temperature", torch.tensor(torch.nan)),
    ("layer.002.temperature", torch.ones(2)),
    ("layer.009.temperature", torch.tensor(1.0)),
    ("layer.two.temperature", torch.tensor(1.0)),
    ("layer", torch.tensor(1.0)),
]


@pytest.mark.parametrize(("name", "tensor"), WRONG)
def test_a_lens_of_wrong_shapes_is_refused_in_one_line(
    fitted: tuple[Path, LensFile], tmp_path: Path, name: str, tensor: Tensor
) -> None:
    changed = LensFile(
        fitted[1].origin,
        corrections={
            layer: Correction(1.0, Translation((torch.zeros(32, 2), torch.zeros(2, 32)), zeros))
            for layer, zeros in ((1, torch.zeros(32)), (2, torch.zeros(32)))
        },
    )
    file = tmp_path / "l.safetensors"
    write_lens(file, changed)
    read_lens(file)
    with safe_open(file, framework="pt") as reader:
        tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
        metadata = reader.metadata()
    save_file({**tensors, name: tensor}, file, metadata=metadata)
    with pytest.raises(UserError, match=r"^[^\n]+incomplete or damaged \([^\n]+\); fit [^\n]+$"):
        read_lens(file)


def test_a_lens_of_another_width_is_refused_where_it_is_read() -> None:
    doubled = Translation((torch.zeros(64, 2), torch.zeros(2, 64)), torch.zeros(64))
    with pytest.raises(UserError, match="fitted to states of 64 numbers, and this model's have 32"):
        doubled(torch.zeros(1, 1, 32))


def test_lens_is_not_read_where_it_was_not_fitted(anatomy: Anatomy, tmp_path: Path) -> None:
    own = origin_of(anatomy, kind="temperature", rank=None, layers=(3, 4))
    lens = fit_lens(anatomy, TEXTS, own, tmp_path / "t.safetensors").lens(anatomy)
    with pytest.raises(UserError, match="not fitted at layer 2, only at 3"):
        lens.read(2, torch.zeros(1, 1, 32))


def test_what_cannot_be_fitted(anatomy: Anatomy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 10"):
        fit_lens(anatomy, TEXTS[:9], origin_of(anatomy), tmp_path / "l.safetensors")
    own_text = origin_of(anatomy, mode="generated", target="reference")
    with pytest.raises(UserError, match="own choices"):
        fit_lens(anatomy, TEXTS, own_text, tmp_path / "l.safetensors")
    with pytest.raises(UserError, match="at least 10"):
        split_prompts([], np.random.default_rng(0))


# Capture and measured noise ----------------------------------------------------------------------


def provenance() -> Provenance:
    return Provenance("tiny", "Tiny", LAYERS, 32, VOCABULARY, "reference")


def test_capture_reads_through_the_lens(anatomy: Anatomy, fitted: tuple[Path, LensFile]) -> None:
    lens = fitted[1].lens(anatomy)
    raw = capture(anatomy, TEXTS, provenance())
    found = capture(anatomy, TEXTS, provenance(), lens=lens)
    assert (raw.provenance.lens, found.provenance.lens) == ("raw", lens.name)
    np.testing.assert_array_equal(found.entropy[:, -1], raw.entropy[:, -1])
    np.testing.assert_array_equal(found.residual_norm, raw.residual_norm)
    states = gather(anatomy, TEXTS, range(1, LAYERS + 1), 10**6, np.random.default_rng(0))
    with torch.no_grad():
        for layer in range(1, LAYERS + 1):
            z = lens.read(layer, states.layers[layer][None])[0]
            expected = read_logits(z, states.token).entropy
            np.testing.assert_allclose(found.entropy[:, layer - 1], expected, atol=1e-5)
    noise = measured_noise(raw, found)
    assert [row.layer for row in noise.layers] == [1, 2, 3, 4]
    difference = raw.entropy[:, 0].astype(float) - found.entropy[:, 0]
    assert noise.layers[0].mean.estimate == pytest.approx(difference.mean())
    assert noise.layers[-1].mean.estimate == noise.layers[-1].deviation.estimate == 0.0
    assert noise.layers[-2].next_correlation is None


def test_measured_noise_of_known_noise() -> None:
    """An autoregression over layers: means, deviations and correlations are known."""
    rng = np.random.default_rng(0)
    prompts, tokens, rho = 400, 25, 0.6
    n = prompts * tokens
    white = rng.normal(size=(n, 3))
    eps = np.empty((n, 3))
    eps[:, 0] = white[:, 0]
    for layer in (1, 2):
        eps[:, layer] = rho * eps[:, layer - 1] + math.sqrt(1 - rho**2) * white[:, layer]
    mean, scale = np.array([-0.8, -0.4, 0.1]), np.array([0.5, 0.3, 0.2])
    calibrated = rng.uniform(1, 3, size=(n, 3))
    found = noise_between(
        calibrated + mean + scale * eps, calibrated, np.repeat(np.arange(prompts), tokens),
        [7, 8, 9], "lens",
    )  # fmt: skip
    assert (found.tokens, found.prompts) == (n, prompts)
    for column, row in enumerate(found.layers):
        error = scale[column] / math.sqrt(n)
        assert row.mean.estimate == pytest.approx(mean[column], abs=4 * error)
        assert row.deviation.estimate == pytest.approx(scale[column], abs=4 * error / math.sqrt(2))
        # The interval has the width that independent tokens have here.
        assert (row.mean.high - row.mean.low) / 2 == pytest.approx(1.96 * error, rel=0.2)
        low, median, high = (quantile.estimate for quantile in row.quantiles)
        assert median == pytest.approx(mean[column], abs=5 * 1.2533 * error)
        # Standard error of a 5 % quantile: sqrt(.05 * .95 / n) / density = 2.11 sigma / sqrt(n).
        assert high - mean[column] == pytest.approx(1.6449 * scale[column], abs=5 * 2.11 * error)
        assert mean[column] - low == pytest.approx(1.6449 * scale[column], abs=5 * 2.11 * error)
        if column < 2:
            assert row.next_correlation is not None
            spread = (1 - rho**2) / math.sqrt(n)
            assert row.next_correlation.estimate == pytest.approx(rho, abs=5 * spread)
            assert 0.0 not in row.next_correlation
    assert found.layers[-1].next_correlation is None


def test_noise_intervals_know_that_tokens_of_a_prompt_are_dependent() -> None:
    """One value per prompt, repeated: the interval is that of the prompts, not of the tokens."""
    rng = np.random.default_rng(1)
    prompts, tokens = 100, 36
    eps = np.repeat(rng.normal(size=prompts), tokens)[:, None]
    index = np.repeat(np.arange(prompts), tokens)
    row = noise_between(eps, np.zeros_like(eps), index, [1], "lens").layers[0]
    half = (row.mean.high - row.mean.low) / 2
    assert half == pytest.approx(1.96 * eps.std() / math.sqrt(prompts), rel=0.2)
    apart = noise_between(eps, np.zeros_like(eps), np.arange(len(eps)), [1], "lens").layers[0]
    assert (apart.mean.high - apart.mean.low) / 2 < half / 3


def test_noise_needs_matching_traces(anatomy: Anatomy, fitted: tuple[Path, LensFile]) -> None:
    raw = capture(anatomy, TEXTS[:4], provenance())
    lens = fitted[1].lens(anatomy)
    found = capture(anatomy, TEXTS[:4], provenance(), lens=lens)
    with pytest.raises(UserError, match="first traces must be of the raw lens"):
        measured_noise(found, raw)
    with pytest.raises(UserError, match="different tokens"):
        measured_noise(raw, found.select(found.prompt < 3))
    weights = replace(found.provenance, weights={"a": "b"})
    with pytest.raises(UserError, match="different model weights"):
        measured_noise(raw, replace(found, provenance=weights))
    first = raw.prompt == 0
    with pytest.raises(UserError, match="needs two"):
        measured_noise(raw.select(first), found.select(first))


def test_winners_curse_survives_calibration() -> None:
    """Every layer calibrated in the mean, and the least entropy is over-confident still."""
    rng = np.random.default_rng(2)
    n, layers = 3000, 4
    truth = random_states(n, 70)
    token = sampled(truth, 71)
    states = {
        layer: truth + torch.from_numpy(rng.normal(size=(n, HIDDEN))).float()
        for layer in range(1, layers + 1)
    }
    both = states_of({**states, 5: truth}, token)
    log_loss, entropy = np.empty((n, layers)), np.empty((n, layers))
    for layer in states:
        temperature = fit_temperature(LINEAR, both, layer, "reference")
        with torch.no_grad():
            logits = Correction(temperature).read(LINEAR, states[layer][None])[0]
        found = read_logits(logits, token)
        log_loss[:, layer - 1], entropy[:, layer - 1] = -found.log_prob, found.entropy
    gap = log_loss - entropy
    np.testing.assert_allclose(gap.mean(axis=0), 0.0, atol=1e-3)
    picked = gap[np.arange(n), entropy.argmin(axis=1)]
    assert picked.mean() > 4 * picked.std() / math.sqrt(n)


# The command -------------------------------------------------------------------------------------


def lens_command(*arguments: object) -> int:
    from empirical.commands.lens import lens

    texts = [str(argument) for argument in arguments]
    return exit_code(lambda: lens.main(texts, "lens", standalone_mode=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny-llama", chat=True)


def test_command_fits_and_shows(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lens.safetensors"
    options = ("--problems", 10, "--tokens", 60, "--layers", 3, "--seed", 1)
    assert lens_command("fit", "--model", folder, "--out", out, *options, "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert written["file"] == "lens.safetensors"
    assert written["origin"]["layers"] == [1, 2, 3]
    assert [row["layer"] for row in written["report"]["layers"]] == [1, 2]
    assert str(tmp_path) not in json.dumps(written)
    assert lens_command("show", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == written
    assert lens_command("show", out) == 0
    text = capsys.readouterr().out
    assert written["lens"] in " ".join(text.split())  # lines wrap
    assert "Raw → fitted lens on the test prompts" in text
    assert "Projection noise" in text


def test_command_measures_noise_on_traces(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from empirical.commands.trace import trace

    out, files = tmp_path / "lens.safetensors", [tmp_path / "raw.parquet", tmp_path / "cal.parquet"]
    options = ("--problems", 10, "--tokens", 60, "--layers", 3, "--kind", "affine", "--rank", 2)
    assert lens_command("fit", "--model", folder, "--out", out, *options, "--epochs", 0) == 0
    for file, more in zip(files, ([], ["--lens", str(out)]), strict=True):
        arguments = ["--model", str(folder), "--out", str(file), "--problems", "3", *more]
        assert exit_code(lambda a=arguments: trace.main(a, "trace", standalone_mode=False)) == 0  # type: ignore[misc]
    assert "Warning" not in capsys.readouterr().err  # a lens has another seed by default
    other = ["--model", str(folder), "--out", str(tmp_path / "other.parquet"), "--seed", "1"]
    options = (*other, "--problems", "3", "--lens", str(out))
    assert exit_code(lambda: trace.main(options, "trace", standalone_mode=False)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Warning: the lens was fitted on 3 of the 3 prompts" in said
    assert lens_command("show", out, "--traces", *files, "--json") == 0
    noise = json.loads(capsys.readouterr().out)["noise_on_traces"]
    assert [row["layer"] for row in noise["layers"]] == [1, 2, 3]
    assert lens_command("show", out, "--traces", files[0], files[0]) == 2
    assert "traced with the lens 'raw'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "none.safetensors"), "no such file"),
        (("show", "text.safetensors"), "damaged, truncated"),
        (("fit", "--model", "m.gguf", "--out", "o", "--rank", "0"), "<=1000000 nor 'full'"),
        (("fit", "--model", "m.gguf", "--out", "o", "--rank", "2"), "--rank has no meaning"),
        (("fit", "--model", "m.gguf", "--out", "o", "--epochs", "0"), "--epochs has no meaning"),
        (("fit", "--model", "m.gguf", "--out", "o"), "no such file"),
        (
            ("fit", "--model", "m", "--out", "o", "--prompts", "p", "--problems", "20"),
            "either --prompts or --problems",
        ),
    ],
)
def test_bad_input(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no lens")
    assert lens_command(*arguments) == 2
    assert message in capsys.readouterr().err


def test_shown_lens_says_when_the_final_layer_is_no_fair_baseline(
    fitted: tuple[Path, LensFile], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "l.safetensors"
    said = {}
    cases: tuple[tuple[Target, bool], ...]
    cases = (("final", False), ("reference", False), ("reference", True))
    for target, final_too in cases:
        origin = replace(fitted[1].origin, target=target, final_too=final_too)
        write_lens(file, replace(fitted[1], origin=origin))
        assert lens_command("show", file) == 0
        text = " ".join(capsys.readouterr().out.split())
        said[target, final_too] = ("kind of text" in text, "was not (--final-too)" in text)
    assert list(said.values()) == [(False, False), (True, True), (True, False)]


def test_a_fitted_lens_is_shown_even_if_it_cannot_be_written(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "lens.safetensors"

    def full(path: Path, content: LensFile) -> None:
        if path == out:
            raise UserError(f"{path}: cannot write here (No space left on device)")

    monkeypatch.setattr(fitting, "write_lens", full)
    options = ("--problems", 10, "--tokens", 60, "--layers", 3, "--seed", 1)
    assert lens_command("fit", "--model", folder, "--out", out, *options, "--json") == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["report"]["layers"]
    assert "No space left" in said.err


@pytest.mark.parametrize("command", ["generate", "evaluate", "trace", "lm-eval"])
def test_a_lens_is_looked_for_before_the_model(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no such model either."""
    model, missing = tmp_path / "model", tmp_path / "none.safetensors"
    given = {"generate": ["--prompt", "a"], "trace": ["--out", str(tmp_path / "t")]}
    given["evaluate"] = ["--rule", "search"]

    def run() -> object:
        if command == "lm-eval":
            from empirical.evaluation.harness.model import ConfidentLM

            return ConfidentLM(str(model), lens=str(missing))
        module = importlib.import_module(f"empirical.commands.{command}")
        arguments = ["--model", str(model), "--lens", str(missing), *given.get(command, ())]
        return getattr(module, command).main(arguments, command, standalone_mode=False)

    assert exit_code(run) == 2
    assert f"{missing}: no such file; fit a lens" in capsys.readouterr().err
