"""Makes the summary of runs of the harness that ships with the package.

    python -m tests.empirical.evaluation.harness_runs HF OTHER... > summary.json

Each argument is an `--output_path` of a run with `--log_samples` on the same tasks; the first is
that of the harness's own class.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from empirical.evaluation.harness.runs import FORMAT, HarnessRun, HarnessRuns
from stopping.errors import UserError


def compare_runs(folders: Sequence[Path]) -> HarnessRuns:
    """Read runs and compare their answers with the first one's.

    Raises
    ------
    UserError
        If a folder does not hold one run with its samples, or the tasks or records differ.
    """
    read = [_read(folder) for folder in folders]
    first = read[0]
    for other in read[1:]:
        if {t: a.keys() for t, a in other.answers.items()} != {
            t: a.keys() for t, a in first.answers.items()
        }:
            raise UserError("harness runs: they did not answer the same prompts of the same tasks")
    beside = [
        next((r for r in read[:i] if r.kind == run.kind), first) for i, run in enumerate(read)
    ]
    return HarnessRuns(
        tuple(
            _compared(task, run, other)
            for task in first.answers
            for run, other in zip(read, beside, strict=True)
        )
    )


Answers = dict[str, list[Any]]
"""What was said of each record, by all that was asked of it."""


@dataclass(frozen=True)
class _Run:
    """One folder: the harness's record, and the answers by task."""

    record: dict[str, Any]
    answers: dict[str, Answers]

    @property
    def kind(self) -> tuple[str | None, str]:
        """What answers: the decoder, and what log-likelihoods are of."""
        config = self.record["config"]
        return config.get("decoder"), config.get("log_likelihood_of", "final")


def _compared(task: str, run: _Run, other: _Run) -> HarnessRun:
    config = run.record["config"]
    writes = run.record["configs"][task]["output_type"] == "generate_until"
    counted = config if writes else {}
    mine, theirs = run.answers[task], other.answers[task]
    decoder, of = run.kind
    one_kind = run is not other and run.kind == other.kind
    return HarnessRun(
        decoder=decoder,
        of=of,
        batch=str(config["batch_size"]),
        against=str(other.record["config"]["batch_size"]) if one_kind else None,
        model=_file_name(config["model_args"]),
        harness=run.record["lm_eval_version"],
        task=task,
        device=config["device"],
        max_tokens=(config["gen_kwargs"] or {}).get("max_gen_toks") if writes else None,
        answers=len(mine),
        same=sum(mine[asked] == theirs[asked] for asked in mine),
        apart=None if writes else max(_apart(mine[asked], theirs[asked]) for asked in mine),
        tokens=counted.get("generated_tokens"),
        moved=counted.get("moved"),
        substituted=counted.get("substituted"),
    )


def _apart(mine: Any, theirs: Any) -> float:
    """Largest difference of the numbers in two nested lists of one shape, which hold texts."""
    if isinstance(mine, list):
        return max(_apart(a, b) for a, b in zip(mine, theirs, strict=True))
    # Beside each log-likelihood stands whether the text is the greedy one.
    return 0.0 if mine in ("True", "False") else abs(float(mine) - float(theirs))


def _read(folder: Path) -> _Run:
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
    return _Run(found, answers)


def _file_name(arguments: dict[str, Any]) -> str:
    return str(arguments.get("gguf_file") or Path(arguments["pretrained"]).name)


if __name__ == "__main__":
    print(FORMAT.text(compare_runs([Path(a) for a in sys.argv[1:]])))
