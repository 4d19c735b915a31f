"""Runs side by side in processes of their own, one thread each.

A process stops, with its state saved, when the caller says so or when the caller is gone. One that dies ends
the study, whatever it was doing: the others save their state, and the caller says what happened.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING

from concord.errors import ResourceError, StoppedError, UsageError
from concord.studies.worker import SIGNALS, STOP, serve

if TYPE_CHECKING:
    from concord.studies.executor import Outcome
    from concord.studies.rows import GridCell

LOOK = 0.1  # seconds between two looks at what no pipe tells: the caller's stop, processes that died


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    talk: Connection
    cell: "GridCell | None" = None

    def tell(self, message: "GridCell | None") -> None:
        with suppress(OSError):  # it is dead, which is noticed where its outcome is waited for
            self.talk.send(message)

    def outcome(self) -> "Outcome | None":
        """What it sent, if anything; None if it sent nothing or only a part before it died."""
        with suppress(EOFError, OSError):
            if self.talk.poll():
                return self.talk.recv()
        return None


class Processes:
    """An executor with processes of its own: ``workers`` cells at a time, each a run below ``folder``.

    ``threads`` are those of a run whose configuration names none. When ``stop`` says so, or the caller
    leaves, running cells save their state and the others do not start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int,
        threads: int,
        allow_code: tuple[str, ...] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._most, self._given, self._stop = workers, (folder, threads, allow_code), stop
        self._workers: list[_Worker] = []
        self._waiting: deque[GridCell] = deque()
        self._halted = False

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        self._halt()
        for worker in self._workers:
            while worker.process.is_alive():
                worker.outcome()  # read by nobody, but a process that sends it would wait for a reader
                worker.process.join(LOOK)
            worker.talk.close()

    def submit(self, cell: "GridCell") -> None:
        """Start the cell as soon as a process is free."""
        self._waiting.append(cell)
        if len(self._workers) < self._most:
            self._workers.append(self._begun())
        self._give()

    def finished(self) -> "Iterator[tuple[GridCell, Outcome]]":
        """Every submitted cell with its result or its error, as it ends; those of a stop come last.

        ResourceError if a process died that had none.
        """
        stopped = []
        while self._waiting or any(worker.cell for worker in self._workers):
            if self._stop():
                self._halt()
            wait([worker.talk for worker in self._workers], LOOK)
            for cell, outcome in [*self._ended(), *self._never()]:
                if isinstance(outcome, StoppedError):
                    stopped.append((cell, outcome))
                else:
                    yield cell, outcome
            self._give()
        yield from stopped

    def _begun(self) -> _Worker:
        resource_tracker.ensure_running()  # or the first start would do it, and lets signals in
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, *self._given))
        with _signals_held():
            process.start()
        there.close()
        return _Worker(process, here)

    def _give(self) -> None:
        """A cell for every process without one."""
        for worker in self._workers:
            if self._waiting and worker.cell is None:
                worker.cell = self._waiting.popleft()
                worker.tell(worker.cell)

    def _ended(self) -> "Iterator[tuple[GridCell, Outcome]]":
        """Cells that have an outcome now."""
        for worker in list(self._workers):
            alive = worker.process.is_alive()  # asked first: what it sent before its death is there then
            outcome = worker.outcome()
            if outcome is None and not alive:
                self._workers.remove(worker)
                outcome = self._fate(worker)
                if worker.cell is None and not isinstance(outcome, StoppedError):
                    raise outcome
            if outcome is not None and worker.cell is not None:
                yield worker.cell, outcome
                worker.cell = None

    def _never(self) -> "Iterator[tuple[GridCell, Outcome]]":
        """Cells that wait and will not start any more."""
        while self._waiting and self._halted:
            yield self._waiting.popleft(), StoppedError("not started")

    def _fate(self, worker: _Worker) -> Exception:
        """Why a process ended that sent nothing."""
        worker.talk.close()
        status = worker.process.exitcode or 0
        if self._halted and status in (0, StoppedError.exit_status):  # 0: it had sent what it had
            return StoppedError("stopped before its training began")
        how = f"was killed by {_signal(-status)}" if status < 0 else f"ended with status {status}"
        return ResourceError(
            f"a process of the study {how}, perhaps because memory ran out: run the same command with a"
            " smaller --jobs to continue"
        )

    def _halt(self) -> None:
        if not self._halted:
            self._halted = True
            for worker in self._workers:
                worker.tell(STOP)


def run_all(
    folder: Path,
    cells: "Sequence[GridCell]",
    jobs: int | None,
    threads: int,
    allow_code: tuple[str, ...],
    stop: Callable[[], bool],
) -> "Iterator[tuple[GridCell, Outcome]]":
    """Train every cell, ``jobs`` at a time; yields each with its result or its error as it ends."""
    if not cells:
        return
    workers = _workers(len(cells), jobs)
    with Processes(folder, workers=workers, threads=threads, allow_code=allow_code, stop=stop) as executor:
        for cell in cells:
            executor.submit(cell)
        yield from executor.finished()


def threads_each(cells: int, jobs: int | None) -> int:
    """Threads of every run of so many; UsageError for a number of jobs that is none."""
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs is a number of processes, at least 1, got {jobs}")
    return max(1, (os.cpu_count() or 1) // max(1, _workers(cells, jobs)))


def _workers(cells: int, jobs: int | None) -> int:
    return min(cells, jobs or os.cpu_count() or 1)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait meanwhile, and processes begun here are deaf to them from their first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
