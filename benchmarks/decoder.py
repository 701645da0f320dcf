"""The decoder's head block and its whole step on a CPU: `python -m benchmarks decoder MODEL`.

The *head block* is what stands between the last layers' states and the logits that the next token
is drawn from, the final layer's own projection included. Its floor for a reader of all layers is
one product of all `(K + 1) B` rows with the unembedding in its faster orientation. The states are
real: those of the last layers at positions of reference texts, so that rows go on as often as they
do on this model.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy.optimize
import torch
from torch import Tensor

from benchmarks.measure import Row, interleave, machine, save, show
from empirical.decoding import ConfidentDecoding
from empirical.decoding.choosing import Chooser
from empirical.decoding.piggyback import Pass, piggybacked
from empirical.decoding.plan import ONE_BY_ONE, Plan, PlanName
from empirical.decoding.positions import Inputs
from empirical.lenses import RawLens
from empirical.logits.readout import read_logits
from empirical.logits.sums import Sums
from empirical.model.anatomy import Anatomy
from empirical.model.load import LoadedModel, load_model
from empirical.problems import draw_problems
from empirical.texts import reference_texts
from stopping.rules import AbstractRule, Search, Tolerance

LIBRARIES = ("torch", "transformers", "numpy")
K = 10
# Layers read beyond the last, in the mean: where the aim was set, and the paper's.
READ = (1.5, 1.116)
TARGETS = {"lazy over one product of all": 0.75, "all layers over one product of all": 1.35}


class States:
    """Residual states of the last layers at many positions, shuffled, dealt to batches."""

    def __init__(self, loaded: LoadedModel, texts: int) -> None:
        self.model: Any = loaded.model
        self.anatomy = Anatomy.of(self.model)
        depth = len(self.anatomy.layers)
        self.layers = tuple(range(depth - K, depth + 1))
        found: dict[int, list[Tensor]] = {layer: [] for layer in self.layers}
        for text in reference_texts(loaded, list(enumerate(draw_problems(texts, 0))), chat=True):
            start = len(text.prompt_ids) - 1

            def hear(layer: int, h: Tensor, start: int = start) -> None:
                if layer in found:
                    found[layer].append(h[0, start:-1].clone())

            with torch.inference_mode(), self.anatomy.listening(hear):
                self.anatomy.decoder(input_ids=torch.tensor([text.ids]), use_cache=False)
        rows = {layer: torch.cat(states) for layer, states in found.items()}
        order = torch.randperm(len(rows[depth]), generator=torch.Generator().manual_seed(0))
        self.rows = {layer: h[order] for layer, h in rows.items()}
        with torch.inference_mode():
            self.normed = {i: self.anatomy.normed(h[None])[0] for i, h in self.rows.items()}

    def batches(self, size: int, count: int) -> Iterator[slice]:
        """The first `count` batches."""
        assert size * count <= len(self.rows[self.layers[-1]])
        yield from (slice(size * i, size * (i + 1)) for i in range(count))

    def stacked(self, rows: slice) -> Tensor:
        """All layers' states as the head gets them, ((K + 1) B, hidden)."""
        return torch.cat([self.normed[layer][rows] for layer in self.layers])


