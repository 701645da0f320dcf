"""The harness's record counts the tokens of the texts that it keeps, and reproduces itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoModelForCausalLM

from empirical.decoding.plan import ONE_BY_ONE
from empirical.evaluation.harness.counting import _ending_by, in_text
from empirical.evaluation.harness.model import ConfidentLM
from stopping.errors import UserError
from tests.empirical.tiny_models import byte_tokenizer, save_tiny_folder

pytestmark = pytest.mark.filterwarnings("ignore")
CONTEXTS = ["What is 7 + 5?", "Name a colour.", "One day in June", "x"]
LIMIT = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


class Seen(ConfidentLM):
    """Keeps what `generate` returned, without the prompts."""

    def _model_generate(self, context: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = super()._model_generate(context, *args, **kwargs)
        self.rows = [*getattr(self, "rows", []), *output[:, context.shape[1] :].tolist()]
        return output


def lm(folder: Path, kind: type[HFLM] = Seen, **arguments: Any) -> Any:
    return kind(str(folder), device="cpu", dtype="float32", **{"batch_size": 4, **arguments})


def write(model: HFLM, until: list[str], **settings: Any) -> list[str]:
    asked = {"until": until, "max_gen_toks": LIMIT, "do_sample": False, **settings}
    requests = [Instance("generate_until", {}, (c, asked), i) for i, c in enumerate(CONTEXTS)]
    texts: list[str] = model.generate_until(requests, disable_tqdm=True)
    return texts


@pytest.mark.parametrize("batch", [1, 4])
def test_a_row_counts_to_its_stop_string(folder: Path, batch: int) -> None:
    """Its batch goes on until every row has come to one."""
    free = lm(folder, window=2)
    text = write(free, ["\n"])[0]
    assert free.tally.tokens == LIMIT * len(CONTEXTS)
    stop = next(c for c in text if c.isascii() and c.isprintable())
    (number,) = free.tokenizer.encode(stop, add_special_tokens=False)
    stopped = lm(folder, window=2, batch_size=batch)
    texts = write(stopped, [stop])
    assert all(stop not in text for text in texts)
    lengths = [row.index(number) if number in row else len(row) for row in stopped.rows]
    assert min(lengths) < LIMIT
    assert stopped.tally.tokens == sum(lengths)


def test_a_row_that_repeats_itself_to_its_limit_counts_whole(folder: Path) -> None:
    model = lm(folder, window=2)
    head = model.model.lm_head
    head.weight.data[:], head.bias = 0, torch.nn.Parameter(torch.zeros(len(head.weight)))
    head.bias.data[70] = 1.0
    write(model, ["\n"])
    assert {tuple(row) for row in model.rows} == {(70,) * LIMIT}
    assert model.tally.tokens == LIMIT * len(CONTEXTS)


def test_an_end_of_text_and_what_fills_up_its_row_are_not_counted(folder: Path) -> None:
    model = lm(folder, window=2)
    write(model, ["\n"])
    end, first = model.rows[0][5], model.rows[0].index(model.rows[0][5])
    ended = lm(folder, window=2)
    ended.tokenizer.eos_token = ended.tokenizer.convert_ids_to_tokens(end)
    write(ended, ["\n"], eos_token_id=end)
    lengths = [row.index(end) if end in row else len(row) for row in ended.rows]
    assert lengths[0] == first < max(lengths)
    assert ended.tally.tokens == sum(lengths)


@pytest.mark.parametrize(
    ("text", "stop", "think", "kept"),
    [
        ("ab\ncd", ["\n"], None, "11000"),
        ("ab##cd", ["##"], None, "110000"),
        ("abcd", ["\n"], None, "1111"),
        ("\nab", ["\n"], None, "000"),
        ("so</t> ab\nc", ["\n"], "</t>", "00" + "0000" + "0" + "11" + "00"),
        ("so</t></t>ab", [], "</t>", "00" + "00000000" + "11"),
        ("\n ab c", ["\n"], "</t>", "00" + "1111"),
        ("ab|cd", [], ord("|"), "000" + "11"),
        ("", ["\n"], None, ""),
    ],
)
def test_tokens_of_a_text(
    folder: Path, text: str, stop: list[str], think: str | int | None, kept: str
) -> None:
    """Of a tokenizer with a token for each byte."""
    model = lm(folder, window=2)
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    if isinstance(think, int):
        (think,) = model.tokenizer.encode(chr(think), add_special_tokens=False)
    model.think_end_token = think
    assert "".join(map(str, in_text(model, ids, stop).astype(int))) == kept


def test_a_character_of_several_tokens_is_counted_whole(folder: Path) -> None:
    model = lm(folder, window=2)
    ids = model.tokenizer.encode("é€\nx", add_special_tokens=False)
    assert in_text(model, ids, ["\n"]).tolist() == [True] * 5 + [False] * 2
    # Cut at the limit within a character; and special tokens, which show nothing.
    assert in_text(model, ids[:4], ["\n"]).tolist() == [True] * 4
    assert in_text(model, [*ids[:2], 1, *ids[2:5], 2], ["\n"]).tolist() == [
        *(True, True, False, True, True, True, False)
    ]


def test_beams_answer_and_are_counted(folder: Path) -> None:
    beams = {"num_beams": 3}
    expected = write(lm(folder, HFLM), ["no end"], **beams)
    assert write(lm(folder, rule="final"), ["no end"], **beams) == expected
    searched = lm(folder, window=2)
    assert write(searched, ["no end"], **beams) != expected
    specials = set(searched.tokenizer.all_special_ids)
    assert searched.tally.tokens == sum(t not in specials for row in searched.rows for t in row)
    assert 0 < searched.tally.moved < searched.tally.tokens


@pytest.mark.parametrize(
    "settings",
    [
        {"num_return_sequences": 2, "do_sample": True},
        {"return_dict_in_generate": True},
        {"num_beams": 0},
        {"num_beams": "three"},
    ],
    ids=str,
)
def test_what_the_harness_cannot_take_is_refused_before_anything_is_written(
    folder: Path, settings: dict[str, Any]
) -> None:
    model = lm(folder, window=2)
    with pytest.raises(UserError, match=f"--gen_kwargs {next(iter(settings))}"):
        write(model, ["\n"], **settings)
    assert not hasattr(model, "rows")


def test_the_plan_is_fixed_unless_it_is_asked_for(folder: Path) -> None:
    fixed, measured = lm(folder), lm(folder, plan="measured")
    for model, name, one_by_one in ((fixed, "fixed", True), (measured, "measured", False)):
        assert model.get_model_info()["decoder_plan"] == name
        assert (model.decoding._piggybacks_on.plan is ONE_BY_ONE) == one_by_one
    with pytest.raises(UserError, match="plan=fast: choose from fixed, measured"):
        lm(folder, plan="fast")


@pytest.mark.slow
def test_an_adapter_of_peft_is_decoded_as_the_model_it_makes(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(folder)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = get_peft_model(base, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)  # an adapter that says something
    adapted.save_pretrained(tmp_path / "adapter")
    merged = shutil.copytree(folder, tmp_path / "merged")
    adapted.merge_and_unload().save_pretrained(merged)
    adapter = str(tmp_path / "adapter")
    through, whole, plain = lm(folder, window=2, peft=adapter), lm(merged, window=2), lm(folder)
    assert write(through, ["\n"]) == write(whole, ["\n"]) != write(plain, ["\n"])
    assert through.tally == whole.tally
    asked = [Instance("loglikelihood", {}, (c, " yes"), i) for i, c in enumerate(CONTEXTS)]
    scores = [
        [score for score, _ in model.loglikelihood(asked, disable_tqdm=True)]
        for model in (
            lm(folder, window=2, score="chosen", peft=adapter),
            lm(merged, window=2, score="chosen"),
            through,
        )
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4) != scores[2]


def test_a_character_may_show_each_of_its_bytes_until_it_is_complete() -> None:
    """As tokenizers do that fall back on bytes: the text's length goes up and down again."""
    lengths = [0, 1, 2, 3, 4, 2, 3, 4]  # a letter, a character of four tokens, two letters
    assert [_ending_by(place, lengths.__getitem__, 7) for place in range(5)] == [0, 1, 5, 6, 7]


