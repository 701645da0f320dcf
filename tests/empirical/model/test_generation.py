"""What a model's own settings ask for does not reach runs that choose their own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from empirical.decoding import ConfidentDecoding
from empirical.decoding.writing import Sampling, write
from empirical.evaluation.runner import Settings, answer_batch
from empirical.model.generation import end_tokens
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems
from empirical.texts import encode_prompt, generated_texts
from stopping.rules import Final, Search
from tests.empirical.tiny_models import byte_tokenizer, save_tiny_folder

PROBLEMS = list(enumerate(draw_problems(2, 0)))
NEW = 6
OWN = [
    {"num_beams": 3},
    {"guidance_scale": 1.5},
    {"return_dict_in_generate": True, "output_scores": True},
    {"stop_strings": ["a"]},
    {"no_repeat_ngram_size": 1},
    {"repetition_penalty": 3.0},
    {"do_sample": True, "temperature": 9.0, "top_k": 2, "min_p": 0.1},
    {"min_new_tokens": 5, "forced_eos_token_id": 7, "begin_suppress_tokens": [3, 4, 5]},
    {"bad_words_ids": [[number] for number in range(3, 200)]},
    {"suppress_tokens": [*range(3, 200)]},
    {"num_return_sequences": 2, "do_sample": True},
    {"sequence_bias": [[[7], 99.0]], "exponential_decay_length_penalty": [1, 9.0]},
    {"prompt_lookup_num_tokens": 2},
    {"max_time": 1e-9, "max_length": 3, "cache_implementation": "static"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


def with_settings(folder: Path, **own: Any) -> LoadedModel:
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps({**tokens, **own}))
    return load_model(folder)


def texts(loaded: LoadedModel) -> list[Any]:
    """What every way of generating gives: traces, evaluations, and the command `generate`."""
    prompt = encode_prompt(loaded, "Why?", False)
    written = [
        write(loaded, ConfidentDecoding(loaded.model, rule), prompt, sampling, lambda token: None)
        for rule in (Final(), Search(K=2))
        for sampling in (Sampling(NEW), Sampling(NEW, temperature=0.8, top_p=0.9, seed=3))
    ]
    answers = answer_batch(loaded, PROBLEMS, Search(K=2), Settings(max_new_tokens=NEW))
    return [
        [text.completion_ids for text in generated_texts(loaded, PROBLEMS, False, NEW)],
        [(answer.tokens, answer.moved, answer.given) for answer in answers],
        *([token.id for token in writing.tokens] for writing in written),
    ]


@pytest.mark.slow
def test_a_models_own_settings_change_nothing(folder: Path) -> None:
    expected = texts(with_settings(folder))
    assert len(expected[0][0]) == NEW  # no end of text comes before what the settings would do
    for own in OWN:
        loaded = with_settings(folder, **own)
        before = loaded.model.generation_config
        assert texts(loaded) == expected, own
        assert loaded.model.generation_config is before


def test_the_settings_do_reach_a_run_that_leaves_them(folder: Path) -> None:
    """The negative control: by transformers alone most of them give another text, or none."""

    def plain(**own: Any) -> Any:
        model = with_settings(folder, **own).model
        try:
            return model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=NEW)
        except ValueError:
            return None

    expected = plain()
    for own in OWN[:6]:
        found = plain(**own)
        assert not isinstance(found, torch.Tensor) or not torch.equal(found, expected), own


def test_a_text_ends_at_the_models_ends_alone(folder: Path, tmp_path: Path) -> None:
    """A marker among the special tokens, such as [THINK], is no end of text."""
    loaded = with_settings(folder)
    plain = generated_texts(loaded, PROBLEMS[:1], False, NEW)[0].completion_ids
    marker = next(token for token in plain[1:] if token not in plain[0:1])
    tokenizer = byte_tokenizer()
    word = tokenizer.convert_ids_to_tokens(marker)
    tokenizer.add_special_tokens({"additional_special_tokens": [word]})
    assert marker in tokenizer.all_special_ids
    marked = LoadedModel(loaded.model, tokenizer, "tiny", {})
    assert end_tokens(marked) == {2}
    assert generated_texts(marked, PROBLEMS[:1], False, NEW)[0].completion_ids == plain
    prompt = encode_prompt(marked, f"{PROBLEMS[0][1].prompt}\n", False)
    decoding = ConfidentDecoding(marked.model, Final())
    shown: list[str] = []
    writing = write(marked, decoding, prompt, Sampling(NEW), lambda token: shown.append(token.text))
    assert tuple(token.id for token in writing.tokens) == plain
    # The marker is part of what was written, an end of text is not.
    assert writing.text == "".join(shown) == tokenizer.decode(plain)


def test_where_the_model_names_no_end_its_tokenizer_does(folder: Path) -> None:
    ends = {
        str(named): end_tokens(with_settings(folder, eos_token_id=named))
        for named in (None, 7, [7, 9])
    }
    assert ends == {"None": {2}, "7": {7}, "[7, 9]": {7, 9}}
