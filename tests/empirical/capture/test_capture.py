"""Captured traces against the model's own hidden states, in double precision."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from empirical.capture import projections as module
from empirical.capture.batch import capture
from empirical.lenses import CalibratedLens, Correction
from empirical.logits.temperatures import INVERSE_TEMPERATURES, weights
from empirical.model.anatomy import Anatomy, last_layers
from empirical.model.load import LoadedModel
from empirical.problems import Problem, draw_problems
from empirical.provenance import Provenance
from empirical.texts import Text, generated_texts, reference_texts, uses_chat
from empirical.traces.files import Traces
from stopping.errors import UserError
from tests.empirical.tiny_models import LAYERS, VOCABULARY, byte_tokenizer, tiny_model

EPS = float(np.finfo(np.float32).eps)
FIELDS = (
    *("entropy", "log_prob", "top1_prob", "hindsight_gain", "tempered"),
    *("residual_norm", "residual_cosine"),
)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture(scope="module")
def anatomy(model: Any) -> Anatomy:
    return Anatomy.of(model)


def texts_of(*lengths: tuple[int, int]) -> list[Text]:
    rng = np.random.default_rng(11)
    return [
        Text(
            prompt=number,
            prompt_ids=tuple(rng.integers(3, VOCABULARY, before).tolist()),
            completion_ids=tuple(rng.integers(3, VOCABULARY, after).tolist()),
            difficulty=1 + number % 4,
            family=f"family {number}",
            group=f"group {number % 2}",
        )
        for number, (before, after) in enumerate(lengths)
    ]


TEXTS = texts_of((5, 7), (9, 1), (1, 12), (6, 4), (3, 9))


def provenance() -> Provenance:
    return Provenance("tiny", "Tiny", LAYERS, 32, VOCABULARY, "reference")


def hindsight_gain(log_p: torch.Tensor) -> torch.Tensor:
    """By definition, of (tokens, layers, vocabulary)."""
    final = log_p[:, -1]
    windows = [log_p[:, first:].amax(1) - final for first in range(log_p.shape[1])]
    return torch.stack([(final.exp() * gain).sum(-1) for gain in windows], 1)


def naive(model: Any, text: Text) -> dict[str, np.ndarray[Any, Any]]:
    """Everything by definition, in double precision, (layers, tokens, vocabulary) and all."""
    double = tiny_model().double()
    with torch.no_grad():
        output = double(input_ids=torch.tensor([text.ids]), output_hidden_states=True)
    # transformers norms the last of its hidden states already.
    *states, normed = output.hidden_states
    heads = [double.model.norm(h) for h in states[1:]] + [normed]
    first = len(text.prompt_ids) - 1
    log_p = torch.stack([torch.log_softmax(double.lm_head(h)[0, first:-1], -1) for h in heads], 1)
    tokens = torch.tensor(text.completion_ids)
    return {
        "entropy": -(log_p.exp() * log_p).sum(-1).detach().numpy(),
        "log_prob": log_p[torch.arange(len(tokens)), :, tokens].detach().numpy(),
        "top1": log_p.argmax(-1).numpy(),
        "top1_prob": log_p.amax(-1).exp().detach().numpy(),
        "hindsight_gain": hindsight_gain(log_p).detach().numpy(),
        "logits": torch.log_softmax(output.logits[0, first:-1], -1).detach().numpy(),
        "states": torch.stack([h[0, first:-1] for h in states], 1).detach().numpy(),
    }


def rows(traces: Traces, prompt: int) -> Traces:
    return traces.select(traces.prompt == prompt)


def test_statistics_are_those_of_the_definition(model: Any, anatomy: Anatomy) -> None:
    traces = capture(anatomy, TEXTS, provenance(), batch=2)
    # Four layers of float32 sums over 32 and 48 terms, on logits of size 10 or so.
    close = 4 * 48 * 10 * EPS
    for text in TEXTS:
        expected, found = naive(model, text), rows(traces, text.prompt)
        for name in ("entropy", "log_prob", "top1_prob"):
            np.testing.assert_allclose(getattr(found, name), expected[name], atol=close, rtol=0)
        np.testing.assert_array_equal(found.top1, expected["top1"])
        assert found.token.tolist() == list(text.completion_ids)
        assert found.position.tolist() == list(range(len(text.completion_ids)))
        assert set(found.difficulty) == {text.difficulty}
        assert set(found.family) == {text.family}
        assert set(found.group) == {text.group}
        # The last column is the model's own prediction of the very token that follows.
        own = expected["logits"][np.arange(len(found)), found.token]
        np.testing.assert_allclose(found.log_prob[:, -1], own, atol=close, rtol=0)


def test_the_comparison_tells_neighbouring_positions_apart(model: Any, anatomy: Anatomy) -> None:
    """Negative control: states one position late give other numbers by far."""
    text = TEXTS[0]
    late = replace(
        text,
        prompt_ids=text.ids[: len(text.prompt_ids) + 1],
        completion_ids=text.completion_ids[1:],
    )
    expected = naive(model, text)["entropy"][: len(late.completion_ids)]
    found = capture(anatomy, [late], provenance()).entropy
    assert np.abs(found - expected).max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_read_in_float32(dtype: torch.dtype) -> None:
    """Sums do not lose what the logits still hold: only the logits' own rounding remains."""
    low = tiny_model().to(dtype)
    found = capture(Anatomy.of(low), TEXTS, provenance(), layers=(LAYERS,))
    for text in TEXTS:
        with torch.no_grad():
            ids = torch.tensor([text.ids])
            z = low(input_ids=ids).logits[0, len(text.prompt_ids) - 1 : -1].double()
        log_p = torch.log_softmax(z, 1)
        entropy = -(log_p.exp() * log_p).sum(1).numpy()
        # A shift of every logit by at most r moves a log-probability by at most 2 r.
        rounding = 2 * torch.finfo(dtype).eps * float(z.abs().max())
        own = rows(found, text.prompt)
        assert np.abs(own.entropy[:, 0] - entropy).max() <= rounding * np.log(z.shape[1])
        gold = log_p[torch.arange(len(z)), torch.tensor(text.completion_ids)].numpy()
        assert np.abs(own.log_prob[:, 0] - gold).max() <= rounding


