"""Statistics are those of the tokens that `generate` keeps, however it came to them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from empirical.commands.generate import report
from empirical.decoding import ConfidentDecoding, Steps
from empirical.decoding.writing import Sampling, encode, write
from empirical.evaluation.runner import Settings, answer_batch
from empirical.model.load import LoadedModel
from empirical.problems import draw_problems as problems
from stopping.errors import UserError
from stopping.rules import AbstractRule, Search
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    DEPTH,
    GREEDY,
    LONG,
    MASK,
    NEW,
    PADDED,
    WORDS,
    Architecture,
    K,
    decode,
)
from tests.empirical.tiny_models import byte_tokenizer, tiny_model

RULES = [Search(K), Search(K, p=0.5)]


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.set_num_threads(1)
    return ARCHITECTURES["llama"].build()


def mamba() -> Any:
    """A state-space model: its cache has no length."""
    config = transformers.Mamba2Config(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=DEPTH, num_heads=8, head_dim=8,
        state_size=8, n_groups=1, expand=2, chunk_size=8, pad_token_id=0, bos_token_id=1,
        eos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    # Its kernels are in single precision.
    return Architecture(lambda: config, "", "", seed=9, dtype=torch.float32).build()


def returns_all_logits() -> Any:
    """Code as it comes with some models: it knows no `logits_to_keep`."""

    class Old(transformers.LlamaForCausalLM):
        def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
            kwargs.pop("logits_to_keep", None)
            return super().forward(input_ids, attention_mask, **kwargs)

        def _supports_logits_to_keep(self) -> bool:
            return False

    usual = ARCHITECTURES["llama"].build()
    old = Old(usual.config).to(usual.dtype).eval()
    old.load_state_dict(usual.state_dict())
    return old


def read_again(model: Any, sequences: Tensor, rule: AbstractRule, mask: Tensor) -> Steps:
    """Steps of a single pass over a finished text, each predicting the token that follows."""
    real = torch.cat([mask, torch.ones(len(sequences), sequences.shape[1] - mask.shape[1])], 1)
    with ConfidentDecoding(model, rule, seed=3) as decoding, torch.no_grad():
        model(input_ids=sequences[:, :-1], attention_mask=real[:, :-1].long(), use_cache=False)
    return decoding.statistics


def check(model: Any, output: Tensor, steps: Steps, rule: AbstractRule, mask: Tensor) -> None:
    """Each row's steps are those that its text has when it is read again, and no more."""
    again = read_again(model, output, rule, mask)
    for row in range(len(output)):
        there = steps.present[row]
        own = again.present[row]
        n = int(there.sum())
        first = int(mask[row].sum())
        assert there[:n].all()
        assert steps.position[row, :n].tolist() == list(range(first, first + n))
        for name in ("layer", "token", "projections"):
            read = getattr(again, name)[row][own][first - 1 : first - 1 + n]
            assert np.array_equal(getattr(steps, name)[row, :n], read)
    assert steps.moved.any()


class After(transformers.StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Ends each row after a number of tokens of its own."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = torch.tensor(lengths)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return input_ids.shape[1] - LONG.shape[1] >= self.lengths


WAYS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "plain": lambda model: {},
    "no cache": lambda model: {"use_cache": False},
    "static cache": lambda model: {"cache_implementation": "static"},
    "chunks": lambda model: {"prefill_chunk_size": 2},
    "prompt lookup": lambda model: {"prompt_lookup_num_tokens": 3},
    "assistant": lambda model: {"assistant_model": ARCHITECTURES["qwen3"].build()},
    "its own assistant": lambda model: {"assistant_model": model},
    "its own first layers": lambda model: {"assistant_early_exit": 4},
    "guidance": lambda model: {"guidance_scale": 1.5},
    "guidance, no cache": lambda model: {"guidance_scale": 1.5, "use_cache": False},
    "guidance by a long prompt, in chunks": lambda model: {
        "guidance_scale": 1.5,
        "negative_prompt_ids": torch.cat([LONG, LONG], dim=1),
        "prefill_chunk_size": 2,
    },
    "guidance by a prompt as long": lambda model: {
        "guidance_scale": 1.5,
        "negative_prompt_ids": LONG.flip(1),
    },
    "sampled": lambda model: {"do_sample": True, "temperature": 2.0},
    "embeddings": lambda model: {"inputs_embeds": model.get_input_embeddings()(LONG).detach()},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("rule", "all_logits"),
    [(Search(K), False), (Search(K, p=0.5), False), (Search(K), True)],
    ids=["search", "half of the tokens", "all logits returned"],
)
def test_every_way_of_generating_counts_its_text(
    llama: Any, way: str, rule: AbstractRule, all_logits: bool
) -> None:
    model = returns_all_logits() if all_logits else llama
    torch.manual_seed(1)
    ids = None if way == "embeddings" else LONG
    output, steps = decode(model, ids, rule, **WAYS[way](model))
    if ids is None:
        output = torch.cat([LONG, output], dim=1)
        if rule.spec() != Search(K).spec():
            return  # the draws of the first token have no token to be keyed by
    assert steps.position.shape == (1, NEW) == (1, output.shape[1] - LONG.shape[1])
    check(model, output, steps, rule, torch.ones_like(LONG))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.spec())
