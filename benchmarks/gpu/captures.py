"""Traces captured on the GPU: the bundled ones again, and how fast it goes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from empirical.capture.run import Settings, trace_problems
from empirical.data import bundled_traces
from empirical.problems import draw_problems
from empirical.provenance import Mode
from empirical.traces.files import Traces, read_traces
from stopping.rules import Search

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

TOKENS, LAYERS, SUPPLY = 10_500, 12, 2000


def recapture(bench: "Bench", models: list[str], mode: Mode) -> Iterator[dict[str, Any]]:
    """Capture as the bundled traces were captured, and compare with those where they are there."""
    for spec in models:
        loaded = bench.model(spec)
        out = bench.out / f"{loaded.name.lower()}.{mode}.parquet"
        settings = Settings(
            mode=mode,
            chat=bool(getattr(loaded.tokenizer, "chat_template", None)),
            layers=LAYERS,
            tokens=200 if bench.quick else TOKENS,
            max_new_tokens=8 if bench.quick else 160,
        )
        command = f"benchmarks/gpu/run.sh ({mode})"
        summary = trace_problems(
            loaded, draw_problems(SUPPLY, 0), settings, out, fresh=True, seed=0, command=command
        )
        row = {
            "model": loaded.name,
            "mode": mode,
            "dtype": loaded.dtype,
            "tokens": summary.tokens,
            "seconds": summary.seconds,
            "tokens/s": summary.tokens_per_second,
        }
        yield row | against_bundled(read_traces(out))


def against_bundled(traces: Traces) -> dict[str, Any]:
    """Differences to the bundled traces on the tokens that both hold."""
    names = "shared tokens", "mean abs dx", "max abs dx", "other argmax", "other search"
    for path in bundled_traces().values():
        bundled = read_traces(Path(path))
        made, own = bundled.provenance, traces.provenance
        if (made.weights, made.mode, made.prompts_hash) != (
            own.weights,
            own.mode,
            own.prompts_hash,
        ):
            continue
        # Texts that the model wrote itself part ways at some token: compare up to there.
        left = {key: row for row, key in enumerate(_keys(bundled))}
        pairs = [(left[key], row) for row, key in enumerate(_keys(traces)) if key in left]
        a, b = np.array(pairs).T
        gap = np.abs(bundled.entropy[a] - traces.entropy[b])
        search = Search(K=min(10, len(traces.layers) - 1))
        moved = search.choose(bundled.entropy[a]) != search.choose(traces.entropy[b])
        argmax = bundled.top1[a, -1] != traces.top1[b, -1]
        values = len(a), gap.mean(), gap.max(), argmax.mean(), moved.mean()
        return dict(zip(names, map(float, values), strict=True))
    return dict.fromkeys(names, "–")


def _source(traces: Traces) -> tuple[object, ...]:
    made = traces.provenance
    return made.weights, made.mode, made.prompts_hash, made.chat


def _keys(traces: Traces) -> list[tuple[int, int, int]]:
    columns = traces.prompt, traces.position, traces.token
    return list(zip(*(column.tolist() for column in columns), strict=True))


def throughput(bench: "Bench", models: list[str]) -> Iterator[dict[str, Any]]:
    """Tokens per second by batch size and number of traced layers, reference texts."""
    cuda = bench.device != "cpu"
    for spec in models:
        loaded = bench.model(spec)
        for batch in (2,) if bench.quick else (8, 32, 128):
            for layers in (LAYERS, None):
                settings = Settings(layers=layers, batch=batch, storage="float32")
                problems = draw_problems(4 if bench.quick else max(64, 2 * batch), 1)
                if cuda:
                    torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated() if cuda else 0
                began = time.monotonic()
                summary = trace_problems(
                    loaded, problems, settings, bench.out / "scratch.parquet", fresh=True
                )
                peak = (torch.cuda.max_memory_allocated() - before) / 1e6 if cuda else "–"
                yield {
                    "model": loaded.name,
                    "batch": batch,
                    "layers": layers or "all",
                    "tokens": summary.tokens,
                    "tokens/s": summary.tokens / (time.monotonic() - began),
                    "peak MB beyond the model": peak,
                }
    (bench.out / "scratch.parquet").unlink(missing_ok=True)
