"""Every error that concord raises on purpose, and the exit status that each one has.

ConcordError
├── UsageError         2   arguments or a configuration that cannot describe a run
│   └── ShapeError     2   a tensor has the wrong rank or size
├── DataError          3   a data file is missing, damaged or does not fit
├── CheckpointError    4   a checkpoint is missing, damaged or made for something else
├── DivergedError      5   a loss is not a number, or a member stops learning
├── ResourceError      6   disk or memory ran out
└── StoppedError      75   a signal ended the run; the state is saved

A message says what was expected, what was given (file, line, sample) and, where one exists, the way out.
Status 1 (the answer is no) is a result, not an error; 130 is Ctrl-C without a saved state.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 500  # characters of a foreign error's text


class ConcordError(Exception):
    """The command line prints these as one message without a traceback."""

    exit_status = 2


class UsageError(ConcordError, ValueError):
    """Arguments or a configuration that cannot describe a run."""


class ShapeError(UsageError):
    """A tensor has the wrong rank or size."""


class DataError(ConcordError, OSError):
    """A data file is missing, damaged or does not fit."""

    exit_status = 3


class MissingDataError(DataError):
    """Nothing is there under that name."""


class CheckpointError(ConcordError, OSError):
    """A checkpoint is missing, damaged or made for something else."""

    exit_status = 4


class DivergedError(ConcordError, ArithmeticError):
    """A loss is not a number, or a member stops learning.

    ``members`` are those of whom that is known.
    """

    exit_status = 5

    def __init__(self, message: str, members: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.members = tuple(members)


class ResourceError(ConcordError, OSError):
    """Disk or memory ran out."""

    exit_status = 6


class StoppedError(ConcordError):
    """A signal ended the run; the state is saved and ``concord resume`` goes on from it."""

    exit_status = 75


def amount(count: int, noun: str) -> str:
    """``1 image``, ``2,000 images``: a number with its noun, whose plural ends in s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def suggestion(given: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, or nothing."""
    cutoff = 0.5 if len(given) < 3 else 0.6  # one wrong letter of two leaves a likeness of a half
    near = get_close_matches(given, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def said(error: BaseException) -> str:
    """``ValueError: what it says`` on one line of at most 500 characters, if need be without its text."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be made)"
    line = " ".join(f"{type(error).__name__}: {text}".split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def interrupts(error: BaseException) -> bool:
    """Whether this is Ctrl-C or the end of a generator, which come from outside of what is called."""
    return type(error) in (KeyboardInterrupt, GeneratorExit)
