"""Decoding inside `generate`, on tiny random models in double precision (no ties by rounding)."""

import copy
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig

from empirical.anatomy import LensError
from empirical.decoder import ConfidentDecoding, Steps
from empirical.readout import read_logits
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, Hedged, Patience, Search, Shifted, Tolerance

WORDS, DEPTH, NEW = 97, 6, 14
K = DEPTH - 1
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Architecture:
    """How to build a model, and where its parts are: known here, found out by the package."""

    config: Callable[[], Any]
    layers: str
    norm: str
    after_head: Callable[[Tensor], Tensor] = lambda z: z
    seed: int = 1
    dtype: torch.dtype = torch.float64

    def build(self, dtype: torch.dtype | None = None) -> Any:
        torch.manual_seed(self.seed)
        model = transformers.AutoModelForCausalLM.from_config(self.config(), dtype=torch.float32)
        generator = torch.Generator().manual_seed(self.seed)
        # At its small initial weights a random model says the same at every layer.
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.data += noise / 5
            else:
                words = parameter.shape[0] == WORDS
                parameter.data = noise / 2 if words else 6 * parameter.data
        return model.to(dtype or self.dtype).eval()


def gpt2() -> Any:
    return transformers.GPT2Config(
        vocab_size=WORDS, n_embd=32, n_layer=DEPTH, n_head=4, n_positions=128, pad_token_id=0,
        bos_token_id=1, eos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip


def gemma2() -> Any:
    return transformers.Gemma2Config(**SIZES, final_logit_softcapping=5.0, sliding_window=16)


ARCHITECTURES = {
    "llama": Architecture(lambda: transformers.LlamaConfig(**SIZES), "model.layers", "model.norm"),
    "qwen3": Architecture(lambda: transformers.Qwen3Config(**SIZES), "model.layers", "model.norm"),
    "gpt2": Architecture(gpt2, "transformer.h", "transformer.ln_f", seed=4),
    "gemma2": Architecture(
        gemma2,
        "model.layers",
        "model.norm",
        after_head=lambda z: 5 * torch.tanh(z / 5),
        # In double precision its own attention makes NaN of padding.
        dtype=torch.float32,
    ),
    "cohere": Architecture(
        lambda: transformers.CohereConfig(**SIZES, logit_scale=0.25),
        "model.layers",
        "model.norm",
        after_head=lambda z: z / 4,
        seed=5,
    ),
}
LONG = torch.tensor([[5, 7, 11, 13, 17, 23]])
SHORT = torch.tensor([[31, 37, 41]])
PADDED = torch.cat([LONG, torch.cat([torch.zeros(1, 3, dtype=torch.long), SHORT], dim=1)])
MASK = torch.tensor([[1] * 6, [0] * 3 + [1] * 3])
GREEDY = {"max_new_tokens": NEW, "do_sample": False}


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


def decode(
    model: Any, ids: Tensor = LONG, rule: AbstractRule | None = None, **kwargs: Any
) -> tuple[Tensor, Steps]:
    with ConfidentDecoding(model, rule or Search(K), seed=3) as decoding:
        output = model.generate(ids, **{**GREEDY, **kwargs})
    return output, decoding.statistics


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
    assert steps.summary().probes == 0
    torch.manual_seed(1)
    assert not torch.equal(decode(model, **sampling)[0], plain)


def check_batch(model: Any, rule: AbstractRule) -> None:
    batch, steps = decode(model, PADDED, rule, attention_mask=MASK)
    for row, ids in enumerate((LONG, SHORT)):
        single, alone = decode(model, ids, rule)
        assert torch.equal(batch[row, -NEW:], single[0, -NEW:])
        for name in ("layer", "position", "probes"):
            assert np.array_equal(getattr(steps, name)[row], getattr(alone, name)[0])
    swapped, _ = decode(model, PADDED.flip(0), rule, attention_mask=MASK.flip(0))
    assert torch.equal(swapped.flip(0), batch)
    assert steps.moved.any()


@pytest.mark.parametrize("rule", [Search(K), Search(K, p=0.5)], ids=lambda rule: rule.spec())
def test_neither_batch_nor_padding_changes_a_row(model: Any, rule: AbstractRule) -> None:
    check_batch(model, rule)


@pytest.mark.parametrize(
    "rule", [Hedged(0.05, K), Patience(1, K), Shifted(-1, K)], ids=lambda rule: rule.spec()
)
def test_nor_under_any_other_rule(llama: Any, rule: AbstractRule) -> None:
    check_batch(llama, rule)


CONDITIONS: dict[str, dict[str, Any]] = {
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunked prefill": {"prefill_chunk_size": 2},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
}


@pytest.mark.parametrize("rule", [Search(K), Search(K, p=0.5)], ids=lambda rule: rule.spec())
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


def test_a_pass_that_leaves_layers_out_is_refused(llama: Any) -> None:
    layers = llama.model.layers
    with ConfidentDecoding(llama, Search(K)):
        llama.model.layers = nn.ModuleList([*layers[:-2], layers[-1]])
        try:
            with pytest.raises(UserError, match=r"did not run the hooks of layer\(s\) \[5\]"):
                llama.generate(LONG, **GREEDY)
        finally:
            llama.model.layers = layers


def test_beam_scores_are_the_log_probabilities_of_their_sequences(model: Any) -> None:
    beams = {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.0}
    with ConfidentDecoding(model, Search(K)) as decoding:
        output = model.generate(
            LONG, **GREEDY | beams, return_dict_in_generate=True, output_scores=True
        )
        steps = decoding.statistics.of_beams(output.beam_indices)
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
    # Entropies are right to single precision whatever the model's.
    rows, columns = np.nonzero(steps.present)
    for row, step in zip(rows, columns, strict=True):
        z = output.logits[step][row]
        column = steps.layers.tolist().index(steps.layer[row, step])
        assert abs(entropy(z) - steps.entropy[row, step, column]) < 1e-5
    zeros = torch.zeros(1, dtype=torch.long)
    assert read_logits(output.logits[0][:1], zeros).top1[0] == steps.token[0, 0]


def test_threads_may_share_a_decoding(llama: Any) -> None:
    expected = [decode(llama, ids)[0] for ids in (LONG, SHORT)]
    found: dict[int, tuple[Tensor, int]] = {}
    with ConfidentDecoding(llama, Search(K)) as decoding:

        def work(number: int, ids: Tensor) -> None:
            for _ in range(3):
                output = llama.generate(ids, **GREEDY)
            found[number] = output, int(decoding.statistics.position[0, 0])

        threads = [
            threading.Thread(target=work, args=(number, ids))
            for number, ids in enumerate((LONG, SHORT))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with pytest.raises(UserError, match="several threads"):
            _ = decoding.statistics
    assert torch.equal(found[0][0], expected[0])
    assert torch.equal(found[1][0], expected[1])
    assert (found[0][1], found[1][1]) == (6, 3)


def hooks_of(model: Any) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    )


def test_hooks_are_gone_after_an_error(llama: Any) -> None:
    plain = llama.generate(LONG, **GREEDY)
    decoding = ConfidentDecoding(llama, Search(K))
    with decoding:
        assert hooks_of(llama) > DEPTH
    assert hooks_of(llama) == 0
    with pytest.raises(ZeroDivisionError), decoding:
        raise ZeroDivisionError
    assert hooks_of(llama) == 0
    assert "get_compiled_call" not in vars(llama)
    assert not decoding.attached
    decoding.detach()
    assert torch.equal(llama.generate(LONG, **GREEDY), plain)


def test_an_error_inside_a_forward_pass_leaves_nothing_behind(llama: Any) -> None:
    usual, _ = decode(llama)
    with ConfidentDecoding(llama, Search(K)) as decoding:
        with pytest.raises(IndexError):
            llama.generate(torch.tensor([[WORDS + 5]]), **GREEDY)
        assert torch.equal(llama.generate(LONG, **GREEDY), usual)
        assert decoding.statistics.position[0, 0] == 6
    assert hooks_of(llama) == 0


def test_a_second_decoding_is_refused(llama: Any) -> None:
    second = ConfidentDecoding(llama, Search(K))
    with ConfidentDecoding(llama, Search(K)) as first:
        for again in (second.attach, first.attach, lambda: ConfidentDecoding(llama)):
            with pytest.raises(UserError, match="attached"):
                again()
    with second:
        assert second.attached


def test_copies_are_refused_while_attached(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)):
        for take in (copy.deepcopy, pickle.dumps):
            with pytest.raises(UserError, match="copied or pickled"):
                take(llama)
    assert torch.equal(
        copy.deepcopy(llama).generate(LONG, **GREEDY), llama.generate(LONG, **GREEDY)
    )


