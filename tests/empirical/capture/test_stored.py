"""States that stand in files: right ones make the capture's own traces, wrong ones are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from empirical.capture.run import InTransformers, Settings, trace_problems
from empirical.capture.stored import InFiles
from empirical.model.load import load_model
from empirical.problems import draw_problems, to_jsonl
from empirical.texts import reference_texts
from empirical.traces.files import Traces, read_traces
from stopping.cli import main
from stopping.errors import UserError
from tests.empirical.tiny_models import save_tiny_folder

DEPTH = 3
PROBLEMS = draw_problems(3, 5)
SETTINGS = Settings(layers=3, storage="float32")
File = dict[str, Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path) -> InTransformers:
    return InTransformers(load_model(folder, "float32", "cpu"))


@pytest.fixture(scope="module")
def files(model: InTransformers) -> list[File]:
    """What an engine writes that read each text without its last token, in another order."""
    texts = reference_texts(model.loaded, list(enumerate(PROBLEMS)), chat=False)
    return [_file(model, text.ids[:-1]) for text in reversed(texts)]


def _file(model: InTransformers, ids: tuple[int, ...]) -> File:
    states: list[Tensor] = []
    read = torch.tensor([ids])
    with torch.inference_mode(), model.anatomy.listening(lambda _, h: states.append(h[0].clone())):
        model.anatomy.decoder(input_ids=read, use_cache=False)
    return {"token_ids": read[0], "hidden_states": torch.stack(states, dim=1)}


def write(folder: Path, files: list[File], change: Callable[[File], File] = dict) -> Path:
    folder.mkdir(exist_ok=True)
    for number, file in enumerate(files):
        tensors = {name: t.contiguous().clone() for name, t in change(file).items()}
        save_file(tensors, folder / f"request-{number}.safetensors")
    return folder


def traced(model: InTransformers, states: Path | None, out: Path, **options: Any) -> Traces:
    source = model if states is None else InFiles(model, states, **options)
    trace_problems(source, PROBLEMS, SETTINGS, out)
    return read_traces(out)


def pick(*columns: int) -> Callable[[File], File]:
    return lambda f: f | {"hidden_states": f["hidden_states"][:, list(columns)]}


def test_right_files_make_the_traces_of_a_capture(model, files, tmp_path):
    own = traced(model, None, tmp_path / "own.parquet")
    found = traced(model, write(tmp_path / "s", files), tmp_path / "found.parquet")
    for name in ("prompt", "position", "token", "top1", "layers", "group", "difficulty"):
        np.testing.assert_array_equal(getattr(found, name), getattr(own, name))
    for name in ("entropy", "log_prob", "hindsight_gain", "tempered", "residual_norm"):
        np.testing.assert_allclose(getattr(found, name), getattr(own, name), atol=1e-4)
    assert found.provenance.weights == own.provenance.weights
    # Layers differ by far more than that, so a shift would be noticed.
    assert np.abs(own.entropy[:, 1:] - found.entropy[:, :-1]).max() > 0.1


def test_some_layers_do_with_their_numbers(model, files, tmp_path):
    own = traced(model, None, tmp_path / "own.parquet")
    states = write(tmp_path / "s", files, pick(1, 2, 3))
    found = traced(model, states, tmp_path / "found.parquet", layers=(1, 2, 3))
    np.testing.assert_allclose(found.entropy, own.entropy, atol=1e-4)
    assert not found.holds("residual_norm")
    with pytest.raises(UserError, match=r"4 layers \(say which they are: --state-layers\)"):
        traced(model, states, tmp_path / "a.parquet")
    few = write(tmp_path / "few", files, pick(0, 3))
    with pytest.raises(UserError, match="holds no layer 1, 2; trace fewer"):
        traced(model, few, tmp_path / "b.parquet", layers=(0, 3))


def test_half_precision_and_longer_files_do(model, files, tmp_path):
    def changed(f: File) -> File:
        h = f["hidden_states"]
        return {
            "token_ids": torch.cat([f["token_ids"], torch.tensor([7, 7])]),
            "hidden_states": torch.cat([h, h[-2:]]).bfloat16(),
        }

    own = traced(model, None, tmp_path / "own.parquet")
    found = traced(model, write(tmp_path / "s", files, changed), tmp_path / "found.parquet")
    assert np.abs(found.entropy - own.entropy).mean() < 0.02


def shifted(f: File, model: InTransformers) -> File:
    return f | {"hidden_states": f["hidden_states"].roll(1, 1)}


def last_missing(f: File, model: InTransformers) -> File:
    return pick(0, 0, 1, 2)(f)


def swapped(f: File, model: InTransformers) -> File:
    return pick(0, 2, 1, 3)(f)


def zero_layer(f: File, model: InTransformers) -> File:
    h = f["hidden_states"].clone()
    h[:, 2] = 0
    return f | {"hidden_states": h}


def zero_later(f: File, model: InTransformers) -> File:
    h = f["hidden_states"].clone()
    h[40, 1] = 0
    return f | {"hidden_states": h}


def normed_already(f: File, model: InTransformers) -> File:
    h = f["hidden_states"].clone()
    h[:, -1] = model.anatomy.normed(h[None, :, -1])[0].detach()
    return f | {"hidden_states": h}


def normed_twice(f: File, model: InTransformers) -> File:
    return normed_already(normed_already(f, model), model)


def places_off(f: File, model: InTransformers) -> File:
    return f | {"hidden_states": f["hidden_states"].roll(1, 0)}


def other_text(f: File, model: InTransformers) -> File:
    return f | {"token_ids": f["token_ids"].flip(0)}


def too_short(f: File, model: InTransformers) -> File:
    return f | {"hidden_states": f["hidden_states"][:-1]}


def narrow(f: File, model: InTransformers) -> File:
    return f | {"hidden_states": f["hidden_states"][..., :-1]}


def renamed(f: File, model: InTransformers) -> File:
    return {"token_ids": f["token_ids"], "states": f["hidden_states"]}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shifted, "does not read as the model's own logits"),
        (last_missing, "those of layer 0 once more"),
        (swapped, "numbered 1 are nearest the model's layer 2"),
        (zero_layer, "layer 2 are all zero"),
        (zero_later, "layer 1 is zero or no number at a token"),
        (normed_already, "comes with the norm applied"),
        (normed_twice, "does not read as the model's own logits"),
        (places_off, "does not read as the model's own logits"),
        (other_text, "no file begins with the .* tokens of prompt 0"),
        (too_short, "has shape"),
        (narrow, "not 32 numbers wide"),
        (renamed, "holds states, token_ids, expected token_ids and hidden_states"),
    ],
)
def test_wrong_files_are_refused(model, files, tmp_path, spoil, words):
    states = write(tmp_path / "s", files, lambda f: spoil(f, model))
    with pytest.raises(UserError, match=words):
        traced(model, states, tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_a_layer_that_is_another_is_told(model, files, tmp_path):
    """Also where it is not traced: what is said of the file is wrong."""
    source = InFiles(model, write(tmp_path / "s", files, pick(1, 2, 3)), (0, 2, 3))
    with pytest.raises(UserError, match="numbered 0 are nearest the model's layer 1"):
        trace_problems(source, PROBLEMS, Settings(layers=2), tmp_path / "t.parquet")


@pytest.mark.parametrize("layers", [(), (1, 2), (2, 1, 3), (-1, 3), (1, 4)])
def test_numbers_of_no_model_are_refused(model, files, tmp_path, layers):
    with pytest.raises(UserError, match="--state-layers: layers ascend"):
        InFiles(model, write(tmp_path / "s", files), layers)


def test_what_is_no_folder_of_states_is_refused(model, files, tmp_path):
    with pytest.raises(UserError, match="no safetensors file is there"):
        InFiles(model, tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        InFiles(model, tmp_path)
    source = InFiles(model, write(tmp_path / "s", files))
    with pytest.raises(UserError, match="texts that are given"):
        source.texts([], Settings(mode="generated"))


def stopping(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def test_the_command(folder, files, tmp_path, capsys):
    prompts, out = tmp_path / "p.jsonl", tmp_path / "t.parquet"
    prompts.write_text(to_jsonl(PROBLEMS))
    states = write(tmp_path / "s", [pick(2, 3)(f) for f in files])
    asked = ("trace", "--model", folder, "--prompts", prompts, "--out", out, "--states", states)
    assert stopping(*asked, "--state-layers", "2,3", "--layers", 2, "--chat", "off") == 0
    assert read_traces(out).layers.tolist() == [2, 3]
    capsys.readouterr()
    assert stopping(*asked, "--mode", "generated", "--fresh") == 2
    assert "texts that are given" in " ".join(capsys.readouterr().err.split())
    assert stopping(*asked, "--engine", "vllm") == 2
    assert stopping(*asked, "--state-layers", "2,2.5") == 2
    assert "whole numbers with commas" in " ".join(capsys.readouterr().err.split())
    assert stopping("trace", "--model", folder, "--out", out, "--state-layers", "2,3") == 2
    assert load_file(states / "request-0.safetensors")["hidden_states"].shape[1] == 2
