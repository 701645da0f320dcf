"""Prompts reach the model whole, in ordinary tokens, or the run is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from empirical.decoding.writing import encode
from empirical.model.load import LoadedModel
from empirical.problems import Problem
from empirical.prompts import encode_parts, parts_of
from empirical.texts import encode_prompt, reference_texts
from stopping.errors import UserError
from tests.empirical.tiny_models import byte_tokenizer, tiny_model

BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    return tiny_model(vocab_size=259, max_position_embeddings=1024)


@pytest.fixture
def loaded(model: Any) -> LoadedModel:
    return LoadedModel(model, byte_tokenizer(chat=True), "tiny", {})


def framing(loaded: LoadedModel) -> LoadedModel:
    """A tokenizer that begins each text with <s> and ends it with </s>."""
    loaded.tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return loaded


def problem(prompt: str, solution: str) -> Problem:
    return Problem("a", "user", "user", 0, prompt, solution, "")


# ---- what the tokenizer puts around a text


@pytest.mark.parametrize("prompt", ["ab", "a", "</s>", "Why?\n"])
def test_nothing_ends_the_text_between_prompt_and_completion(
    loaded: LoadedModel, prompt: str
) -> None:
    letters = byte_tokenizer().encode(prompt, split_special_tokens=True)
    assert encode(framing(loaded), prompt, False) == [BOS, *letters]
    text = reference_texts(loaded, [(0, problem(prompt, "So."))], False)[0]
    assert text.prompt_ids == (BOS, *letters, *byte_tokenizer().encode("\n"))
    assert text.completion_ids == tuple(byte_tokenizer().encode("So."))


def test_a_tokenizer_without_a_fast_backend_ends_no_prompt_either(model: Any) -> None:
    tokenizer = ByT5Tokenizer()
    assert tokenizer.encode("ab") == [100, 101, tokenizer.eos_token_id]
    found = encode(LoadedModel(model, tokenizer, "tiny", {}), "ab </s>", False)
    assert found == [3 + byte for byte in b"ab </s>"]


# ---- control tokens that a text spells


def test_text_that_looks_like_a_control_token_stays_text(loaded: LoadedModel) -> None:
    spelled = problem("Write </s> in <s>HTML<pad>", "a</s>b")
    for chat, control in ((False, [BOS]), (True, [BOS, EOS, BOS])):
        text = reference_texts(framing(loaded), [(0, spelled)], chat)[0]
        assert [token for token in text.prompt_ids if token < 3] == control
        assert spelled.prompt in loaded.tokenizer.decode(text.prompt_ids)
        assert min(text.completion_ids) >= 3
        assert loaded.tokenizer.decode(text.completion_ids) == "a</s>b"
        generates_from = encode(loaded, spelled.prompt, chat)
        assert [token for token in generates_from if token < 3] == control
        assert spelled.prompt in loaded.tokenizer.decode(generates_from)


def test_control_tokens_across_the_border_of_prompt_and_completion(loaded: LoadedModel) -> None:
    parts = (*parts_of(loaded, "a</", False), *parts_of(loaded, "s>b", False))
    assert EOS not in encode_parts(loaded, parts, begins=False)


def sentencepiece(prepend: str) -> Any:
    """A tokenizer whose pieces begin with a space, where `prepend` says so, and which merges."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁"]
    merged = ["▁[", "▁W", "[I", ">["]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: number for number, word in enumerate([*words, *merged])},
            merges=[(word[0], word[1]) for word in merged],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("prepend", ["first", "always", "never"])
def test_cutting_at_control_tokens_leaves_all_else_as_it_was(model: Any, prepend: str) -> None:
    """The tokens are those of the same text with another word where the control token stands."""
    tokenizer = sentencepiece(prepend)
    tokenizer.chat_template = (
        "<s>{% for m in messages %}[INST] {{ m['content'] }} [/INST]</s>{% endfor %}"
    )
    loaded = LoadedModel(model, tokenizer, "tiny", {})
    for chat in (False, True):
        found = encode_prompt(loaded, "Write </s>é", chat)
        plain = encode_prompt(loaded, "Write @é", chat)
        at = plain.index(tokenizer.convert_tokens_to_ids("@"))
        letters = tokenizer.convert_tokens_to_ids(list("</s>"))
        assert found == [*plain[:at], *letters, *plain[at + 1 :]]
    assert found[0] == BOS
    assert found[-1] == EOS


def test_a_token_that_cannot_be_spelled_is_refused(model: Any) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["%"]})
    with pytest.raises(UserError, match=r"tiny: the text spells %, which .* take it out"):
        encode_prompt(LoadedModel(model, tokenizer, "tiny", {}), "5 % of 40", False)


# ---- what the tokenizer leaves out


