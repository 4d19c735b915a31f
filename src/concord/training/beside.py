"""What a member is beyond the tensors of its state dict, as tensors that a checkpoint holds beside them.

  beside/values      JSON: extra state, the state of generators, attributes that changed since it was built
  beside/0, 1, ...   the tensors of these, and of buffers that are not persistent

Only what changed since the member was built is kept. What cannot be kept is said, the first time that it
changes.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from inspect import isroutine
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concord.errors import CheckpointError, UsageError
from concord.training.plain_values import GENERATORS, NotPlainError, moved_on, packed, unpacked

PREFIX = "beside/"
VALUES = f"{PREFIX}values"
EXTRA = "_extra_state"  # torch's name for it in a state dict
OF_EVERY_MODULE = set(vars(nn.Module()))
LARGEST = 2**20  # numbers of a tensor of a graph that is kept


class Beside:
    """What no state dict holds of one member; made as soon as it is built, to know later what changed.

    ``built=False``: everything counts as changed.
    """

    def __init__(self, name: str, member: nn.Module, *, built: bool = True) -> None:
        self.name, self.member = name, member
        places = [*_attributes(member), *_buffers(member)] if built else []
        self._before = {place: _fingerprint(value) for place, value in places}
        self._told: set[str] = set()

    def tensors(self) -> dict[str, Tensor]:
        """All that can be kept and is not as it was built; UsageError for extra state that cannot be."""
        tensors: list[Tensor] = []
        values = {
            "extra": {path: self._extra(path, value, tensors) for path, value in _extra(self.member)},
            "buffers": {
                place: packed(value, tensors)
                for place, value in _buffers(self.member)
                if self._before.get(place) != _fingerprint(value)
            },
            "attributes": {
                place: packed(value, tensors) for place, value in self._changed() if _plain(value)
            },
        }
        if not any(values.values()):
            return {}
        document = json.dumps(values, allow_nan=False).encode()
        numbered = {f"{PREFIX}{i}": tensor for i, tensor in enumerate(tensors)}
        return {VALUES: torch.frombuffer(bytearray(document), dtype=torch.uint8), **numbered}

    def _extra(self, path: str, value: Any, tensors: list[Tensor]) -> Any:
        try:
            return packed(value, tensors)
        except (NotPlainError, RecursionError) as error:
            raise UsageError(
                f"member {self.name!r}: get_extra_state of {path or 'the member'} gives a {error} which no"
                " checkpoint can hold: let it give tensors, numbers, strings, lists and dictionaries"
            ) from None

    def _changed(self) -> Iterator[tuple[str, Any]]:
        for place, value in _attributes(self.member):
            if self._before.get(place) != _fingerprint(value):
                yield place, value

    def lost(self) -> list[str]:
        """A sentence for each attribute that changed and cannot be kept, the first time that it is seen."""
        found = {place: type(value).__name__ for place, value in self._changed() if not _plain(value)}
        found |= {
            place: type(value).__name__
            for place, value in _attributes(self.member)
            if hasattr(value, "__next__")
        }  # where an iterator is shows only when it is asked
        fresh = {place: kind for place, kind in found.items() if place not in self._told}
        self._told |= fresh.keys()
        return [
            f"member {self.name!r}: {place} ({kind}) changes while it is trained, and no checkpoint can hold"
            " it: a resume will not be exact"
            for place, kind in fresh.items()
        ]


def _attributes(member: nn.Module) -> Iterator[tuple[str, Any]]:
    """Plain attributes of all modules; of those of torch no tensors, which are computed from parameters."""
    registered = {id(one) for one in (*member.modules(), *member.parameters())}
    for path, module in member.named_modules():
        library = type(module).__module__.partition(".")[0] == "torch"
        for name, value in vars(module).items():
            if name in OF_EVERY_MODULE or name.startswith("_flat_weight") or _registered(value, registered):
                continue
            if not (isinstance(value, Tensor) and (library or _cached(value))):
                yield f"{path}.{name}".lstrip("."), value


def _registered(value: Any, known: set[int]) -> bool:
    """Whether a value is a module or parameter of the member, or holds nothing else."""
    if isinstance(value, nn.Module | nn.Parameter):
        return id(value) in known
    inside = value.values() if isinstance(value, Mapping) else value if type(value) in (list, tuple) else ()
    return bool(inside) and all(isinstance(x, nn.Module | nn.Parameter) and id(x) in known for x in inside)


def _cached(value: Tensor) -> bool:
    """Whether a tensor is a large one of a graph: what a forward pass leaves lying about."""
    return value.grad_fn is not None and value.numel() > LARGEST


def _buffers(member: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers that are not persistent."""
    for path, module in member.named_modules():
        for name in sorted(module._non_persistent_buffers_set):
            value = module._buffers.get(name)
            if value is not None:
                yield f"{path}.{name}".lstrip("."), value


