"""Capture against its floor and what a user would write: `python -m benchmarks capture MODEL`.

The floor is a forward pass without the head, plus the lens's products in their faster orientation
and nothing else. The alternatives run the same forward pass, and then `log_softmax` layer by layer
(128 rows at a time), or one softmax over [layers, tokens, vocabulary] (as many tokens at a time as
fit in half a gigabyte).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import Row, interleave, machine, save, show
from empirical.anatomy import Anatomy
from empirical.capture import capture, last_layers
from empirical.head import Unembedding
from empirical.lenses import RawLens
from empirical.models import load_model
from empirical.problems import generate
from empirical.provenance import Provenance
from empirical.reading import TileReader
from empirical.texts import Text, reference_texts
from empirical.tiles import read_tiles

LIBRARIES = ("torch", "transformers", "numpy")
TARGETS = {"products alone": 1.25, "log_softmax by layer": 1.7, "softmax of all": 2.5}
_ROWS = 128
_BYTES = 512 << 20


class Case:
    """One batch of texts on one model, and every way to read it."""

    def __init__(self, anatomy: Anatomy, texts: list[Text], layers: int | None) -> None:
        head = Unembedding.of(anatomy)
        assert head is not None
        self.anatomy, self.texts, self.head = anatomy, texts, head
        self.probed = last_layers(len(anatomy.layers), layers)
        self.tokens = sum(len(text.completion_ids) for text in texts)
        self.ids, self.mask, self.keep = _padded(texts)

    @torch.inference_mode()
    def states(self) -> dict[int, Tensor]:
        """Run the decoder and keep the states of the traced rows, (n, hidden) by layer."""
        found: dict[int, Tensor] = {}

        def hear(layer: int, h: Tensor) -> None:
            if layer in self.probed:
                found[layer] = h[self.keep]

        with self.anatomy.listening(hear):
            self.anatomy.decoder(input_ids=self.ids, attention_mask=self.mask, use_cache=False)
        return found

    def ours(self) -> None:
        """All of `capture`, residual diagnostics included."""
        blank = Provenance("m", "M", len(self.anatomy.layers), 1, self.head.words, "reference")
        capture(self.anatomy, self.texts, blank, self.probed, batch=len(self.texts))

    @torch.inference_mode()
    def floor(self) -> None:
        """Forward pass, norms, products."""
        x = torch.cat([self.anatomy.normed(h[None])[0] for h in self.states().values()])
        weight, side = self.head.linear.weight, 512
        for block in torch.split(x, side):
            turned = block.T.contiguous()
            out = torch.empty(side, len(block))
            for start in range(0, self.head.words, side):
                tile = weight[start : start + side]
                torch.mm(tile, turned, out=out[: len(tile)])

    @torch.inference_mode()
    def by_layer(self) -> None:
        """`log_softmax` of each layer's logits."""
        for h in self.states().values():
            for rows in torch.split(h, _ROWS):
                log_p = torch.log_softmax(self.anatomy.lens(rows[None])[0], dim=-1)
                _ = -(log_p.exp() * log_p).sum(-1), log_p.max(-1), log_p[:, 0]

    @torch.inference_mode()
    def at_once(self) -> None:
        """Softmax over [layers, tokens, vocabulary]."""
        h = torch.stack(list(self.states().values()))
        few = max(1, _BYTES // (4 * self.head.words * len(h)))
        for some in torch.split(h, few, dim=1):
            p = torch.softmax(self.anatomy.lens(some), dim=-1)
            _ = -(p * torch.log(p + 1e-12)).sum(-1), p.max(-1), p[..., 0].log()

    @torch.no_grad()
    def error(self) -> float:
        """Largest error of an entropy against double precision, on a sample of rows, nats."""
        x = torch.cat([self.anatomy.normed(h[None])[0] for h in self.states().values()])
        x = x[:: max(1, len(x) // 64)][:64].clone()
        seen = read_tiles(self.head, x, torch.ones(len(x)), torch.zeros(len(x), dtype=torch.long))
        z = x.double() @ self.head.linear.weight.detach().double().T
        exact = torch.special.entr(z.softmax(1)).sum(1)
        return float((seen.entropy.double() - exact).abs().max())

    def megabytes(self) -> float:
        """Memory that reading the layers takes beyond the states."""
        states = self.states()
        tokens = torch.zeros(self.tokens, dtype=torch.long)
        return peak_megabytes(lambda: _read(self.anatomy, self.head, states, tokens))


def _read(anatomy: Anatomy, head: Unembedding, states: dict[int, Tensor], tokens: Tensor) -> None:
    reader = TileReader(RawLens(anatomy), tokens, head)
    with torch.inference_mode():
        for layer, h in states.items():
            reader.add(layer, h)
        reader.readouts()


def peak_megabytes(run: Callable[[], object]) -> float:
    """Most bytes that torch holds at any time during `run`, beyond those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    held = peak = 0
    for event in recorded.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 1e6


def _padded(texts: list[Text]) -> tuple[Tensor, Tensor, Tensor]:
    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask, keep = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text.ids)
        mask[row, : len(text)] = 1
        keep[row, len(text.prompt_ids) - 1 : len(text) - 1] = True
    return ids, mask, keep


def measure(model: str, texts: int, layers: int | None, rounds: int) -> Row:
    """One row of the table."""
    loaded: Any = load_model(model, device="cpu")
    anatomy = Anatomy.of(loaded.model)
    problems = list(enumerate(generate(texts, 0)))
    case = Case(anatomy, reference_texts(loaded, problems, chat=True), layers)
    times = interleave(
        {
            "ours": case.ours,
            "products alone": case.floor,
            "log_softmax by layer": case.by_layer,
            "softmax of all": case.at_once,
        },
        rounds,
    )
    return {
        "model": loaded.name,
        "layers": len(case.probed),
        "tokens": case.tokens,
        "rounds": rounds,
        "ours over its floor": times.ratio("ours", "products alone"),
        "log_softmax by layer over ours": times.ratio("log_softmax by layer", "ours"),
        "softmax of all over ours": times.ratio("softmax of all", "ours"),
        "tokens per CPU second": case.tokens / times.median("ours"),
        "MB beyond the states": case.megabytes(),
        "error, nats": case.error(),
    }


@click.command(name="capture")
@click.argument("model")
@click.option("--texts", default=4, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def capture_benchmark(model: str, texts: int, rounds: int, out: Path | None) -> None:
    """Capture of MODEL (a .gguf file or a folder) against its floor and two alternatives."""
    torch.set_num_threads(1)
    rows = [{"table": "capture"} | measure(model, texts, n, rounds) for n in (12, None)]
    made = machine(*LIBRARIES)
    show("capture", rows)
    click.echo(save("capture", made | {"targets": TARGETS}, rows, out).name)