def letters_alone(unknown: str | None) -> Any:
    """A tokenizer of capital letters, which drops or replaces all others."""
    letters = {chr(code): code - 65 for code in range(65, 91)}
    specials = {} if unknown is None else {unknown: 26}
    tokenizer = Tokenizer(models.BPE(vocab=letters | specials, merges=[], unk_token=unknown))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


def test_letters_without_a_token_are_refused(model: Any) -> None:
    for unknown, message in (
        ("<unk>", "no token for some of the text, and would read <unk> there"),
        (None, "leaves out or changes some of the text: 'cD' would be read as 'D'"),
    ):
        loaded = LoadedModel(model, letters_alone(unknown), "tiny", {})
        assert encode_prompt(loaded, "ABD", False) == [0, 1, 3]
        with pytest.raises(UserError, match=message):
            encode_prompt(loaded, "ABcD", False)


def test_normalised_text_is_whole(loaded: LoadedModel) -> None:
    """A model that reads compatible letters, without regard to case and space, reads the text."""
    loaded.tokenizer._tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace("  ", " ")]
    )
    found = encode_prompt(loaded, "The ﬁrst  Café", False)
    assert loaded.tokenizer.decode(found) == "the first café"
    loaded.tokenizer._tokenizer.normalizer = normalizers.Replace("not ", "")
    with pytest.raises(UserError, match="'not go' would be read as 'go'"):
        encode_prompt(loaded, "Do not go", False)


def test_a_length_in_the_tokenizers_file_cuts_nothing(loaded: LoadedModel) -> None:
    loaded.tokenizer._tokenizer.enable_truncation(4)
    loaded.tokenizer._tokenizer.enable_padding(length=40)
    assert len(encode_prompt(loaded, "abcdefgh", False)) == 8


# ---- what the chat template does


def with_template(loaded: LoadedModel, template: Any) -> LoadedModel:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return replace(loaded, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "content",
    [
        "{{ m['content'][:8] }}",
        "{{ m['content'] | upper }}",
        "{{ m['content'].split('</think>')[-1] }}",
        "{{ m['content'] | replace('a', '') }}",
        "{{ m['content'].split() | join(' ') }}",
        "{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}",
        "{% if m['content'] | length < 12 %}{{ m['content'] }}{% endif %}",
        "{% for part in m['content'] %}{{ part['image'] }}{% endfor %}",
        "{{ m['content'][:1] }}",  # all of a list of parts
        "a",  # which the prompt has as well
    ],
)
def test_a_template_that_drops_or_changes_the_prompt_is_refused(
    loaded: LoadedModel, content: str
) -> None:
    tried = with_template(
        loaded, "{% for m in messages %}<s>user: " + content + "</s>{% endfor %}assistant:"
    )
    prompt = "I think</think> so\nand a lot more"
    with pytest.raises(UserError, match=r"tiny: .*drops or changes the prompt.*--chat off"):
        encode_prompt(tried, prompt, True)
    with pytest.raises(UserError, match="drops or changes the prompt"):
        reference_texts(tried, [(0, problem(prompt, "yes"))], True)
    assert encode_prompt(tried, prompt, False)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("{{ m['content'] }}", "  two \n words\n"),
        ("{{ m['content'] | trim }}", "two \n words"),
        ("{{ m['content'].lstrip() }}", "two \n words\n"),
        ("{{ m['content'].rstrip() }}", "  two \n words"),
        ("{% if m['content'] is not string %}{{ m['content'][0]['text'] }}{% endif %}", None),
        ("{{ m['content'] }} again: {{ m['content'] }}", None),
    ],
)
def test_templates_may_strip_repeat_or_want_typed_parts(
    loaded: LoadedModel, content: str, kept: str | None
) -> None:
    tried = with_template(loaded, "{% for m in messages %}<s>" + content + "</s>{% endfor %}")
    prompt = "  two \n words\n"
    text = tried.tokenizer.decode(encode_prompt(tried, prompt, True))
    words = prompt if kept is None else kept
    twice = f"{words} again: {words}" if "again" in content else words
    assert text == f"<s>{twice}</s>"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('a system message is needed') }}", "a system message is needed"),
        ("{% for m in messages %}{{ m }", "unexpected '}'"),
        ({"rag": "x"}, "no default"),
        ("{{ messages[1]['content'] }}", "no element 1"),
    ],
)
def test_a_template_that_fails_is_told(loaded: LoadedModel, template: Any, reason: str) -> None:
    tried = with_template(loaded, template)
    with pytest.raises(UserError, match=f"tiny: the chat template fails .*{reason}.*--chat off"):
        encode_prompt(tried, "Hi", True)


def test_bytes_that_are_no_utf8_are_told(loaded: LoadedModel) -> None:
    broken = b"caf\xe9".decode(errors="surrogateescape")
    for chat in (False, True):
        with pytest.raises(UserError, match="prompt: character 4 is no Unicode"):
            encode_prompt(loaded, broken, chat)
