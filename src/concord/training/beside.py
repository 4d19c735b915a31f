"""What a member is beyond the tensors of its state dict, as tensors that a checkpoint holds beside them.

  beside/values      JSON: extra state, the state of generators, attributes that changed since it was built
  beside/0, 1, ...   the tensors of these, and of buffers that are not persistent

Of modules that torch, torchvision, timm or concord wrote only buffers and extra state are looked at: their
attributes are sizes.
"""

import hashlib
import json
import pickle
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concord.errors import CheckpointError, UsageError
from concord.training.plain_values import NotPlainError, packed, unpacked

PREFIX = "beside/"
VALUES = f"{PREFIX}values"
EXTRA = "_extra_state"  # torch's name for it in a state dict
OF_EVERY_MODULE = set(vars(nn.Module()))
LIBRARIES = {"torch", "torchvision", "timm", "concord"}
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
LARGEST = 2**20  # bytes of an object that is compared with itself


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
            "generators": {
                place: packed(_generator_state(value), tensors)
                for place, value in _attributes(self.member)
                if isinstance(value, GENERATORS)
            },
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
            if not isinstance(value, GENERATORS) and self._before.get(place) != _fingerprint(value):
                yield place, value

    def lost(self) -> list[str]:
        """A sentence for each attribute that changed and cannot be kept, the first time that it is seen."""
        found = {place: type(value).__name__ for place, value in self._changed() if not _plain(value)}
        fresh = {place: kind for place, kind in found.items() if place not in self._told}
        self._told |= fresh.keys()
        return [
            f"member {self.name!r}: {place} ({kind}) changes while it is trained, and no checkpoint can hold"
            " it: a resume will not be exact"
            for place, kind in fresh.items()
        ]


def _attributes(member: nn.Module) -> Iterator[tuple[str, Any]]:
    """Plain attributes of the modules that a user wrote, but for modules and parameters."""
    for path, module in member.named_modules():
        if type(module).__module__.partition(".")[0] in LIBRARIES:
            continue
        for name, value in vars(module).items():
            if name not in OF_EVERY_MODULE and not _learned(value):
                yield f"{path}.{name}".lstrip("."), value


def _learned(value: Any) -> bool:
    """Whether a value is, or holds, modules or parameters, or a tensor of a graph: a part of the training."""
    inside = value.values() if isinstance(value, Mapping) else value if type(value) in (list, tuple) else ()
    return isinstance(value, nn.Module | nn.Parameter) or (
        (isinstance(value, Tensor) and value.grad_fn is not None) or any(map(_learned, inside))
    )


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


def _fingerprint(value: Any) -> str | None:
    """Equal for equal values; None for what cannot be looked into, and is taken as unchanged."""
    tensors: list[Tensor] = []
    try:
        text = json.dumps(packed(value, tensors)).encode()
    except (NotPlainError, RecursionError):
        return _of_object(value)
    digest = hashlib.sha256(text)
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _of_object(value: Any) -> str | None:
    if callable(value) or isinstance(value, GENERATORS):
        return None
    try:
        content = pickle.dumps(value)
    except Exception:  # a lock, an open file, a generator: anything may refuse, with any error
        return None
    return hashlib.sha256(content).hexdigest() if len(content) <= LARGEST else None


def _generator_state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate()


def _set_generator(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)


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
            for part in ("extra", "generators", "buffers", "attributes")
        }
        for place, state in found["generators"].items():
            _set_generator(dict(_attributes(member))[place], state)
        _put_buffers(member, found["buffers"])
        _put_attributes(member, found["attributes"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"member {name!r}: what the checkpoint holds beside its weights does not fit ({error})"
        ) from None
    return {f"{path}.{EXTRA}".lstrip("."): value for path, value in found["extra"].items()}


def _put_buffers(member: nn.Module, saved: Mapping[str, Any]) -> None:
    own = dict(_buffers(member))
    for place, value in saved.items():
        if own[place].shape != value.shape or own[place].dtype != value.dtype:
            raise ValueError(f"{place} is {tuple(own[place].shape)} {own[place].dtype} here")
        own[place].copy_(value)


def _put_attributes(member: nn.Module, saved: Mapping[str, Any]) -> None:
    modules = dict(member.named_modules())
    for place, value in saved.items():
        path, _, attribute = place.rpartition(".")
        module = modules[path]
        own = vars(module).get(attribute)
        if attribute in OF_EVERY_MODULE or (own is None and hasattr(type(module), attribute)):
            raise ValueError(f"{place} is not an attribute that a checkpoint may set")
        if own is not None and type(own) is not type(value) and value is not None:
            raise ValueError(f"{place} is a {type(own).__name__} here")
        if isinstance(own, Tensor) and isinstance(value, Tensor):
            value = value.to(own.device)
        setattr(module, attribute, value)
