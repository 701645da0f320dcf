"""The command `generate`, on a tiny random model with a tokenizer of single bytes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from empirical.commands.generate import Painter, generate, read_prompt, visible
from empirical.decoding.writing import Pieces, Token
from stopping.cli.main import exit_code

SPECIAL = ("<end>", "<pad>")
CONTEXT = 64
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"


def byte_tokenizer() -> Any:
    """Every byte is a token, so that characters may take several."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>"
    )


def tiny_llama() -> Any:
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=len(SPECIAL) + 256,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        pad_token_id=1,
        bos_token_id=None,
        eos_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape)
        if parameter.ndim == 1:
            parameter.data += noise / 5
        else:
            words = parameter.shape[0] == config.vocab_size
            parameter.data = noise / 2 if words else 6 * parameter.data
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_llama().save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


class Run:
    """Runs the command and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys, self._folder = capsys, folder

    def __call__(self, *options: str, model: str | Path | None = None) -> str:
        arguments = ["--model", str(model or self._folder), "--max-new-tokens", "20", *options]
        self.code = exit_code(lambda: generate.main(arguments, "generate", standalone_mode=False))
        out, self.errors = self._capsys.readouterr()
        return out

    def json(self, *options: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self("--json", *options))
        assert self.code == 0
        return content


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path) -> Iterator[Run]:
    return Run(capsys, folder)


def plain(folder: Path, prompt: str, **settings: Any) -> list[int]:
    """Tokens of transformers alone."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = transformers.AutoTokenizer.from_pretrained(folder)(prompt, return_tensors="pt")
    output = model.generate(**ids, **{"max_new_tokens": 20, "do_sample": False, **settings})
    tokens: list[int] = output[0, ids["input_ids"].shape[1] :].tolist()
    return tokens


def test_the_final_rule_writes_what_transformers_writes(run: Run, folder: Path) -> None:
    expected = plain(folder, "Hello")
    for options in (["--rule", "final"], ["--p", "0"], ["--rule", "search:K=0"]):
        content = run.json("--prompt", "Hello", *options)
        assert [token["id"] for token in content["tokens"]] == expected
    text = run("--prompt", "Hello", "--rule", "final")
    assert text.removesuffix("\n") == content["text"]
    assert "20 tokens: 0% from an earlier layer" in run.errors


def test_rivals_write_too(run: Run) -> None:
    plain_text = run.json("--prompt", "Hello", "--rule", "final")["text"]
    content = run.json("--prompt", "Hello", "--rule", "dola:layers=all", "--norm", "off")
    assert content["rule"] == "dola:layers=all,relative_top=0.1,divergence=js,norm=off"
    assert content["layers"] == [1, 2, 3, 4, 5, 6]
    assert content["text"] != plain_text
    assert content["summary"]["moved"] == 0
    run("--prompt", "Hello", "--rule", "calm", "--norm", "off")
    assert run.code == 2
    assert "has no setting norm; it belongs to dola, sled" in run.errors


def test_json_says_which_layer_each_token_is_from(run: Run) -> None:
    content = run.json("--prompt", "Hello")
    assert content["layers"] == [1, 2, 3, 4, 5, 6]
    assert content["rule"] == "search:K=10,p=1.0"
    assert content["lens"] == "raw"
    tokens, summary = content["tokens"], content["summary"]
    assert summary["tokens"] == len(tokens) == 20
    layers = np.array([token["layer"] for token in tokens])
    assert summary["moved"] == pytest.approx((layers < 6).mean())
    assert summary["depth"] == pytest.approx((6 - layers).mean())
    assert summary["substituted"] == pytest.approx(
        np.mean([token["final_text"] is not None for token in tokens])
    )
    assert summary["moved"] > 0.2
    assert 0 < summary["substituted"] < summary["moved"]
    for token in tokens:
        read = [i for i, x in enumerate(token["entropy"]) if x is not None]
        # Entropy falls on the way to the chosen layer, and the scan looks one layer further.
        falling = token["entropy"][token["layer"] - 1 :]
        assert falling == sorted(falling)
        assert read[0] == max(token["layer"] - 2, 0)


