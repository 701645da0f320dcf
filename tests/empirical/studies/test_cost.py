"""Predicted cost: against real weights, an independent computation, the paper's table."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from empirical.commands.cost import PAPER_RATE
from empirical.published import COST
from empirical.studies.cost import (
    DESIGNS,
    DEVICES,
    SHAPES,
    Device,
    Load,
    Shape,
    counts,
    overheads,
    plain_step,
    read_device,
    read_shape,
)
from empirical.studies.cost.designs import _reader, _Setting
from stopping.cli.main import exit_code, group
from stopping.errors import UserError
from tests.empirical.tiny_models import FAMILIES, LAYERS, VOCABULARY, tiny_model

H200 = DEVICES["h200"]
# Milliseconds of the plain step on paper, context 1024, batch 1, 8, 64, 256.
FLOORS = {
    "8b": (3.56, 3.80, 5.78, 13.93),
    "32b": (14.9, 15.4, 18.9, 36.8),
    "30b-a3b": (1.44, 6.20, 15.4, 20.1),
}
# Percent added at q = 0.104 with ten layers in all, from a computation on paper made before.
ADDED = {
    "released code": {"8b": (6.0, 8.5, 33, 56), "30b-a3b": (14.9, 5.2, 10.1, 29.8)},
    "layer by layer": {"8b": (9.3, 13, 13, 7.7), "32b": (2.8, 4.0, 5.1, 3.6)},
    "all at once": {"8b": (0.37, 0.58, 14.1, 28.5), "32b": (0.09, 0.14, 5.3, 13.3)},
    "fused, stored": {"8b": (0.19, 0.32, 13.4, 27.5), "30b-a3b": (0.47, 0.20, 2.7, 10.0)},
    "fused, sampled": {"8b": (0.11, 0.11, 12.5, 26.1), "32b": (0.03, 0.03, 4.8, 12.4)},
    "two products": {"8b": (0.98, 4.7, 5.2, 5.4), "30b-a3b": (1.4, 1.5, 1.01, 1.9)},
}


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"opt"}))
def test_weights_are_those_of_the_model(family: str) -> None:
    """Every matrix of a real model but its embeddings, counted from its config alone."""
    model = tiny_model(family)
    config = model.config.to_dict()
    if family.startswith("gpt"):
        # The tiny models' settings are common to all; these families know no groups of heads.
        del config["num_key_value_heads"]
    shape = Shape.of_config(config, family)
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.ndim > 1}
    embeddings = {name for name in matrices if any(w in name for w in ("embed", "wte", "wpe"))}
    body = sum(n for name, n in matrices.items() if name not in embeddings | {"lm_head.weight"})
    assert shape.shared + shape.experts * shape.expert == body
    assert (shape.layers, shape.vocabulary) == (LAYERS, VOCABULARY)
    assert shape.head == model.get_output_embeddings().weight.numel()
    if family == "mixtral":
        assert (shape.experts, shape.experts_per_token) == (4, 2)
        assert shape.touched(1) == shape.active < shape.touched(2) < shape.touched(50)
        assert shape.touched(1000) == pytest.approx(shape.shared + 4 * shape.expert)
    else:
        assert shape.touched(1) == shape.touched(50) == shape.active


def test_built_in_shapes() -> None:
    total = {
        name: s.shared + s.experts * s.expert + s.head * (2 if name in FLOORS else 1)
        for name, s in SHAPES.items()
    }
    # What their makers say of them, norms and biases being thousandths.
    published = {"8b": 8.2e9, "32b": 32.8e9, "30b-a3b": 30.5e9, "smollm2-135m": 134.5e6}
    for name, weights in {**published, "qwen2.5-0.5b": 494e6}.items():
        assert total[name] == pytest.approx(weights, rel=0.01)
    assert SHAPES["30b-a3b"].active + 2 * SHAPES["30b-a3b"].head == pytest.approx(3.35e9, rel=0.01)


@pytest.mark.parametrize("name", FLOORS)
def test_plain_steps_are_the_floors_on_paper(name: str) -> None:
    for batch, expected in zip((1, 8, 64, 256), FLOORS[name], strict=True):
        found = 1e3 * plain_step(SHAPES[name], H200, Load(batch, 0.1)).total
        assert found == pytest.approx(expected, rel=0.004)


@pytest.mark.parametrize("design", ADDED)
def test_overheads_are_those_on_paper(design: str) -> None:
    for name, row in ADDED[design].items():
        for batch, expected in zip((1, 8, 64, 256), row, strict=True):
            found = overheads(SHAPES[name], H200, Load(batch, 0.104, window=9))
            share = 100 * next(o.share for o in found if o.design == design)
            # That computation put means in for the numbers of rows that go on.
            close = 0.12 if design in ("layer by layer", "two products") else 0.03
            assert share == pytest.approx(expected, rel=close, abs=0.006)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize("rate", [0.0, 0.104, 0.5, 0.9, 1.0])
def test_riding_free_is_never_worse_than_projecting_everything(name: str, rate: float) -> None:
    """Whatever the share of rows that go on, if it is known."""
    for batch in (1, 8, 64, 256):
        at = {o.design: o for o in overheads(SHAPES[name], H200, Load(batch, rate))}
        ours = at["piggybacked"].seconds
        assert ours <= 1.001 * at["all at once"].seconds
        assert ours <= at["released code"].seconds
        assert ours <= 1.001 * at["two products"].seconds
        if batch <= 8:
            assert at["piggybacked"].share < 0.005


def test_the_papers_table_and_where_it_differs() -> None:
    rows = counts(SHAPES["paper-35b-a3b"], Load(1, PAPER_RATE, COST.window))
    one, every, _, papers, honest = rows
    # The published numbers are rounded to a million, and shares taken of rounded ones.
    assert one.multiply_adds == pytest.approx(COST.projection, abs=0.5e6)
    assert one.share == pytest.approx(COST.projection_share, abs=1e-4)
    assert every.multiply_adds == pytest.approx(COST.full_scan, abs=0.5e6)
    assert every.share == pytest.approx(COST.full_scan_share, abs=2e-4)
    assert papers.projections == pytest.approx(COST.lazy, abs=5e-4)
    assert papers.multiply_adds == pytest.approx(COST.lazy_flops, abs=0.5e6)
    assert papers.share == pytest.approx(COST.lazy_share, abs=1e-4)
    # A scan reads one layer more than it steps back, unless it comes to the window's end.
    assert honest.projections - papers.projections == pytest.approx(1 - PAPER_RATE**COST.window)
    assert honest.share == pytest.approx(0.083, abs=5e-4)


def test_projections_are_those_of_a_simulated_search() -> None:
    rng = np.random.default_rng(1)
    load = Load(1, 0.6, window=4)
    depth = (np.cumprod(rng.random((200_000, 4)) < 0.6, axis=1)).sum(axis=1)
    projections = np.minimum(depth + 1, 4)
    error = 4 * projections.std() / np.sqrt(len(projections))
    assert abs(depth.mean() - load.depth) < error
    assert abs(projections.mean() - load.projections) < error
    # Negative control: the paper's count is not the number of projections.
    assert abs(projections.mean() - load.depth) > 10 * error


def test_rounds_are_the_mean_over_rows_that_go_on() -> None:
    at = _Setting(SHAPES["8b"], H200, Load(200, 0.6, window=5))
    rng = np.random.default_rng(2)

    def simulated() -> float:
        rows, left, cost = 200, 5, 0.0
        while rows and left:
            cost += at.product(rows) + at.logits(rows) + at.kernels(3)
            rows, left = int(rng.binomial(rows, 0.6)), left - 1
        return cost

    drawn = np.array([simulated() for _ in range(4000)])
    exact = _reader(at, lambda rows, left: 1, 3)(200, 5)
    assert abs(drawn.mean() - exact) < 4 * drawn.std() / np.sqrt(len(drawn))


def test_overheads_grow_with_the_rate_and_vanish_without_a_window() -> None:
    for design in ("layer by layer", "two products", "piggybacked"):
        at = [
            next(o for o in overheads(SHAPES["8b"], H200, Load(64, q)) if o.design == design)
            for q in (0.0, 0.2, 0.5, 0.9, 1.0)
        ]
        assert all(a.seconds < b.seconds for a, b in pairwise(at))
    none = overheads(SHAPES["8b"], H200, Load(64, 0.5, window=0))
    assert {(o.seconds, o.held) for o in none} == {(0.0, 0.0)}
    assert [o.design for o in none] == list(DESIGNS)


# Input -------------------------------------------------------------------------------------------


def written(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_configs_of_many_kinds(tmp_path: Path) -> None:
    deepseek = {
        "num_hidden_layers": 61, "hidden_size": 7168, "vocab_size": 129_280,
        "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 18_432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "num_experts_per_tok": 8, "n_shared_experts": 1, "first_k_dense_replace": 3,
    }  # fmt: skip
    shape = read_shape(written(tmp_path / "deepseek.json", deepseek))
    assert shape.name == "deepseek"
    assert shape.shared + shape.experts * shape.expert + 2 * shape.head == pytest.approx(
        671e9, rel=0.002
    )
    assert shape.active + 2 * shape.head == pytest.approx(37.5e9, rel=0.02)
    folder = tmp_path / "wrapped"
    folder.mkdir()
    written(folder / "config.json", {"text_config": deepseek, "vision_config": {}})
    wrapped = read_shape(str(folder))
    assert (wrapped.name, wrapped.active) == ("wrapped", shape.active)


def test_layers_without_a_cache_leave_none(tmp_path: Path) -> None:
    plain = {
        "num_hidden_layers": 4, "hidden_size": 64, "vocab_size": 100, "num_attention_heads": 4,
        "intermediate_size": 128,
    }  # fmt: skip
    linear = {
        **plain, "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_num_value_heads": 4,
        "linear_value_head_dim": 8,
    }  # fmt: skip
    whole, mixed = Shape.of_config(plain, "a"), Shape.of_config(linear, "b")
    assert mixed.cache == whole.cache / 4
    assert 0 < mixed.shared != whole.shared


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not the config.json"),
        ({}, "num_hidden_layers"),
        ({"num_hidden_layers": 2, "hidden_size": "x"}, "must be a whole number"),
        ({"num_hidden_layers": -2}, "must be a whole number"),
        ({"num_hidden_layers": True}, "must be a whole number"),
        ({"num_hidden_layers": 2, "hidden_size": 8, "vocab_size": 5}, "num_attention_heads"),
    ],
)
def test_configs_that_describe_no_decoder(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_shape(written(tmp_path / "c.json", content))


def test_devices(tmp_path: Path) -> None:
    own = {"bytes_per_second": 1e10, "flops_per_second": 1e11}
    device = read_device(written(tmp_path / "desk.json", own))
    assert (device.name, device.free_rows, device.source) == ("desk", 10.0, "desk.json")
    assert read_device("h100") == DEVICES["h100"]
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "desk.json").read_bytes())
    assert read_device(str(marked)).free_rows == 10.0
    for content, words in (
        ("{", "not a device"),
        ({"bytes_per_second": 1e10}, "not a device"),
        ({**own, "colour": 1}, "not a device"),
        ({**own, "flops_per_second": 0}, "positive"),
        ({**own, "bytes_per_second": "fast"}, "not a device"),
    ):
        with pytest.raises(UserError, match=words):
            read_device(written(tmp_path / "bad.json", content))
    with pytest.raises(UserError, match="neither a file nor one of h200"):
        read_device("abacus")


@pytest.mark.parametrize("bad", [{"rate": 1.5}, {"rate": float("nan")}, {"batch": 0}, {"width": 0}])
def test_loads_that_are_none(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"probability|batch >= 1"):
        Load(**{"batch": 1, "rate": 0.1, **bad})


# Command -----------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = exit_code(lambda: group.main(["cost", *arguments], standalone_mode=False))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_shows_the_papers_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--config", "paper-35b-a3b")
    assert code == 0
    for words in ("5,212 M", "+74.64%", "0.116 projections", "+8.33%", "piggybacked", "Note:"):
        assert words in out
    assert "published" not in run(capsys, "--config", "8b")[1]


def test_json_holds_what_the_functions_return(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--config", "32b", "--batch", "8", "--batch", "64", "--rate", "0.3", "--json")
    code, out, _ = run(capsys, *arguments, "--window", "500")
    content = json.loads(out)
    assert code == 0
    assert [step["load"]["batch"] for step in content["steps"]] == [8, 64]
    # No search leaves the stack.
    assert {step["load"]["window"] for step in content["steps"]} == {63}
    expected = overheads(SHAPES["32b"], H200, Load(64, 0.3, 63))
    found = content["steps"][1]["overheads"]
    assert [o["share"] for o in found] == pytest.approx([o.share for o in expected])
    assert content["paper"] is None
    assert content["device"]["free_rows"] == pytest.approx(183.7, abs=0.1)


def test_mistakes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (("--config", "9000b"), "neither a file"),
        (("--config", "8b", "--device", "abacus"), "neither a file"),
        (("--config", "8b", "--rate", "2"), "0<=x<=1"),
        (("--config", "8b", "--batch", "0"), "1<=x<=4096"),
        ((), "--config"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert words in err
        assert "Traceback" not in err


@pytest.mark.slow
def test_it_needs_no_torch() -> None:
    program = (
        "import sys; from empirical.commands.cost import cost; "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "set()"


def test_a_device_of_ones_own_moves_the_ridge() -> None:
    slow = Device("slow", 1e10, 4e10)
    at = {o.design: o.share for o in overheads(SHAPES["smollm2-135m"], slow, Load(4, 0.1))}
    assert at["piggybacked"] < at["all at once"]
