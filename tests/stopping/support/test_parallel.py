"""Jobs on processes and clusters: the same results in the same order, whoever dies on the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import distributed
import numpy as np
import pytest

from stopping.claims import CLAIMS, check
from stopping.errors import UserError
from stopping.model.densities import LAWS
from stopping.model.scenarios import scenarios
from stopping.simulation.robustness import robustness_table
from stopping.support.parallel import Workers, in_order
from stopping.theory.averages import average_table
from tests.stopping.support.jobs import broken, deadly, hopeless, late

ROOT = Path(__file__).parents[3]
PATIENCE = 600
"""Seconds until a cluster of this machine is held to have failed to start."""
SOME = tuple(replace(c, draws=120_000, block=1000) for c in CLAIMS if c.name == "T2.excess")


IN_RAY = """
import os; from functools import partial
from stopping.claims import CLAIMS
from stopping.simulation.montecarlo import block_moments
from stopping.support.parallel import Workers, in_order

draw = partial(block_moments, CLAIMS[0].draw, 'name', 3, size=1000, bound=0.0)
work = [partial(draw, block=block) for block in range(40)]
*found, pid = in_order([*work, os.getpid], Workers(2, 'ray'))
assert found == list(in_order(work)) and pid != os.getpid()
print('equal')
"""


@pytest.fixture(scope="module", autouse=True)
def in_ray(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str] | None]:
    """Jobs in Ray, in a process of its own, as Ray leaves threads behind.

    Begun before the other tests, since it takes ten seconds to start and most of them to wait.
    """
    if not any(item.name.startswith("test_ray") for item in request.session.items):
        yield None
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", IN_RAY]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        yield process
        process.terminate()


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_jobs(jobs: int) -> None:
    assert list(in_order((partial(late, i) for i in range(20)), Workers(jobs))) == [
        i * i for i in range(20)
    ]
    assert list(in_order([], Workers(jobs))) == []


@pytest.mark.slow
def test_work_is_read_only_a_little_ahead() -> None:
    read: list[int] = []

    def work() -> Iterator[partial[int]]:
        for i in range(10**9):
            read.append(i)
            yield partial(late, i + 2)

    results = in_order(work(), Workers(2))
    assert [next(results) for _ in range(3)] == [4, 9, 16]
    results.close()  # type: ignore[attr-defined]  # a generator
    assert len(read) < 10_000


@pytest.mark.slow
def test_a_lost_process_loses_nothing(tmp_path: Path) -> None:
    jobs = [partial(deadly, i, tmp_path / "marker") for i in range(40)]
    assert list(in_order(jobs, Workers(2))) == list(range(40))
    assert (tmp_path / "marker").exists()


@pytest.mark.slow
def test_losing_processes_again_and_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stopping.support.parallel.ATTEMPTS", 2)
    with pytest.raises(UserError, match=r"died 2 times.*--jobs"):
        list(in_order([hopeless] * 4, Workers(2)))


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_job_is_raised(jobs: int) -> None:
    with pytest.raises(ValueError, match="of the job itself"):
        list(in_order([broken, broken], Workers(jobs)))


def test_tables_do_not_depend_on_the_workers() -> None:
    def table(workers: Workers) -> object:
        laws = average_table(np.random.default_rng(1), LAWS[:2], 1, workers=workers)
        return laws, robustness_table(1, 1000, scenarios()[:3], workers=workers)

    assert table(Workers(1)) == table(Workers(2))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A Dask scheduler and two workers, each a process; its address stands in the environment."""
    folder = tmp_path_factory.mktemp("dask")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    port = free_port()

    def start(command: str, *options: str) -> subprocess.Popen[bytes]:
        module = f"distributed.cli.dask_{command}"
        with (folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *options, "--no-dashboard"],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    here = "--host", "127.0.0.1"
    processes = [start("scheduler", "--port", str(port), *here)]
    once = ("--nthreads", "1", "--no-nanny", *here)
    processes += [start("worker", f"tcp://127.0.0.1:{port}", *once) for _ in range(2)]
    os.environ["TEST_SCHEDULER"] = f"tcp://127.0.0.1:{port}"
    try:
        with distributed.Client(os.environ["TEST_SCHEDULER"], timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        yield processes
    finally:
        del os.environ["TEST_SCHEDULER"]
        for process in processes:
            process.kill()
            process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


@pytest.mark.slow
def test_dask_loses_a_worker_and_nothing_else(cluster: list[subprocess.Popen[bytes]]) -> None:
    """One of two workers is killed while the check runs; the findings are those of one process."""
    workers = Workers(backend="dask", scheduler=os.environ["TEST_SCHEDULER"])
    both = set(in_order([os.getpid] * 200, workers))
    assert both == {worker.pid for worker in cluster[1:]}
    done: list[int] = []

    def kill_one(parts: int) -> None:
        done.append(parts)
        if len(done) == 3:
            cluster[1].kill()

    assert check(SOME, workers=workers, advance=kill_one) == check(SOME)
    assert len(done) > 10
    assert cluster[1].wait() == -signal.SIGKILL
    # A cluster of one thread is a cluster still: nothing is done in this process.
    assert set(in_order([os.getpid] * 3, workers)) == {cluster[2].pid}


@pytest.mark.slow
def test_verify_on_dask_prints_what_one_process_prints(
    cluster: list[subprocess.Popen[bytes]],
) -> None:
    command = [sys.executable, "-m", "stopping", "verify", "T2.*", "--effort", "0.2", "--json"]
    dask = ["--backend", "dask", "--scheduler", os.environ["TEST_SCHEDULER"]]
    both = [
        subprocess.run([*command, *options], capture_output=True, text=True)
        for options in (["--jobs", "1"], dask)
    ]
    assert both[1].returncode == 0, both[1].stderr
    assert both[0].stdout == both[1].stdout


@pytest.mark.slow
def test_a_scheduler_without_workers_is_told(
    cluster: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stopping.support.parallel.SECONDS_FOR_A_WORKER", 1)
    for worker in cluster[1:]:
        worker.kill()
        worker.wait()
    with pytest.raises(UserError, match="no worker appeared"):
        list(in_order([os.getpid], Workers(backend="dask", scheduler=os.environ["TEST_SCHEDULER"])))


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_scheduler_that_is_not_there_is_told(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stopping.support.parallel.SECONDS_TO_CONNECT", 1)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match="cannot reach it"):
        list(in_order([os.getpid], Workers(backend=backend, scheduler=address)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_told(
    backend: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"constraints.txt -e .\.\[cluster\]"):
        Workers(backend=backend)  # type: ignore[arg-type]  # before there is any work


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(in_ray: subprocess.Popen[str]) -> None:
    said, complaint = in_ray.communicate()
    assert in_ray.returncode == 0, complaint
    assert said.strip() == "equal"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Workers(0), "at least one worker"),
        (lambda: Workers(backend="slurm"), "loky, dask, ray"),  # type: ignore[arg-type]
        (lambda: Workers(scheduler="tcp://head:8786"), "this machine alone"),
    ],
)
def test_nonsense_is_told(wrong: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        wrong()  # type: ignore[operator]