def test_residual_diagnostics(model: Any, anatomy: Anatomy) -> None:
    text = TEXTS[2]
    traces = capture(anatomy, [text], provenance(), layers=(LAYERS,))
    assert traces.residual_norm.shape == (len(text.completion_ids), LAYERS)
    h = naive(model, text)["states"]
    before, after = h[:, :-1], h[:, 1:]
    norm = np.linalg.norm(after - before, axis=2) / np.linalg.norm(before, axis=2)
    cosine = (after * before).sum(2) / (
        np.linalg.norm(after, axis=2) * np.linalg.norm(before, axis=2)
    )
    # The last of transformers' states is normed, so the raw final layer has no counterpart there.
    close = 4 * 48 * EPS
    np.testing.assert_allclose(traces.residual_norm[:, :-1], norm, rtol=close)
    np.testing.assert_allclose(traces.residual_cosine[:, :-1], cosine, atol=close)
    assert np.abs(traces.residual_cosine).max() <= 1 + EPS


def test_a_batch_is_its_texts_and_padding_changes_nothing(anatomy: Anatomy) -> None:
    batched = capture(anatomy, TEXTS, provenance(), batch=len(TEXTS))
    for text in TEXTS:
        alone, found = capture(anatomy, [text], provenance()), rows(batched, text.prompt)
        for name in FIELDS:
            # Matrix products of another shape may sum in another order.
            np.testing.assert_allclose(
                getattr(found, name), getattr(alone, name), atol=1000 * EPS, rtol=1000 * EPS
            )
        np.testing.assert_array_equal(found.top1, alone.top1)