def test_parameters_keep_their_names(llama: Any) -> None:
    names = set(llama.state_dict())
    with ConfidentDecoding(llama, Search(K)):
        assert set(llama.state_dict()) == names


def test_nan_is_an_error() -> None:
    model = ARCHITECTURES["llama"].build(torch.float32)
    model.model.norm.weight.data[0] = torch.nan
    with pytest.raises(LensError):
        ConfidentDecoding(model)
    sound = ARCHITECTURES["llama"].build(torch.float32)
    with ConfidentDecoding(sound, Search(K)):
        sound.model.norm.weight.data[0] = torch.nan
        with pytest.raises(UserError, match="NaN"):
            sound.generate(LONG, **GREEDY)


def test_encoder_decoders_are_refused() -> None:
    config = transformers.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2
    )
    with pytest.raises(LensError, match="encoder-decoder"):
        ConfidentDecoding(transformers.T5ForConditionalGeneration(config))


def test_statistics_are_of_the_last_generation(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)) as decoding:
        with pytest.raises(UserError, match="nothing"):
            _ = decoding.statistics
        llama.generate(LONG, **GREEDY)
        llama.generate(SHORT, generation_config=GenerationConfig(max_new_tokens=4))
        assert decoding.statistics.position.tolist() == [[3, 4, 5, 6]]
        assert decoding.latest.position.tolist() == [[6]]
    with pytest.raises(UserError, match="seed"):
        ConfidentDecoding(llama, seed=-1)
