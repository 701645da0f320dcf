"""`stopping trace` from end to end, killed and resumed, on a tiny model in a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import T5Config, T5ForConditionalGeneration

from empirical import texts
from empirical.model.load import load_model
from empirical.problems import draw_problems, to_jsonl
from empirical.traces.files import Traces, read_traces
from stopping.cli import main
from stopping.errors import UserError
from stopping.support.documents import as_json
from stopping.support.store import Parts
from tests.empirical.tiny_models import byte_tokenizer, save_tiny_folder
from tests.killed import kill_after

MANY = ["--problems", "20", "--batch", "1", "--mode", "generated", "--max-new-tokens", "16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny-llama", chat=True)


def stopping(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    assert isinstance(code, int)
    return code


def trace(folder: Path, out: Path, *options: object) -> int:
    return stopping("trace", "--model", folder, "--out", out, *options)


def assert_same(found: Traces, expected: Traces) -> None:
    for name in ("prompt", "position", "token", "top1", "entropy", "log_prob", "residual_norm"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_run_leaves_one_file_that_says_what_made_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"
    assert trace(folder, out, "--problems", 5, "--seed", 4, "--layers", 2, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    traces = read_traces(out)
    assert list(tmp_path.iterdir()) == [out]
    problems = draw_problems(5, 4)
    solutions = [len(problem.solution.encode()) for problem in problems]
    assert np.bincount(traces.prompt).tolist() == solutions
    assert summary["tokens"] == len(traces) == sum(solutions)
    assert summary["file"] == "t.parquet"
    assert traces.layers.tolist() == [2, 3]
    assert traces.residual_norm.shape[1] == 3
    assert {int(d) for d in traces.difficulty} <= {1, 2, 3, 4}
    made = traces.provenance
    assert (made.model, made.architecture) == ("tiny-llama", "LlamaForCausalLM")
    assert (made.mode, made.seed, made.prompts, made.chat) == ("reference", 4, 5, True)
    assert (made.dtype, made.device, made.lens, made.shard) == ("float32", "cpu", "raw", None)
    assert len(made.weights["model.safetensors"]) == 64
    assert made.storage is not None
    assert str(tmp_path) not in as_json(made)
    words = "".join(traces.vocabulary[int(token)] for token in traces.token[: solutions[0]])
    assert words == problems[0].solution


def test_enough_tokens_end_the_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.parquet"
    assert trace(folder, out, "--tokens", 300, "--batch", 2, "--layers", "all") == 0
    traces = read_traces(out)
    first_part_that_suffices = 4 * ((int(traces.prompt[299]) // 4) + 1)
    assert set(traces.prompt) == set(range(first_part_that_suffices))
    assert traces.layers.tolist() == [1, 2, 3]


def test_a_users_own_prompts(folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text(to_jsonl(draw_problems(3, 9)), encoding="utf-8")
    out = tmp_path / "t.parquet"
    assert trace(folder, out, "--prompts", prompts, "--chat", "off", "--storage", "float32") == 0
    made = read_traces(out).provenance
    assert (made.prompts, made.seed, made.chat) == (3, None, False)


def test_solutions_are_asked_for_only_where_they_are_traced(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "mine.jsonl", tmp_path / "t.parquet"
    prompts.write_text('{"prompt": "Why?"}\n{"prompt": "How?"}\n', encoding="utf-8")
    given = ["--prompts", prompts, "--layers", 2]
    assert trace(folder, out, *given, "--mode", "generated") == 0
    assert read_traces(out).provenance.prompts == 2
    assert trace(folder, tmp_path / "u.parquet", *given) == 2
    assert "line 1: the field 'reference' is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(folder: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    arguments = ("trace", "--model", folder, "--out", cut, *MANY)
    kill_after(2, "stopping.support.store:Parts", "keep", *arguments)
    parts = tmp_path / "cut.parquet.parts"
    assert not cut.exists()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    assert len(kept) == 2
    # What a killed write leaves behind, beside the parts.
    (parts / ".part-00019.parquet.x.part").write_bytes(b"PAR1")

    assert trace(folder, whole, *MANY) == 0
    rewritten: list[Path] = []
    real = Parts.keep

    def watched(self: Any, number: int, traces: Traces) -> None:
        real(self, number, traces)
        rewritten.extend(path for path, then in kept.items() if path.stat().st_mtime_ns != then)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parts, "keep", watched)
        assert trace(folder, cut, *MANY) == 0
    assert not rewritten
    assert not parts.exists()
    assert_same(read_traces(cut), read_traces(whole))


def test_ctrl_c_says_how_to_go_on(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "t.parquet"
    options = ("--problems", 6, "--batch", 1)
    real = texts.reference_texts

    def interrupted(loaded: Any, problems: Any, chat: bool) -> Any:
        if problems[0][0] == at:
            raise KeyboardInterrupt
        return real(loaded, problems, chat)

    with monkeypatch.context() as patch:
        patch.setattr(texts, "reference_texts", interrupted)
        at = 0
        assert trace(folder, out, *options) == 130
        assert "kept" not in capsys.readouterr().err  # no part is finished yet
        at = 2
        assert trace(folder, out, *options) == 130
    assert "give the same command again" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "t.parquet.parts").glob("part-*")] == [
        "part-00000.parquet"
    ]
    # Other settings do not mix with what is there.
    assert trace(folder, out, *options, "--chat", "off") == 2
    message = capsys.readouterr().err
    assert "chat was True, is False" in message
    assert "--fresh" in message
    # Asking for fewer tokens is no other run.
    assert trace(folder, out, *options, "--tokens", 1) == 0
    assert set(read_traces(out).prompt) == {0, 1}


def test_a_finished_file_is_not_overwritten_unasked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"
    assert trace(folder, out, "--problems", 2) == 0
    before = out.read_bytes()
    assert trace(folder, out, "--problems", 3) == 2
    assert "--fresh" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert trace(folder, out, "--problems", 3, "--fresh") == 0
    assert set(read_traces(out).prompt) == {0, 1, 2}


def test_a_run_that_died_between_the_file_and_the_clearing_up_is_finished_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", lambda self: None)
        assert trace(folder, out, "--problems", 4, "--batch", 1) == 0
    first = read_traces(out)
    assert trace(folder, out, "--problems", 4, "--batch", 1) == 0
    assert_same(read_traces(out), first)
    assert list(tmp_path.iterdir()) == [out]


def test_mistakes_of_the_user(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.parquet"

    def told(*options: object) -> str:
        assert stopping("trace", "--out", out, *options) == 2
        return capsys.readouterr().err

    assert "no such file" in told("--model", tmp_path / "nothing.gguf")
    assert "no config.json" in told("--model", tmp_path)
    (tmp_path / "model.bin").write_bytes(b"x")
    assert "must be .gguf" in told("--model", tmp_path / "model.bin")
    for bad in ("bad.gguf", "BAD.GGUF"):
        (tmp_path / bad).write_bytes(b"GGUF" + bytes(64))
        message = f"{bad[:3]}: transformers cannot load"
        assert message in told("--model", tmp_path / bad)
    assert "nowhere" in told("--model", folder, "--prompts", tmp_path / "nowhere.jsonl")
    assert "not both" in told("--model", folder, "--prompts", "a.jsonl", "--problems", 3)
    assert "neither" in told("--model", folder, "--layers", "some")
    assert "device 'abacus'" in told("--model", folder, "--device", "abacus")
    assert not out.exists()


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    plain = save_tiny_folder(tmp_path / "plain")
    assert trace(plain, tmp_path / "t.parquet", "--problems", 2, "--chat", "on") == 2
    assert trace(plain, tmp_path / "t.parquet", "--problems", 2) == 0
    assert not read_traces(tmp_path / "t.parquet").provenance.chat


@pytest.mark.slow
def test_an_encoder_decoder_is_told(tmp_path: Path) -> None:
    config = T5Config(vocab_size=259, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="cannot load"):
        load_model(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"", b"GGUF" + bytes(5), b"GGUF\x03" + bytes(200), b"#!/bin/sh"]
)
def test_a_damaged_model_file_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    assert trace(file, tmp_path / "t.parquet", "--problems", 2) == 2


def test_a_missing_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert trace(folder, Path("t.parquet")) == 2
    assert 'pip install -c constraints.txt -e ".[models]"' in capsys.readouterr().err


def test_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", unreachable)
    with pytest.raises(UserError, match=r"owner/model: no such file .* couldn't connect"):
        load_model("owner/model")


@pytest.mark.slow
def test_help_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from empirical.commands.trace import trace; "
        "trace.main(['--help'], standalone_mode=False); "
        "sys.exit(bool({'torch', 'transformers', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=True,
    )
    assert "Examples:" in run.stdout
