"""What Ctrl-C and SIGTERM do to the process of a command, from its first instant to its last.

    nothing to save yet     the process ends at once with status 130
    reading for a training  the reader is asked to stop; if it does not within a moment, status 130
    training                saved after the update in progress, status 75; a second signal ends it with 130
    trained, all is saved   as for reading, with status 75

A thread of its own decides, so that a signal is heard while the main thread is in C code: importing torch,
hashing, exporting. No exception is raised, because foreign code swallows it, or prints it as a traceback.
Only ``concord.__main__`` calls ``listen``: whoever imports concord keeps the signals of its own process.
"""

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 0.25  # seconds in which whoever was given ``stop`` may end the work in good order
INTERRUPTED = 130
SAVED = 75
FULL_COLLECTIONS = 1000  # between two, so many of younger objects: with torch one takes 0.3 s, all deaf
SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it

STOPPING = "stopping after this step; a second Ctrl-C quits without saving"
NOTHING_SAVED = "interrupted; nothing was being saved"
ALL_SAVED = "stopped; everything is saved: the same command finishes from here"


class Process:
    """The signals of this process: what has come, and what may be lost."""

    def __init__(self) -> None:
        self.listening = False
        self.asked = False  # a signal has come
        self.stoppable = False  # somebody asks ``stopping`` now and then
        self.heard = False  # and has had the answer yes
        self.unsaved = False  # a training is in progress
        self.status = INTERRUPTED  # of an end in which nothing is saved any more
        self.done = False  # the verb has ended, and ``status`` is its own
        self.told = NOTHING_SAVED
        self._count, self._first = 0, threading.Lock()

    def stopping(self) -> bool:
        """Whether a signal has come; whoever gets the answer yes must end in good order, and soon."""
        self.heard = self.heard or self.asked
        return self.asked

    def begin(self) -> None:
        """From here on ``stopping`` is asked."""
        self.stoppable, self.heard, self.unsaved = True, False, False
        self.status, self.told = INTERRUPTED, NOTHING_SAVED

    def end(self) -> None:
        """From here on nobody asks any more."""
        self.stoppable = self.unsaved = False
        if self.heard:  # and the verb is about to say what was saved
            self.told = ""

    def training(self) -> None:
        """From here on something would be lost."""
        self.unsaved = True

    def trained(self) -> None:
        """All updates are done and saved; what is left can be done again."""
        self.unsaved, self.status, self.told = False, SAVED, ALL_SAVED

    def leaving(self, status: int) -> None:
        """The verb is done: from here on the process ends with the verb's own status, signal or not."""
        self.stoppable, self.unsaved, self.status, self.told = False, False, status, ""
        self.done = True
        if self.asked:
            quit_at_once(status, "")

    def arrived(self) -> None:
        """A signal has come: end the process, or leave that to whoever asks ``stopping``."""
        self._count += 1
        if self._count == 1 and self.heard:  # the main thread was faster
            return
        if not self.stoppable:
            quit_at_once(self.status, self.told)
        if self._count > 1:
            quit_at_once(INTERRUPTED, "")
        if self.unsaved:
            self.announce()
        else:
            threading.Thread(target=self._insist, daemon=True).start()

    def announce(self) -> None:
        """Say once that a training ends after its step; both threads ask, the faster one says it."""
        if self.unsaved and self._first.acquire(blocking=False):
            tell(STOPPING)

    def _insist(self) -> None:
        time.sleep(GRACE)
        if not (self.heard or self.unsaved):
            quit_at_once(self.status, self.told)


PROCESS = Process()


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """A block in which the function that it gets is asked now and then whether a signal has come."""
    PROCESS.begin()
    try:
        yield PROCESS.stopping
    finally:
        PROCESS.end()


def listen() -> None:
    """Take Ctrl-C and SIGTERM from here on; for the process of the command alone."""
    if PROCESS.listening:
        return
    PROCESS.listening = True
    hear, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _note)
    # a signal that comes before the thread runs waits for it in the pipe
    threading.Thread(target=_follow, args=(hear, PROCESS.arrived), daemon=True).start()
    atexit.register(_last)  # what is registered first comes last
    # a forked child would wake this process, whose signals are not its own
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    young, older, _ = gc.get_threshold()
    gc.set_threshold(young, older, FULL_COLLECTIONS)


def _last() -> None:
    """End after all that was registered for the end: to take torch down takes a second, deaf to signals."""
    if PROCESS.done:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(PROCESS.status)
    for number in SIGNALS:  # Python takes its handlers away while it ends
        signal.signal(number, signal.SIG_IGN)


def _note(number: int, frame: object) -> None:
    PROCESS.asked = True  # before the next update, whenever the thread comes to it
    PROCESS.announce()


def _follow(hear: int, arrived: Callable[[], None]) -> None:
    while True:
        for number in os.read(hear, 1):
            if number in SIGNALS:
                arrived()


def quit_at_once(status: int, text: str) -> None:
    """End the process without unwinding it: half-written files and processes that make batches go too."""
    files = sys.modules.get("concord.files.atomic")
    for path in list(getattr(files, "UNFINISHED", ())):
        with suppress(OSError):
            _remove(str(path))
    processes = sys.modules.get("multiprocessing.process")
    for child in list(getattr(processes, "_children", ())):
        with suppress(Exception):
            if child.daemon:  # others end by themselves, with their state saved
                child.kill()
    if text:
        tell(text)
    os._exit(status)


def _remove(path: str) -> None:
    """A file, or a folder with all that is in it; nothing is imported for it, which could wait for a lock."""
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        with os.scandir(path) as inside:
            for entry in list(inside):
                _remove(entry.path)
        os.rmdir(path)  # noqa: PTH106
    else:
        os.unlink(path)  # noqa: PTH108


def tell(text: str) -> None:
    """A line on stderr, whatever state Python's streams are in."""
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, SHOW_CURSOR)
        os.write(2, f"concord: {text}\n".encode())
