"""Traces through the engine are those of a capture in transformers, within 1e-4 nats."""

import json

import numpy as np
import pytest

from empirical.capture.run import InTransformers, Settings, trace_problems
from empirical.model.load import load_model
from empirical.problems import draw_problems
from empirical.serving.tracing import InEngine
from empirical.traces.files import read_traces
from stopping.cli.main import main
from tests.empirical.tiny_models import byte_tokenizer
from tests.serving.engines import save_tiny

SETTINGS = Settings(layers=5, storage="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    tokenizer = byte_tokenizer()
    save_tiny(folder, "llama", vocab_size=len(tokenizer), max_position_embeddings=2048)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_trace_is_that_of_transformers(folder, tmp_path, gpus):
    """Two ranks are two processes here."""
    problems = draw_problems(3, 1)
    files = [tmp_path / "transformers.parquet", tmp_path / "vllm.parquet"]
    trace_problems(
        InTransformers(load_model(folder, "float32", "cpu")), problems, SETTINGS, files[0]
    )
    source = InEngine(folder, gpus=gpus, max_model_len=1024)
    try:
        trace_problems(source, problems, SETTINGS, files[1])
        with pytest.raises(ValueError, match="texts that are given"):
            source.texts([], Settings(mode="generated"))
    finally:
        source.close()
    own, through = map(read_traces, files)
    assert len(own) == len(through) > 100
    for name in ("prompt", "position", "token", "difficulty", "family", "group", "layers"):
        assert (getattr(own, name) == getattr(through, name)).all()
    # Random weights enlarge roundings over hundreds of tokens; SmolLM2 stays within 1e-4.
    apart = np.abs(own.entropy - through.entropy)
    assert apart.max() < 1e-2
    assert np.quantile(apart, 0.95) < 1e-4
    for name in ("log_prob", "top1_prob", "hindsight_gain", "residual_norm", "residual_cosine"):
        assert np.abs(getattr(own, name) - getattr(through, name)).mean() < 1e-4, name
    assert (own.top1 == through.top1).mean() > 0.999
    made = through.provenance
    assert (made.architecture, made.layers, made.lens) == ("LlamaForCausalLM", 6, "raw")
    assert made.weights == own.provenance.weights
    # The layers differ by far more than that, so a shift by one would be noticed.
    assert np.abs(own.entropy[:, 1:] - through.entropy[:, :-1]).max() > 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "generated"], "texts that are given"),
        (["--device", "cpu"], "--device has no meaning with --engine vllm"),
    ],
)
def test_what_the_command_refuses(folder, tmp_path, capsys, options, words):
    out = str(tmp_path / "a.parquet")
    with pytest.raises(SystemExit) as ended:
        main(["trace", "--model", str(folder), "--out", out, "--engine", "vllm", *options])
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "traces.parquet"
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "1 + 1 =", "reference": " 2, of course"}))
    arguments = ["--model", str(folder), "--out", str(out), "--prompts", str(prompts)]
    with pytest.raises(SystemExit) as ended:
        main(["trace", *arguments, "--engine", "vllm", "--json"])
    assert not ended.value.code, capsys.readouterr().err
    assert len(read_traces(out)) == len(" 2, of course")
