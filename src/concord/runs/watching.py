"""Stopping, and progress of reading: what a long job asks and reports between two samples."""

from collections.abc import Callable

from concord.data.images.pictures import Watch
from concord.errors import StoppedError, amount
from concord.training.observer import Observer

Stop = Callable[[], bool]  # whether to stop as soon as the state can be saved


def never() -> bool:
    """The stop of a job that nobody stops."""
    return False


def reading(observer: Observer, stop: Stop = never) -> Watch:
    """What is called while image files are decoded: reports progress, and stops if that is asked for."""

    def watch(done: int, total: int) -> None:
        if stop():
            read = f"reading {done:,} of {total:,} images" if total else f"finding {amount(done, 'image')}"
            raise StoppedError(f"stopped after {read}; nothing was changed, and the same command starts over")
        observer.counted(done, total)

    return watch