@pytest.mark.parametrize("way", ["plain", "no cache", "static cache", "sampled"])
def test_rows_count_to_their_ends(llama: Any, way: str, rule: AbstractRule) -> None:
    """Neither what fills up a row that has ended, nor a prompt's padding."""
    torch.manual_seed(1)
    more = {"attention_mask": MASK, "stopping_criteria": [After(4, 9)], **WAYS[way](llama)}
    output, steps = decode(llama, PADDED, rule, **more)
    assert steps.present.sum(axis=1).tolist() == [4, 9]
    assert output.shape[1] == 6 + 9
    check(llama, output, steps, rule, MASK)


def test_an_end_of_text_counts_and_its_repetition_does_not(llama: Any) -> None:
    usual, _ = decode(llama)
    end = int(usual[0, 6 + 4])
    first = usual[0, 6:].tolist().index(end) + 1
    output, steps = decode(llama, PADDED, attention_mask=MASK, eos_token_id=end, pad_token_id=end)
    assert output.shape[1] > 6 + first
    assert steps.present.sum(axis=1).tolist()[0] == first
    check(llama, output, steps, Search(K), MASK)


def test_a_repeated_word_is_no_end(llama: Any) -> None:
    class Same(transformers.LogitsProcessor):  # type: ignore[misc]  # as above
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            scores = scores.clone()
            scores[:, 7] += 1e9
            return scores

    output, steps = decode(llama, PADDED, attention_mask=MASK, logits_processor=[Same()])
    assert (output[:, 6:] == 7).all()
    assert steps.present.sum(axis=1).tolist() == [NEW, NEW]


@pytest.mark.parametrize("dictionary", [False, True])
def test_beams_are_counted_as_they_are_returned(llama: Any, dictionary: bool) -> None:
    beams = {"num_beams": 4, "num_return_sequences": 2, "attention_mask": MASK}
    expected = decode(llama, PADDED, **beams, return_dict_in_generate=True)[0].sequences
    output, steps = decode(llama, PADDED, **beams, return_dict_in_generate=dictionary)
    sequences = output.sequences if dictionary else output
    assert isinstance(sequences, Tensor)
    assert torch.equal(sequences, expected)
    assert steps.position.shape == (4, NEW)
    check(llama, sequences, steps, Search(K), MASK.repeat_interleave(2, 0))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.spec())
def test_a_cache_without_a_length_changes_nothing(rule: AbstractRule) -> None:
    model = mamba()
    expected, without = decode(model, rule=rule, use_cache=False)
    output, steps = decode(model, rule=rule)
    assert torch.equal(output, expected)
    for name in ("position", "layer", "token"):
        assert np.array_equal(getattr(steps, name), getattr(without, name))
    assert steps.position.tolist() == [list(range(6, 6 + NEW))]
    assert 0 < steps.summary().moved < 1
    # A loop of one's own, without `generate`.
    ids, cache, text = LONG, None, LONG
    with ConfidentDecoding(model, rule, seed=3) as decoding, torch.no_grad():
        for _ in range(NEW):
            passed = model(input_ids=ids, cache_params=cache, use_cache=True, logits_to_keep=1)
            ids, cache = passed.logits[:, -1:].argmax(-1), passed.cache_params
            text = torch.cat([text, ids], dim=1)
    assert torch.equal(text, expected)
    assert np.array_equal(decoding.statistics.layer, steps.layer)
    assert np.array_equal(decoding.statistics.position, steps.position)


def test_a_text_that_is_continued_counts_what_is_new(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)) as decoding:
        first = llama.generate(LONG, **GREEDY, return_dict_in_generate=True)
        more = llama.generate(
            first.sequences,
            max_new_tokens=5,
            do_sample=False,
            past_key_values=first.past_key_values,
        )
        steps = decoding.statistics
    assert steps.position.tolist() == [list(range(6 + NEW, 6 + NEW + 5))]
    assert steps.token[0].tolist() == more[0, -5:].tolist()


def test_generate_is_the_models_own_again(llama: Any) -> None:
    own = llama.generate
    vars(llama)["generate"] = mine = lambda *args, **kwargs: own(*args, **kwargs)
    try:
        with ConfidentDecoding(llama, Search(K)):
            assert llama.generate is not mine
        assert llama.generate is mine
    finally:
        del vars(llama)["generate"]
    with ConfidentDecoding(llama, Search(K)) as decoding:
        with pytest.raises(IndexError):
            llama.generate(torch.tensor([[WORDS + 5]]), **GREEDY)
        with pytest.raises(UserError, match="nothing has been decoded"):
            _ = decoding.statistics
    assert not {"generate", "_get_stopping_criteria"} & vars(llama).keys()


