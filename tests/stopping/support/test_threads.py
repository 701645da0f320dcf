"""Results that depend neither on the threads of the linear algebra nor on the workers."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from stopping.support.parallel import Workers, in_order
from stopping.support.threads import one_thread

pytestmark = pytest.mark.numerical

ROOT = Path(__file__).parents[3]
FIT = """
import hashlib, sys
import numpy as np
from stopping.changepoint.estimate import fit, layout_for
from stopping.changepoint.inference import uncertainty
from stopping.changepoint.bootstrap import bootstrap
from stopping.changepoint.scale import Scale

jobs = int(sys.argv[1])
rng = np.random.default_rng(0)
prompt = np.repeat(np.arange(50), 30)
x = np.exp(rng.standard_normal((1500, 1)) + 0.3 * rng.standard_normal((1500, 11)).cumsum(axis=1))
layout = layout_for(x, 2, Scale(0.01))
found = fit(x, prompt, layout, starts=2, jobs=jobs, iterations=4)
errors = uncertainty(found, x, prompt)
refits = bootstrap(found, errors, x, prompt, 0, 2, jobs)
for part in (found.theta, errors.by_prompts, refits):
    print(hashlib.sha256(part.tobytes()).hexdigest())
"""


def threads() -> set[int]:
    return {int(part["num_threads"]) for part in threadpool_info() if part["user_api"] == "blas"}


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """Set in a thread that has ended, as by the environment: nobody's to undo."""

    def limit() -> None:
        limits.append(threadpool_limits(2))

    limits: list[threadpool_limits] = []
    aside(limit)
    if threads() == {1}:
        pytest.skip("the linear algebra here has one thread")
    yield
    aside(limits[0].restore_original_limits)


def aside(act: Callable[[], object]) -> None:
    thread = Thread(target=act)
    thread.start()
    thread.join()


@pytest.mark.slow
def test_a_fit_depends_on_neither_threads_nor_workers() -> None:
    """Byte for byte; products of this size are split among two threads where there are two."""

    def printed(threads: int, jobs: int) -> str:
        names = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM")
        done = subprocess.run(
            [sys.executable, "-c", FIT, str(jobs)],
            env={
                **os.environ,
                **{f"{name}_NUM_THREADS": str(threads) for name in names},
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = printed(1, 1)
    assert len(first.split()) == 3
    # Alone first: workers have a thread each, so that two of them may not show what two threads do.
    assert printed(2, 1) == first
    assert printed(2, 2) == first


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_has_one_thread_wherever_it_runs(workers: int) -> None:
    results = in_order([threads, threads], Workers(workers))
    assert next(results) == {1}
    # Whoever looks at the results has as many as before.
    assert threads() != {1}
    assert next(results) == {1}


@pytest.mark.usefixtures("_two_threads")
def test_limits_end_with_the_last_who_asked() -> None:
    """A cluster's worker may run several jobs at once, each in a thread of its own."""
    before = threadpool_info()
    inside, leave = Event(), Event()

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait()

    thread = Thread(target=other)
    with one_thread():
        with one_thread():
            thread.start()
            inside.wait()
        assert threads() == {1}
    assert threads() == {1}
    leave.set()
    thread.join()
    assert threadpool_info() == before


@pytest.mark.usefixtures("_two_threads")
def test_limits_end_where_a_computation_fails() -> None:
    before = threadpool_info()

    @one_thread()
    def fail() -> None:
        assert threads() == {1}
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()
        assert threadpool_info() == before


def test_there_is_one_way_to_run_side_by_side() -> None:
    """Whoever goes past it has to think of threads, lost workers and order for himself."""
    using = {
        path.relative_to(ROOT).as_posix()
        for folder in ("stopping", "empirical")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(
            r"^\s*(from|import) (joblib|multiprocessing|concurrent)\b", path.read_text(), re.M
        )
    }
    assert using == {"stopping/support/parallel.py"}
