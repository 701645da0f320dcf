"""vLLM's second model runner, the usual one on a GPU: the decoder's choices; plain to the bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serving.engines import decoded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(llama, tmp_path_factory) -> Any:
    """What it does, with Triton's kernels interpreted."""
    file = tmp_path_factory.mktemp("second") / "found.json"
    variables = {"VLLM_USE_V2_MODEL_RUNNER": "1", "TRITON_INTERPRET": "1"}
    subprocess.run(
        [sys.executable, "-m", "tests.serving.second_runner", str(llama[0]), str(file)],
        cwd=ROOT,
        env={**os.environ, **variables},
        check=True,
    )
    return json.loads(file.read_text())


def test_it_is_the_second(found):
    assert "vllm.v1.worker.gpu.model_runner" in found["runner"]


def test_requests_that_do_not_ask_are_plain_to_the_bit(found):
    assert found["plain"] == found["stock"]
    assert found["prompts"] == found["stock"][1::2]


def test_layers_and_tokens_are_those_of_the_decoder(found, llama):
    from tests.serving.second_runner import RULES, TEXTS, TOKENS

    for rule in RULES:
        expected = decoded(llama[1], TEXTS, rule, tokens=TOKENS)
        assert found["steps"][rule] == [list(one) for one in expected], rule
        assert any(j > 0 for _, depths in expected for j in depths)


@pytest.mark.parametrize("engine", ["mixed", "drafted"])
def test_each_request_of_a_batch_has_its_own_rule(found, llama, engine):
    from tests.serving.second_runner import MIXED, TEXTS, TOKENS

    for tokens, rule, text in zip(found[engine], MIXED, [*TEXTS, *TEXTS], strict=True):
        ((expected, _),) = decoded(llama[1], [text], rule or "final", tokens=TOKENS)
        assert tokens == expected, rule
