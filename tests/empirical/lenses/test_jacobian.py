"""The mean Jacobian of models that are known: linear layers, and texts that must not mix."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from empirical.lenses import fit_lens, read_lens
from empirical.lenses.jacobian import mean_jacobians
from empirical.model.anatomy import Anatomy
from empirical.texts import Text
from stopping.errors import UserError
from tests.empirical.lenses.test_lenses import origin_of, texts_of
from tests.empirical.tiny_models import LAYERS, VOCABULARY, tiny_model

WIDTH, WORDS = 6, 20


class Layer(nn.Module):
    """`h + h A' + mixing of the position before`, and something curved where asked."""

    def __init__(self, seed: int, mixing: float, curved: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.matrix = nn.Parameter(0.3 * torch.randn(WIDTH, WIDTH, generator=generator))
        self.mixing, self.curved = mixing, curved

    def forward(self, h: Tensor) -> Tensor:
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
        return h + h @ self.matrix.T + self.mixing * before + self.curved * torch.sin(3 * h)


class Decoder(nn.Module):
    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.embedding = nn.Embedding(WORDS, WIDTH)

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> Any:
        h = self.embedding(input_ids)
        for layer in self.layers:
            h = layer(h)
        return SimpleNamespace(last_hidden_state=h)


def linear_model(mixing: float = 0.0, curved: float = 0.0) -> Anatomy:
    torch.manual_seed(0)
    decoder = Decoder([Layer(seed, mixing, curved) for seed in range(3)])
    return Anatomy(tuple(decoder.layers), decoder, (), nn.Identity(), WORDS)


def texts(count: int, length: int = 12) -> list[Text]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, WORDS, (count, length), generator=generator).tolist()
    return [Text(i, tuple(row[:3]), tuple(row[3:])) for i, row in enumerate(ids)]


def truth(anatomy: Anatomy, layer: int) -> Tensor:
    """Product of the layers above `layer`."""
    found = torch.eye(WIDTH)
    for above in anatomy.layers[layer:]:
        assert isinstance(above, Layer)
        found = (torch.eye(WIDTH) + above.matrix.detach()) @ found
    return found


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.norm())


def test_linear_layers_are_found_exactly_and_undone() -> None:
    anatomy = linear_model()
    found = mean_jacobians(anatomy, texts(10), [1, 2], seed=0)
    for layer, jacobian in found.items():
        assert distance(jacobian.matrix, truth(anatomy, layer)) < 1e-5
        assert jacobian.error < 1e-5
    # The translation then gives the final state itself.
    h = torch.randn(1, 5, WIDTH)
    moved = found[1].translation(h)
    torch.testing.assert_close(moved, h @ truth(anatomy, 1).T, rtol=1e-4, atol=1e-4)
    # Negative control: the matrix of another layer.
    assert distance(found[1].matrix, truth(anatomy, 2)) > 0.1


def test_other_positions_average_out_and_the_error_says_how_far() -> None:
    """Positions mix, so that the estimate errs; by what it says, and less on more texts."""
    anatomy = linear_model(mixing=0.5)
    few, many = (mean_jacobians(anatomy, texts(n), [1], seed=0)[1] for n in (10, 640))
    for found in (few, many):
        # Two halves tell the error to within a factor, of 36 entries.
        assert 0.5 < distance(found.matrix, truth(anatomy, 1)) / found.error < 2
    # Eight times fewer errors are expected of 64 times the texts.
    assert many.error < few.error / 4


def test_the_mean_of_a_curved_layer_is_the_mean_of_its_derivatives() -> None:
    anatomy = linear_model(curved=0.2)
    some = texts(300)
    found = mean_jacobians(anatomy, some, [2], seed=0)[2]
    layer = anatomy.layers[2]
    assert isinstance(layer, Layer)
    states: list[Tensor] = []
    for text in some:
        with (
            torch.no_grad(),
            anatomy.listening(
                lambda n, h, keep=states, text=text: keep.append(h[0, 2:-1]) if n == 2 else None
            ),
        ):
            anatomy.decoder(input_ids=torch.tensor([text.ids]))
    slopes = 0.2 * 3 * torch.cos(3 * torch.cat(states)).mean(0)
    expected = torch.eye(WIDTH) + layer.matrix.detach() + torch.diag(slopes)
    assert distance(found.matrix, expected) < 2 * found.error < 0.2
    without = torch.eye(WIDTH) + layer.matrix.detach()
    assert distance(found.matrix, without) > distance(found.matrix, expected)


def test_too_few_positions_are_refused() -> None:
    with pytest.raises(UserError, match="too few"):
        mean_jacobians(linear_model(), texts(1), [1], seed=0)


def test_a_whole_jacobian_lens(tmp_path: Path) -> None:
    anatomy = Anatomy.of(tiny_model())
    path = tmp_path / "jacobian.safetensors"
    origin = origin_of(
        anatomy, kind="jacobian", rank=None, target="reference", epochs=0, final_too=True
    )
    content = fit_lens(anatomy, texts_of(20), origin, path)
    assert content.name.startswith("jacobian, reference, ")
    assert sorted(content.corrections) == list(range(1, LAYERS + 1))
    assert sorted(content.errors) == list(range(1, LAYERS))
    assert content.corrections[LAYERS].translation is None
    read = read_lens(path)
    assert read.errors == content.errors
    assert read.fingerprint == content.fingerprint
    lens = read.lens(anatomy)
    assert lens.read(1, torch.randn(1, 2, 32)).shape == (1, 2, VOCABULARY)