@pytest.mark.parametrize("way", ["tiles", "chunks"])
def test_pieces_of_the_head_change_nothing(
    anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Also where the head is no product, and its logits come in chunks of rows."""
    texts = texts_of((4, 60), (2, 9))
    whole = capture(anatomy, texts, provenance())
    sizes: list[int] = []
    name = {"tiles": "read_tiles", "chunks": "read_logits"}[way]
    real = getattr(module, name)

    def counted(*args: Any) -> Any:
        sizes.append(len(args[-1]))  # tokens
        return real(*args)

    monkeypatch.setattr(module, name, counted)
    if way == "tiles":
        monkeypatch.setattr("empirical.capture.tiles.tile_of", lambda device: 16)
    else:
        monkeypatch.setattr(module, "_CHUNK_BYTES", 1)
        monkeypatch.setattr("empirical.capture.batch.Unembedding.of", lambda anatomy: None)
    pieces = capture(anatomy, texts, provenance())
    # A block is a few tokens at all layers, and only the last one is smaller.
    few = 16 // LAYERS
    full, rest = divmod(69, few)
    by_layer = [tokens for tokens in (16, 16, 16, 16, 5) for _ in range(LAYERS)]
    assert sizes == ([few] * full + [rest] if way == "tiles" else by_layer)
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(pieces, name), getattr(whole, name), atol=1000 * EPS, rtol=1000 * EPS
        )
    np.testing.assert_array_equal(pieces.top1, whole.top1)


def test_only_the_last_layers_are_traced(anatomy: Anatomy) -> None:
    every = capture(anatomy, TEXTS, provenance())
    last = capture(anatomy, TEXTS, provenance(), layers=last_layers(LAYERS, 2))
    assert last.layers.tolist() == [3, 4]
    np.testing.assert_allclose(last.entropy, every.entropy[:, -2:], atol=1000 * EPS)
    assert last_layers(30, 12) == tuple(range(19, 31))
    assert last_layers(4, 12) == last_layers(4, None) == (1, 2, 3, 4)
    with pytest.raises(UserError, match="at least the final layer"):
        last_layers(4, 0)


def test_a_text_without_completion_adds_no_row(anatomy: Anatomy) -> None:
    texts = [replace(TEXTS[0], completion_ids=()), TEXTS[1]]
    assert set(capture(anatomy, texts, provenance()).prompt) == {1}
    assert len(capture(anatomy, texts[:1], provenance())) == 0


def test_logits_that_are_no_numbers_are_an_error_and_leave_no_hook() -> None:
    model = tiny_model()
    anatomy = Anatomy.of(model)
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match=r"states of layer 3 hold NaN"):
        capture(anatomy, TEXTS, provenance())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


# ---- texts


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    tokenizer = byte_tokenizer(chat=True)
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=1024)
    return LoadedModel(model, tokenizer, "tiny", {})


PROBLEMS = list(enumerate(draw_problems(4, 0)))


def test_reference_texts_are_prompt_and_solution(loaded: LoadedModel) -> None:
    for (index, problem), text in zip(
        PROBLEMS, reference_texts(loaded, PROBLEMS, True), strict=True
    ):
        decode = loaded.tokenizer.decode
        assert decode(text.completion_ids) == problem.solution
        assert decode(text.prompt_ids) == f"<s>user: {problem.prompt}</s><s>assistant: "
        assert (text.prompt, text.difficulty, text.family) == (
            index,
            problem.difficulty,
            problem.family,
        )
        assert not set(text.completion_ids) & set(loaded.tokenizer.all_special_ids)
    plain = reference_texts(loaded, PROBLEMS[:1], False)[0]
    assert loaded.tokenizer.decode(plain.prompt_ids) == f"{PROBLEMS[0][1].prompt}\n"


def greedy(model: Any, ids: list[int], steps: int) -> list[int]:
    for _ in range(steps):
        with torch.no_grad():
            ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[-steps:]


def test_generated_texts_are_the_models_greedy_ones(loaded: LoadedModel) -> None:
    """Prompts of unlike length in one padded batch continue as each would alone."""
    texts = generated_texts(loaded, PROBLEMS, True, max_new_tokens=6)
    assert len({len(text.prompt_ids) for text in texts}) > 1
    stops = set(loaded.tokenizer.all_special_ids)
    for text in texts:
        alone = greedy(loaded.model, list(text.prompt_ids), 6)
        end = next((i for i, token in enumerate(alone) if token in stops), 6)
        assert list(text.completion_ids) == alone[:end]
    assert any(len(text.completion_ids) == 6 for text in texts)
    # So each traced token is the final layer's own first choice.
    anatomy = Anatomy.of(loaded.model)
    here = replace(provenance(), mode="generated", vocabulary_size=anatomy.vocabulary_size)
    traces = capture(anatomy, texts, here)
    np.testing.assert_array_equal(traces.top1[:, -1], traces.token)


def test_generation_ends_before_the_end_of_text(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = generated_texts(loaded, PROBLEMS[:1], True, max_new_tokens=8)[0]
    end = text.completion_ids[3]
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", [end])
    shorter = generated_texts(loaded, PROBLEMS[:1], True, max_new_tokens=8)[0]
    assert shorter.completion_ids == text.completion_ids[: text.completion_ids.index(end)]


def test_a_token_across_the_border_does_not_move_it(loaded: LoadedModel) -> None:
    """A tokenizer that would merge the prompt's end with the completion's start."""

    class Merging:
        all_special_ids: tuple[int, ...] = ()

        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return [ord(c) for c in text.replace("\nA", "*")]

    problem = Problem("x", "", "", 0, "Q", "A B", "")
    text = reference_texts(replace(loaded, tokenizer=Merging()), [(0, problem)], False)[0]
    assert text.prompt_ids == tuple(map(ord, "Q\n"))
    assert text.completion_ids == tuple(map(ord, "A B"))


def test_prompts_that_do_not_fit_are_refused(loaded: LoadedModel) -> None:
    long = replace(PROBLEMS[0][1], prompt="x" * 1020)
    with pytest.raises(UserError, match=r"prompt 5 .* at most 1024"):
        reference_texts(loaded, [(5, long)], True)
    with pytest.raises(UserError, match="--max-new-tokens"):
        generated_texts(loaded, PROBLEMS[:1], True, max_new_tokens=1000)


def test_chat_templates(loaded: LoadedModel) -> None:
    bare = replace(loaded, tokenizer=byte_tokenizer(chat=False))
    assert uses_chat(loaded, "auto")
    assert uses_chat(loaded, "on")
    assert not uses_chat(loaded, "off")
    assert not uses_chat(bare, "auto")
    with pytest.raises(UserError, match="no chat template"):
        uses_chat(bare, "on")


def test_the_models_own_final_layer_is_kept_beside_a_lens_that_corrects_it(
    anatomy: Anatomy,
) -> None:
    raw = capture(anatomy, TEXTS, provenance())
    corrections = {layer: Correction(1.7) for layer in range(1, LAYERS + 1)}
    lens = CalibratedLens(anatomy, corrections, "made up")
    found = capture(anatomy, TEXTS, provenance(), lens=lens)
    one = INVERSE_TEMPERATURES.index(1.0)
    for traces in (raw, found):
        np.testing.assert_allclose(traces.tempered[:, one], raw.log_prob[:, -1], atol=1e-5)
    assert np.abs(found.log_prob[:, -1] - raw.log_prob[:, -1]).max() > 0.01
    corrected = found.tempered @ weights(1 / 1.7)
    np.testing.assert_allclose(corrected, found.log_prob[:, -1], atol=2e-3)
