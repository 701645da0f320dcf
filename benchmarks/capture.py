"""Capture against its floor and what a user would write: `python -m benchmarks capture MODEL`.

The floor is a forward pass without the head, plus the lens's products in their faster orientation
and nothing else. The alternatives run the same forward pass, and then `log_softmax` layer by layer
(128 rows at a time), or one softmax over [layers, tokens, vocabulary] (as many tokens at a time as
fit in half a gigabyte). Every position of the texts is read, so that no part of the forward pass
is for nothing.

How much the alternatives lose depends on how fast the processor's exponentials are beside its
products. The instruction set can be held down, to see another processor's share:

    export MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2
    python -m benchmarks capture MODEL --out benchmarks/results/capture-avx2.json
"""

from pathlib import Path

import click
import torch
from torch import Tensor

from benchmarks.measure import Row, interleave, machine, save, show
from benchmarks.memory import peak_bytes
from empirical.capture.batch import capture
from empirical.capture.projections import TileReader
from empirical.capture.tiles import read_tiles
from empirical.lenses import RawLens
from empirical.model.anatomy import Anatomy, last_layers
from empirical.model.load import LoadedModel, load_model
from empirical.model.unembedding import Unembedding
from empirical.problems import draw_problems
from empirical.provenance import Provenance
from empirical.texts import Text, reference_texts

LIBRARIES = ("torch", "transformers", "numpy")
TARGETS = {"products alone": 1.25, "log_softmax by layer": 1.7, "softmax of all": 2.5}
CASES = ((4, 128, 12), (1, 512, 12), (4, 128, None))
"""Texts of one batch, tokens of each, and layers read from the last one on."""
_ROWS = 128
_SAMPLE = 256
_BYTES = 512 << 20


