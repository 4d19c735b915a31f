"""A solver in a thread of its own: it is C code that hears no Ctrl-C, and the command must."""

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import typer

from concord.cli import signals

Result = TypeVar("Result")
POLL_SECONDS = 0.2  # Windows hears no Ctrl-C in a wait without an end
SOLVER_THREAD = "concord-solver"


def interruptible(solve: Callable[[], Result]) -> Result:
    """What ``solve`` gives or raises; KeyboardInterrupt comes through at once and leaves it behind."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def keep_outcome() -> None:
        try:
            results.append(solve())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=keep_outcome, name=SOLVER_THREAD, daemon=True)
    thread.start()
    with signals.stoppable() as stopping:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            if stopping():
                raise KeyboardInterrupt
    if errors:
        raise errors[0]
    return results[0]


def exit_interrupted() -> None:
    """Exit status 130; at once if a solver still runs, under which Python could not end without a crash."""
    sys.stdout.flush()
    if any(thread.name == SOLVER_THREAD for thread in threading.enumerate()):
        os._exit(130)
    raise typer.Exit(130)
