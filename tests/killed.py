"""A `stopping` command whose process is killed at a certain point, not after a certain time."""

import os
import signal
import subprocess
import sys
from typing import Any

_RUN = """
import os, pkgutil, signal, sys
owner, name, left, *arguments = sys.argv[1:]
owner, left = pkgutil.resolve_name(owner), int(left)
real = getattr(owner, name)

def counted(*args, **options):
    global left
    result = real(*args, **options)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, counted)
from stopping.cli import main
main(arguments)
"""


def kill_after(calls: int, owner: str, method: str, *arguments: Any) -> None:
    """Run a command that is killed when `owner.method` has been called so often.

    `owner` is written as "module:Class".
    """
    command = [sys.executable, "-c", _RUN, owner, method, str(calls), *map(str, arguments)]
    done = subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL
