"""Decoding inside `generate`, on tiny random models against references and plain decoding."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import DynamicCache

from empirical.decoding import ConfidentDecoding
from empirical.lenses import AbstractLens
from empirical.model.anatomy import Anatomy
from stopping.rules import (
    AbstractRule,
    Adaptive,
    Final,
    FixedOffset,
    Hedged,
    Patience,
    Search,
    Shifted,
    Tolerance,
)
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    DEPTH,
    GREEDY,
    LONG,
    MASK,
    NEW,
    PADDED,
    SHORT,
    SIZES,
    Architecture,
    K,
    decode,
)


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture(scope="module")
def model(architecture: Architecture) -> Any:
    torch.set_num_threads(1)
    return architecture.build()


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.set_num_threads(1)
    return ARCHITECTURES["llama"].build()


def reference(
    architecture: Architecture, model: Any, ids: Tensor, tau: float = 0.0
) -> tuple[Tensor, list[int]]:
    """Search or tolerance, greedily: no cache, no batch, no lens of the package's."""
    stack, norm = model.get_submodule(architecture.layers), model.get_submodule(architecture.norm)
    chosen = []
    for _ in range(NEW):
        states: list[Tensor] = []
        hooks = [layer.register_forward_hook(keep_last(states)) for layer in stack]
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
            for hook in hooks:
                hook.remove()
            logits = [
                architecture.after_head(model.get_output_embeddings()(norm(h)))[0] for h in states
            ]
        x = [entropy(z) for z in logits]
        layer = DEPTH - 1
        while layer > DEPTH - 1 - K and x[layer - 1] < x[layer] - tau:
            layer -= 1
        chosen.append(layer + 1)
        ids = torch.cat([ids, logits[layer].argmax()[None, None]], dim=1)
    return ids, chosen


def keep_last(states: list[Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        states.append((output[0] if isinstance(output, tuple) else output)[:, -1])

    return hook


def entropy(z: Tensor) -> float:
    return float(torch.distributions.Categorical(logits=z.double()).entropy())


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Search(K), Tolerance(0.02, K)], ids=lambda rule: rule.kind)
def test_greedy_equals_a_reference_that_knows_no_cache(
    architecture: Architecture, model: Any, rule: AbstractRule
) -> None:
    for ids in (LONG, SHORT):
        expected, layers = reference(architecture, model, ids, getattr(rule, "tau", 0.0))
        output, steps = decode(model, ids, rule)
        assert torch.equal(output, expected)
        assert steps.layer[0].tolist() == layers
        # Not vacuous: the rule moves, and to more than one layer.
        assert steps.summary().moved > 0.2
        assert len(set(layers)) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [Final(), Search(0), Search(K, p=0.0)], ids=lambda rule: rule.spec()
)
def test_rules_that_stay_give_the_tokens_of_plain_generate(model: Any, rule: AbstractRule) -> None:
    plain = model.generate(LONG, **GREEDY)
    assert torch.equal(decode(model, rule=rule)[0], plain)
    sampling = {"do_sample": True, "temperature": 0.8, "top_p": 0.9, "num_return_sequences": 3}
    torch.manual_seed(1)
    plain = model.generate(LONG, **GREEDY | sampling)
    torch.manual_seed(1)
    sampled, steps = decode(model, rule=rule, **sampling)
    assert torch.equal(sampled, plain)
    assert steps.summary().projections == 0
    torch.manual_seed(1)
    assert not torch.equal(decode(model, **sampling)[0], plain)


def check_batch(model: Any, rule: AbstractRule) -> None:
    batch, steps = decode(model, PADDED, rule, attention_mask=MASK)
    for row, ids in enumerate((LONG, SHORT)):
        single, alone = decode(model, ids, rule)
        assert torch.equal(batch[row, -NEW:], single[0, -NEW:])
        for name in ("layer", "position", "projections"):
            assert np.array_equal(getattr(steps, name)[row], getattr(alone, name)[0])
    swapped, _ = decode(model, PADDED.flip(0), rule, attention_mask=MASK.flip(0))
    assert torch.equal(swapped.flip(0), batch)
    assert steps.moved.any()


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Search(K), Search(K, p=0.5)], ids=lambda rule: rule.spec())
def test_neither_batch_nor_padding_changes_a_row(model: Any, rule: AbstractRule) -> None:
    check_batch(model, rule)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [Hedged(0.05, K), Patience(1, K), Shifted(-1, K), Adaptive(K=K)],
    ids=lambda rule: rule.spec(),
)
def test_nor_under_any_other_rule(llama: Any, rule: AbstractRule) -> None:
    check_batch(llama, rule)