def test_layers_are_marked_in_text_without_colours(run: Run) -> None:
    content = run.json("--prompt", "Hello")
    shown = run("--prompt", "Hello", "--show", "layers")
    legend, _, text = shown.partition("\n\n")
    assert "token{5}: from layer 5" in legend
    assert re.sub(r"\{[1-5]( ‹[^›]*›)?\}", "", text).removesuffix("\n") == content["text"]
    assert text.count("‹") == sum(t["final_text"] is not None for t in content["tokens"])


def test_layers_are_coloured_on_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="256", width=80)
    painter = Painter(console, (4, 5, 6))
    painter.legend()
    painter.paint(Token(1, "from", 6, 0, 1.0, None))
    painter.paint(Token(2, " one", 5, 1, 1.0, None))
    painter.paint(Token(3, " two", 4, 2, 1.0, " \n"))
    text = screen.getvalue()
    assert "layers: 4  5  6  (final)" in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "from\x1b[36m one\x1b[0m\x1b[4;32m two\x1b[0m\x1b[2m‹⏎›\x1b[0m" in text


def test_tokens_alone_are_made_visible() -> None:
    assert visible(" word") == "word"
    assert visible("\n\t") == "⏎⇥"
    assert visible("  ") == "␣"


def test_pieces_are_whole_characters_and_lose_nothing() -> None:
    tokenizer = byte_tokenizer()
    text = "Grüße 😀, naïve — 你好!"
    ids = tokenizer.encode(text)
    assert len(ids) > len(text)
    pieces = Pieces(tokenizer)
    parts = [pieces.add(number) for number in ids]
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts)
    assert [part for part in parts if part] == list(text)


@pytest.mark.slow
def test_sampling_repeats_with_its_seed(run: Run, folder: Path) -> None:
    draw = ["--prompt", "Hello", "--temperature", "0.9", "--top-p", "0.95"]
    first = run.json(*draw, "--seed", "4")["tokens"]
    assert run.json(*draw, "--seed", "4")["tokens"] == first
    assert run.json(*draw, "--seed", "5")["tokens"] != first
    torch.manual_seed(4)
    expected = plain(folder, "Hello", do_sample=True, temperature=0.9, top_p=0.95, top_k=0)
    final = run.json(*draw, "--seed", "4", "--rule", "final")["tokens"]
    assert [token["id"] for token in final] == expected


def test_half_of_the_tokens_with_p(run: Run) -> None:
    everywhere = run.json("--prompt", "Hello")["summary"]["moved"]
    assert 0 < run.json("--prompt", "Hello", "--p", "0.5")["summary"]["moved"] < everywhere


def test_it_stops_at_the_end_of_the_text(run: Run, folder: Path, tmp_path: Path) -> None:
    content = run.json("--prompt", "Hello")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = [token["id"] for token in content["tokens"]]
    model.generation_config.eos_token_id = [0, ids[5]]
    model.save_pretrained(tmp_path / "stops")
    byte_tokenizer().save_pretrained(tmp_path / "stops")
    stopped = json.loads(run("--prompt", "Hello", "--json", model=tmp_path / "stops"))
    end = ids.index(ids[5])
    assert [token["id"] for token in stopped["tokens"]] == ids[:end]
    assert stopped["summary"]["tokens"] == end  # the end of a text is not in it
    assert (stopped["ended"], content["ended"]) == (True, False)


def test_prompts_go_through_the_chat_template(run: Run, folder: Path, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    transformers.AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "chat")
    tokenizer.save_pretrained(tmp_path / "chat")
    lengths = {
        chat: json.loads(
            run("--prompt", "Hello", "--json", "--chat", chat, model=tmp_path / "chat")
        )["prompt_tokens"]
        for chat in ("auto", "on", "off")
    }
    assert lengths == {"auto": len("[user] Hello\n"), "on": len("[user] Hello\n"), "off": 5}


