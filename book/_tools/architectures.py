"""What holds for each family of models, found out on tiny random ones.

    python -m book._tools.architectures

looks at every family and writes the table of `book/pages/architectures.md`; a test does the same
and compares. A family that the installed transformers does not offer is left as it stands.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from empirical.decoding import ConfidentDecoding
from empirical.logits.readout import read_logits
from empirical.model.anatomy import Anatomy, LensError
from stopping.rules import AbstractRule, Final, Search
from stopping.support.files import write_atomic
from tests.empirical.model.families import FAMILIES, REFUSED, Family, build

PAGE = Path(__file__).parents[2] / "book" / "pages" / "architectures.md"
BEGIN, END = "<!-- table: python -m book._tools.architectures -->", "<!-- end of table -->"

PROMPT = torch.tensor([[5, 7, 11, 13, 17, 23]])
NEW_TOKENS = 8
K = 3
SEARCH = Search(K=K)
REFUSAL = "refused"


@dataclass(frozen=True)
class Finding:
    """One row of the table, all of it observed."""

    family: str
    model: str
    layers: str
    final_norm: str
    head: str
    lens: str
    any_layer: str
    decoder: str


def look_at(family: Family, model: nn.Module) -> Finding:
    """Take the anatomy of a family's model and put it to the test."""
    try:
        anatomy = Anatomy.of(model)
    except LensError:
        return Finding(family.name, type(model).__name__, "–", "–", "–", "–", "–", REFUSAL)
    states, logits = forward(model, anatomy)
    names = {module: name for name, module in model.named_modules()}
    return Finding(
        family=family.name,
        model=type(model).__name__,
        layers=f"`{names[anatomy.layers[0]].removesuffix('.0')}`",
        final_norm=", ".join(f"`{names[module]}`" for module in anatomy.final_norm) or "none",
        head=after_unembedding(model, anatomy, states[-1]),
        lens=exactness(lens(anatomy, states[-1]), logits),
        any_layer=any_layer(model, anatomy, states),
        decoder=decoder(model, anatomy),
    )


def prompt(model: nn.Module) -> Tensor:
    """The prompt, where the model is."""
    return PROMPT.to(next(model.parameters()).device)


def lens(anatomy: Anatomy, h: Tensor) -> Tensor:
    """Logits of states, without gradients."""
    with torch.inference_mode():
        return anatomy.lens(h)