class Case:
    """Texts of one length on one model, and every way to read them."""

    def __init__(self, anatomy: Anatomy, texts: list[Text], layers: int | None) -> None:
        head = Unembedding.of(anatomy)
        assert head is not None
        self.anatomy, self.texts, self.head = anatomy, texts, head
        self.traced = last_layers(len(anatomy.layers), layers)
        self.tokens = sum(len(text.completion_ids) for text in texts)
        self.ids = torch.tensor([text.ids for text in texts])

    @torch.inference_mode()
    def states(self) -> dict[int, Tensor]:
        """Run the decoder and keep the states of the traced rows, (n, hidden) by layer."""
        found: dict[int, Tensor] = {}

        def hear(layer: int, h: Tensor) -> None:
            if layer in self.traced:
                found[layer] = h[:, :-1].flatten(0, 1)

        with self.anatomy.listening(hear):
            self.anatomy.decoder(input_ids=self.ids, use_cache=False)
        return found

    def ours(self) -> None:
        """All of `capture`, residual diagnostics included."""
        blank = Provenance("m", "M", len(self.anatomy.layers), 1, self.head.entries, "reference")
        capture(self.anatomy, self.texts, blank, self.traced, batch=len(self.texts))

    @torch.inference_mode()
    def floor(self) -> None:
        """Forward pass, norms, products."""
        x = torch.cat([self.anatomy.normed(h[None])[0] for h in self.states().values()])
        weight, side = self.head.linear.weight, 512
        for block in torch.split(x, side):
            turned = block.T.contiguous()
            out = torch.empty(side, len(block))
            for start in range(0, self.head.entries, side):
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
        few = max(1, _BYTES // (4 * self.head.entries * len(h)))
        for some in torch.split(h, few, dim=1):
            p = torch.softmax(self.anatomy.lens(some), dim=-1)
            _ = -(p * torch.log(p + 1e-12)).sum(-1), p.max(-1), p[..., 0].log()

    @torch.no_grad()
    def errors(self) -> tuple[float, float]:
        """Largest error of an entropy on a sample of rows, nats.

        Against double precision from the states on, and of the reading alone: against double
        precision from single-precision logits on.
        """
        x = torch.cat([self.anatomy.normed(h[None])[0] for h in self.states().values()])
        x = x[:: max(1, len(x) // _SAMPLE)][:_SAMPLE].clone()
        tokens = torch.zeros(len(x), dtype=torch.long)
        seen = read_tiles(self.head, x[None], torch.ones(1), tokens)
        weight = self.head.linear.weight.detach()
        exact = _entropy(x.double() @ weight.double().T)
        rounded = _entropy((weight @ x.T).T.double())
        found = seen.entropy[0].double()
        return float((found - exact).abs().max()), float((found - rounded).abs().max())

    def megabytes(self) -> float:
        """Memory that reading the layers takes beyond the states."""
        states = self.states()
        tokens = torch.zeros(self.tokens, dtype=torch.long)
        return peak_bytes(lambda: _read(self.anatomy, self.head, states, tokens)) / 1e6


def _entropy(z: Tensor) -> Tensor:
    return torch.special.entr(z.softmax(1)).sum(1)


def _read(anatomy: Anatomy, head: Unembedding, states: dict[int, Tensor], tokens: Tensor) -> None:
    reader = TileReader(RawLens(anatomy), tokens, head)
    with torch.inference_mode():
        for layer, h in states.items():
            reader.add(layer, h)
        reader.read()


def some_texts(loaded: LoadedModel, count: int, tokens: int) -> list[Text]:
    """Texts of solved problems, every token of which but the first is traced."""
    solved = reference_texts(
        loaded, list(enumerate(draw_problems(count * tokens // 16, 0))), chat=True
    )
    ids = [token for text in solved for token in text.ids]
    pieces = [ids[i * (tokens + 1) :][: tokens + 1] for i in range(count)]
    assert len(pieces[-1]) == tokens + 1
    return [Text(i, tuple(piece[:1]), tuple(piece[1:])) for i, piece in enumerate(pieces)]


def measure(loaded: LoadedModel, count: int, tokens: int, layers: int | None, rounds: int) -> Row:
    """One row of the table."""
    case = Case(Anatomy.of(loaded.model), some_texts(loaded, count, tokens), layers)
    times = interleave(
        {
            "ours": case.ours,
            "states alone": case.states,
            "products alone": case.floor,
            "log_softmax by layer": case.by_layer,
            "softmax of all": case.at_once,
        },
        rounds,
    )
    whole, rounded = case.errors()
    return {
        "model": loaded.name,
        "layers": len(case.traced),
        "texts": count,
        "tokens": tokens,
        "rounds": rounds,
        "ours over its floor": times.ratio("ours", "products alone"),
        "log_softmax by layer over ours": times.ratio("log_softmax by layer", "ours"),
        "softmax of all over ours": times.ratio("softmax of all", "ours"),
        "log_softmax by layer over the floor": times.ratio(
            "log_softmax by layer", "products alone"
        ),
        "softmax of all over the floor": times.ratio("softmax of all", "products alone"),
        "states over ours": times.ratio("states alone", "ours"),
        "tokens per CPU second": case.tokens / times.median("ours"),
        "MB beyond the states": case.megabytes(),
        "error, nats": whole,
        "error of reading, nats": rounded,
    }


@click.command(name="capture")
@click.argument("model")
@click.option("--rounds", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def capture_benchmark(model: str, rounds: int, out: Path | None) -> None:
    """Capture of MODEL (a .gguf file or a folder) against its floor and two alternatives."""
    torch.set_num_threads(1)
    loaded = load_model(model, device="cpu")
    rows = [{"table": "capture"} | measure(loaded, *case, rounds) for case in CASES]
    made = machine(*LIBRARIES) | {"instructions": torch.backends.cpu.get_cpu_capability()}
    show("capture", rows)
    click.echo(save("capture", made | {"targets": TARGETS}, rows, out).name)