class Block:
    """The decoder's part of a step, as its hooks run it, without the model around."""

    def __init__(
        self,
        states: States,
        rule: AbstractRule,
        plan: Plan | PlanName = "measured",
        whole: bool = False,
    ) -> None:
        self.states = states
        decoding = ConfidentDecoding(
            states.model, rule, anatomy=states.anatomy, plan=plan, whole=whole
        )
        self.projector, self.chooser = decoding._piggybacks_on, decoding._chooser
        assert self.projector is not None
        assert isinstance(self.chooser, Chooser)
        self.went_on: list[float] = []
        self.products: dict[int, list[int]] = {}

    def note_products(self, rows: slice) -> None:
        """Run once, and keep the numbers of rows of the products that were made."""
        assert self.projector is not None
        real, made = self.projector.product, self.products.setdefault(rows.start, [])

        def noted(x: Tensor) -> tuple[Tensor, Sums | None]:
            made.append(len(x))
            return real(x)

        self.projector.product = noted  # type: ignore[method-assign]  # for this run only
        self.run(rows)
        del self.projector.product

    def products_alone(self, rows: slice) -> None:
        """The products that were noted for these rows, of other states, and nothing else."""
        assert self.projector is not None
        x = self.states.stacked(slice(0, rows.stop - rows.start))
        for n in self.products[rows.start]:
            self.projector.product(x[:n])

    @torch.no_grad()
    def run(self, rows: slice) -> Tensor:
        """Logits of the chosen layers, (B, vocabulary)."""
        states = {layer: h[rows] for layer, h in self.states.rows.items()}
        *below, last = self.states.layers
        n = len(states[last])
        inputs = Inputs.of((), {"input_ids": torch.zeros(n, 1, dtype=torch.long)})
        heard = {layer: states[layer][:, None] for layer in below}
        under_way = Pass(inputs, heard, rate=self.chooser.rate)
        with ExitStack() as stack:
            assert self.projector is not None
            stack.enter_context(piggybacked(self.projector, self.states.layers, lambda: under_way))
            logits = self.states.model.lm_head(self.states.normed[last][rows][:, None])[:, 0]
        ids = np.arange(n)
        choice = self.chooser.choose(logits, states, ids, ids, under_way.ahead)
        self.went_on.append(float(choice.projections.mean()))
        return logits


def released_way(states: States, rule: AbstractRule, rows: slice) -> Tensor:
    """All candidates in one call, then pass after pass, as released code does; entropies right."""
    z = states.model.lm_head(states.stacked(rows)).view(K + 1, -1, states.anatomy.vocabulary_size)
    p = z.softmax(-1)
    log_p = (p + 1e-30).log()
    x = -(p * log_p).sum(-1)
    chosen = rule.choose(x.T.double().numpy())
    log_z = z.logsumexp(-1, keepdim=True)
    rebuilt = log_p + log_z
    return rebuilt[torch.from_numpy(chosen), torch.arange(z.shape[1])]


def layer_by_layer(states: States, rule: AbstractRule, rows: slice) -> Tensor:
    """The plain lazy reader: the lens of one layer after the other, for the rows that want it."""
    last = states.layers[-1]
    chooser = Chooser(rule, RawLens(states.anatomy), states.layers, 0)
    logits = states.model.lm_head(states.normed[last][rows])
    ids = np.arange(len(logits))
    chooser.choose(logits, {i: h[rows] for i, h in states.rows.items()}, ids, ids)
    return logits


def rules(states: States) -> dict[str, AbstractRule]:
    """The search, and scans that read fewer layers, for they ask for a fall of so many nats."""
    x = entropies(states)

    def excess(tau: float, read: float) -> float:
        return float(Tolerance(tau, K).projections(x).mean()) - read

    taus = {read: scipy.optimize.bisect(excess, 0.0, 1e3, (read,), xtol=1e-6) for read in READ}
    return {"search": Search(K), **{f"{n:g} beyond L": Tolerance(t, K) for n, t in taus.items()}}


@torch.no_grad()
def entropies(states: States) -> np.ndarray[Any, Any]:
    """Entropies of some rows, `L` last."""
    found = []
    for layer in states.layers:
        z = states.model.lm_head(states.normed[layer][:200])
        found.append(read_logits(z, torch.zeros(len(z), dtype=torch.long)).entropy.numpy())
    return np.stack(found, axis=1).astype(float)


