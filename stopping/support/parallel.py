"""Independent jobs on all cores or on a cluster, their results in the order of the jobs.

A job is a function of no arguments that can be pickled and that draws from streams of its own, so
that it may run anywhere, twice if need be. Results come one after the other in the order of the
jobs, however many workers there are and whichever finishes first: whoever merges them in that order
gets the same result, bit for bit, in one process, on all cores (joblib's `loky`) and on a cluster
of like machines (`dask` or `ray`, the extra `cluster`). A job has one thread of linear algebra
wherever it runs, in this process as well (see `stopping.support.threads`).

A lost worker loses nothing. Dask gives its jobs to another one; with the other backends, the jobs
whose results were not yet handed out are done again.
"""

import itertools
import socket
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import BrokenProcessPool

from stopping.errors import UserError, missing_extra
from stopping.support.threads import one_thread

T = TypeVar("T")
Backend: TypeAlias = Literal["loky", "dask", "ray"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_NEEDS = {"dask": "distributed", "ray": "ray"}
ATTEMPTS = 3
"""How often in a row workers may be lost without a single result in between."""
SECONDS_TO_CONNECT = 10
SECONDS_FOR_A_WORKER = 10
JOBS_AT_ONCE = 8
"""For each worker, where a backend hands results out by the batch."""


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    Attributes
    ----------
    jobs : int, optional
        Worker processes on this machine; default: the cores that this process may use, which a
        container, a scheduler or `LOKY_MAX_CPU_COUNT` may limit. Not with a scheduler: a cluster
        that runs already has its own number, all of them are used.
    backend : {"loky", "dask", "ray"}
        Processes of this machine, or a cluster.
    scheduler : str, optional
        Address of the cluster, such as `tcp://host:8786` (Dask) or `host:6379` (Ray, or `auto`).
        Default: a cluster of `jobs` processes on this machine, which lasts as long as the work.

    Raises
    ------
    UserError
        If the backend is unknown or not installed, `jobs` is below 1 or beside a scheduler, or loky
        gets a scheduler.
    """

    jobs: int | None = None
    backend: Backend = "loky"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UserError(f"backend {self.backend!r}: choose from {', '.join(BACKENDS)}")
        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"jobs: need at least one worker, got {self.jobs}")
        # Found before any work is done, not when the first job is handed out.
        needed = _NEEDS.get(self.backend)
        if needed is not None and find_spec(needed) is None:
            raise missing_extra(f"backend {self.backend} needs {needed}", "cluster")
        if self.backend == "loky" and self.scheduler is not None:
            raise UserError(
                f"scheduler {self.scheduler}: loky runs on this machine alone; choose the backend "
                "dask or ray, or leave the scheduler out"
            )
        if self.jobs is not None and self.scheduler is not None:
            raise UserError(
                f"jobs: the cluster at {self.scheduler} has its own workers, all of them are used; "
                "leave the number out, or the scheduler"
            )

    @property
    def processes(self) -> int:
        """Worker processes on this machine."""
        return self.jobs or int(cpu_count())


def in_order(work: Iterable[Callable[[], T]], workers: Workers | None = None) -> Iterator[T]:
    """Run jobs and yield their results in the order of `work`.

    `work` is read only a little ahead of the results, so it may be long. With one worker of this
    machine, the default, everything happens in this process.

    Raises
    ------
    UserError
        If the cluster cannot be reached or has no workers, or workers are lost again and again.
    """
    workers = workers or Workers(1)
    if workers.backend == "loky" and workers.processes == 1:
        for job in work:
            yield _run(job)
        return
    waiting: deque[Callable[[], T]] = deque()
    rest = iter(work)

    def noted() -> Iterator[Callable[[], T]]:
        for job in rest:
            waiting.append(job)
            yield job

    attempts = 0
    with _OPEN[workers.backend](workers) as (run, lost):
        while True:
            # Jobs of an attempt that failed come first: they are those whose results are missing.
            results = iter(run(itertools.chain(tuple(waiting), noted())))
            try:
                for result in results:
                    waiting.popleft()
                    attempts = 0
                    yield result
                return
            except lost as error:
                attempts += 1
                if attempts >= ATTEMPTS:
                    raise UserError(
                        f"worker processes died {attempts} times in a row ({_cause(error)}); "
                        "if memory ran out, use fewer workers (--jobs)"
                    ) from error
            finally:
                _close(results)


@one_thread()
def _run(job: Callable[[], T]) -> T:
    return job()


Run: TypeAlias = Callable[[Iterable[Callable[[], Any]]], Iterable[Any]]
Lost: TypeAlias = tuple[type[BaseException], ...]


@contextmanager
def _loky(workers: Workers) -> Iterator[tuple[Run, Lost]]:
    def run(work: Iterable[Callable[[], Any]]) -> Iterable[Any]:
        pool = Parallel(n_jobs=workers.processes, backend="loky", return_as="generator")
        return _cast(pool(delayed(_run)(job) for job in work))

    yield run, (BrokenProcessPool,)


@contextmanager
def _dask(workers: Workers) -> Iterator[tuple[Run, Lost]]:
    from distributed import Client, KilledWorker, LocalCluster

    with ExitStack() as stack:
        address: Any = workers.scheduler
        if address is None:
            address = stack.enter_context(
                LocalCluster(
                    n_workers=workers.processes, threads_per_worker=1, dashboard_address=None
                )
            )
        try:
            client = stack.enter_context(
                Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise _unreachable(workers, error) from error
        with parallel_config(
            backend="dask", client=client, wait_for_workers_timeout=SECONDS_FOR_A_WORKER
        ) as config:
            # With one thread in the whole cluster joblib would do everything in this process.
            backend: Any = config["backend"]
            threads = backend.effective_n_jobs
            backend.effective_n_jobs = lambda n_jobs: max(2, threads(n_jobs))
            # The settings stick to the pool, and are not left behind while a result is looked at.
            pool = Parallel(n_jobs=-1, return_as="generator")

        def run(work: Iterable[Callable[[], Any]]) -> Iterable[Any]:
            try:
                return _cast(pool(delayed(_run)(job) for job in work))
            except TimeoutError as error:
                raise UserError(
                    f"scheduler {workers.scheduler}: no worker appeared within "
                    f"{SECONDS_FOR_A_WORKER} s; start some with `dask worker {workers.scheduler}`"
                ) from error

        yield run, (KilledWorker,)


@contextmanager
def _ray(workers: Workers) -> Iterator[tuple[Run, Lost]]:
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    with ExitStack() as stack:
        if not ray.is_initialized():
            here = workers.scheduler is None
            try:
                _knock(workers.scheduler)
                ray.init(
                    address="local" if here else workers.scheduler,
                    num_cpus=workers.processes if here else None,
                    include_dashboard=False if here else None,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                raise _unreachable(workers, error) from error
            stack.callback(ray.shutdown)
        processes = int(ray.cluster_resources().get("CPU", 0))
        if processes < 1:
            raise UserError(f"scheduler {workers.scheduler}: the Ray cluster has no free CPU")

        def run(work: Iterable[Callable[[], Any]]) -> Iterable[Any]:
            # This backend hands nothing out before it has everything: a batch at a time.
            with parallel_config(backend="ray"), Parallel(n_jobs=processes) as pool:
                for batch in _batches(work, JOBS_AT_ONCE * processes):
                    yield from pool(delayed(_run)(job) for job in batch)

        yield run, (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)


_OPEN: dict[Backend, Callable[[Workers], AbstractContextManager[tuple[Run, Lost]]]] = {
    "loky": _loky,
    "dask": _dask,
    "ray": _ray,
}


def _knock(address: str | None) -> None:
    """Raise OSError unless something listens there: Ray itself would wait for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host, int(port)), SECONDS_TO_CONNECT):
            pass


def _batches(work: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(work)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _cast(results: Any) -> Iterable[Any]:
    found: Iterable[Any] = results
    return found


def _unreachable(workers: Workers, error: Exception) -> UserError:
    return UserError(
        f"scheduler {workers.scheduler}: cannot reach it ({_cause(error)}); start it, or correct "
        "the address"
    )


def _cause(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _close(results: Iterator[Any]) -> None:
    """Call off the jobs whose results nobody waits for any more, without joblib's warning."""
    if isinstance(results, Generator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()