def test_prompts_come_from_files_too(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Hello\n")
    from_file = run.json("--prompt-file", str(file))
    assert from_file["tokens"] == run.json("--prompt", "Hello")["tokens"]


def test_a_byte_order_mark_is_no_part_of_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "\ufeffHello\ufeff\n".encode()
    file = tmp_path / "prompt.txt"
    file.write_bytes(content)
    assert read_prompt(None, file) == "Hello\ufeff"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    assert read_prompt(None, Path("-")) == "Hello\ufeff"


def test_bytes_that_are_no_utf8_are_a_mistake(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes(b"caf\xe9")
    for options in (["--prompt", os.fsdecode(b"caf\xe9")], ["--prompt-file", str(file)]):
        run(*options)
        assert run.code == 2
        assert "UTF-8" in run.errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('a system message is needed') }}", "a system message is needed"),
        ("{% for m in messages %}{{ m }", "the chat template fails"),
        ([{"name": "rag", "template": "x"}], "no default"),
        ("{{ messages[0]['content'][:3] }}", "drops or changes the prompt"),
    ],
)
def test_chat_templates_that_do_not_serve_are_a_mistake(
    run: Run, folder: Path, tmp_path: Path, template: Any, message: str
) -> None:
    shutil.copytree(folder, tmp_path / "chat")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path / "chat")
    run("--prompt", "Hello", model=tmp_path / "chat")
    assert run.code == 2
    assert message in run.errors
    assert "--chat off" in run.errors
    run("--prompt", "Hello", "--chat", "off", model=tmp_path / "chat")
    assert run.code == 0


def test_the_context_ends_the_text(run: Run) -> None:
    prompt = "x" * (CONTEXT - 3)
    assert len(run.json("--prompt", prompt)["tokens"]) == 3


def test_steps_are_written_as_rows(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "steps.parquet"
    content = run.json("--prompt", "Hello", "--temperature", "1", "--steps", str(file))
    table = pq.read_table(file)
    assert table["token"].to_pylist() == [token["id"] for token in content["tokens"]]
    assert table["layer"].to_pylist() == [token["layer"] for token in content["tokens"]]
    assert table["position"].to_pylist() == list(range(20))
    assert table.schema.metadata[b"layers"] == b"1,2,3,4,5,6"
    entropy = [
        [float("nan") if x is None else x for x in row] for row in table["entropy"].to_pylist()
    ]
    shown = [[float("nan") if x is None else x for x in t["entropy"]] for t in content["tokens"]]
    np.testing.assert_allclose(entropy, shown)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of --prompt and --prompt-file"),
        (["--prompt", "a", "--prompt-file", "b"], "one of --prompt and --prompt-file"),
        (["--prompt", " "], "empty"),
        (["--prompt-file", "nowhere.txt"], "no such file"),
        (["--prompt", "a", "--rule", "guess"], "unknown kind 'guess'"),
        (["--prompt", "a", "--rule", "search:K=-1"], "K must be >= 0"),
        (["--prompt", "a", "--rule", "tolerance:tau=1", "--p", "0.5"], "has no setting p;"),
        (["--prompt", "a", "--temperature", "0", "--top-p", "0.5"], "leave one of them out"),
        (["--prompt", "a", "--chat", "on"], "no chat template"),
        (["--prompt", "x" * 70], "70 tokens, but tiny reads at most 64"),
        (["--prompt", "a", "--lens", "nowhere.safetensors"], "no such file"),
        (["--prompt", "a", "--device", "warp"], "cannot be used here"),
        (["--prompt", "a", "--model", "no/such/model"], "no such file or folder"),
        (["--prompt", "a", "--p", "2"], "2"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_mistakes_end_with_2_and_say_what_to_do(run: Run, options: list[str], message: str) -> None:
    run(*options)
    assert run.code == 2
    assert message in run.errors
    assert "Traceback" not in run.errors


def test_an_empty_file_is_a_mistake(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "empty.txt"
    file.write_text("\n\n")
    run("--prompt-file", str(file))
    assert run.code == 2
    assert "the file is empty" in run.errors


def refused_models() -> dict[str, Any]:
    return {
        "encoder-decoder": transformers.T5ForConditionalGeneration(
            transformers.T5Config(
                vocab_size=258, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2
            )
        ),
        "no readable stack": transformers.XLNetLMHeadModel(
            transformers.XLNetConfig(vocab_size=258, d_model=16, n_layer=2, n_head=2, d_inner=16)
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder-decoder", "no readable stack"])
def test_models_that_cannot_be_read_are_refused(run: Run, tmp_path: Path, kind: str) -> None:
    refused_models()[kind].save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    run("--prompt", "a", model=tmp_path)
    assert run.code == 2
    assert "error:" in run.errors


def test_without_the_extra_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    run("--prompt", "a")
    assert run.code == 2
    assert 'pip install -c constraints.txt -e ".[models]"' in run.errors


@pytest.mark.slow
def test_the_command_is_imported_without_torch() -> None:
    check = (
        "import sys; import empirical.commands.generate as g; "
        "g.generate.main(['--help'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout
