"""SmolLM2-135M-Instruct: fifty prompts in an engine and in transformers, float32.

`make serving-test` fetches the weights; their path is in `SMOLLM2`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.serving import save_for_engine
from empirical.capture.run import InTransformers, Settings, trace_problems
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems
from empirical.serving.tracing import InEngine
from empirical.traces.files import read_traces
from tests.serving.engines import Engine, engine

TOKENS = 10
RULE = "search:K=10"


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(os.environ["SMOLLM2"], "float32", "cpu")


@pytest.fixture(scope="module")
def texts(loaded) -> list[list[int]]:
    """Prompts of arithmetic and of logic, cut to lengths of 8 to 57 tokens."""
    ids = [loaded.tokenizer(problem.prompt)["input_ids"] for problem in draw_problems(50, 7)]
    return [one[-(8 + i) :] for i, one in enumerate(ids)]


@pytest.fixture(scope="module")
def references(loaded, texts) -> list[tuple[list[int], list[int]]]:
    """Tokens and layers back, all prompts in one batch, padded on the left."""
    from empirical.decoding import ConfidentDecoding

    loaded.model.generation_config.eos_token_id = None
    width = max(map(len, texts))
    ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    with ConfidentDecoding(loaded.model, rule=RULE) as decoding:
        out = loaded.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False
        )
    depth = decoding.statistics.depth
    return [(row[width:].tolist(), d.tolist()) for row, d in zip(out, depth, strict=True)]


@pytest.fixture(scope="module")
def folder(loaded, tmp_path_factory) -> Path:
    """The weights as an engine reads them."""
    folder: Path = tmp_path_factory.mktemp("smollm2")
    save_for_engine(loaded, folder)
    return folder


def test_entropies_of_a_trace_are_those_of_transformers(loaded, folder, tmp_path):
    problems, settings = draw_problems(1, 3), Settings(layers=6, storage="float32")
    own, through = tmp_path / "transformers.parquet", tmp_path / "vllm.parquet"
    source = InEngine(folder, max_model_len=512)
    try:
        trace_problems(source, problems, settings, through)
    finally:
        source.close()
    trace_problems(InTransformers(loaded), problems, settings, own)
    one, other = read_traces(own), read_traces(through)
    assert len(one) > 20
    assert np.abs(one.entropy - other.entropy).max() < 1e-4


@pytest.fixture(scope="module")
def served(folder) -> Iterator[Engine]:
    with engine(folder, {"K": 10}, skip_tokenizer_init=False, max_num_seqs=25) as one:
        yield one


def test_layers_and_tokens_of_fifty_prompts_are_those_of_the_decoder(served, texts, references):
    found = served.steps(texts, RULE, tokens=TOKENS)
    different = [i for i, (a, b) in enumerate(zip(found, references, strict=True)) if a != b]
    assert not different
    depths = np.array([depths for _, depths in found])
    assert depths.shape == (50, TOKENS)
    assert (depths > 0).mean() > 0.1
    plain = served.tokens(texts, tokens=TOKENS)
    assert plain != [tokens for tokens, _ in found]
    assert plain == served.tokens(texts, {"rule": RULE, "p": 0}, tokens=TOKENS)
