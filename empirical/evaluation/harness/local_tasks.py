"""Every task of the paper over a few local records of the same shape: the wiring, without a hub.

A local task includes the very file of its task, the harness's or ours, and changes nothing but
where the records come from (and the number of examples in the prompt, as there are few). The
records are made up; accuracies on them mean nothing.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import lm_eval.tasks
import yaml

OURS = Path(str(files("empirical.evaluation.harness").joinpath("tasks")))
RECORDS = Path(str(files("empirical.evaluation.harness").joinpath("records")))
HARNESS = Path(lm_eval.tasks.__file__).parent


@dataclass(frozen=True)
class LocalTask:
    """One task and its records.

    `original` is the task's name, `file` its task file, `records` the JSONL file of its local copy,
    `split` the split that the task reads, `needs` what the hub wants for the original.
    """

    original: str
    file: Path
    records: str
    split: str
    benchmark: str
    needs: str = "the hub"
    shots: int | None = None

    @property
    def name(self) -> str:
        """Name of the local copy among the tasks."""
        return f"{self.original}_local"


LOCAL_TASKS: tuple[LocalTask, ...] = (
    LocalTask(
        "gpqa_diamond_zeroshot",
        HARNESS / "gpqa/zeroshot/gpqa_diamond_zeroshot.yaml",
        "gpqa.jsonl",
        "train",
        "GPQA-Diamond, multiple choice by log-likelihood",
        "the hub, with its terms accepted",
    ),
    LocalTask(
        "gpqa_diamond_cot_zeroshot",
        HARNESS / "gpqa/cot_zeroshot/gpqa_diamond_cot_zeroshot.yaml",
        "gpqa.jsonl",
        "train",
        "GPQA-Diamond, written answers",
        "the hub, with its terms accepted",
    ),
    LocalTask("omni_math", OURS / "omni_math.yaml", "omni_math.jsonl", "test", "Omni-MATH"),
    LocalTask(
        "hle_exact_match",
        OURS / "hle_exact_match.yaml",
        "hle.jsonl",
        "test",
        "HLE, short answers",
        "the hub, with its terms accepted",
    ),
    LocalTask("gsm8k", HARNESS / "gsm8k/gsm8k.yaml", "gsm8k.jsonl", "test", "GSM8K", shots=2),
    LocalTask(
        "hendrycks_math500",
        HARNESS / "hendrycks_math/hendrycks_math500.yaml",
        "math500.jsonl",
        "test",
        "MATH-500",
        shots=0,
    ),
    LocalTask("aime24", HARNESS / "aime/aime24.yaml", "aime.jsonl", "train", "AIME 2024"),
)


def write_tasks(folder: Path) -> Path:
    """Write task files into a folder: ours as they are, by reference, and the local tasks.

    The harness looks for tasks in one folder besides its own.
    """
    for file in sorted(OURS.glob("*.yaml")):
        _write(folder / file.name, {"include": str(file), "task": file.stem})
    for local in LOCAL_TASKS:
        records = {"data_files": {local.split: str(RECORDS / local.records)}}
        if local.original == "gsm8k":
            records["data_files"]["train"] = str(RECORDS / local.records)
        changes: dict[str, object] = {
            "include": str(local.file),
            "task": local.name,
            "tag": [],
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": records,
        }
        if local.shots is not None:
            changes["num_fewshot"] = local.shots
        _write(folder / f"{local.name}.yaml", changes)
    return folder


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
