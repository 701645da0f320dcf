"""The lens against what the model itself says, on a dozen architectures."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from empirical.model.anatomy import Anatomy, LensError
from tests.empirical.tiny_models import FAMILIES, LAYERS, tiny_model

pytestmark = pytest.mark.numerical

IDS = torch.tensor([[3, 14, 15, 92, 65, 35, 8, 9]])


def states_of(model: Any, anatomy: Anatomy) -> list[torch.Tensor]:
    heard: list[tuple[int, torch.Tensor]] = []
    with torch.no_grad(), anatomy.listening(lambda layer, h: heard.append((layer, h.clone()))):
        model(input_ids=IDS, use_cache=False)
    assert [layer for layer, _ in heard] == list(range(LAYERS + 1))
    return [h for _, h in heard]


def said_had_the_final_layer_returned(
    model: Any, anatomy: Anatomy, h: torch.Tensor
) -> torch.Tensor:
    """The definition of the lens: replace the output of the final layer and run the model."""

    def swap(module: nn.Module, args: Any, output: Any) -> Any:
        return (h, *output[1:]) if isinstance(output, tuple) else h

    handle = anatomy.layers[-1].register_forward_hook(swap)
    try:
        with torch.no_grad():
            logits: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    finally:
        handle.remove()
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_is_what_the_model_would_have_said(family: str) -> None:
    model = tiny_model(family)
    anatomy = Anatomy.of(model)
    states = states_of(model, anatomy)
    assert len(anatomy.layers) == LAYERS
    with torch.no_grad():
        lenses = [anatomy.lens(h) for h in states]
        final = model(input_ids=IDS, use_cache=False).logits
    assert torch.equal(lenses[-1], final)
    for h, seen in zip(states, lenses, strict=True):
        assert torch.equal(seen, said_had_the_final_layer_returned(model, anatomy, h))
    # The layers differ, so the comparison above tells them apart.
    assert (lenses[-1] - lenses[-2]).abs().max() > 0.01


def test_the_comparison_tells_a_lens_without_the_final_norm() -> None:
    """Negative control of the test above."""
    model = tiny_model()
    anatomy = Anatomy.of(model)
    assert anatomy.final_norm == (model.model.norm,)
    state = states_of(model, anatomy)[-1]
    with torch.no_grad():
        normless = replace(anatomy, final_norm=()).lens(state)
    expected = said_had_the_final_layer_returned(model, anatomy, state)
    assert (normless - expected).abs().max() > 0.01


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text"])
def test_soft_caps_are_in_the_lens(family: str) -> None:
    cap = 2.0
    model = tiny_model(family)
    anatomy = Anatomy.of(model)
    h = 30 * states_of(model, anatomy)[2]
    with torch.no_grad():
        capped = anatomy.lens(h)
        uncapped = model.lm_head(model.model.norm(h))
    assert uncapped.abs().max() > cap >= capped.abs().max()
    torch.testing.assert_close(capped, cap * torch.tanh(uncapped / cap))


@pytest.mark.parametrize(("family", "scale"), [("cohere", 0.25), ("granite", 1 / 4.0)])
def test_logit_scales_are_in_the_lens(family: str, scale: float) -> None:
    model = tiny_model(family)
    anatomy = Anatomy.of(model)
    h = states_of(model, anatomy)[2]
    with torch.no_grad():
        torch.testing.assert_close(anatomy.lens(h), scale * model.lm_head(model.model.norm(h)))


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model().train()
    keys = list(model.state_dict())
    Anatomy.of(model)
    assert model.training
    assert list(model.state_dict()) == keys
    assert hooks(model) == 0


def test_hooks_are_gone_after_an_exception() -> None:
    model = tiny_model()
    anatomy = Anatomy.of(model)

    def refuse(layer: int, h: torch.Tensor) -> None:
        assert hooks(model) == LAYERS + 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), anatomy.listening(refuse):
        model(input_ids=IDS)
    assert hooks(model) == 0


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_an_encoder_decoder_is_refused() -> None:
    config = T5Config(
        vocab_size=97,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    with pytest.raises(LensError, match="encoder-decoder"):
        Anatomy.of(T5ForConditionalGeneration(config))


def test_a_module_that_is_no_language_model_is_refused() -> None:
    with pytest.raises(LensError, match="Linear"):
        Anatomy.of(nn.Linear(3, 3))


def test_arithmetic_between_the_norm_and_the_decoders_output_is_refused() -> None:
    model = tiny_model()
    inner = model.model.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        output = inner(*args, **kwargs)
        output.last_hidden_state = 2.0 * output.last_hidden_state
        return output

    model.model.forward = doubled
    with pytest.raises(LensError, match="module calls alone"):
        Anatomy.of(model)


def test_arithmetic_between_layers_is_refused() -> None:
    """Where layers pass on something else than they return, hooks do not see the stream."""
    model = tiny_model()
    inner = model.model.layers[1].forward
    model.model.layers[1].forward = lambda h, *args, **kwargs: inner(h, *args, **kwargs)
    model.model.layers[1].register_forward_pre_hook(lambda module, args: (args[0] + 1.0, *args[1:]))
    with pytest.raises(LensError, match="passed on"):
        Anatomy.of(model)


def test_a_head_that_the_lens_cannot_repeat_is_refused() -> None:
    """The final check bites: this head says something else each time it is asked."""
    model = tiny_model()
    asked = iter(range(1, 100))
    model.lm_head.register_forward_hook(lambda module, args, logits: logits + next(asked))
    with pytest.raises(LensError, match="differs from the model's logits"):
        Anatomy.of(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("cap", [0.1, 0.5, 2.0])
def test_a_capped_head_may_sum_in_any_order(cap: float, dtype: torch.dtype) -> None:
    """Its product rounds in proportion to what is capped, not to what the cap leaves of it."""
    model = tiny_model("gemma2", final_logit_softcapping=cap).to(dtype)
    with torch.no_grad():
        model.lm_head.weight.mul_(30)
    orders = iter(range(1000))

    def another_order(h: torch.Tensor) -> torch.Tensor:
        """Terms in another order each time it is called, each sum rounded to single or double."""
        generator = torch.Generator().manual_seed(next(orders))
        order = torch.randperm(h.shape[-1], generator=generator)
        wide = torch.promote_types(dtype, torch.float32)
        terms = (h[..., None, :].to(wide) * model.lm_head.weight.to(wide))[..., order]
        return terms.cumsum(-1)[..., -1].to(dtype)

    model.lm_head.forward = another_order
    for _ in range(10):
        Anatomy.of(model)


@pytest.mark.parametrize("cap", [0.1, 0.5, 2.0])
def test_a_capped_head_that_is_another_is_refused(cap: float) -> None:
    """Negative control: a thousandth of a logit before the cap is more than rounding."""
    model = tiny_model("gemma2", final_logit_softcapping=cap)
    asked = iter(range(1, 100))
    model.lm_head.register_forward_hook(lambda module, args, z: z + 1e-3 * next(asked))
    with pytest.raises(LensError, match="differs from the model's logits"):
        Anatomy.of(model)


class _Packed(nn.Module):
    """A quantised head whose kernel is not there, or only for the model's own call."""

    def __init__(self, head: nn.Module, calls: int) -> None:
        super().__init__()
        self.head, self.calls = head, calls

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("no kernel for packed weights on this device")
        logits: torch.Tensor = self.head(h)
        return logits


@pytest.mark.parametrize(("calls", "message"), [(0, "forward pass fails"), (1, "cannot be called")])
def test_a_quantised_head_that_cannot_be_called_is_refused(calls: int, message: str) -> None:
    model = tiny_model()
    model.lm_head = _Packed(model.lm_head, calls)
    with pytest.raises(LensError, match=f"{message}.*no kernel for packed weights"):
        Anatomy.of(model)


def test_a_wrong_number_of_layers_is_refused() -> None:
    model = tiny_model()
    model.config.num_hidden_layers = LAYERS + 1
    with pytest.raises(LensError, match=f"{LAYERS + 1} layers"):
        Anatomy.of(model)
