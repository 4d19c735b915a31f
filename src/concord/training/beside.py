"""What a member is beyond the tensors of its state dict, as tensors that a checkpoint holds beside them.

  beside/values      JSON: extra state, generators, attributes, which parameters learn, modes of parts
  beside/0, 1, ...   the tensors of these, and of buffers that are not persistent

Only what changed since the member was built is kept. What cannot be kept is said, the first time that it
changes.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from inspect import isroutine
from io import IOBase
from typing import Any

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.training import places
from concord.training.plain_values import NotPlainError, packed

PREFIX = "beside/"
VALUES = f"{PREFIX}values"
PARTS: dict[str, Callable[[nn.Module], Iterator[places.Place]]] = {
    "buffers": places.buffers,
    "attributes": places.attributes,
    "learning": places.learning,
    "modes": places.modes,
}


class Beside:
    """What no state dict holds of one member; made as soon as it is built, to know later what changed.

    ``built=False``: everything counts as changed.
    """

    def __init__(self, name: str, member: nn.Module, *, built: bool = True) -> None:
        self.name, self.member = name, member
        self._before = {
            (part, place): _fingerprint(value)
            for part, found in (PARTS.items() if built else ())
            for place, value in found(member)
        }
        self._modules = frozenset(places.modules_of(member)) if built else None
        self._names = _names(member) if built else None
        self._told: set[str] = set()

    def untold(self) -> "Beside":
        """The same knowledge for another training, in which nothing was said yet."""
        other = copy(self)
        other._told = set()
        return other

    def tensors(self) -> dict[str, Tensor]:
        """All that can be kept and is not as it was built; UsageError for what cannot be and has to be."""
        tensors: list[Tensor] = []
        values: dict[str, dict[str, Any]] = {
            "extra": {
                path: self._packed(f"get_extra_state of {path or 'the member'}", value, tensors)
                for path, value in places.extra_state(self.member)
            }
        }
        for part in PARTS:
            values[part] = {
                place: self._packed(f"the buffer {place}", value, tensors)
                for place, value in self._changed(part)
                if part != "attributes" or _plain(value)
            }
        if not any(values.values()):
            return {}
        document = json.dumps(values, allow_nan=False).encode()
        numbered = {f"{PREFIX}{i}": tensor for i, tensor in enumerate(tensors)}
        return {VALUES: torch.frombuffer(bytearray(document), dtype=torch.uint8), **numbered}

    def _packed(self, what: str, value: Any, tensors: list[Tensor]) -> Any:
        try:
            return packed(value, tensors)
        except (NotPlainError, RecursionError) as error:
            kind = "value that contains itself" if isinstance(error, RecursionError) else error
            raise UsageError(
                f"member {self.name!r}: {what} gives a {kind}, which no checkpoint can hold: let it give"
                " dense tensors, numbers, strings, lists and dictionaries"
            ) from None

    def _changed(self, part: str) -> Iterator[places.Place]:
        for place, value in PARTS[part](self.member):
            path = place if part == "modes" else places.split(place)[0]
            there = self._modules is None or path in self._modules
            if there and self._before.get((part, place)) != _fingerprint(value):
                yield place, value

    def lost(self) -> list[str]:
        """A sentence for everything that changed and cannot be kept, the first time that it is seen."""
        changed = self._changed("attributes")
        found = {place: value for place, value in changed if not (_plain(value) or _idle(value))}
        for place, value in places.attributes(self.member):
            if hasattr(value, "__next__"):  # where an iterator is shows only when it is asked
                found[place] = value
        modules = places.modules_of(self.member) if self._modules is not None else {}
        made = {path: one for path, one in modules.items() if path not in (self._modules or ())}
        sentences = {
            place: f"{place} ({type(value).__name__}) {change} while it is trained, and no checkpoint can"
            " hold it: a resume will not be exact, and what is read from a checkpoint may answer otherwise"
            for change, of_kind in (("changes", found), ("is made", made))
            for place, value in of_kind.items()
        }
        fresh = {place: text for place, text in sentences.items() if place not in self._told}
        self._told |= fresh.keys()
        return [f"member {self.name!r}: {text}" for text in (*fresh.values(), *self._renamed())]

    def _renamed(self) -> list[str]:
        """A sentence if a checkpoint has names that a member as it was built does not have, or lacks some."""
        if self._names is None or (now := _names(self.member)) is None or "state dict" in self._told:
            return []
        others = (now.there - self._names.there - self._names.empty) | (self._names.there - now.there)
        if not others:
            return []
        self._told.add("state dict")
        return [
            f"the names in its state dict changed while it was trained ({', '.join(sorted(others)[:3])}): a"
            " member that is built again cannot be filled from its checkpoints"
        ]


def _idle(value: Any) -> bool:
    """Whether it says nothing about what a member gives: a log, or what torch.compile keeps."""
    return isinstance(value, logging.Logger | IOBase) or type(value).__module__.startswith("torch._dynamo")


@dataclass(frozen=True)
class _Names:
    """The names in a state dict, and those of buffers that are None and have room for what was saved."""

    there: frozenset[str]
    empty: frozenset[str]


def _names(member: nn.Module) -> _Names | None:
    empty = frozenset(
        f"{path}.{name}".lstrip(".")
        for path, module in member.named_modules()
        for name, value in module._buffers.items()
        if value is None and name not in module._non_persistent_buffers_set
    )
    try:
        return _Names(frozenset(member.state_dict()), empty)
    except Exception:  # its hooks may raise anything; saving says so
        return None


def _plain(value: Any) -> bool:
    try:
        packed(value, [])
    except (NotPlainError, RecursionError):
        return False
    return True


def _fingerprint(value: Any, depth: int = 3) -> str | None:
    """Equal for equal values; None for what cannot be looked into, and is taken as unchanged."""
    tensors: list[Tensor] = []
    try:
        text = json.dumps(packed(value, tensors)).encode()
    except (NotPlainError, RecursionError):
        return _of_object(value, depth)
    digest = hashlib.sha256(text)
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _of_object(value: Any, depth: int = 3) -> str | None:
    """What an object shows of itself, of its attributes and of what it holds, some levels deep."""
    if isroutine(value) or isinstance(value, type):
        return None
    try:
        if isinstance(value, nn.Module):  # in a container of another kind
            parts: list[Any] = [(key, _fingerprint(x)) for key, x in value.state_dict().items()]
        else:
            parts = [repr(value)]  # an iterator such as itertools.count shows where it is
            inside = dict(vars(value)) if depth and hasattr(value, "__dict__") else {}
            inside |= dict(value) if isinstance(value, Mapping) else {}
            inside |= dict(enumerate(value)) if isinstance(value, list | tuple | set | frozenset) else {}
            parts += [(str(k), _fingerprint(x, depth - 1)) for k, x in inside.items()] if depth else []
    except Exception:  # somebody else's code may raise anything
        return None
    return hashlib.sha256(repr(parts).encode()).hexdigest()
