"""The folder for `generate(custom_generate=...)`, loaded by transformers from its path."""

import pytest
import torch
from torch import Tensor

from empirical.decoding.custom_generate import FOLDER
from stopping.errors import UserError
from stopping.rules import Search, Tolerance
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    GREEDY,
    LONG,
    MASK,
    NEW,
    PADDED,
    decode,
)

# transformers warns that code from a folder is run.
pytestmark = pytest.mark.filterwarnings("ignore")
OURS = {"custom_generate": FOLDER, "trust_remote_code": True}


class Streamer:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.ended = False

    def put(self, value: Tensor) -> None:
        self.heard += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))


@pytest.mark.slow
def test_it_generates_as_the_decoder_does() -> None:
    model = ARCHITECTURES["llama"].build()
    expected, _ = decode(model, rule=Search(5))
    plain = model.generate(LONG, **GREEDY)
    assert not torch.equal(expected, plain)
    assert torch.equal(model.generate(LONG, **GREEDY, **OURS, window=5), expected)
    # Nothing stays attached, and p = 0 is ordinary decoding.
    assert torch.equal(model.generate(LONG, **GREEDY), plain)
    assert torch.equal(model.generate(LONG, **GREEDY, **OURS, p=0), plain)
    other, _ = decode(model, rule=Tolerance(0.2))
    found = model.generate(LONG, **GREEDY, **OURS, rule="tolerance:tau=0.2")
    assert torch.equal(found, other)


@pytest.mark.slow
def test_batches_streamers_and_beams_pass_through() -> None:
    model = ARCHITECTURES["llama"].build()
    expected, _ = decode(model, PADDED, Search(5), attention_mask=MASK)
    found = model.generate(PADDED, attention_mask=MASK, **GREEDY, **OURS, window=5)
    assert torch.equal(found, expected)
    streamer = Streamer()
    found = model.generate(LONG, **GREEDY, **OURS, window=5, streamer=streamer)
    assert streamer.heard == found[0].tolist()
    assert streamer.ended
    beams, _ = decode(model, rule=Search(5), num_beams=3)
    assert torch.equal(model.generate(LONG, **GREEDY, **OURS, window=5, num_beams=3), beams)
    assert beams.shape[1] == LONG.shape[1] + NEW


def test_mistakes() -> None:
    model = ARCHITECTURES["llama"].build()
    with pytest.raises(UserError, match="unknown kind"):
        model.generate(LONG, **GREEDY, **OURS, rule="serach")
    with pytest.raises(ValueError, match="trust_remote_code"):
        model.generate(LONG, **GREEDY, custom_generate=FOLDER, trust_remote_code=False)
