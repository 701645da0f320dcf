"""Runs of the harness beside each other: which texts agree with those of its own class.

    python -m empirical.harness.runs HF OTHER... > summary.json

Each argument is an `--output_path` of a run with `--log_samples` on one and the same task; the
first is that of the harness's own class.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.evaluate.files import structured
from stopping.cli.ui import as_json
from stopping.documents import Format
from stopping.errors import UserError

FORMAT = Format("layer-stopping harness runs", 1, "summary of harness runs", "see its module")


@dataclass(frozen=True)
class HarnessRun:
    """One run.

    `same` counts the texts that are those of the first run to the letter; `decoder` is None for the
    harness's own class, and so are the shares of its tokens.
    """

    decoder: str | None
    model: str
    harness: str
    task: str
    device: str
    max_tokens: int | None
    texts: int
    same: int
    tokens: int | None
    moved: float | None
    substituted: float | None


@dataclass(frozen=True)
class HarnessRuns:
    """Runs of one model on one task, that of the harness's own class first."""

    runs: tuple[HarnessRun, ...]


def read_runs(path: Path) -> HarnessRuns:
    """Read a summary.

    Raises
    ------
    UserError
        If the file is missing, of another kind, or incomplete.
    """
    return structured(FORMAT.read(path), HarnessRuns, f"{path}: the summary of harness runs")


def compare_runs(folders: Sequence[Path]) -> HarnessRuns:
    """Read runs and compare their texts with the first one's.

    Raises
    ------
    UserError
        If a folder does not hold one run of one task with its samples, or the tasks differ.
    """
    read = [_read(folder) for folder in folders]
    (_, task, first), *_ = read
    if any(other != task or texts.keys() != first.keys() for _, other, texts in read):
        raise UserError("harness runs: they did not answer the same prompts of the same task")
    return HarnessRuns(
        tuple(
            HarnessRun(
                decoder=(config := found["config"]).get("decoder"),
                model=_file_name(config["model_args"]),
                harness=found["lm_eval_version"],
                task=task,
                device=config["device"],
                max_tokens=(config["gen_kwargs"] or {}).get("max_gen_toks"),
                texts=len(texts),
                same=sum(texts[prompt] == first[prompt] for prompt in first),
                tokens=config.get("generated_tokens"),
                moved=config.get("moved"),
                substituted=config.get("substituted"),
            )
            for found, _, texts in read
        )
    )


def _read(folder: Path) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Return the record, the task, and the texts by their prompts."""
    records = sorted(folder.rglob("results_*.json"))
    samples = sorted(folder.rglob("samples_*.jsonl"))
    if len(records) != 1 or len(samples) != 1:
        raise UserError(
            f"{folder}: holds {len(records)} records and {len(samples)} files of samples; give the "
            "--output_path of one run of one task with --log_samples"
        )
    found = json.loads(records[0].read_text(encoding="utf-8"))
    lines = samples[0].read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = {row["arguments"]["gen_args_0"]["arg_0"]: row["resps"][0][0] for row in rows}
    return found, next(iter(found["results"])), texts


def _file_name(arguments: dict[str, Any]) -> str:
    return str(arguments.get("gguf_file") or Path(arguments["pretrained"]).name)


if __name__ == "__main__":
    print(as_json(FORMAT.wrap(vars(compare_runs([Path(a) for a in sys.argv[1:]])))))