def forward(
    model: nn.Module, anatomy: Anatomy, ids: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """Residual states of layers 0 to L and the model's own logits."""
    states: list[Tensor] = []
    with torch.inference_mode(), anatomy.listening(lambda _, h: states.append(h.clone())):
        logits: Tensor = model(
            input_ids=prompt(model) if ids is None else ids, use_cache=False
        ).logits
    return states, logits


def exactness(seen: Tensor, expected: Tensor) -> str:
    """`exact`, `to rounding` (a few units in the last place), or by how much both differ."""
    if torch.equal(seen, expected):
        return "exact"
    error = float((seen - expected).abs().max())
    rounding = 16 * torch.finfo(expected.dtype).eps * float(expected.abs().max())
    return "to rounding" if error <= rounding else f"off by {error:.1g}"


def any_layer(model: nn.Module, anatomy: Anatomy, states: list[Tensor]) -> str:
    """Let the final layer return another layer's states, also 30 times amplified ones."""
    amplified = [scale * h for h in states[:-1] for scale in (1.0, 30.0)]
    expected = []
    for h in amplified:
        with torch.inference_mode(), _returning(anatomy.layers[-1], h):
            expected.append(model(input_ids=prompt(model), use_cache=False).logits)
    return exactness(torch.cat([lens(anatomy, h) for h in amplified]), torch.cat(expected))


def _returning(layer: nn.Module, h: Tensor) -> Any:
    return layer.register_forward_hook(
        lambda module, args, output: h if isinstance(output, Tensor) else (h, *output[1:])
    )


def after_unembedding(model: Any, anatomy: Anatomy, h: Tensor) -> str:
    """Tell what the model does to the unembedded state: nothing, a scale, a soft cap."""
    z = lens(anatomy, h)
    with torch.inference_mode():
        for module in anatomy.final_norm:
            h = module(h)
        raw = model.get_output_embeddings()(h)
    if exactness(z, raw) in ("exact", "to rounding"):
        return "none"
    ratio = float((z * raw).sum() / (raw * raw).sum())
    if torch.allclose(z, ratio * raw, rtol=1e-5):
        return f"× {ratio:.4g}"
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap is not None and torch.allclose(z, cap * torch.tanh(raw / cap), rtol=1e-5):
        return f"soft cap at {cap:g}"
    return "something else"


def decoder(model: nn.Module, anatomy: Anatomy, searching: AbstractRule = SEARCH) -> str:
    """`identical` if nothing changes where nothing may, and the search finds what the loop does."""
    plain = generated(model, None)
    for rule in (Final(), Search(K=K, p=0.0), Search(K=0)):
        if generated(model, rule) != plain:
            return f"{rule.name} changes the text"
    if generated(model, searching) != [token for token, _ in loop(model, anatomy)]:
        return "another search than the loop's"
    return "identical"


def generated(model: Any, rule: AbstractRule | None) -> list[int]:
    """Greedy continuation of the prompt, under a rule or with no hook at all."""
    settings: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
    ids = prompt(model)
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        if rule is None:
            output = model.generate(ids, attention_mask=mask, **settings)
        else:
            with ConfidentDecoding(model, rule=rule):
                output = model.generate(ids, attention_mask=mask, **settings)
    tokens: list[int] = output[0, PROMPT.shape[1] :].tolist()
    return tokens


def loop(model: nn.Module, anatomy: Anatomy) -> list[tuple[int, int]]:
    """Tokens and depths of the search by a plain loop: no cache, the window read at every step."""
    ids, steps = prompt(model), []
    for _ in range(NEW_TOKENS):
        states, _logits = forward(model, anatomy, ids)
        z = torch.cat([lens(anatomy, h[:, -1:])[0] for h in states[-K - 1 :]])
        seen = read_logits(z, torch.zeros(len(z), dtype=torch.long, device=z.device))
        column = int(SEARCH.choose(seen.entropy.cpu().numpy()[None])[0])
        steps.append((int(seen.top1[column]), K - column))
        ids = torch.cat([ids, seen.top1[column].reshape(1, 1)], dim=1)
    return steps


HEADS = ("family", "decoder", "lens: final / any layer", "after unembedding", "layers, final norm")


def row(finding: Finding) -> str:
    """One row of the table in Markdown: few columns, what was found first, so that all is seen."""
    model = finding.model.replace("For", "<wbr>For")
    alike = finding.lens == finding.any_layer
    cells = (
        f"{finding.family}<br><small>{model}</small>",
        finding.decoder,
        finding.lens if alike else f"{finding.lens} / {finding.any_layer}",
        finding.head,
        f"{finding.layers}<br>{finding.final_norm}",
    )
    return f"| {' | '.join(cells)} |"


def rows(page: str) -> dict[str, str]:
    """Rows of the page's table by family."""
    found = re.search(f"{BEGIN}\n(.*?)\n{END}", page, re.DOTALL)
    lines = found[1].splitlines()[2:] if found else []
    return {line.split("|")[1].partition("<br>")[0].strip(): line for line in lines}


def rewritten(page: str, findings: list[Finding]) -> str:
    """The page with a new table; rows of families that were not looked at stay."""
    lines = rows(page) | {finding.family: row(finding) for finding in findings}
    order = [family.name for family in (*FAMILIES, *REFUSED)]
    body = sorted(lines, key=lambda name: order.index(name) if name in order else len(order))
    table = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    whole = "\n".join([BEGIN, *table, *(lines[name] for name in body), END])
    before, _, rest = page.partition(BEGIN)
    return before + whole + rest.partition(END)[2]


def main() -> None:
    """Write the table into the page."""
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    findings = [
        look_at(family, build(family)) for family in (*FAMILIES, *REFUSED) if family.offered
    ]
    write_atomic(PAGE, rewritten(PAGE.read_text(), findings))


if __name__ == "__main__":
    main()
