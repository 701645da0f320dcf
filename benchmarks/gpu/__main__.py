"""Run the steps one after the other and write each one's table as soon as it is there."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.gpu import captures, decoding, families, kernels, montecarlo, serving, steps
from empirical.model.load import LoadedModel, load_model
from empirical.provenance import library_versions, now
from stopping.support.documents import plain
from stopping.support.files import write_atomic
from tests.empirical.tiny_models import save_tiny_folder

Row = dict[str, Any]


@dataclass
class Bench:
    """The settings of a run, its clock, and the models, each loaded once."""

    out: Path
    device: str
    dtype: str
    quick: bool
    ends: float
    loaded: dict[str, LoadedModel] = field(default_factory=dict)
    status: list[Row] = field(default_factory=list)

    def model(self, spec: str) -> LoadedModel:
        """Load a model when it is first asked for."""
        if spec not in self.loaded:
            self.loaded[spec] = load_model(spec, self.dtype, self.device)
        return self.loaded[spec]

    def step(self, name: str, work: Callable[[], Iterator[Row]]) -> None:
        """Do one step, keep its rows as they come, and note how it ended."""
        began, rows, outcome = time.monotonic(), [], "done"
        if began >= self.ends:
            outcome = "no time left"
        else:
            click.echo(f"{name} ...")
            try:
                for row in work():
                    rows.append(row)
                    self.write(name, rows)
                    if time.monotonic() >= self.ends:
                        outcome = "cut: no time left"
                        break
            except Exception:
                outcome = traceback.format_exc()
        seconds = round(time.monotonic() - began, 1)
        self.status.append({"step": name, "outcome": outcome, "rows": len(rows), "s": seconds})
        self.write("status", self.status)
        click.echo(f"{name}: {outcome.strip().splitlines()[-1]} ({seconds} s)")

    @property
    def failed(self) -> bool:
        """Whether any step did not come to its end."""
        return any(row["outcome"] != "done" for row in self.status)

    def write(self, name: str, rows: list[Row]) -> None:
        """Write a table as JSON with what made it, and as Markdown."""
        made = {
            "date": now(),
            "device": torch.cuda.get_device_name() if self.device != "cpu" else "cpu",
            "cuda": torch.version.cuda,
            "dtype": self.dtype,
            "quick": self.quick,
            "versions": library_versions(),
        }
        content = {"provenance": made, "rows": plain(rows)}
        write_atomic(self.out / f"{name}.json", json.dumps(content, indent=2) + "\n")
        heads = list(rows[0])
        lines = [heads, ["---"] * len(heads), *([_cell(row[h]) for h in heads] for row in rows)]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        caption = f"{made['device']}, {self.dtype}, {made['date']}"
        write_atomic(self.out / f"{name}.md", f"{caption}\n\n{text}\n")


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.strip().splitlines()[-1] if text.strip() else ""


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.argument("models", nargs=-1)
@click.option("--device", default="cuda")
@click.option("--dtype", default=None, help="Default: bfloat16, on a CPU float32.")
@click.option("--quick", is_flag=True, help="A few tokens only; a tiny model if none is named.")
@click.option("--seconds", default=480.0)
@click.option("--engine", is_flag=True, help="The plug-in in vLLM alone, which must be installed.")
def main(
    out: Path,
    models: tuple[str, ...],
    device: str,
    dtype: str | None,
    quick: bool,
    seconds: float,
    engine: bool,
) -> None:
    """Do what wants a GPU; see run.sh."""
    dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
    bench = Bench(out, device, dtype, quick, time.monotonic() + seconds)
    out.mkdir(parents=True, exist_ok=True)
    if engine:
        bench.step("serving", lambda: serving.overhead(bench))
        raise SystemExit(bench.failed)
    if quick and not models:
        models = (str(save_tiny_folder(out / "tiny-llama")),)
    if not models:
        raise click.UsageError("name at least one MODEL")
    each = list(models)
    bench.step("recapture-reference", lambda: captures.recapture(bench, each, "reference"))
    bench.step("decoder", lambda: decoding.equality(bench, each))
    bench.step("kernel", lambda: kernels.correctness(bench))
    bench.step("kernel-speed", lambda: kernels.speed(bench))
    bench.step("decoder-steps", lambda: steps.table(bench))
    bench.step("families", lambda: (asdict(f) for f in families.findings(device, quick)))
    bench.step("throughput", lambda: captures.throughput(bench, each))
    bench.step("recapture-generated", lambda: captures.recapture(bench, each, "generated"))
    bench.step("montecarlo", lambda: montecarlo.rates(bench))
    raise SystemExit(bench.failed)


if __name__ == "__main__":
    main()
