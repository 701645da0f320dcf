"""The hooks: errors, threads, copies and second decodings leave a model as it was."""

import copy
import pickle
import threading
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import GenerationConfig

from empirical.decoding import ConfidentDecoding
from empirical.model.anatomy import LensError
from stopping.errors import UserError
from stopping.rules import Search
from tests.empirical.decoding.decoder_models import (
    ARCHITECTURES,
    DEPTH,
    GREEDY,
    LONG,
    SHORT,
    WORDS,
    K,
    decode,
)


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.set_num_threads(1)
    return ARCHITECTURES["llama"].build()


@pytest.mark.slow
def test_threads_may_share_a_decoding(llama: Any) -> None:
    expected = [decode(llama, ids)[0] for ids in (LONG, SHORT)]
    found: dict[int, tuple[Tensor, int]] = {}
    with ConfidentDecoding(llama, Search(K)) as decoding:

        def work(number: int, ids: Tensor) -> None:
            for _ in range(3):
                output = llama.generate(ids, **GREEDY)
            found[number] = output, int(decoding.statistics.position[0, 0])

        threads = [
            threading.Thread(target=work, args=(number, ids))
            for number, ids in enumerate((LONG, SHORT))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with pytest.raises(UserError, match="several threads"):
            _ = decoding.statistics
    assert torch.equal(found[0][0], expected[0])
    assert torch.equal(found[1][0], expected[1])
    assert (found[0][1], found[1][1]) == (6, 3)


def hooks_of(model: Any) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    )


def test_hooks_are_gone_after_an_error(llama: Any) -> None:
    plain = llama.generate(LONG, **GREEDY)
    decoding = ConfidentDecoding(llama, Search(K))
    with decoding:
        assert hooks_of(llama) > DEPTH
    assert hooks_of(llama) == 0
    with pytest.raises(ZeroDivisionError), decoding:
        raise ZeroDivisionError
    assert hooks_of(llama) == 0
    assert "get_compiled_call" not in vars(llama)
    assert not decoding.attached
    decoding.detach()
    assert torch.equal(llama.generate(LONG, **GREEDY), plain)


def test_an_error_inside_a_forward_pass_leaves_nothing_behind(llama: Any) -> None:
    usual, _ = decode(llama)
    with ConfidentDecoding(llama, Search(K)) as decoding:
        with pytest.raises(IndexError):
            llama.generate(torch.tensor([[WORDS + 5]]), **GREEDY)
        assert torch.equal(llama.generate(LONG, **GREEDY), usual)
        assert decoding.statistics.position[0, 0] == 6
    assert hooks_of(llama) == 0


def test_a_second_decoding_is_refused(llama: Any) -> None:
    second = ConfidentDecoding(llama, Search(K))
    with ConfidentDecoding(llama, Search(K)) as first:
        for again in (second.attach, first.attach, lambda: ConfidentDecoding(llama)):
            with pytest.raises(UserError, match="attached"):
                again()
    with second:
        assert second.attached


def test_copies_are_refused_while_attached(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)):
        for take in (copy.deepcopy, pickle.dumps):
            with pytest.raises(UserError, match="copied or pickled"):
                take(llama)
    assert torch.equal(
        copy.deepcopy(llama).generate(LONG, **GREEDY), llama.generate(LONG, **GREEDY)
    )


def test_parameters_keep_their_names(llama: Any) -> None:
    names = set(llama.state_dict())
    with ConfidentDecoding(llama, Search(K)):
        assert set(llama.state_dict()) == names


def test_nan_is_an_error() -> None:
    model = ARCHITECTURES["llama"].build(torch.float32)
    model.model.norm.weight.data[0] = torch.nan
    with pytest.raises(LensError):
        ConfidentDecoding(model)
    sound = ARCHITECTURES["llama"].build(torch.float32)
    with ConfidentDecoding(sound, Search(K)):
        sound.model.norm.weight.data[0] = torch.nan
        with pytest.raises(UserError, match="NaN"):
            sound.generate(LONG, **GREEDY)


def test_encoder_decoders_are_refused() -> None:
    config = transformers.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=4, d_ff=16, num_layers=2, num_heads=2
    )
    with pytest.raises(LensError, match="encoder-decoder"):
        ConfidentDecoding(transformers.T5ForConditionalGeneration(config))


def test_statistics_are_of_the_last_generation(llama: Any) -> None:
    with ConfidentDecoding(llama, Search(K)) as decoding:
        with pytest.raises(UserError, match="nothing"):
            _ = decoding.statistics
        llama.generate(LONG, **GREEDY)
        llama.generate(SHORT, generation_config=GenerationConfig(max_new_tokens=4))
        assert decoding.statistics.position.tolist() == [[3, 4, 5, 6]]
        assert decoding.latest.position.tolist() == [[6]]
    with pytest.raises(UserError, match="seed"):
        ConfidentDecoding(llama, seed=-1)


def test_a_pass_that_leaves_layers_out_is_refused(llama: Any) -> None:
    layers = llama.model.layers
    with ConfidentDecoding(llama, Search(K)):
        llama.model.layers = nn.ModuleList([*layers[:-2], layers[-1]])
        try:
            with pytest.raises(UserError, match=r"did not run the hooks of layer\(s\) \[5\]"):
                llama.generate(LONG, **GREEDY)
        finally:
            llama.model.layers = layers