def _extra(member: nn.Module) -> Iterator[tuple[str, Any]]:
    """Extra state that is no tensor; a tensor is in the state dict."""
    for path, module in member.named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            value = module.get_extra_state()
            if not isinstance(value, Tensor):
                yield path, value


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
        if isinstance(value, nn.Module):  # one that is not registered
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


def put(name: str, member: nn.Module, saved: Mapping[str, Tensor]) -> dict[str, Any]:
    """Put back what ``Beside.tensors`` took; gives the extra state, by its names in a state dict.

    CheckpointError if it does not fit this member.
    """
    if VALUES not in saved:
        return {}
    tensors = [saved[f"{PREFIX}{i}"] for i in range(len(saved)) if f"{PREFIX}{i}" in saved]
    try:
        document = json.loads(saved[VALUES].numpy().tobytes())
        found = {
            part: {place: unpacked(value, tensors) for place, value in document[part].items()}
            for part in ("extra", "buffers", "attributes")
        }
        _put_buffers(member, found["buffers"])
        _put_attributes(member, found["attributes"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"member {name!r}: what the checkpoint holds beside its weights does not fit ({error})"
        ) from None
    return {f"{path}.{EXTRA}".lstrip("."): value for path, value in found["extra"].items()}


def _put_buffers(member: nn.Module, saved: Mapping[str, Any]) -> None:
    modules = dict(member.named_modules())
    for place, value in saved.items():
        path, _, name = place.rpartition(".")
        module = modules[path]
        if name not in module._non_persistent_buffers_set or not isinstance(value, Tensor):
            raise ValueError(f"{place} is not a buffer here")
        own = module._buffers.get(name)
        module._buffers[name] = value if own is None else value.to(own.device, own.dtype)


def _put_attributes(member: nn.Module, saved: Mapping[str, Any]) -> None:
    modules = dict(member.named_modules())
    for place, value in saved.items():
        path, _, attribute = place.rpartition(".")
        module = modules[path]
        own = vars(module).get(attribute, getattr(type(module), attribute, None))
        if attribute in OF_EVERY_MODULE or isroutine(own) or isinstance(own, property | type | nn.Module):
            raise ValueError(f"{place} is not an attribute that a checkpoint may set")
        if not _alike(own, value):
            raise ValueError(f"{place} is a {type(own).__name__} here")
        if isinstance(own, Tensor) and isinstance(value, Tensor):
            value = value.to(own.device)
        if isinstance(own, GENERATORS):  # others may hold the same one
            value = moved_on(own, value)
        setattr(module, attribute, value)


def _alike(own: Any, value: Any) -> bool:
    """Whether a value may take the place of another: numbers for numbers, and anything for nothing."""
    numbers = (int, float, np.generic, Tensor)
    both = isinstance(own, numbers) and isinstance(value, numbers)
    return own is None or value is None or both or type(own) is type(value)


def room_for(member: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Buffers that are None until the first training pass take the shapes that were saved."""
    for path, module in member.named_modules():
        for name, value in module._buffers.items():
            place = f"{path}.{name}".lstrip(".")
            if value is None and place in saved and name not in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(saved[place])
