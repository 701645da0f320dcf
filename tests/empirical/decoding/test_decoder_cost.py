"""What decoding costs in memory, and that its statistics are those of a trace."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from benchmarks.memory import peak_bytes
from empirical.capture.batch import capture
from empirical.decoding import ConfidentDecoding
from empirical.decoding.plan import ALL_AT_ONCE
from empirical.model.anatomy import Anatomy
from empirical.provenance import Provenance
from empirical.texts import Text
from stopping.errors import UserError
from stopping.rules import AbstractRule, Minimax, Search, WindowMinimum

DEPTH, WORDS, ROWS = 8, 60_000, 32
K = DEPTH - 1
PROMPT = torch.arange(5, 5 + 48 * ROWS).reshape(ROWS, 48)


@pytest.fixture(scope="module")
def model() -> Any:
    """A vocabulary so large that logits are nearly all the memory there is."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    built = transformers.LlamaForCausalLM(config).eval()
    for parameter in built.parameters():
        noise = torch.randn(parameter.shape)
        parameter.data = noise / 2 if parameter.shape[0] == WORDS else parameter.data + noise / 5
    return built


def peak_of(model: nn.Module) -> int:
    """Most bytes that a prefill with one row of logits per prompt holds at any time."""

    @torch.inference_mode()
    def prefill() -> None:
        model(input_ids=PROMPT, logits_to_keep=1)

    return peak_bytes(prefill)


class KeepsEveryLayer(ConfidentDecoding):
    """The negative control: holds the logits of the whole window."""

    def _chosen(self, logits: Tensor, under_way: Any, recorder: Any) -> Tensor:
        kept = [self.lens.read(layer, h) for layer, h in under_way.states.items()]
        chosen = super()._chosen(logits, under_way, recorder)
        assert len(kept) == K
        return chosen


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [Search(K), WindowMinimum(K), Minimax(1.0, K)], ids=lambda rule: rule.kind
)
def test_at_most_two_blocks_of_logits_are_held_besides_the_models_own(
    model: Any, rule: AbstractRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the allowance for layers that go together, which is a number of bytes.
    monkeypatch.setattr("empirical.decoding.projecting._HELD_BYTES", {"cpu": 1 << 20})
    block = ROWS * WORDS * 4
    # Everything else is small beside a block, such as the states of the window.
    allowed = 2.1 * block
    plain = peak_of(model)
    assert plain > block
    with ConfidentDecoding(model, rule) as decoding:
        extra = peak_of(model) - plain
    assert decoding.statistics.moved.any()
    assert extra <= allowed
    with KeepsEveryLayer(model, rule):
        assert peak_of(model) - plain > allowed


def test_layers_that_go_together_stay_within_their_allowance(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    block, plain = ROWS * WORDS * 4, peak_of(model)
    extra = {}
    for blocks in (1, 4):
        monkeypatch.setattr(
            "empirical.decoding.projecting._HELD_BYTES", {"cpu": blocks * block + 4}
        )
        with ConfidentDecoding(model, Search(K), plan=ALL_AT_ONCE):
            extra[blocks] = peak_of(model) - plain
    # Twice while the product is turned.
    assert extra[1] <= 2.1 * block < extra[4] <= 8.1 * block


def test_states_of_a_long_prompt_are_let_go(model: Any) -> None:
    decoding = ConfidentDecoding(model, Search(K))
    kept: list[int] = []
    choose = decoding._chooser.choose

    def spy(logits: Tensor, states: Any, *others: Any, **more: Any) -> Any:
        kept.extend(h.untyped_storage().nbytes() for h in states.values())
        return choose(logits, states, *others, **more)

    decoding._chooser.choose = spy  # type: ignore[method-assign]
    with decoding, torch.inference_mode():
        model(input_ids=PROMPT, logits_to_keep=1)
    assert kept == [ROWS * 16 * 4] * K


def generate(model: Any, whole: bool) -> tuple[Tensor, ConfidentDecoding]:
    decoding = ConfidentDecoding(model, Search(K), whole=whole)
    with decoding:
        ids = PROMPT[:2]
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10)
    return output, decoding


def test_statistics_are_those_of_tracing_the_finished_text(model: Any) -> None:
    output, decoding = generate(model, whole=True)
    steps = decoding.statistics
    texts = [
        Text(row, tuple(PROMPT[row].tolist()), tuple(output[row, PROMPT.shape[1] :].tolist()))
        for row in range(2)
    ]
    provenance = Provenance("tiny", "Llama", DEPTH, 16, WORDS, "generated")
    traces = capture(Anatomy.of(model), texts, provenance)
    table = steps.to_arrow()
    for name in ("prompt", "position", "token"):
        assert table[name].to_pylist() == getattr(traces, name).tolist()
    # The same states but for the rounding of a cache, in single precision.
    entropy = np.array(table["entropy"].to_pylist())
    np.testing.assert_allclose(entropy, traces.entropy, atol=1e-4)
    assert np.array_equal(np.array(table["top1"].to_pylist()), traces.top1)
    assert table["layer"].to_pylist() == (Search(K).choose(traces.entropy) + 1).tolist()
    assert steps.summary().moved > 0.2


def test_lazy_reading_decodes_the_same_and_projects_less(model: Any) -> None:
    whole, all_read = generate(model, whole=True)
    lazy, some_read = generate(model, whole=False)
    assert torch.equal(whole, lazy)
    assert all_read.statistics.summary().projections == K
    assert some_read.statistics.summary().projections < K
    table = some_read.statistics.to_arrow()
    assert None in table["entropy"].to_pylist()[0]
    with pytest.raises(UserError, match="tokens have shape"):
        some_read.statistics.to_arrow(np.zeros((1, 3)))


def test_steps_may_be_cut_at_the_end_of_each_row(model: Any) -> None:
    _, decoding = generate(model, whole=False)
    steps = decoding.statistics.within([3, 10])
    assert steps.present.sum(axis=1).tolist() == [3, 10]
    assert steps.summary().tokens == len(steps.to_arrow()) == 13


@pytest.mark.slow
def test_graphs_compiled_before_and_around_a_decoding_do_not_bypass_it(model: Any) -> None:
    ids = PROMPT[:1, :6]
    settings = {"max_new_tokens": 5, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    config = transformers.CompileConfig(backend="eager", mode=None)
    config._compile_all_devices = True
    compiled = {"cache_implementation": "static", "compile_config": config}
    plain = model.generate(ids, **settings)
    with ConfidentDecoding(model, Search(K)):
        expected = model.generate(ids, **settings)
    assert not torch.equal(expected, plain)
    assert torch.equal(model.generate(ids, **settings, **compiled), plain)
    assert hasattr(model, "_compiled_call")
    with ConfidentDecoding(model, Search(K)) as decoding:
        assert torch.equal(model.generate(ids, **settings, **compiled), expected)
        assert decoding.statistics.position.shape == (1, 5)
    assert torch.equal(model.generate(ids, **settings, **compiled), plain)