@pytest.mark.slow
def test_greedy_runs_take_nothing_from_the_models_own_settings(tmp_path: Path) -> None:
    folder = save_tiny_folder(tmp_path / "tiny")
    file = folder / "generation_config.json"
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

    def texts(own: dict[str, Any], **asked: Any) -> list[str]:
        file.write_text(json.dumps({**tokens, **own}))
        model = lm(folder, window=2)
        before = model.model.generation_config
        found = write(model, ["\n"], **asked)
        assert model.model.generation_config is before
        return found

    own = {"no_repeat_ngram_size": 1, "repetition_penalty": 3.0, "do_sample": True, "top_k": 3}
    for asked in ({}, {"do_sample": None}, {"do_sample": None, "temperature": 0.0}):
        assert texts(own, **asked) == texts({}, **asked)
    # What is asked for is done, and a run that draws is as the harness has it.
    assert texts(own, no_repeat_ngram_size=1) != texts({})
    draws = {"do_sample": True, "temperature": 1.0}
    one_word = {"top_k": 1, "no_repeat_ngram_size": 1}
    assert texts(one_word, **draws) == texts({}, no_repeat_ngram_size=1)
    # The texts end where the model says.
    free = lm(folder, window=2)
    write(free, ["\n"])
    end = free.rows[0][3]
    texts({"eos_token_id": end})
    ended = lm(folder, window=2)
    write(ended, ["\n"])
    assert end in ended.rows[0][:4]
    assert set(ended.rows[0][4:]) <= {0}


def test_a_tokenizer_that_ends_each_prompt_is_refused(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    folder = save_tiny_folder(tmp_path / "ends")
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"puts </s> behind each prompt; set add_eos_token to"):
        lm(folder)
    assert write(lm(folder, add_bos_token=False), ["\n"])
