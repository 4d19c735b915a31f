"""Batches made by worker processes while this one computes, or by this one when they are asked for.

PyTorch's DataLoader does the work. What is asked of it is a list of batches, each named by its samples, so
that neither the number of workers nor which of them makes a batch can change one.
"""

import atexit
import multiprocessing
import multiprocessing.process
import multiprocessing.util  # registers its own end first, so that it comes after that of loaders
import os
import shutil
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from concord.data.dataset import Dataset, Draw, Tree
from concord.errors import ConcordError, ResourceError

Made = tuple[Tree, Tree]
Finish = Callable[[Tree], Tree]
SHARED = Path("/dev/shm")  # where batches cross from process to process
ROOM = 2**30  # bytes there, from which on finished batches cross, which may be four times as large
DEAF = (signal.SIGINT, signal.SIGTERM)  # to these are workers
AHEAD = 2  # batches that each worker makes before they are asked for


STARTED: "weakref.WeakSet[Loader]" = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Before multiprocessing waits for its children, which do not end for a signal."""
    for loader in list(STARTED):
        loader.close()


@dataclass(frozen=True, eq=False)
class Wanted:
    """One batch: which part of the data, the numbers of its samples, and what is drawn."""

    part: str
    index: Tensor
    draw: Draw | None = None


class Loader:
    """Makes batches of the parts of a data set, in ``workers`` processes that live as long as this object."""

    def __init__(
        self,
        parts: Mapping[str, Dataset],
        workers: int = 0,
        context: str | None = None,
        finish: Finish | None = None,
    ) -> None:
        """``finish``: what is done to the inputs, such as normalising; by the workers if there is room.

        ``context``: how processes start; default: fork where there is one, which needs no ``__main__``.
        """
        self._parts, self._workers, self._asked = parts, workers, _Asked()
        self._finish, self._there = finish, finish is not None and _room()
        self._context = context or ("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
        self._loader: DataLoader[Any] | None = None
        self._iterator: Any = None
        self._busy = False
        STARTED.add(self)

    def batches(self, wanted: Iterable[Wanted]) -> Iterator[Made]:
        """The batches, in the order given. DataError and the like are raised where their batch would come."""
        if self._workers == 0 or self._busy:  # the workers have one list at a time
            made = (self._parts[one.part].batch(one.index, one.draw) for one in wanted)
            return ((_finished(self._finish, x), y) for x, y in made)
        if self._there:
            return self._from_workers(wanted)
        return ((_finished(self._finish, x), y) for x, y in self._from_workers(wanted))

    def close(self) -> None:
        """End the workers; the next batch starts new ones."""
        iterator, self._loader, self._iterator = self._iterator, None, None
        if iterator is None:
            return
        workers = list(iterator._workers)
        if not all(worker.is_alive() for worker in workers):
            _kill(workers)  # they may wait for what a dead one held, and hear no signal
        iterator._shutdown_workers()  # a generator that nobody ended may hold it still
        _kill(workers)

    def __del__(self) -> None:
        self.close()

    def _from_workers(self, wanted: Iterable[Wanted]) -> Iterator[Made]:
        self._busy, self._asked.wanted = True, wanted
        try:
            for made in self._started():
                if isinstance(made, ConcordError):
                    self.close()  # whoever looks at the error would keep the workers alive
                    raise made
                yield made
        except RuntimeError as error:
            self.close()
            if "DataLoader worker" not in str(error):
                raise
            raise ResourceError(
                "a worker process that makes batches ended unexpectedly, as when memory runs out "
                f"({str(error).splitlines()[0]}); set data.workers to a smaller number"
            ) from error
        finally:
            self._busy = False

    def _started(self) -> Iterator[Any]:
        if self._loader is None:
            self._loader = DataLoader(
                _Batches(self._parts, self._finish if self._there else None),  # type: ignore[arg-type]
                batch_size=None,
                sampler=self._asked,
                num_workers=self._workers,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                worker_init_fn=_settle,
                multiprocessing_context=self._context,
                collate_fn=_as_it_is,
                generator=torch.Generator(),  # or it would draw from the generator of this process
            )
        # torch answers the end of a worker with an error wherever this process is; the handler is put back,
        # and the end is noticed where the next batch is waited for.
        there = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGCHLD) if there else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")
            warnings.filterwarnings("ignore", category=UserWarning, message=".*create.*worker processes.*")
            with _signals_held():
                self._iterator = iter(self._loader)
        if there:
            signal.signal(signal.SIGCHLD, before)
        return iter(self._iterator.__next__, None)  # without another start


class _Asked:
    """The list of batches that is made next."""

    wanted: Iterable[Wanted] = ()

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.int64], Draw | None]]:
        # a tensor would cross to the worker as a file of shared memory
        return ((one.part, one.index.numpy(), one.draw) for one in self.wanted)


class _Batches:
    """What a worker is asked for."""

    def __init__(self, parts: Mapping[str, Dataset], finish: Finish | None) -> None:
        self._parts, self._finish = parts, finish

    def __getitem__(self, key: tuple[str, NDArray[np.int64], Draw | None]) -> Made | ConcordError:
        part, index, draw = key
        try:
            x, y = self._parts[part].batch(torch.from_numpy(index), draw)
            return _finished(self._finish, x), y
        except ConcordError as error:  # torch would wrap it in a traceback
            return error


def _finished(finish: Finish | None, x: Tree) -> Tree:
    return x if finish is None else finish(x)


def _kill(workers: Sequence[multiprocessing.process.BaseProcess]) -> None:
    """End processes that have nothing to save; one that has ended already is only waited for."""
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()


def _room() -> bool:
    # containers often have 64 MB there
    return not SHARED.exists() or shutil.disk_usage(SHARED).free >= ROOM


def _as_it_is(made: Any) -> Any:
    return made


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait meanwhile, and processes begun here are deaf to them from their first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _settle(worker: int) -> None:
    # A signal to the whole group, as Ctrl-C and batch systems send it, is for the process that trains: it
    # saves its state and then ends the workers.
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process soon after its parent, even where it waits to hand over what nobody reads any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
