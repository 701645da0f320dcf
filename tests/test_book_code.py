"""The code that the book shows without running it: run here, on a tiny model."""

import re
from pathlib import Path

import pytest
import transformers

from tests.empirical.tiny_models import byte_tokenizer, tiny_model

PAGES = Path(__file__).parents[1] / "book" / "pages"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(page: str) -> list[str]:
    return BLOCK.findall((PAGES / page).read_text("utf-8"))


@pytest.mark.slow
def test_the_decoders_page_runs_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = byte_tokenizer()
    model = tiny_model(
        num_hidden_layers=12,
        vocab_size=len(tokenizer),
        eos_token_id=None,
        max_position_embeddings=256,
    )
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda name: tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda name: model)
    blocks = blocks_of("decoder.md")
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    assert "40 tokens, " in said
    assert len(said.splitlines()) >= 42
