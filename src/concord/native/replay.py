"""Record the calls of the kernel that a chain of layers makes, and make them again in one call from Python.

What Python does between two calls, about 10 microseconds, is a fifth of the time of a layer of one image.
What is recorded holds addresses: of weights, of the maps between the layers, which are kept for the next
time, and of input and output, which are replaced each time.
"""

import ctypes
import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from torch import Tensor

from concord.errors import ResourceError
from concord.native.checks import require_finite
from concord.native.kept import Kept
from concord.native.library import Loaded, lent, library
from concord.native.records import DONE, NOT_FINITE

KINDS = ("concord_convolve", "concord_first", "concord_halving", "concord_pool")
SHORTCUT, OUT = 11, 12  # fields of a convolution
WRITTEN = ((12, 13), (4,), (4,), (2,))  # fields of what each kind writes
NUMBERS = ((5,), (5,), (5,), ())  # and those that are no addresses
WORD = struct.Struct("Q")
Call = tuple[int, bytes, bytes]  # kind and records


class Step(ctypes.Structure):
    """A call: its kind, records, and for pooling the three addresses that it takes besides."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("geometry", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
    )


class Place(NamedTuple):
    """A field of a record that holds the address of the input or of the output."""

    record: Any  # of ctypes
    offset: int
    output: bool


class Recorder:
    """Stands in for the functions of the library: calls them, and keeps what they were called with."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        function: Callable[..., int] = getattr(self.loaded.functions, name)
        if name not in KINDS:
            return function
        kind = KINDS.index(name)

        def noted(*given: Any) -> int:
            if name == "concord_pool":
                geometry, *addresses = given
                self.calls.append((kind, geometry, b"".join(map(WORD.pack, addresses))))
            else:
                self.calls.append((kind, given[1], given[2]))
            return function(*given)

        return noted


class Program:
    """Recorded calls, for one thread at a time and inputs with the shape and strides of the recorded one."""

    def __init__(self, loaded: Loaded, calls: list[Call], x: Tensor, out: Tensor, kept: list[Tensor]) -> None:
        self.loaded, self.kept = loaded, kept
        self.bytes = sum(t.nbytes for t in kept)
        self.outputs = Kept(tuple(out.shape), out.stride(), out.dtype)  # floats, or bits
        self.records = [
            (ctypes.create_string_buffer(g, len(g)), ctypes.create_string_buffer(m, len(m)))
            for _, g, m in calls
        ]
        addresses = [(ctypes.addressof(g), ctypes.addressof(m)) for g, m in self.records]
        self.steps = (Step * len(calls))(
            *(Step(kind, *where) for (kind, _, _), where in zip(calls, addresses, strict=True))
        )
        self.places = [
            Place(memory, at * WORD.size, address == out.data_ptr())
            for _, memory in self.records
            for at, address in enumerate(_fields(memory.raw))
            if address in (x.data_ptr(), out.data_ptr())
        ]

    def __call__(self, x: Tensor) -> Tensor:
        out = self.outputs.empty()
        ends = (x.data_ptr(), out.data_ptr())
        for record, offset, output in self.places:
            WORD.pack_into(record, offset, ends[output])
        status = self.loaded.functions.concord_replay(self.loaded.path, self.steps, len(self.steps))
        if status != DONE:
            require_finite(status != NOT_FINITE)
            raise ResourceError("memory for the bits of one image was refused: a smaller image takes less")
        return out


def recorded(
    run: Callable[[Tensor], list[Tensor]], x: Tensor, weights: Iterable[Tensor]
) -> tuple[Program | None, Tensor]:
    """``run`` gives all maps that it makes, the output last. None where it does what cannot be recorded.

    That is so where one of the maps was not made by a call, and where a call reads what is neither the input,
    one of ``weights`` nor a map that a call before it has made. A copy that was made on the way is none of
    these; it is held, so that no later map lies where it lies.
    """
    loaded = library()
    assert loaded is not None
    recorder = Recorder(loaded)
    held: list[Tensor | None] = []
    with lent(Loaded(recorder, loaded.path, loaded.name, held.extend)):  # type: ignore[arg-type]
        maps = run(x)
    made = {t.data_ptr() for t in maps}
    there = {0, x.data_ptr(), *(t.data_ptr() for t in weights)}
    written: set[int] = set()
    for kind, _, memory in recorder.calls:
        reads, writes = _accesses(kind, memory)
        if not (there | written).issuperset(reads) or not made.issuperset(writes):
            return None, maps[-1]
        written |= writes
    if not made <= written:
        return None, maps[-1]
    calls = _in_place(recorder.calls, {x.data_ptr(), maps[-1].data_ptr()})
    return Program(loaded, calls, x, maps[-1], maps[:-1]), maps[-1]


def _accesses(kind: int, memory: bytes) -> tuple[set[int], set[int]]:
    """Addresses that a call reads, 0 for what is left out, and those that it writes."""
    fields = {at: address for at, address in enumerate(_fields(memory)) if at not in NUMBERS[kind]}
    writes = {fields.pop(at) for at in WRITTEN[kind]}
    return {*fields.values()}, writes - {0}


def _in_place(calls: list[Call], ends: set[int]) -> list[Call]:
    """A sum with a shortcut takes the place of the shortcut where nothing reads that after it.

    Maps that are written over each other stay in a near cache.
    """
    fields = [list(_fields(memory)) for _, _, memory in calls]
    for i, (kind, _, _) in enumerate(calls):
        shortcut, out = fields[i][SHORTCUT : OUT + 1] if KINDS[kind] == "concord_convolve" else (0, 0)
        read_later = any(shortcut in later for later in fields[i + 1 :])
        if shortcut and out and not read_later and not {shortcut, out} & ends:
            fields = [*fields[:i], *([shortcut if a == out else a for a in own] for own in fields[i:])]
    return [
        (kind, geometry, b"".join(map(WORD.pack, own)))
        for (kind, geometry, _), own in zip(calls, fields, strict=True)
    ]


def _fields(record: bytes) -> tuple[int, ...]:
    """The record as addresses, or what else its fields are."""
    return struct.unpack(f"{len(record) // WORD.size}Q", record)
