"""Find and load the kernel, and choose among the sets of instructions that this processor has.

It is built when concord is installed, if a C++ compiler is there. Without it the same numbers come from
PyTorch, slowly: ``library()`` is then None and ``state()`` says why.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from torch import Tensor

from concord.errors import UsageError
from concord.native.records import BYTES

ABI = 3
FILE = Path(__file__).with_name("kernel.so")
SEAL = FILE.with_suffix(".sha256")  # written by concord.native.build
AGAIN = "install concord again"
VARIABLE = "CONCORD_NATIVE"  # name of a path, or "torch" for the one without the library


@dataclass(frozen=True)
class State:
    """Which path is used, which this processor could run, and why if the library is not used."""

    path: str
    runs: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Loaded:
    """The library and the number of the path in use.

    ``hold`` is called with the tensors of each call: who records calls keeps them, because memory that is
    freed may be given to another tensor while addresses are still compared.
    """

    functions: ctypes.CDLL
    path: int
    name: str
    hold: Callable[[Iterable[Tensor | None]], object] | None = None


def _opened() -> tuple[ctypes.CDLL | None, str]:
    if not FILE.exists():
        return (
            None,
            f"the kernel was not built: {FILE.name} is missing (install a C++ compiler, then concord again)",
        )
    try:
        if SEAL.read_text() != sha256(FILE.read_bytes()).hexdigest():
            return None, f"{FILE.name} is damaged: its checksum differs from that of {SEAL.name}; {AGAIN}"
        functions = ctypes.CDLL(str(FILE))
        if functions.concord_abi() != ABI:
            return None, f"{FILE.name} was built for another version of concord; {AGAIN}"
        _declare(functions)
    except (OSError, AttributeError) as error:  # not readable, of another platform, without a function
        return None, f"{FILE.name} cannot be loaded: {error}; {AGAIN}"
    if functions.concord_record_bytes() != BYTES:
        return None, f"{FILE.name} has records of another version of concord; {AGAIN}"
    return functions, ""


def _declare(functions: ctypes.CDLL) -> None:
    """Types of the functions. AttributeError where one is missing."""
    pointer, number = ctypes.c_void_p, ctypes.c_int
    functions.concord_path_name.restype = ctypes.c_char_p
    functions.concord_record_bytes.restype = ctypes.c_int64
    functions.concord_arranged.restype = functions.concord_spin.restype = ctypes.c_int64
    functions.concord_paths.argtypes = ()
    functions.concord_path_name.argtypes = functions.concord_path_runs.argtypes = (number,)
    functions.concord_spin.argtypes = (number, ctypes.c_int64)
    functions.concord_convolve.argtypes = (number, pointer, pointer)
    functions.concord_pack.argtypes = (number, pointer, pointer, pointer)
    functions.concord_arranged.argtypes = (number, pointer)
    functions.concord_arrange.argtypes = (number, pointer, pointer, pointer)
    functions.concord_pool.argtypes = (pointer, pointer, pointer, pointer)
    functions.concord_winograd.argtypes = (number,)
    functions.concord_replay.argtypes = (number, pointer, ctypes.c_int64)
    functions.concord_first.argtypes = functions.concord_halving.argtypes = (number, pointer, pointer)


def chosen(wanted: str) -> tuple[Loaded | None, State]:
    """The path of that name, or the fastest for an empty one.

    Raises UsageError for a name that this processor, or this library, does not have: an instruction that the
    processor lacks is never run.
    """
    functions, reason = _opened()
    if functions is None:
        if wanted not in ("", "torch"):
            raise UsageError(f"{VARIABLE}={wanted}: {reason}. Set it to torch, or unset it")
        return None, State("torch", ("torch",), reason)
    names = [functions.concord_path_name(i).decode() for i in range(functions.concord_paths())]
    runs = [name for i, name in enumerate(names) if functions.concord_path_runs(i)]
    if wanted == "torch":
        return None, State("torch", (*runs, "torch"), f"{VARIABLE}=torch asks for it")
    if wanted and wanted not in runs:
        why = "this processor lacks its instructions" if wanted in names else "no path has that name"
        raise UsageError(
            f"{VARIABLE}={wanted}: {why}; set it to one of {', '.join(runs)}, torch, or unset it"
        )
    name = wanted or runs[0]
    return Loaded(functions, names.index(name), name), State(name, (*runs, "torch"), "")


@cache
def in_use() -> Loaded | None:
    """The library with the path in use; None where PyTorch does the work. The environment is asked once."""
    return chosen(os.environ.get(VARIABLE, ""))[0]


def library() -> Loaded | None:
    """``in_use``, or what stands in for it in this thread."""
    return getattr(_standing_in, "loaded", None) or in_use()


_standing_in = threading.local()


@contextmanager
def lent(loaded: Loaded) -> Iterator[None]:
    """It stands in for the library in this thread."""
    _standing_in.loaded = loaded
    try:
        yield
    finally:
        _standing_in.loaded = None


def state() -> State:
    """Which path the environment asks for, which run here, and why if the library is not used."""
    return chosen(os.environ.get(VARIABLE, ""))[1]