def test_a_rule_that_remembers_has_seen_its_own_text_and_no_other(llama: Any) -> None:
    rule = Adaptive(K=K)
    _, steps = decode(llama, PADDED, rule, attention_mask=MASK)
    for row in range(2):
        # It reads its whole window, so its entropies say what it saw.
        columns = rule.choose(steps.entropy[row])
        assert steps.layers[columns].tolist() == steps.layer[row].tolist()
    alone = [int(rule.choose(x[None])[0]) for x in steps.entropy.reshape(-1, K + 1)]
    assert steps.layers[alone].tolist() != steps.layer.ravel().tolist()


CONDITIONS: dict[str, dict[str, Any]] = {
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 2},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [Search(K), Search(K, p=0.5), Adaptive(K=K)], ids=lambda rule: rule.spec()
)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_how_transformers_runs_the_model_changes_nothing(
    llama: Any, condition: str, rule: AbstractRule
) -> None:
    usual, steps = decode(llama, rule=rule)
    output, other = decode(llama, rule=rule, **CONDITIONS[condition])
    assert torch.equal(output, usual)
    # Chunks of a prompt and guesses of a speculation are decoded besides.
    shared = np.isin(other.position, steps.position)
    assert np.array_equal(other.position[shared], steps.position[0])
    assert np.array_equal(other.layer[shared], steps.layer[0])
    assert steps.summary().moved > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("rule", [Search(K), Search(K, p=0.5)], ids=lambda rule: rule.spec())
def test_an_assistant_changes_nothing(llama: Any, rule: AbstractRule) -> None:
    usual, steps = decode(llama, rule=rule)
    for assistant in (llama_assistant(2), copy.deepcopy(llama)):
        output, other = decode(llama, rule=rule, assistant_model=assistant)
        assert torch.equal(output, usual)
        assert np.array_equal(other.layer[:, :NEW], steps.layer)


def llama_assistant(depth: int) -> Any:
    config = transformers.LlamaConfig(**SIZES | {"num_hidden_layers": depth})
    return Architecture(lambda: config, "", "", seed=5).build()


def test_speculating_with_its_own_first_layers_changes_nothing(llama: Any) -> None:
    usual, steps = decode(llama)
    output, other = decode(llama, assistant_early_exit=4)
    assert torch.equal(output, usual)
    assert np.array_equal(other.layer[:, :NEW], steps.layer)


@pytest.mark.slow
def test_beam_scores_are_the_log_probabilities_of_their_sequences(model: Any) -> None:
    beams = {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.0}
    with ConfidentDecoding(model, Search(K)) as decoding:
        output = model.generate(
            LONG, **GREEDY | beams, return_dict_in_generate=True, output_scores=True
        )
        steps = decoding.statistics
        with torch.no_grad():
            logits = model(input_ids=output.sequences, use_cache=False).logits
        forced = decoding.statistics
    log_probs = logits.log_softmax(-1)[:, 5:-1].gather(-1, output.sequences[:, 6:, None])[..., 0]
    torch.testing.assert_close(output.sequences_scores, log_probs.sum(1).float(), atol=1e-4, rtol=0)
    # Steps by sequence are those of reading the finished sequences.
    assert np.array_equal(steps.layer, forced.layer[:, 5:-1])
    assert steps.moved.any()


def test_streamers_get_every_token(llama: Any) -> None:
    class Collect:
        def __init__(self) -> None:
            self.tokens: list[int] = []
            self.ended = False

        def put(self, tokens: Tensor) -> None:
            self.tokens += tokens.flatten().tolist()

        def end(self) -> None:
            self.ended = True

    collect = Collect()
    output, _ = decode(llama, streamer=collect)
    assert collect.tokens == output[0].tolist()
    assert collect.ended


def test_processors_see_the_chosen_logits(llama: Any) -> None:
    output, steps = decode(
        llama, return_dict_in_generate=True, output_logits=True, repetition_penalty=1.2
    )
    assert np.array_equal(torch.stack(output.logits, 1).argmax(-1).numpy(), steps.token)
    unpenalised, _ = decode(llama)
    assert not torch.equal(output.sequences, unpenalised)


