"""One capture shared out among processes, each of which writes a shard file of its own.

A run is done in numbered parts (see `empirical.capture.run`); shard `i` of `n` does every `n`-th of
them, beginning with the `i`-th. The parts are those of a run in one process, so the shards merged
(`stopping trace merge`) are that run's traces, bit for bit. Processes need not know of one another:
they may run on one machine or on many, at one time or one after the other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stopping.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Shard `number`, from 1, of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `2/4`.

        Raises
        ------
        UserError
            If it is anything else, or out of range.
        """
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"shard {text!r}: expected i/n with i from 1 to n, such as 2/4")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Shard | None":
        """Read what `torchrun` and `accelerate launch` tell each process; None for a single one.

        Raises
        ------
        UserError
            If RANK and WORLD_SIZE are not whole numbers that fit.
        """
        rank, size = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise UserError(
                f"environment: RANK={rank} and WORLD_SIZE={size} should be whole numbers, RANK "
                "below WORLD_SIZE; unset both to run a single process"
            )
        return cls(int(rank) + 1, int(size)) if int(size) > 1 else None

    def does(self, part: int) -> bool:
        """Whether part number `part`, from 0, belongs to this shard."""
        return part % self.count == self.number - 1

    def file(self, out: Path) -> Path:
        """Return the name of this shard of the trace file `out`."""
        return out.with_name(f"{out.stem}.shard-{self.number}-of-{self.count}{out.suffix}")


def choose_shard(option: str | None, environment: Mapping[str, str]) -> Shard | None:
    """Decide which shard this process does, from the option `--shard` or the environment.

    Raises
    ------
    UserError
        If both say something.
    """
    launched = Shard.of_environment(environment)
    if option is None:
        return launched
    if launched is not None:
        raise UserError(
            f"--shard {option}: the launcher numbers the processes already (RANK, WORLD_SIZE); "
            "leave --shard out, or start without the launcher"
        )
    return Shard.parse(option)


def local_device(device: str, environment: Mapping[str, str]) -> str:
    """Give each process of a launcher its own GPU where the device is left open."""
    local = environment.get("LOCAL_RANK", "")
    if device != "auto" or not local.isdecimal():
        return device
    import torch

    gpus = torch.cuda.device_count()
    return f"cuda:{int(local) % gpus}" if gpus else "cpu"
