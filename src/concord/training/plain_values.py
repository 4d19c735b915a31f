"""Plain values as JSON and tensors, and back: what a member keeps outside its state dict.

Numbers, strings, bytes, lists, tuples, sets, queues, dictionaries, tensors and arrays of numbers, generators
of random numbers, sizes, devices, types of tensors, ranges, slices and paths, at any depth. Nothing else is
written, and nothing else can come out of a file.
"""

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from math import isfinite
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

AS_THEY_ARE = (type(None), bool, int, str)
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
BITS: dict[str, Callable[[], Any]] = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
MAPPINGS: dict[type, str] = {OrderedDict: "OrderedDict", Counter: "Counter"}
COLLECTIONS: dict[str, Callable[..., Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


NAMED: dict[type, Callable[[Any], Any]] = {
    torch.Size: list,
    torch.device: str,
    torch.dtype: lambda kind: str(kind).removeprefix("torch."),
    range: lambda r: [r.start, r.stop, r.step],
    slice: lambda s: [s.start, s.stop, s.step],
    PosixPath: str,
}


class NotPlainError(Exception):
    """A value, or one inside it, is of another kind."""


def packed(value: Any, tensors: list[Tensor]) -> Any:
    """The value as JSON has it; its tensors and arrays are added to ``tensors``. NotPlainError otherwise."""
    kind = type(value)
    if kind in AS_THEY_ARE:
        return value
    if kind is float:
        return value if isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [packed(inside, tensors) for inside in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [packed(inside, tensors) for inside in _in_order(value)]}
    if kind is deque:
        return {"deque": [[packed(inside, tensors) for inside in value], value.maxlen]}
    if kind in NAMED:
        return {kind.__name__: packed(NAMED[kind](value), tensors)}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is dict:
        return {"dict": [[packed(key, tensors), packed(inside, tensors)] for key, inside in value.items()]}
    if kind in MAPPINGS:
        return {"mapping": [MAPPINGS[kind], packed(dict(value), tensors)]}
    if isinstance(value, GENERATORS):
        return {"generator": [*_state_of(value, tensors)]}
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        if value.layout != torch.strided or value.is_quantized or value.is_nested or value.is_meta:
            raise NotPlainError(f"tensor of the layout {value.layout}")
        tensors.append(value.detach().cpu().clone())
        return {"tensor": len(tensors) - 1}
    if kind is np.ndarray or isinstance(value, np.generic):
        return {"array" if kind is np.ndarray else "number": _array(np.asarray(value), tensors)}
    raise NotPlainError(kind.__name__)


def _state_of(generator: Any, tensors: list[Tensor]) -> tuple[str, Any]:
    """The kind of a generator and its state; NotPlainError for one without, as that of the system."""
    if isinstance(generator, torch.Generator):
        return "torch", packed(generator.get_state(), tensors)
    if isinstance(generator, np.random.Generator):
        name = type(generator.bit_generator).__name__
        return f"numpy.{name}", packed(generator.bit_generator.state, tensors)
    if isinstance(generator, np.random.RandomState):
        return "numpy", packed(generator.get_state(legacy=False), tensors)
    try:
        return "python", packed(generator.getstate(), tensors)
    except NotImplementedError:
        raise NotPlainError(type(generator).__name__) from None


def moved_on(generator: Any, to: Any) -> Any:
    """The same generator in the state of another one of its kind."""
    tensors: list[Tensor] = []
    kind, state = _state_of(to, tensors)
    return generator_of(kind, unpacked(state, tensors), generator)


def generator_of(kind: str, state: Any, given: Any = None) -> Any:
    """``given`` or a new generator of that kind, with this state."""
    made: Any
    if kind == "torch":
        made = given if isinstance(given, torch.Generator) else torch.Generator()
        made.set_state(state)
    elif kind == "numpy":
        made = given if isinstance(given, np.random.RandomState) else np.random.RandomState()
        made.set_state(state)
    elif kind.startswith("numpy."):
        bits = BITS[kind.removeprefix("numpy.")]
        made = given if isinstance(given, np.random.Generator) else np.random.Generator(bits())
        made.bit_generator.state = state
    else:
        made = given if isinstance(given, random.Random) else random.Random()
        made.setstate(state)
    return made


def _in_order(value: Collection[Any]) -> Iterable[Any]:
    """A set has no order of its own, and equal ones are to be written alike."""
    return value if isinstance(value, tuple) else sorted(value, key=repr)


def _array(value: np.ndarray[Any, Any], tensors: list[Tensor]) -> list[Any]:
    """Type, shape and place of an array: its bytes, because torch knows fewer types."""
    if value.dtype.kind not in "biufc":
        raise NotPlainError(f"array of {value.dtype}")
    tensors.append(torch.from_numpy(np.frombuffer(value.tobytes(), np.uint8).copy()))
    return [value.dtype.str, list(value.shape), len(tensors) - 1]


def unpacked(document: Any, tensors: list[Tensor]) -> Any:
    """The value that ``packed`` wrote; ValueError if the document is not one of its own."""
    if type(document) in (*AS_THEY_ARE, float):
        return document
    if isinstance(document, list):
        return [unpacked(inside, tensors) for inside in document]
    try:
        ((kind, inside),) = document.items()
        match kind:
            case "float":
                return float(inside)
            case "Size":
                return torch.Size(unpacked(inside, tensors))
            case "device":
                return torch.device(inside)
            case "dtype":
                return _dtype(inside)
            case "range" | "slice":
                return {"range": range, "slice": slice}[kind](*unpacked(inside, tensors))
            case "PosixPath":
                return Path(inside)
            case "bytes":
                return bytes.fromhex(inside)
            case "tuple" | "set" | "frozenset":
                return COLLECTIONS[kind](unpacked(one, tensors) for one in inside)
            case "deque":
                return deque((unpacked(one, tensors) for one in inside[0]), inside[1])
            case "dict":
                return {unpacked(key, tensors): unpacked(value, tensors) for key, value in inside}
            case "mapping":
                return {name: kind for kind, name in MAPPINGS.items()}[inside[0]](
                    unpacked(inside[1], tensors)
                )
            case "generator":
                return generator_of(inside[0], unpacked(inside[1], tensors))
            case "tensor":
                return tensors[inside]
            case "array" | "number":
                found = _from_bytes(tensors, *inside)
                return found if kind == "array" else found[()]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"no plain value: {error}") from None
    raise ValueError(f"no plain value: {kind!r}")


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, name) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise ValueError(f"no type of tensors: {name!r}")
    return found


def _from_bytes(tensors: list[Tensor], dtype: str, shape: list[int], place: int) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise ValueError(f"no array of numbers: {dtype}")
    return np.frombuffer(tensors[place].numpy().tobytes(), kind).reshape(shape).copy()