def test_the_cache_is_that_of_plain_decoding(model: Any) -> None:
    """Its keys and values depend on the tokens alone, not on the layer they were taken from."""
    with ConfidentDecoding(model, Search(K)):
        output = model.generate(LONG, **GREEDY, return_dict_in_generate=True)
    plain = DynamicCache(config=model.config)
    with torch.no_grad():
        model(input_ids=output.sequences[:, :-1], past_key_values=plain, use_cache=True)
    assert (
        output.past_key_values.get_seq_length() == plain.get_seq_length() == LONG.shape[1] + NEW - 1
    )
    assert len(output.past_key_values.layers) == len(plain.layers)
    for mine, theirs in zip(output.past_key_values.layers, plain.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys)
        torch.testing.assert_close(mine.values, theirs.values)


@dataclass(frozen=True)
class Sharpened(AbstractLens):
    """The raw lens, so sure of one layer that its entropy is nearly 0."""

    anatomy: Anatomy
    layer: int

    @property
    def name(self) -> str:
        return "sharpened"

    @property
    def keeps_final(self) -> bool:
        return self.layer != DEPTH

    def read(self, layer: int, h: Tensor) -> Tensor:
        return self.anatomy.lens(h) * (100.0 if layer == self.layer else 1.0)


@pytest.mark.slow
def test_layers_are_read_through_the_lens(model: Any) -> None:
    anatomy = Anatomy.of(model)
    expected = {
        DEPTH - 1: decode(model, rule=FixedOffset(1))[0],
        DEPTH: model.generate(LONG, **GREEDY),
    }
    assert not torch.equal(expected[DEPTH - 1], expected[DEPTH])
    for layer, output in expected.items():
        with ConfidentDecoding(model, Search(1), Sharpened(anatomy, layer)) as decoding:
            assert torch.equal(model.generate(LONG, **GREEDY), output)
        assert (decoding.statistics.layer == layer).all()


def test_a_plain_forward_pass_is_decoded_too(llama: Any) -> None:
    sequence, _ = decode(llama)
    with ConfidentDecoding(llama, Search(K)) as decoding, torch.no_grad():
        logits = llama(input_ids=sequence).logits
        some = llama(input_ids=sequence, logits_to_keep=torch.tensor([5, 8])).logits
        (as_tuple, *_) = llama(input_ids=sequence, return_dict=False)
        loss, labelled, *_ = llama(input_ids=sequence, labels=sequence, return_dict=False)
        assert decoding.statistics.layer.shape == (1, sequence.shape[1])
    assert torch.equal(logits[:, 5:-1].argmax(-1), sequence[:, 6:])
    torch.testing.assert_close(some, logits[:, [5, 8]])
    assert torch.equal(as_tuple, logits)
    assert torch.equal(labelled, logits)
    assert loss.ndim == 0
    with ConfidentDecoding(llama, Search(K)):
        assert not llama(input_ids=sequence).logits.requires_grad


def test_padding_is_neither_read_nor_counted(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)) as decoding, torch.no_grad():
        logits = llama(input_ids=PADDED, attention_mask=MASK).logits
    steps = decoding.statistics
    assert steps.present.sum(axis=1).tolist() == [6, 3]
    assert steps.summary().tokens == 9
    with torch.no_grad():
        plain = llama(input_ids=PADDED, attention_mask=MASK).logits
    assert torch.equal(logits[1, :3], plain[1, :3])
    assert not torch.equal(logits, plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_precision_decodes_the_layer_it_says(dtype: torch.dtype) -> None:
    model = ARCHITECTURES["llama"].build(dtype)
    output, steps = decode(
        model, PADDED, attention_mask=MASK, return_dict_in_generate=True, output_logits=True
    )
    assert output.logits[0].dtype == torch.float32  # transformers' own doing
    assert steps.moved.any()
    # Entropies are those of logits that were not rounded yet (see `test_decoder_rounds`), so what
    # comes out in half precision has them up to its rounding.
    close = 1e-5 if dtype == torch.float32 else 8 * torch.finfo(dtype).eps
    rows, columns = np.nonzero(steps.present)
    for row, step in zip(rows, columns, strict=True):
        z = output.logits[step][row]
        column = steps.layers.tolist().index(steps.layer[row, step])
        assert abs(entropy(z) - steps.entropy[row, step, column]) < close
        assert z.argmax() == steps.token[row, step]