def learned(model: Any, prompt: Tensor, in_cache: bool) -> Any:
    """As PEFT prepares a step: a learned prompt before the text, as embeddings or in the cache."""
    usual = model.prepare_inputs_for_generation
    added = prompt.shape[1]

    def prepare(input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        inputs: dict[str, Any] = usual(input_ids, **kwargs)
        mask, cache = kwargs.get("attention_mask"), inputs["past_key_values"]
        if mask is not None:
            inputs["attention_mask"] = torch.cat([torch.ones(len(mask), added).long(), mask], 1)
        inputs["position_ids"] = None
        if cache.get_seq_length() > 0:
            inputs["input_ids"] = input_ids[:, -1:]
        elif in_cache:
            model.model(inputs_embeds=prompt, past_key_values=cache, use_cache=True)
            inputs["input_ids"] = input_ids
        else:
            embedded = model.get_input_embeddings()(input_ids)
            inputs |= {"input_ids": None, "inputs_embeds": torch.cat([prompt, embedded], 1)}
        return inputs

    vars(model)["prepare_inputs_for_generation"] = prepare
    return model


@pytest.mark.slow
@pytest.mark.parametrize("in_cache", [False, True], ids=["embeddings", "cache"])
@pytest.mark.parametrize("all_logits", [False, True], ids=["last logits", "all logits"])
@pytest.mark.parametrize("mask", [None, torch.ones_like(LONG)], ids=["no mask", "mask"])
def test_a_learned_prompt_is_not_counted(
    mask: Tensor | None, in_cache: bool, all_logits: bool
) -> None:
    model = returns_all_logits() if all_logits else ARCHITECTURES["llama"].build()
    prompt = model.get_input_embeddings()(LONG.flip(1)[:, :5]).detach()
    both = torch.cat([prompt, model.get_input_embeddings()(LONG).detach()], 1)
    expected, _ = decode(model, None, inputs_embeds=both)
    output, steps = decode(learned(model, prompt, in_cache), attention_mask=mask)
    assert torch.equal(output[:, LONG.shape[1] :], expected)
    assert steps.token.tolist() == expected.tolist()  # greedy: each step is the one that wrote


def test_a_character_that_is_cut_off_is_in_the_text() -> None:
    """So its tokens count, here as in an evaluation."""
    model = tiny_model(vocab_size=259, max_position_embeddings=512)
    tokenizer = byte_tokenizer()
    (first, *_) = tokenizer.encode("é", add_special_tokens=False)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.lm_head.bias = torch.nn.Parameter(
        torch.nn.functional.one_hot(torch.tensor(first), 259) * 1.0
    )
    loaded = LoadedModel(model, tokenizer, "tiny", {})
    shown: list[str] = []
    writing = write(
        loaded, ConfidentDecoding(model, Search(K=2)), encode(loaded, "Hello", False), Sampling(3),
        lambda token: shown.append(token.text),
    )  # fmt: skip
    assert writing.text == "".join(shown) == tokenizer.decode([first] * 3) == "\ufffd" * 3
    assert writing.steps.summary().tokens == len(writing.tokens) == 3


@pytest.mark.parametrize("all_logits", [False, True], ids=["last logits", "all logits"])
def test_commands_count_the_text(all_logits: bool) -> None:
    """`evaluate` and the JSON of `generate`, of a model that returns all its logits too."""
    usual = tiny_model(vocab_size=259, max_position_embeddings=512)
    model = usual
    if all_logits:
        model = returns_all_logits().__class__(usual.config).eval()
        model.load_state_dict(usual.state_dict())
    loaded = LoadedModel(model, byte_tokenizer(), "tiny", {})
    answers = answer_batch(
        loaded, list(enumerate(problems(3, 0))), Search(K=2), Settings(max_new_tokens=8)
    )
    for answer in answers:
        assert answer.trail is not None
        assert len(answer.trail) == answer.tokens
        assert answer.moved == sum(depth > 0 for depth in answer.trail.depth)
        assert all(chosen == chosen for chosen in answer.trail.chosen)
    decoding = ConfidentDecoding(model, Search(K=2))
    writing = write(
        loaded, decoding, encode(loaded, "Hello", False), Sampling(6), lambda token: None
    )
    said = report(writing, "m", "r", "raw")
    assert writing.steps.summary().tokens == len(writing.tokens) == len(said["tokens"])  # type: ignore[arg-type]
    assert [token.layer for token in writing.tokens] == writing.steps.layer[0].tolist()
