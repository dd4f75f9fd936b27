"""Workers of Dask: processes of this computer, or pods that the engine `job` starts for a run."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workloads.ml.errors import StepError

if TYPE_CHECKING:
    from distributed import Client, Future

MEMORY_CONFIG = {"distributed.worker.memory.pause": False}
"""A paused worker would block a training, which needs all workers."""
SCHEDULER_VARIABLE = "MLPLATFORM_DASK"
"""Address of the scheduler, in the steps of a run whose workers are pods."""
START_SECONDS = 600
"""Timeout for the start of all workers: a node may have to pull the image."""


class DaskWorkers:
    """Connection to the workers.

    Args:
        client: Client of the scheduler.
        count: Number of workers.
        memory: Memory of each, for errors.
    """

    def __init__(self, client: Client, count: int, memory: str) -> None:
        self.client, self.count, self.memory = client, count, memory

    def spread(self, work: Callable[[Any], Iterable[Any]], units: Sequence[Any]) -> Iterator[Any]:
        """Yield the results of some work for each unit, in the order of the units.

        The work for a unit is repeated on another worker if its worker is lost.

        Raises:
            StepError: A worker was lost several times, such as by an excess of its memory.
        """
        pending: deque[Future] = deque()
        for unit in units:
            pending.append(self.client.submit(_collect, work, unit, pure=False))
            if len(pending) > 2 * self.count:
                yield from self._result(pending.popleft())
        while pending:
            yield from self._result(pending.popleft())

    def wait(self) -> list[str]:
        """Return the addresses of the workers once all are there.

        Raises:
            StepError: They do not start.
        """
        try:
            self.client.wait_for_workers(self.count, timeout=START_SECONDS)
        except TimeoutError:
            raise StepError(f"dask.workers: {self.count} workers did not start within {START_SECONDS} s") from None
        return sorted(self.client.scheduler_info(n_workers=-1)["workers"])

    def lost(self, error: Exception) -> StepError:
        """Return the error of workers that were lost too often."""
        return StepError(
            f"dask.memory: a worker was lost repeatedly, most likely because {self.memory} of memory are too few: "
            f"{type(error).__name__}; set more memory, or write the data as Parquet or as more files"
        )

    def _result(self, future: Future) -> list[Any]:
        from distributed.scheduler import KilledWorker

        try:
            found: list[Any] = future.result()
        except KilledWorker as error:
            raise self.lost(error) from None
        future.release()
        return found


@contextmanager
def dask_workers(setting: Mapping[str, Any]) -> Iterator[DaskWorkers | None]:
    """Yield the workers of the parameter `dask` of a pipeline; None if it is empty.

    Raises:
        StepError: The workers do not start.
    """
    if not setting:
        yield None
        return
    count, memory = int(setting["workers"]), str(setting["memory"])
    from dask import config
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if address := os.environ.get(SCHEDULER_VARIABLE):
            client = stack.enter_context(Client(address))
        else:
            stack.enter_context(config.set(MEMORY_CONFIG))
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                memory_limit=memory.replace("i", "iB"),
                dashboard_address=None,
                local_directory=scratch,
                security=True,  # any user of this computer could run code through an open port otherwise
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        workers = DaskWorkers(client, count, memory)
        workers.wait()
        print(f"{count} workers of Dask with {memory} of memory each")
        yield workers


def _collect(work: Callable[[Any], Iterable[Any]], unit: Any) -> list[Any]:
    return list(work(unit))
