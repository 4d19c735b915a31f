"""Plain values as JSON and tensors, and back: what a member keeps outside its state dict.

Numbers, strings, bytes, lists, tuples, sets, queues, dictionaries, tensors and arrays of numbers, at any
depth. Nothing else is
written, and nothing else can come out of a file.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

AS_THEY_ARE = (type(None), bool, int, str)
COLLECTIONS: dict[str, Callable[..., Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


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
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is dict:
        return {"dict": [[packed(key, tensors), packed(inside, tensors)] for key, inside in value.items()]}
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        tensors.append(value.detach().cpu().clone())
        return {"tensor": len(tensors) - 1}
    if kind is np.ndarray or isinstance(value, np.generic):
        return {"array" if kind is np.ndarray else "number": _array(np.asarray(value), tensors)}
    raise NotPlainError(kind.__name__)


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
            case "bytes":
                return bytes.fromhex(inside)
            case "tuple" | "set" | "frozenset":
                return COLLECTIONS[kind](unpacked(one, tensors) for one in inside)
            case "deque":
                return deque((unpacked(one, tensors) for one in inside[0]), inside[1])
            case "dict":
                return {unpacked(key, tensors): unpacked(value, tensors) for key, value in inside}
            case "tensor":
                return tensors[inside]
            case "array" | "number":
                found = _from_bytes(tensors, *inside)
                return found if kind == "array" else found[()]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"no plain value: {error}") from None
    raise ValueError(f"no plain value: {kind!r}")


def _from_bytes(tensors: list[Tensor], dtype: str, shape: list[int], place: int) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise ValueError(f"no array of numbers: {dtype}")
    return np.frombuffer(tensors[place].numpy().tobytes(), kind).reshape(shape).copy()