def head_block(
    loaded: LoadedModel, states: States, named: tuple[str, AbstractRule], size: int, rounds: int
) -> Row:
    """Ratios of the head block at one batch size."""
    name, rule = named
    count = max(2, 16 // size)
    weight = states.anatomy.headless.lm_head.weight.detach()
    lazy, whole = Block(states, rule), Block(states, rule, whole=True)
    for _ in range(2):  # the first time its rate becomes that of these rows
        lazy.products.clear()
        for rows in states.batches(size, count):
            lazy.note_products(rows)
    lazy.went_on.clear()
    steps: dict[str, Callable[[slice], object]] = {
        "x W'": lambda rows: torch.mm(states.stacked(rows), weight.T),
        "W x'": lambda rows: torch.mm(weight, states.stacked(rows).T),
        "final layer": lambda rows: states.model.lm_head(states.normed[states.layers[-1]][rows]),
        "lazy": lazy.run,
        "lazy's products": lazy.products_alone,
        "all layers": whole.run,
        "layer by layer": lambda rows: layer_by_layer(states, rule, rows),
        "released way": lambda rows: released_way(states, rule, rows),
    }

    def over(step: Callable[[slice], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode(False), torch.no_grad():
                for rows in states.batches(size, count):
                    step(rows)

        return run

    times = interleave({name: over(step) for name, step in steps.items()}, rounds)
    floor = min("x W'", "W x'", key=times.median)
    return {
        "model": loaded.name,
        "rule": name,
        "batch": size,
        "rounds": rounds,
        "faster product": floor,
        "projections beyond L": float(np.mean(lazy.went_on)),
        "lazy over one product of all": times.ratio("lazy", floor),
        "lazy's products over one product of all": times.ratio("lazy's products", floor),
        "all layers over one product of all": times.ratio("all layers", floor),
        "final layer over one product of all": times.ratio("final layer", floor),
        "layer by layer over lazy": times.ratio("layer by layer", "lazy"),
        "released way over all layers": times.ratio("released way", "all layers"),
        "released way over lazy": times.ratio("released way", "lazy"),
    }


def whole_step(loaded: LoadedModel, anatomy: Anatomy, size: int, rounds: int, new: int) -> Row:
    """Ratios of `generate` with the decoder to plain `generate`."""
    texts = reference_texts(loaded, list(enumerate(draw_problems(1, 0))), chat=True)
    ids = torch.tensor([texts[0].prompt_ids]).repeat(size, 1)
    settings = {
        "attention_mask": torch.ones_like(ids),
        "max_new_tokens": new,
        "min_new_tokens": new,
        "do_sample": False,
        "pad_token_id": 0,
    }
    decodings = {
        "lazy": ConfidentDecoding(loaded.model, Search(K), anatomy=anatomy, plan="measured"),
        "layer by layer": ConfidentDecoding(
            loaded.model, Search(K), anatomy=anatomy, plan=ONE_BY_ONE
        ),
        "all layers": ConfidentDecoding(
            loaded.model, Search(K), anatomy=anatomy, plan="measured", whole=True
        ),
        "p = 0": ConfidentDecoding(loaded.model, Search(K, p=0.0), anatomy=anatomy),
    }

    def run(decoding: ConfidentDecoding | None) -> Callable[[], None]:
        def step() -> None:
            with torch.no_grad(), ExitStack() as stack:
                if decoding is not None:
                    stack.enter_context(decoding)
                loaded.model.generate(ids, **settings)

        return step

    contenders = {"plain": run(None), **{name: run(d) for name, d in decodings.items()}}
    times = interleave(contenders, rounds)
    summary = decodings["lazy"].statistics.summary()
    return {
        "model": loaded.name,
        "batch": size,
        "rounds": rounds,
        "new tokens": new,
        "moved": summary.moved,
        "projections beyond L": summary.projections,
        **{f"{name} over plain": times.ratio(name, "plain") for name in decodings},
    }


@click.command(name="decoder")
@click.argument("model")
@click.option("--rounds", default=7, show_default=True)
@click.option("--texts", default=4, show_default=True)
@click.option("--batches", default=(1, 16), multiple=True, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: benchmarks/results.")
def decoder_benchmark(
    model: str, rounds: int, texts: int, batches: tuple[int, ...], out: Path | None
) -> None:
    """The decoder on MODEL (a .gguf file or a folder): head block and whole step."""
    torch.set_num_threads(1)
    loaded = load_model(model, device="cpu")
    states = States(loaded, texts)
    blocks = [
        head_block(loaded, states, named, size, rounds)
        for size in batches
        for named in rules(states).items()
    ]
    blocks = [{"table": "head block", **row} for row in blocks]
    show("head block", blocks)
    made = machine(*LIBRARIES) | {"targets": TARGETS, "K": K}
    save("decoder", made, blocks, out)  # the steps below take long
    steps = [
        {"table": "whole step"} | whole_step(loaded, states.anatomy, n, max(2, rounds // 2), 12)
        for n in batches
    ]
    show("whole step", steps)
    click.echo(save("decoder", made, [*blocks, *steps], out).name)
