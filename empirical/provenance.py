"""Where a trace file comes from: everything needed to judge it, or to make it again.

A trace outlives the process that wrote it, so the file itself says which weights were read (by
SHA-256), through which lens, on which device and in which precision, on which prompts, with which
library versions. Paths of the machine that made it are left out; names of files stay.
"""

import platform
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from stopping.changepoint import FittedOn
from stopping.support.documents import Format
from stopping.support.results import Result

FORMAT = Format("layer-stopping traces", 1, "trace file", "make one with `stopping trace`")

Mode = Literal["reference", "generated"]
Storage = Literal["float16", "float32"]

_LIBRARIES = ("layer-stopping", "torch", "transformers", "numpy", "pyarrow")


@dataclass(frozen=True)
class StorageLoss:
    """What rounding at write time cost, measured on the very tokens of the file.

    `entropy_max`, `entropy_mean`, `log_prob_max`, `log_prob_mean` are absolute errors in nats over
    all traced layers; `moved_share` is the share of tokens whose backward search (K = 10, strict)
    chooses another layer on the stored entropies than on those in memory.
    """

    dtype: Storage
    entropy_max: float = 0.0
    entropy_mean: float = 0.0
    log_prob_max: float = 0.0
    log_prob_mean: float = 0.0
    moved_share: float = 0.0


@dataclass(frozen=True)
class Provenance(Result):
    """What made a set of traces.

    `weights` maps file names to SHA-256; `prompts` counts the prompts on offer, of which the file
    may hold fewer; `shard` is the number of the part, None for a whole file, and `shards` into how
    many shards the run was divided; `storage` is known once the traces have been written.
    """

    model: str
    architecture: str
    layers: int
    hidden_size: int
    vocabulary_size: int
    mode: Mode
    weights: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"
    device: str = "cpu"
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    prompts_hash: str = ""
    prompts: int = 0
    seed: int | None = None
    chat: bool = False
    max_new_tokens: int | None = None
    command: str = ""
    lens: str = "raw"
    shard: int | None = None
    shards: int | None = None
    storage: StorageLoss | None = None

    @property
    def read_as(self) -> FittedOn:
        """The LLM and the lens, as a model fitted here keeps them."""
        return FittedOn(self.model, self.layers, self.lens, dict(self.weights))

    @property
    def texts(self) -> Hashable:
        """What was read, through whatever lens: the model by its weights, the prompts, the mode."""
        return self.model, frozenset(self.weights.items()), self.prompts_hash, self.mode

    def same_source(self, other: "Provenance") -> bool:
        """Whether both describe one run."""
        return self.run == other.run

    @property
    def run(self) -> dict[str, Any]:
        """What is the same in every part of one run, by name: all but when and in which part."""
        # A resumed run may be called with another `--tokens`, hence with another command line.
        ignored = {"date", "command", "shard", "storage"}
        return {name: value for name, value in asdict(self).items() if name not in ignored}


def library_versions() -> dict[str, str]:
    """Versions of python and of the libraries that take part in a capture."""
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line(arguments: Sequence[str]) -> str:
    """Join a command line, every path in it shortened to its last part."""
    return " ".join(_without_folder(argument) for argument in arguments)


def this_command() -> str:
    """Return the command line of this process, as `command_line` does."""
    return command_line(["stopping", *sys.argv[1:]])


def _without_folder(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if name.startswith("-") and equals:
        return f"{name}={_without_folder(value)}"
    # A hub id ("owner/model") is not a path, and its owner matters.
    is_path = (
        Path(argument).is_absolute() or argument.startswith((".", "~")) or Path(argument).exists()
    )
    return Path(argument).name if is_path or argument.count("/") > 1 else argument
