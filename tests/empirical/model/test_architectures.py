"""The anatomy, the lens and the decoder on a tiny model of every family."""

from dataclasses import astuple, fields

import pytest
import torch
from torch import Tensor, nn

from book._tools import architectures
from book._tools.architectures import PAGE, PROMPT, REFUSAL, Finding
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy, LensError
from stopping.rules import AbstractRule, Final, WindowMinimum
from tests.empirical.model.families import FAMILIES, REFUSED, Family, build

OFFERED = [family for family in FAMILIES if family.offered]


def by_name(family: Family) -> str:
    return family.name


@pytest.fixture(scope="module", params=OFFERED, ids=by_name)
def family(request: pytest.FixtureRequest) -> Family:
    chosen: Family = request.param
    return chosen


@pytest.fixture(scope="module")
def model(family: Family) -> nn.Module:
    return build(family)


@pytest.fixture(scope="module")
def page() -> dict[str, str]:
    return architectures.rows(PAGE.read_text())


@pytest.mark.slow
def test_the_lens_and_the_decoder_are_exact(
    family: Family, model: nn.Module, page: dict[str, str]
) -> None:
    finding = architectures.look_at(family, model)
    assert finding.head == family.head
    assert finding.lens in ("exact", "to rounding")
    assert finding.any_layer in ("exact", "to rounding")
    assert finding.decoder == "identical"
    assert page[family.name] == architectures.row(finding)


@pytest.mark.slow
def test_the_checks_bite(family: Family, model: nn.Module) -> None:
    """A lens that forgets the final norm or the head's caps is told from the model's own."""
    anatomy = Anatomy.of(model)
    states, logits = architectures.forward(model, anatomy)
    with torch.inference_mode():
        normless = anatomy.headless(inputs_embeds=states[-1]).logits
        normed = _through(anatomy, states[-1])
        double = anatomy.lens(normed)
        hidden = model(input_ids=PROMPT, output_hidden_states=True).hidden_states
    assert torch.equal(hidden[-1], normed)
    assert architectures.exactness(normless, logits).startswith("off by")
    assert architectures.exactness(double, logits).startswith("off by")
    if family.head != "none":
        with torch.inference_mode():
            bare = model.get_output_embeddings()(normed)  # type: ignore[operator]
        gap = (_entropy(bare) - _entropy(logits)).abs()
        # Large against the steps between layers that a search looks at.
        assert gap.min() > 0.05, f"{family.head} changes entropies by {gap.tolist()}"
    depths = [depth for _, depth in architectures.loop(model, anatomy)]
    assert any(depths), "the search never leaves the final layer, so that nothing is tested"


@pytest.mark.slow
@pytest.mark.parametrize("other", [Final(), WindowMinimum(architectures.K)], ids=str)
def test_another_rule_is_told_from_the_search(other: AbstractRule) -> None:
    deep = next(family for family in OFFERED if family.name == "Qwen3")
    model = build(deep)
    anatomy = Anatomy.of(model)
    assert architectures.decoder(model, anatomy) == "identical"
    assert architectures.decoder(model, anatomy, other) != "identical"


@pytest.mark.parametrize("unusual", [f for f in REFUSED if f.offered], ids=by_name)
def test_what_cannot_be_read_is_refused(unusual: Family, page: dict[str, str]) -> None:
    model = build(unusual)
    with pytest.raises(LensError, match=f"^{type(model).__name__}: .*not supported"):
        Anatomy.of(model)
    finding = architectures.look_at(unusual, model)
    assert finding.decoder == REFUSAL
    assert page[unusual.name] == architectures.row(finding)


def test_the_page_has_a_row_for_every_family(page: dict[str, str]) -> None:
    assert list(page) == [family.name for family in (*FAMILIES, *REFUSED)]
    assert all(row.count("|") == len(architectures.HEADS) + 1 for row in page.values())


def test_deviations_are_reported_by_size() -> None:
    logits = torch.tensor([1.0, -4.0])
    unit = float(torch.finfo(torch.float32).eps)
    assert architectures.exactness(logits.clone(), logits) == "exact"
    assert architectures.exactness(logits + 10 * unit, logits) == "to rounding"
    assert architectures.exactness(logits + 1e-3, logits) == "off by 0.001"


def test_a_rewritten_page_keeps_rows_that_nothing_was_found_for() -> None:
    finding = Finding("A", *(f"x{i}" for i in range(1, len(fields(Finding)))))
    other = "| B | old |"
    text = f"before\n{architectures.BEGIN}\nhead\n---\n{other}\n{architectures.END}\nafter\n"
    written = architectures.rewritten(text, [finding])
    assert architectures.rows(written) == {"A": architectures.row(finding), "B": other}
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert all(value in architectures.row(finding) for value in astuple(finding))


def _through(anatomy: Anatomy, h: Tensor) -> Tensor:
    for module in anatomy.final_norm:
        assert isinstance(module, nn.Module)
        h = module(h)
    return h


def _entropy(logits: Tensor) -> Tensor:
    z = logits[0]
    return read_logits(z, torch.zeros(len(z), dtype=torch.long)).entropy
