"""Models that can also see images, given text alone: read rightly, or refused in plain words."""

from typing import Any

import numpy as np
import pytest
import torch

from empirical.capture.batch import capture
from empirical.decoding import ConfidentDecoding
from empirical.lenses.states import gather
from empirical.model.anatomy import Anatomy, LensError
from empirical.provenance import Provenance
from empirical.texts import Text
from stopping.rules import FixedOffset
from tests.empirical.model.image_models import LAYERS, VOCABULARY, mllama, paligemma
from tests.empirical.tiny_models import FAMILIES, tiny_model

PROMPT = torch.tensor([[5, 7, 11, 13, 17, 23]])
NEW = 4


def test_layers_that_only_images_run_are_named() -> None:
    message = "Mllama.*: of its 4 layers only 2 run on a text alone .the others read images."
    with pytest.raises(LensError, match=message):
        Anatomy.of(mllama())


@pytest.mark.parametrize("bidirectional", [True, False])
def test_positions_count_from_0_whatever_the_model_calls_them(bidirectional: bool) -> None:
    model = paligemma(bidirectional)
    anatomy = Anatomy.of(model)
    assert (len(anatomy.layers), anatomy.first_position) == (LAYERS, 1)
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), PROMPT[:, :4]], dim=1)
    mask = torch.tensor([[1] * 6, [0] * 2 + [1] * 4])
    with ConfidentDecoding(model, FixedOffset(2), anatomy=anatomy) as decoding:
        model.generate(
            torch.cat([PROMPT, padded]), attention_mask=mask, max_new_tokens=NEW, do_sample=False
        )
    expected = [[*range(start, start + NEW)] for start in (6, 4)]
    np.testing.assert_array_equal(decoding.statistics.position, expected)


TEXTS = [Text(0, (5, 7), (11, 13, 17)), Text(1, (8,), (9, 21))]
PROVENANCE = Provenance("tiny", "Tiny", LAYERS, 32, VOCABULARY, "reference")


def test_a_model_that_reads_ahead_is_not_traced() -> None:
    """Its log-probabilities would be of tokens that it has seen."""
    anatomy = Anatomy.of(paligemma(bidirectional=True))
    assert not anatomy.causal
    with pytest.raises(LensError, match=r"^PaliGemma.* depends on those after it"):
        capture(anatomy, TEXTS, PROVENANCE)
    with pytest.raises(LensError, match="depends on those after it"):
        gather(anatomy, TEXTS, (LAYERS,), 5, np.random.default_rng(0))
    assert len(capture(Anatomy.of(tiny_model()), TEXTS, PROVENANCE)) == 5


@pytest.mark.parametrize("family", FAMILIES)
def test_models_for_text_read_no_token_ahead(family: str) -> None:
    anatomy = Anatomy.of(tiny_model(family))
    assert anatomy.causal
    assert anatomy.first_position == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_not_taken_for_reading_ahead(dtype: torch.dtype) -> None:
    model: Any = tiny_model("mixtral").to(dtype).train()
    anatomy = Anatomy.of(model)
    assert anatomy.causal
    assert model.training
    assert not Anatomy.of(paligemma(bidirectional=True).to(dtype)).causal
