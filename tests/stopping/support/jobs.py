"""Jobs for processes of their own, which import what stands beside a job: here next to nothing."""

import os
import signal
import time
from pathlib import Path


def late(i: int) -> int:
    """The first jobs finish last."""
    time.sleep(0.2 if i < 2 else 0.0)
    return i * i


def deadly(i: int, marker: Path) -> int:
    """Take the worker with it, the first time."""
    if i == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def hopeless() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def broken() -> None:
    raise ValueError("of the job itself")
