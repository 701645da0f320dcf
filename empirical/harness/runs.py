"""Runs of the harness beside each other: which answers agree with those of its own class.

    python -m empirical.harness.runs HF OTHER... > summary.json

Each argument is an `--output_path` of a run with `--log_samples` on the same tasks; the first is
that of the harness's own class. An answer is all that a model said of one record: a text, or the
log-likelihood of each choice, which agree only if they do so to the last bit.
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

FORMAT = Format("layer-stopping harness runs", 2, "summary of harness runs", "see its module")


@dataclass(frozen=True)
class HarnessRun:
    """One run of one task.

    `same` counts the answers that are those of the first run; `decoder` is None for the harness's
    own class. `of` says which layers' log-likelihoods are scored. `tokens` is the number of tokens
    that the run generated, None with the shares of them for the harness's own class and for tasks
    without any. `max_tokens` is None where the task's holds.
    """

    decoder: str | None
    of: str
    model: str
    harness: str
    task: str
    device: str
    max_tokens: int | None
    answers: int
    same: int
    tokens: int | None
    moved: float | None
    substituted: float | None


@dataclass(frozen=True)
class HarnessRuns:
    """Runs of one model task by task, that of the harness's own class first."""

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
    """Read runs and compare their answers with the first one's.

    Raises
    ------
    UserError
        If a folder does not hold one run with its samples, or the tasks or records differ.
    """
    read = [_read(folder) for folder in folders]
    (_, first), *_ = read
    if any(
        {task: found.keys() for task, found in answers.items()}
        != {task: found.keys() for task, found in first.items()}
        for _, answers in read
    ):
        raise UserError("harness runs: they did not answer the same prompts of the same tasks")
    return HarnessRuns(
        tuple(
            _compared(record, task, answers[task], first[task])
            for task in first
            for record, answers in read
        )
    )


Answers = dict[str, list[Any]]
"""What was said of each record, by all that was asked of it."""


def _compared(record: dict[str, Any], task: str, answers: Answers, first: Answers) -> HarnessRun:
    config = record["config"]
    writes = record["configs"][task]["output_type"] == "generate_until"
    counted = config if writes else {}
    return HarnessRun(
        decoder=config.get("decoder"),
        of=config.get("log_likelihood_of", "final"),
        model=_file_name(config["model_args"]),
        harness=record["lm_eval_version"],
        task=task,
        device=config["device"],
        max_tokens=(config["gen_kwargs"] or {}).get("max_gen_toks") if writes else None,
        answers=len(answers),
        same=sum(answers[asked] == first[asked] for asked in first),
        tokens=counted.get("generated_tokens"),
        moved=counted.get("moved"),
        substituted=counted.get("substituted"),
    )


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Answers]]:
    """Return the record, and by task the answers."""
    records = sorted(folder.rglob("results_*.json"))
    if len(records) != 1:
        raise UserError(
            f"{folder}: holds {len(records)} records; give the --output_path of one run"
        )
    found = json.loads(records[0].read_text(encoding="utf-8"))
    answers: dict[str, Answers] = {}
    for task in found["results"]:
        samples = sorted(folder.rglob(f"samples_{task}_*.jsonl"))
        if len(samples) != 1:
            raise UserError(
                f"{folder}: holds {len(samples)} files of samples of {task}; run with --log_samples"
            )
        rows = [json.loads(line) for line in samples[0].read_text(encoding="utf-8").splitlines()]
        answers[task] = {json.dumps(row["arguments"]): row["resps"] for row in rows}
    return found, answers


def _file_name(arguments: dict[str, Any]) -> str:
    return str(arguments.get("gguf_file") or Path(arguments["pretrained"]).name)


if __name__ == "__main__":
    print(as_json(FORMAT.wrap(vars(compare_runs([Path(a) for a in sys.argv[1:]])))))
