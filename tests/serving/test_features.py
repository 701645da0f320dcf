"""What an engine offers besides: lenses, half precision, eight bits, compiled graphs, a server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from empirical.lenses import Correction, LensFile, Origin, head_hash
from empirical.model.anatomy import Anatomy
from empirical.serving import lens as served_lens
from tests.empirical.tiny_models import byte_tokenizer
from tests.serving.engines import K, decoded, engine, prompts, save_tiny, scores

SEARCH = f"search:K={K}"
TEXTS = prompts(3)


def lens_of(model: Any, head: str) -> LensFile:
    """A lens of made-up temperatures."""
    anatomy = Anatomy.of(model)
    depth, words = len(anatomy.layers), anatomy.vocabulary_size
    layers = tuple(range(1, depth))
    origin = Origin(
        *("temperature", None, "reference", layers, "tiny", "LlamaForCausalLM", depth, 128, words),
        *(head, {}, "reference", False, "", 1, 0, 1, 1),
    )
    return LensFile(
        origin,
        corrections={layer: Correction(1 + 0.05 * (depth - layer)) for layer in layers},
    )


def test_layers_are_read_through_a_lens_of_temperatures(llama, monkeypatch):
    folder, model = llama
    anatomy = Anatomy.of(model)
    fitted = lens_of(model, head_hash(anatomy))
    monkeypatch.setattr(served_lens, "require_lens", lambda path: fitted)
    with engine(folder, {"K": K, "lens": "lens.safetensors"}) as served:
        found = served.steps(TEXTS, SEARCH)
    assert found == decoded(model, TEXTS, SEARCH, lens=fitted.lens(anatomy))
    assert found != decoded(model, TEXTS, SEARCH)


def test_a_compiled_graph_hands_out_the_states(llama):
    with engine(llama[0], {"K": K}, enforce_eager=False) as served:
        assert served.runner.vllm_config.compilation_config.mode
        assert served.steps(TEXTS, SEARCH) == decoded(llama[1], TEXTS, SEARCH)
        assert served.tokens(TEXTS) == [tokens for tokens, _ in decoded(llama[1], TEXTS, "final")]


def test_half_precision_searches_alike_both_ways(llama):
    """Entropies are compared before they are rounded; a rounding elsewhere may still differ."""
    found = {}
    for projections in ("lazy", "together"):
        confident = {"K": K, "projections": projections}
        with engine(llama[0], confident, dtype="bfloat16") as served:
            found[projections] = served.steps(TEXTS, SEARCH)
            plain = served.tokens(TEXTS)
            assert served.tokens(TEXTS, "final") == plain
    assert found["lazy"] == found["together"]
    assert any(j > 0 for _, depths in found["lazy"] for j in depths)


def quantise(folder: Path) -> None:
    """Round the layers' weights to eight bits, and say so in the configuration."""
    file, found = folder / "model.safetensors", {}
    for name, weight in load_file(file).items():
        found[name] = weight
        if name.endswith("proj.weight"):
            scale = weight.abs().amax(1, keepdim=True) / 127
            found[name], found[f"{name}_scale"] = (weight / scale).round().to(torch.int8), scale
    save_file(found, file, metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    eight = {"num_bits": 8, "type": "int", "symmetric": True}
    weights = {**eight, "strategy": "channel", "dynamic": False}
    inputs = {**eight, "strategy": "token", "dynamic": True}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    settings["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }
    (folder / "config.json").write_text(json.dumps(settings))


def test_quantised_layers_are_searched_alike_both_ways(tmp_path):
    save_tiny(tmp_path, "llama")
    quantise(tmp_path)
    with engine(tmp_path) as stock:
        layer = stock.model.model.layers[0].mlp.down_proj
        assert type(layer.quant_method).__name__ == "CompressedTensorsLinearMethod"
        expected = scores(stock.run(TEXTS, logprobs=3, prompt_logprobs=3))
    found = {}
    for projections in ("lazy", "together"):
        with engine(tmp_path, {"K": K, "projections": projections}) as served:
            assert scores(served.run(TEXTS, logprobs=3, prompt_logprobs=3)) == expected
            found[projections] = served.steps(TEXTS, SEARCH)
    assert found["lazy"] == found["together"]
    assert any(j > 0 for _, depths in found["lazy"] for j in depths)


class Server:
    """A server in processes of its own."""

    def __init__(self, folder: Path, counters: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        options = {
            "--model": str(folder),
            "--served-model-name": "tiny",
            "--port": self.address.rpartition(":")[2],
            "--dtype": "float32",
            "--max-model-len": "128",
            "--max-num-seqs": "4",
            "--additional-config": json.dumps({"confident": {"K": K}}),
        }
        flags = [word for pair in options.items() for word in pair]
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(counters)}
        environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING")
        self.process = subprocess.Popen([*command, *flags, "--enforce-eager"], env=environment)

    def get(self, path: str, body: Any = None) -> str:
        """The answer to a GET, or to a POST of `body`."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            self.address + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked) as answer:
            text: str = answer.read().decode()
        return text

    def complete(self, **options: Any) -> list[int]:
        """Token ids after the prompt 5, 6, 7."""
        body = {"model": "tiny", "prompt": [5, 6, 7, 8], "max_tokens": 8, "temperature": 0}
        body |= {"return_token_ids": True, "ignore_eos": True, **options}
        (choice,) = json.loads(self.get("/v1/completions", body))["choices"]
        found: list[int] = choice["token_ids"]
        return found

    def wait(self) -> None:
        """Until it answers, or has died."""
        while self.process.poll() is None:
            try:
                self.get("/health")
            except OSError:
                time.sleep(1)
            else:
                return
        raise AssertionError(f"the server ended with {self.process.returncode}")


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[Server, Any]]:
    tokenizer = byte_tokenizer()
    model = save_tiny(tmp_path / "model", "llama", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "model")
    counters = tmp_path / "counters"
    counters.mkdir()
    one = Server(tmp_path / "model", counters)
    try:
        one.wait()
        yield one, model
    finally:
        one.process.terminate()
        one.process.wait()


def test_a_server_hears_requests_and_counts(server):
    one, model = server
    text = [[5, 6, 7, 8]]
    ((searched, depths),) = decoded(model, text, SEARCH, tokens=8)
    ((plain, _),) = decoded(model, text, "final", tokens=8)
    assert one.complete() == plain
    assert one.complete(vllm_xargs={"confident": SEARCH}) == searched
    assert one.complete(vllm_xargs={"confident": f"{SEARCH},p=0"}) == plain
    for asked, words in ((f"search:K={K + 1}", f"keeps {K}"), ("dola", "dola")):
        with pytest.raises(urllib.error.HTTPError) as error:
            one.complete(vllm_xargs={"confident": asked})
        assert error.value.code == 400
        assert words in error.value.read().decode()
    lines = [line for line in one.get("/metrics").splitlines() if "layer_stopping_tokens" in line]
    counted = {
        int(line.partition('depth="')[2].partition('"')[0]): float(line.split()[-1])
        for line in lines
        if line.startswith("layer_stopping_tokens_total{")
    }
    assert counted == {j: depths.count(j) for j in set(depths)}
