"""Runs side by side in processes of their own, one thread each.

A worker stops, with its state saved, when the caller says so or when the caller is gone.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.errors import ConcordError, ResourceError, StoppedError, UsageError

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from concord.studies.executor import Outcome
    from concord.studies.grid import GridCell

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_stop: "Event | None" = None
_parent = 0
_busy = threading.Lock()


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
        self._folder, self._threads, self._allow_code, self._stop = folder, threads, allow_code, stop
        context = multiprocessing.get_context("spawn")
        self._event = context.Event()
        self._pool = ProcessPoolExecutor(workers, context, _begin, (self._event, os.getpid()))
        self._waiting: dict[Future[dict[str, Any]], GridCell] = {}

    def __enter__(self) -> "Processes":
        self._pool.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._halt()
        self._pool.shutdown(wait=True)

    def submit(self, cell: "GridCell") -> None:
        """Start the cell as soon as a process is free."""
        with _signals_held():
            path = str(self._folder / cell.name)
            self._waiting[self._pool.submit(_run, path, cell, self._threads, self._allow_code)] = cell

    def finished(self) -> "Iterator[tuple[GridCell, Outcome]]":
        """Every submitted cell with its result or its error, as it ends."""
        while self._waiting:
            done, _ = wait(self._waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            if self._stop() and not self._event.is_set():
                self._halt()
            for future in done:
                yield self._waiting.pop(future), _outcome(future)

    def _halt(self) -> None:
        self._event.set()
        for future in self._waiting:
            future.cancel()


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


def _outcome(future: Future[dict[str, Any]]) -> "Outcome":
    if future.cancelled():
        return StoppedError("not started")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BrokenProcessPool):
        return ResourceError(
            "a process of the study was killed, perhaps because memory ran out: run the same"
            " command with a smaller --jobs to continue"
        )
    if isinstance(error, ConcordError):
        return error
    raise error


def _begin(event: "Event", parent: int) -> None:
    """Signals are the caller's business; this process listens to the event and to the caller's death."""
    global _stop, _parent
    _stop, _parent = event, parent
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End this process after the caller's death, as soon as the run in progress is saved."""
    caller = multiprocessing.parent_process()
    assert caller
    caller.join()
    with _busy:
        os._exit(StoppedError.exit_status)


def _asked() -> bool:
    return os.getppid() != _parent or (_stop is not None and _stop.is_set())


def _run(path: str, cell: "GridCell", threads: int, allow_code: tuple[str, ...]) -> dict[str, Any]:
    from concord.runs import toml
    from concord.runs.train import resume, train

    with _busy:
        if _asked():
            raise StoppedError("not started")
        if (Path(path) / "config.toml").exists():
            return resume(Path(path), allow_code=allow_code, stop=_asked).to_dict()
        settings = cell.config.model_dump(mode="json", exclude_none=True)
        settings["train"].setdefault("threads", threads)
        return train(toml.parse(settings), Path(path), allow_code=allow_code, stop=_asked).to_dict()
