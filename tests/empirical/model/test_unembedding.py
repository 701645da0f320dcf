"""Heads taken piece by piece against the model's own call."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from empirical.capture.projections import LensReader, TileReader, reader_for
from empirical.capture.tiles import read_tiles
from empirical.lenses import AbstractLens, CalibratedLens, Correction, RawLens, Translation
from empirical.logits.readout import read_logits
from empirical.logits.temperatures import INVERSE_TEMPERATURES
from empirical.model.anatomy import Anatomy
from empirical.model.unembedding import Unembedding
from stopping.errors import UserError
from tests.empirical.tiny_models import FAMILIES, LAYERS, VOCABULARY, tiny_model

pytestmark = pytest.mark.numerical

ROWS = 37


def states(seed: int = 0, rows: int = ROWS) -> Tensor:
    return 3 * torch.randn(rows, 32, generator=torch.Generator().manual_seed(seed))


def tokens(rows: int = ROWS) -> Tensor:
    return torch.arange(rows) * 5 % VOCABULARY


def head_of(model: Any) -> tuple[Anatomy, Unembedding]:
    anatomy = Anatomy.of(model)
    head = Unembedding.of(anatomy)
    assert head is not None
    return anatomy, head


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_of_a_head_are_the_model_s_own_logits(family: str) -> None:
    anatomy, head = head_of(tiny_model(family))
    assert head.plain == (family not in {"gemma2", "gemma3_text", "cohere", "granite"})
    x = anatomy.normed(states()[None])[0].detach()
    with torch.inference_mode():
        own = anatomy.headless(inputs_embeds=x[None]).logits[0]
        tiles = [head.logits(x.T, slice(a, min(a + 13, 97))) for a in range(0, 97, 13)]
        rows = [head.finished(head.product(x, across)) for across in (False, True)]
    for z in (torch.cat(tiles).T, *rows):
        torch.testing.assert_close(z, own, atol=2e-5, rtol=1e-5)


def with_head(after: Callable[[Tensor], Tensor], **options: Any) -> Any:
    """A model whose class does `after` to its logits."""
    model = tiny_model(**options)

    class Changed(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = after(output.logits)
            return output

    model.__class__ = Changed
    return model


def masked(z: Tensor) -> Tensor:
    return z.index_fill(-1, torch.tensor([3, 50]), -torch.inf)


@pytest.mark.parametrize(
    ("after", "works"),
    [
        (lambda z: 4 * torch.tanh(z / 4), True),
        (lambda z: z.clamp(max=1.0), True),
        (lambda z: torch.where(z > 1, -torch.inf, z), True),
        (masked, False),
        (lambda z: z - z.logsumexp(-1, keepdim=True), False),
        (lambda z: z.flip(-1), False),
        (lambda z: z.roll(1, -1), False),
        (lambda z: z + torch.arange(VOCABULARY), False),
        (lambda z: z + 1e-4 * torch.arange(VOCABULARY), False),
    ],
    ids=[
        "cap", "clamp", "mask by value", "mask by word", "normed", "flip", "roll", "by word",
        "by word, a little",
    ],
)  # fmt: skip
def test_a_head_that_mixes_words_is_left_to_the_model(
    after: Callable[[Tensor], Tensor], works: bool
) -> None:
    anatomy = Anatomy.of(with_head(after))
    assert (Unembedding.of(anatomy) is not None) == works


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("after", "works"),
    [
        (lambda z: z, True),
        (lambda z: 4 * torch.tanh(z / 4), True),
        (lambda z: z.float(), True),
        (lambda z: z - z.logsumexp(-1, keepdim=True), False),
        (lambda z: z.flip(-1), False),
        (lambda z: z + 0.1 * torch.arange(VOCABULARY), False),
    ],
    ids=["plain", "cap", "upcast", "normed", "flip", "by word"],
)
def test_half_precision_hides_no_other_head(
    after: Callable[[Tensor], Tensor], works: bool, dtype: torch.dtype
) -> None:
    """Sums are taken in single precision, so that only their result is rounded by the half."""
    model = with_head(after, hidden_size=1024, num_hidden_layers=1)
    assert (Unembedding.of(Anatomy.of(model.to(dtype))) is not None) == works


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("cap", [2.0, 0.1])
def test_a_soft_cap_is_verified_whatever_the_order_of_the_sums(
    cap: float, turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries and processors order the sums of a product differently; a cap hides their size."""

    def in_turn(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        z = torch.zeros(len(a), b.shape[1])
        for k in range(len(b))[:: -1 if turned else 1]:
            z += a[:, k, None] * b[k]
        return z

    monkeypatch.setattr("empirical.model.unembedding._product", in_turn)
    head_of(tiny_model("gemma2", final_logit_softcapping=cap))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_multiplied_in_single_precision(dtype: torch.dtype) -> None:
    _, head = head_of(tiny_model().to(dtype))
    x = states().to(dtype)
    exact = x.double() @ head.linear.weight.double().T
    for z in (head.product(x, True), head.product(x, False), head.logits(x.T).T):
        assert z.dtype == torch.float32
        assert (z - exact).abs().max() < 1e-4
    # Negative control: the model's own product is rounded to half precision.
    assert (head.linear(x) - exact).abs().max() > 1e-3


def test_weights_that_are_replaced_are_seen() -> None:
    model = tiny_model()
    _, head = head_of(model)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    torch.testing.assert_close(head.product(states(), False), model.lm_head(states()))


def test_modules_that_do_more_than_they_say_are_left_alone() -> None:
    class Adapted(nn.Linear):
        pass

    for change in (
        lambda m: setattr(m.lm_head, "forward", m.lm_head.forward),
        lambda m: m.lm_head.register_forward_hook(lambda *a: None),
        lambda m: m.lm_head.register_forward_pre_hook(lambda *a: None),
        lambda m: setattr(m.lm_head, "__class__", Adapted),
    ):
        model = tiny_model()
        change(model)
        assert Unembedding.of(Anatomy.of(model)) is None


# Statistics by tiles -----------------------------------------------------------------------------


def lens_with(anatomy: Anatomy) -> AbstractLens:
    generator = torch.Generator().manual_seed(5)
    translation = Translation(
        (0.1 * torch.randn(32, 32, generator=generator),), torch.randn(32, generator=generator)
    )
    corrections = {1: Correction(1.7), 2: Correction(0.6, translation), 3: Correction(1.0)}
    return CalibratedLens(anatomy, corrections, "made up")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma2", "cohere", "gpt2"])
@pytest.mark.parametrize("calibrated", [False, True], ids=["raw", "calibrated"])
@pytest.mark.parametrize("side", [16, 512])
def test_tiles_give_the_statistics_of_double_precision(
    family: str, calibrated: bool, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("empirical.capture.tiles.tile_of", lambda device: side)
    model = tiny_model(family)
    anatomy, head = head_of(model)
    lens = lens_with(anatomy) if calibrated else RawLens(anatomy)
    reader = reader_for(anatomy, lens, tokens(), head)
    assert isinstance(reader, TileReader)
    for layer in range(1, LAYERS + 1):
        reader.add(layer, states(layer))
    seen = reader.read()
    assert seen.entropy.shape == (LAYERS, ROWS)
    double = Anatomy.of(tiny_model(family).double())
    exact = lens_with(double) if calibrated else RawLens(double)
    with torch.no_grad():
        z = torch.stack(
            [exact.read(layer, states(layer).double()[None])[0] for layer in range(1, LAYERS + 1)]
        )
    log_p = z.log_softmax(2)
    entropy = torch.special.entr(log_p.exp()).sum(2)
    assert (seen.entropy - entropy).abs().max() < 1e-5
    chosen = log_p[:, torch.arange(ROWS), tokens()]
    torch.testing.assert_close(seen.log_prob.double(), chosen, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(seen.top1_prob.double(), log_p.amax(2).exp(), atol=1e-5, rtol=0)
    assert torch.equal(seen.top1, z.argmax(2))
    gain = torch.stack([expected(log_p[layer:]) for layer in range(LAYERS)])
    assert gain[0].mean() > 0.01
    assert (seen.hindsight_gain - gain).abs().max() < 1e-5
    for row, inverse in zip(seen.tempered, INVERSE_TEMPERATURES, strict=True):
        warm = (inverse * z[-1]).log_softmax(1)[torch.arange(ROWS), tokens()]
        torch.testing.assert_close(row.double(), warm, atol=1e-4, rtol=1e-5)


def test_tiles_of_a_head_with_a_bias_and_with_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias counts, and of equal logits in several tiles the first entry's is chosen."""
    side = 16
    monkeypatch.setattr("empirical.capture.tiles.tile_of", lambda device: side)
    model = tiny_model()
    model.lm_head = linear = nn.Linear(32, VOCABULARY).requires_grad_(False)
    _, head = head_of(model)
    alike = [3, 3 + 4 * side, 3 + 5 * side]
    linear.bias.normal_(generator=torch.Generator().manual_seed(1))
    linear.weight[alike], linear.bias[alike] = linear.weight[3].clone(), 50.0
    exact = linear(states()).log_softmax(1)
    found = read_tiles(head, states()[None], torch.ones(1), tokens())
    chosen = exact[torch.arange(ROWS), tokens()]
    torch.testing.assert_close(found.log_prob[0], chosen, atol=1e-4, rtol=1e-5)
    assert (found.top1 == 3).all()


def expected(log_p: Tensor) -> Tensor:
    """Mean, over tokens from the final layer's distribution, of what the best layer wins."""
    return (log_p[-1].exp() * (log_p.amax(0) - log_p[-1])).sum(-1)


def test_a_lens_or_head_of_another_kind_is_asked_for_its_logits() -> None:
    class Own(AbstractLens):
        name = "own"  # type: ignore[assignment]

        def read(self, layer: int, h: Tensor) -> Tensor:
            return h.repeat(1, 1, 4)[..., :VOCABULARY]

    anatomy, head = head_of(tiny_model())
    assert isinstance(reader_for(anatomy, Own(), tokens(), head), LensReader)
    assert isinstance(reader_for(anatomy, RawLens(anatomy), tokens(), None), LensReader)
    reader = reader_for(anatomy, Own(), tokens(), head)
    reader.add(1, states())
    expected = read_logits(Own().read(1, states()[None])[0], tokens())
    assert torch.equal(reader.read().entropy[0], expected.entropy)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_rows_without_numbers_are_named_with_their_layer(bad: float) -> None:
    anatomy, head = head_of(tiny_model())
    reader = reader_for(anatomy, RawLens(anatomy), tokens(), head)
    reader.add(1, states())
    h = states()
    h[11, 4] = bad
    reader.add(2, h)
    with pytest.raises(UserError, match=f"layer 2: logits: row 11 of {ROWS}"):
        reader.read()


def test_masked_words_contribute_nothing_and_a_row_of_them_is_refused() -> None:
    model = with_head(lambda z: torch.where(z > 1, -torch.inf, z))
    anatomy, head = head_of(model)
    x, one = states(), torch.ones(1)
    z = anatomy.headless(inputs_embeds=x[None]).logits[0].detach()
    assert torch.isinf(z).any()
    expected = read_logits(z, tokens())
    found = read_tiles(head, x[None], one, tokens())
    torch.testing.assert_close(found.entropy[0], expected.entropy, atol=1e-5, rtol=0)
    assert torch.equal(found.top1[0], expected.top1)
    several = read_tiles(head, torch.stack([states(1), x]), one.expand(2), tokens())
    assert torch.isfinite(several.hindsight_gain).all()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    none = head_of(with_head(lambda z: z - torch.inf))[1]
    with pytest.raises(UserError, match="no finite value"):
        read_tiles(none, x[None], one, tokens())
