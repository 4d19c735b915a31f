"""Find and load the kernel, and choose among the sets of instructions that this processor has.

It is built when concord is installed, if a C++ compiler is there. Without it the same numbers come from
PyTorch, slowly: ``library()`` is then None and ``state()`` says why.
"""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from concord.errors import UsageError
from concord.native.records import BYTES

ABI = 1
FILE = Path(__file__).with_name("kernel.so")
VARIABLE = "CONCORD_NATIVE"  # name of a path, or "torch" for the one without the library


@dataclass(frozen=True)
class State:
    """Which path is used, which this processor could run, and why if the library is not used."""

    path: str
    runs: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Loaded:
    """The library and the number of the path in use."""

    functions: ctypes.CDLL
    path: int
    name: str


def _opened() -> tuple[ctypes.CDLL | None, str]:
    if not FILE.exists():
        return None, f"the kernel was not built: {FILE.name} is missing (a C++ compiler, then install again)"
    try:
        functions = ctypes.CDLL(str(FILE))
        abi = functions.concord_abi()
    except (OSError, AttributeError) as error:
        return None, f"{FILE.name} cannot be loaded: {error}"
    functions.concord_record_bytes.restype = ctypes.c_int64
    if abi != ABI or functions.concord_record_bytes() != BYTES:
        return None, f"{FILE.name} was built for another version of concord: install again"
    functions.concord_path_name.restype = ctypes.c_char_p
    functions.concord_arranged.restype = functions.concord_spin.restype = ctypes.c_int64
    functions.concord_spin.argtypes = (ctypes.c_int, ctypes.c_int64)
    pointer = ctypes.c_void_p
    functions.concord_convolve.argtypes = (ctypes.c_int, pointer, pointer)
    functions.concord_pack.argtypes = (ctypes.c_int, pointer, pointer, pointer)
    functions.concord_arranged.argtypes = (ctypes.c_int, pointer)
    functions.concord_arrange.argtypes = (ctypes.c_int, pointer, pointer, pointer)
    functions.concord_pool.argtypes = (pointer, pointer, pointer, pointer)
    functions.concord_first.argtypes = functions.concord_halving.argtypes = (ctypes.c_int, pointer, pointer)
    return functions, ""


def chosen(wanted: str) -> tuple[Loaded | None, State]:
    """The path of that name, or the fastest for an empty one.

    Raises UsageError for a name that this processor, or this library, does not have: an instruction that the
    processor lacks is never run.
    """
    functions, reason = _opened()
    if functions is None:
        if wanted not in ("", "torch"):
            raise UsageError(f"{VARIABLE}={wanted}: {reason}")
        return None, State("torch", ("torch",), reason)
    names = [functions.concord_path_name(i).decode() for i in range(functions.concord_paths())]
    runs = [name for i, name in enumerate(names) if functions.concord_path_runs(i)]
    if wanted == "torch":
        return None, State("torch", (*runs, "torch"), f"{VARIABLE} says so")
    if wanted and wanted not in runs:
        known = "this processor lacks its instructions" if wanted in names else "no path has that name"
        raise UsageError(f"{VARIABLE}={wanted}: {known}; those that run here are {', '.join(runs)}, torch")
    name = wanted or runs[0]
    return Loaded(functions, names.index(name), name), State(name, (*runs, "torch"), "")


@cache
def library() -> Loaded | None:
    """The library with the path in use; None where PyTorch does the work. The environment is asked once."""
    return chosen(os.environ.get(VARIABLE, ""))[0]


def state() -> State:
    """What ``concord doctor`` says of it."""
    return chosen(os.environ.get(VARIABLE, ""))[1]
