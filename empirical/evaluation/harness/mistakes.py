"""A user's mistakes in the harness's arguments, said in one line and before anything is loaded.

The harness parses its options and hands many of them on as they are: a limit that is no number of
records, a device that there is none of. Whatever else it or transformers raises over an argument is
its own message, so it is shown as such, without the way that the error took through the harness
(`--verbosity DEBUG` shows that).
"""

import argparse
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from stopping.errors import UserError

_LONGEST = 300


@contextmanager
def as_mistakes(where: str) -> Iterator[None]:
    """Turn what the harness raises in this context into a user's mistake in `where`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        logging.getLogger("lm_eval").debug("%s", where, exc_info=True)
        kind = (
            "" if isinstance(error, (ValueError, AssertionError)) else f"{type(error).__name__}: "
        )
        reason = " ".join(str(error).split()) or type(error).__name__
        if len(reason) > _LONGEST:
            reason = f"{reason[:_LONGEST]} ..."
        raise UserError(f"{where}: {kind}{reason}") from error


def require_sound(options: argparse.Namespace) -> None:
    """Check options of the harness's command `run`.

    Raises
    ------
    UserError
        If one cannot be meant.
    """
    given = vars(options)
    limit, shots = given.get("limit"), given.get("num_fewshot")
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise UserError(
            f"--limit {limit:g}: must be a number of records, or a share of them below 1"
        )
    if shots is not None and shots < 0:
        raise UserError(f"--num_fewshot {shots}: must be >= 0")
    if (size := given.get("batch_size")) is not None:
        _require_batch(str(size))
    if (device := given.get("device")) is not None:
        _require_device(device)
    if (out := given.get("output_path")) is not None:
        _require_writable(Path(out))


def _require_batch(size: str) -> None:
    name, _, schedule = size.partition(":")
    numbers = [schedule or "1"] if name == "auto" else [size]
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise UserError(f"--batch_size {size}: must be a number of records, auto or auto:N")


def _require_device(device: str) -> None:
    # The harness takes any other device for none, and goes to the first GPU or the CPU.
    try:
        torch.device(device)
    except RuntimeError:
        raise UserError(f"--device {device}: no such device; for example cpu or cuda:0") from None


def _require_writable(out: Path) -> None:
    # The harness writes after the run, and goes on without a word where it cannot.
    folder = (out.parent if out.suffix == ".json" else out).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(f"--output_path {out}: {there} is no folder that can be written to")
